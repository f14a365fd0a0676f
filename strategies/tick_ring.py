"""The latest ticks of one market, in the order of their times. Pure."""

from collections import deque
from typing import NamedTuple

from domain.market import Tick

MOST_TICKS = 512  # an order may be so many ticks late; at 50 a second ten seconds


class Around(NamedTuple):
    """The latest tick at or before a time, and the first one after it."""

    before: Tick | None
    after: Tick | None


class TickRing:
    """Keeps the latest ticks; one that is not after the last one, by time and number, is not taken."""

    __slots__ = ("_last", "_ticks")

    def __init__(self) -> None:
        self._ticks: deque[Tick] = deque(maxlen=MOST_TICKS)
        self._last = (-1, -1)  # its time and number

    @property
    def last_us(self) -> int:
        """The time of the last tick, -1 before the first."""
        return self._last[0]

    def take(self, tick: Tick) -> bool:
        """Take a tick; return whether it is a later one."""
        key = tick[1:3]  # ts_us, seq
        if key <= self._last:
            return False
        self._last = key
        self._ticks.append(tick)
        return True

    def step_back(self, to_us: int) -> None:
        """Forget the ticks after a time: it is told once more."""
        while self._ticks and self._ticks[-1].ts_us > to_us:
            self._ticks.pop()
        self._last = self._ticks[-1][1:3] if self._ticks else (-1, -1)

    def around(self, at_us: int) -> Around:
        """Return the ticks on both sides of a time, as far as they are kept."""
        after = None
        for tick in reversed(self._ticks):
            if tick.ts_us <= at_us:
                return Around(tick, after)
            after = tick
        return Around(None, after)
