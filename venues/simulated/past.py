"""What a simulated market was, for those who ask for its history."""

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

# A market remembers so many; beyond, the older half goes. At two a second three to six hours, and
# with 32 bytes each 34 MB for 27 markets, whose simulation may run for days in one small process.
MOST_TICKS = 40_000


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
        self._ts_us = array("q")
        self._seq = array("q")
        self._price = array("d")
        self._volume = array("d")

    def add(self, tick: PastTick) -> None:
        """Remember a tick that is no older than the last."""
        if len(self._ts_us) >= MOST_TICKS:
            for column in (self._ts_us, self._seq, self._price, self._volume):
                del column[: MOST_TICKS // 2]
        self._ts_us.append(tick.ts_us)
        self._seq.append(tick.seq)
        self._price.append(tick.price)
        self._volume.append(tick.volume)

    def between(self, from_us: int, to_us: int) -> list[PastTick]:
        """Return the ticks in `[from_us, to_us]`."""
        return self._slice(bisect_left(self._ts_us, from_us), bisect_right(self._ts_us, to_us))

    def after_number(self, seq: int, *, most: int) -> list[PastTick]:
        """Return up to so many ticks that are numbered `seq` or higher."""
        first = bisect_left(self._seq, seq)
        return self._slice(first, first + most)

    def _slice(self, first: int, end: int) -> list[PastTick]:
        columns = (self._ts_us, self._seq, self._price, self._volume)
        return list(map(PastTick, *(column[first:end] for column in columns)))

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
