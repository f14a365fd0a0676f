"""Plays a recording to the simulator's clients."""

import logging
import math
from pathlib import Path

import attrs
import trio

from domain.errors import ConfigError
from domain.events import Event, emit
from supervisor.simulate.socket import ServedSocket
from wire.recording import Direction, read

BEGIN_AFTER_S = 1.0  # since the latest subscribe
UNASKED_AFTER_S = 10.0  # since connecting, for a client that subscribes nothing; one that lists comes late
LOOK_EVERY_S = 0.1
BURST = 256  # frames put out before the writer must have taken them


@attrs.frozen(kw_only=True)
class Replay:
    """Plays the `in` frames of a recording to each socket once, `speed` times as fast."""

    path: Path
    speed: float

    async def play(self, served: ServedSocket) -> None:
        """Begin 1 s after the latest subscribe, or 10 s after connecting; return after the last frame."""
        unasked_at = trio.current_time() + UNASKED_AFTER_S
        while (begin_at := _begin_at(served, unasked_at)) > trio.current_time():  # noqa: ASYNC110
            await trio.sleep(LOOK_EVERY_S)  # a subscribe may bring it nearer or put it off
        try:
            await self._play_from(begin_at, served=served)
        except ConfigError as exc:  # it was whole when the simulator started
            emit(Event.FRAME, f"replay stopped: {exc}", level=logging.WARNING)
            served.reset()

    async def _play_from(self, begin_at: float, *, served: ServedSocket) -> None:
        frames = (recorded for recorded in read(self.path) if recorded.direction is Direction.IN)
        first_us: int | None = None
        for number, recorded in enumerate(frames, start=1):
            if first_us is None:
                first_us = recorded.at_us
            due_at = begin_at + (recorded.at_us - first_us) / 1e6 / self.speed
            if due_at > trio.current_time():
                await trio.sleep_until(due_at)
            served.play(recorded.frame)
            if number % BURST == 0:
                await served.outbox.drain()


def _begin_at(served: ServedSocket, unasked_at: float) -> float:
    has_subscribed = served.subscribed_at > -math.inf
    return served.subscribed_at + BEGIN_AFTER_S if has_subscribed else unasked_at


async def play_nothing(_: ServedSocket) -> None:
    """Leave the socket to the generated ticks."""
