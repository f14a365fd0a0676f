"""What the service manager's watchdog is told: that our own tasks turn, and nothing else.

No trouble of the internet, the disk or the database may end a healthy daemon, so none of it is
looked at: a task that waits for them is as good as one that turns.
"""

import logging
from collections.abc import Callable, Mapping

import attrs
import trio

from domain.events import Event, emit
from supervisor.notify import Notifier

TURN_EVERY_S = 1.0
PING_AT_LEAST_EVERY_S = 10.0
LOOK_AGAIN_S = 0.5

# When a task turns next, at the latest (monotonic); None while it waits for what is outside, or ended.
Due = Callable[[], float | None]


@attrs.define(eq=False)
class Pulse:
    """A child that only turns: while it does, the supervisor looks after its children."""

    due_at: float | None = None

    async def run(self) -> None:
        """Turn for ever."""
        while True:
            self.due_at = trio.current_time() + TURN_EVERY_S
            await trio.sleep_until(self.due_at)


@attrs.define(kw_only=True, eq=False)
class Watchdog:
    """Pings while every one of `tasks` turns; each may be as late as half of the manager's patience."""

    manager: Notifier
    tasks: Mapping[str, Due]
    is_stopping: Callable[[], bool]  # what ends in order need not turn: the stop has a deadline of its own

    async def run(self) -> None:
        """Ping for ever; sleep where nobody asked for it."""
        period_s = self.manager.watchdog_s
        if period_s is None:
            await trio.sleep_forever()
        assert period_s is not None
        while True:
            await trio.sleep(min(PING_AT_LEAST_EVERY_S, period_s / 2))
            await self._all_turn(patience_s=period_s / 2)
            self.manager.alive()

    async def _all_turn(self, *, patience_s: float) -> None:
        """Wait until no task is late. After a pause of the whole process each gets its turn first."""
        said: set[str] = set()
        while late := self._late(patience_s):
            await trio.sleep(LOOK_AGAIN_S)
            if not said and (late := late & self._late(patience_s)):
                _say_late(said := late)

    def _late(self, patience_s: float) -> set[str]:
        if self.is_stopping():
            return set()
        now = trio.current_time()
        due = {name: due_at() for name, due_at in self.tasks.items()}
        return {name for name, at in due.items() if at is not None and at + patience_s < now}


def _say_late(tasks: set[str]) -> None:
    names = " and ".join(sorted(tasks))
    emit(
        Event.CRASH,
        f"{names} does not turn any more; the service manager is told no longer that all is well",
        level=logging.ERROR,
        actor="watchdog",
        reason=f"{names} hangs",
    )
