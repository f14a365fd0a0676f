"""What a simulated market was, for those who ask for its history."""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

MOST_TICKS = 200_000  # a market remembers; beyond, the older half goes


class PastTick(NamedTuple):
    """One tick that was sent or missed; `seq` is the venue's number, 0 where it has none."""

    ts_us: int
    seq: int
    price: float
    volume: float


class PastCandle(NamedTuple):
    """Open, high, low and close of `[open_us, open_us + timeframe)`."""

    open_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Past:
    """One market's ticks, oldest first, whether anybody watched or not."""

    def __init__(self) -> None:
        self._ticks: list[PastTick] = []

    def add(self, tick: PastTick) -> None:
        """Remember a tick that is no older than the last."""
        if len(self._ticks) >= MOST_TICKS:
            del self._ticks[: MOST_TICKS // 2]
        self._ticks.append(tick)

    def between(self, from_us: int, to_us: int) -> list[PastTick]:
        """Return the ticks in `[from_us, to_us]`."""
        first = bisect_left(self._ticks, from_us, key=_time)
        return self._ticks[first : bisect_right(self._ticks, to_us, key=_time)]

    def after_number(self, seq: int, *, most: int) -> list[PastTick]:
        """Return up to so many ticks that are numbered `seq` or higher."""
        first = bisect_left(self._ticks, seq, key=_number)
        return self._ticks[first : first + most]

    def candles(self, from_us: int, to_us: int, *, timeframe_us: int) -> list[PastCandle]:
        """Return the candles that open in `[from_us, to_us]` and have ticks."""
        candles: list[PastCandle] = []
        for ts_us, _, price, volume in self.between(from_us, to_us + timeframe_us - 1):
            open_us = ts_us - ts_us % timeframe_us
            if not candles or candles[-1].open_us != open_us:
                candles.append(PastCandle(open_us, price, price, price, price, volume))
                continue
            last = candles[-1]
            candles[-1] = PastCandle(
                open_us, last.open, max(last.high, price), min(last.low, price), price, last.volume + volume
            )
        return [candle for candle in candles if from_us <= candle.open_us <= to_us]


def _time(tick: PastTick) -> int:
    return tick.ts_us


def _number(tick: PastTick) -> int:
    return tick.seq
