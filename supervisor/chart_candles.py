"""The candles of a page, made of a backtest's prices as they pass: longer ones, the more there are."""

from collections.abc import Sequence

from domain.market import Candle, Tick

FIRST_S = 60
MOST_CANDLES = 8_192  # a month of minutes makes 6 screens; twice as many, and two become one
SECOND_US = 1_000_000


class ChartCandles:
    """Takes prices in their order. The first and the last candle may be parts of one.

    They are of `first_s` seconds, and of twice as many each time that there are too many of them.
    """

    def __init__(self, *, market: str, first_s: int = FIRST_S) -> None:
        self.timeframe_s = first_s
        self._market = market
        self._closed: list[Candle] = []
        self._open: Candle | None = None
        self._end_us = -1
        self._high = self._low = self._close = 0.0

    def add(self, tick: Tick) -> None:
        """Take a price."""
        price = tick.price
        if tick.ts_us >= self._end_us:
            self._begin(tick.ts_us, price)
            return
        if price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._close = price

    @property
    def candles(self) -> Sequence[Candle]:
        """All of them, the oldest first."""
        return [*self._closed, *self._current()]

    def _begin(self, ts_us: int, price: float) -> None:
        self._closed += self._current()
        if len(self._closed) >= MOST_CANDLES:
            self.timeframe_s *= 2
            self._closed = joined(self._closed, timeframe_s=self.timeframe_s)
        span_us = self.timeframe_s * SECOND_US
        open_us = ts_us - ts_us % span_us
        if self._closed and self._closed[-1].open_us == open_us:  # the second half of a longer one
            last = self._closed.pop()
            self._open, self._high, self._low = last, max(last.high, price), min(last.low, price)
        else:
            self._open = _candle(self._market, self.timeframe_s, open_us, (price, price, price, price))
            self._high = self._low = price
        self._close = price
        self._end_us = open_us + span_us

    def _current(self) -> Sequence[Candle]:
        if self._open is None:
            return ()
        prices = (self._open.open, self._high, self._low, self._close)
        return (_candle(self._market, self._open.timeframe_s, self._open.open_us, prices),)


def joined(candles: Sequence[Candle], *, timeframe_s: int) -> list[Candle]:
    """Return longer candles made of shorter ones, which are in their order."""
    longer: list[Candle] = []
    for candle in candles:
        open_us = candle.open_us - candle.open_us % (timeframe_s * SECOND_US)
        prices = (candle.open, candle.high, candle.low, candle.close)
        if longer and longer[-1].open_us == open_us:
            first = longer.pop()
            prices = (first.open, max(first.high, candle.high), min(first.low, candle.low), candle.close)
        longer.append(_candle(candle.market, timeframe_s, open_us, prices))
    return longer


def _candle(market: str, timeframe_s: int, open_us: int, prices: tuple[float, float, float, float]) -> Candle:
    opened, high, low, close = prices
    return Candle(
        market=market,
        timeframe_s=timeframe_s,
        open_us=open_us,
        open=opened,
        high=high,
        low=low,
        close=close,
        ticks=1,
        volume=0.0,
    )
