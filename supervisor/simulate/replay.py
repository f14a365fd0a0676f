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
BURST = 256  # frames put out before the writer must have taken them


@attrs.frozen(kw_only=True)
class Replay:
    """Plays the `in` frames of a recording to each socket once, `speed` times as fast."""

    path: Path
    speed: float

    async def play(self, served: ServedSocket) -> None:
        """Begin 1 s after the latest subscribe, or after connecting; return after the last frame."""
        connected_at = trio.current_time()
        begin_at = -math.inf
        while begin_at < max(connected_at, served.subscribed_at) + BEGIN_AFTER_S:
            begin_at = max(connected_at, served.subscribed_at) + BEGIN_AFTER_S
            await trio.sleep_until(begin_at)
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


async def play_nothing(_: ServedSocket) -> None:
    """Leave the socket to the generated ticks."""
