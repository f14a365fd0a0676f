"""Finds out that a socket is dead: no library does. Any frame counts as life."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from domain.errors import ConnectionLost

PING_AFTER_S = 5.0  # of silence
DEAD_AFTER_S = 10.0  # more, without any frame: 15 s in all
ANSWER_WITHIN_S = 5.0  # so long at least a ping may take, also when we come late to send it


@attrs.define(eq=False)
class Heartbeat:
    """Watches one session. `last_frame_at` (monotonic) is set by whoever receives."""

    last_frame_at: float = attrs.field(factory=trio.current_time)

    def beat(self) -> None:
        """Note that a frame came."""
        self.last_frame_at = trio.current_time()

    def due_at(self) -> float:
        """Return when to `check` next, if no frame comes before; monotonic."""
        return self.last_frame_at + PING_AFTER_S

    async def check(self, ping: Callable[[], Awaitable[None]], answered: Callable[[float], None]) -> None:
        """Where 5 s were silent, ping; raise ConnectionLost when 10 s more bring no frame.

        `ping` sends one and returns when it was answered; `answered` is told the round trip, ms.
        """
        sent_at = trio.current_time()
        if sent_at < self.due_at():
            return
        dead_at = self.due_at() + DEAD_AFTER_S
        with trio.move_on_at(max(dead_at, sent_at + ANSWER_WITHIN_S)):
            await ping()
            answered((trio.current_time() - sent_at) * 1000)
            self.beat()
        if self.last_frame_at < sent_at:
            raise ConnectionLost(
                f"dead: no frame for {PING_AFTER_S + DEAD_AFTER_S:.0f} s, not even an answer to a ping"
            )
