"""Markets, ticks and candles: the words everybody shares."""

import math
import re
from typing import NamedTuple

import attrs

from domain.errors import RemoteProtocolError

SYMBOL_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:-]{0,31}")
VENUE_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

MAX_INTEGER = 2**63 - 1  # a BIGINT's and SQLite's largest integer


def market_id(*, symbol: str, venue: str) -> str:
    """Return a market's id, `SYMBOL@VENUE`."""
    return f"{symbol}@{venue}"


def split_market_id(market: str) -> tuple[str, str]:
    """Return `(symbol, venue)` of an id; symbols hold no `@`."""
    symbol, _, venue = market.rpartition("@")
    return symbol, venue


class PriceUpdate(NamedTuple):
    """One price as a venue told it, decoded but neither checked nor stamped.

    `ts_us` (UTC) and `seq` are the venue's own, None where it gives none; `symbol` is as in the
    settings; `price` is the trade's price or the middle of bid and ask.
    """

    symbol: str
    ts_us: int | None
    seq: int | None
    price: float
    bid: float | None = None
    ask: float | None = None
    volume: float | None = None


class Tick(NamedTuple):
    """One price, checked and stamped, as it is stored.

    A NamedTuple because it is made once per price: three times cheaper than a frozen attrs class.
    `market` is `SYMBOL@VENUE`; `(market, ts_us, seq)` is unique; times are microseconds, UTC;
    `source` is `live`, `backfill` or `imported`.
    """

    market: str
    ts_us: int
    seq: int
    price: float
    bid: float | None
    ask: float | None
    volume: float | None
    received_us: int
    source: str = "live"


def check_update(update: PriceUpdate) -> None:
    """Raise `RemoteProtocolError` unless every number of the update can be stored and traded on.

    Prices must be finite and positive, a volume finite and not negative, times and numbers fit
    64 bits.
    """
    _, ts_us, seq, price, bid, ask, volume = update
    for name, value in (("price", price), ("bid", bid), ("ask", ask)):
        if value is not None and not 0.0 < value < math.inf:
            raise RemoteProtocolError(f"{update.symbol}: {name} {value!r} is not a positive number")
    if volume is not None and not 0.0 <= volume < math.inf:
        raise RemoteProtocolError(f"{update.symbol}: volume {volume!r} is not a number from 0 up")
    for name, number in (("ts_us", ts_us), ("seq", seq)):
        if number is not None and not 0 <= number <= MAX_INTEGER:
            raise RemoteProtocolError(f"{update.symbol}: {name} {number!r} does not fit 63 bits")


@attrs.frozen(kw_only=True)
class Candle:
    """Open, high, low and close of one market in `[open_us, open_us + timeframe_s)`."""

    market: str
    timeframe_s: int
    open_us: int
    open: float
    high: float
    low: float
    close: float
    ticks: int
    volume: float


class HistoryCandle(NamedTuple):
    """A candle as its venue tells it afterwards. A NamedTuple, because the journal holds it."""

    market: str
    timeframe_s: int
    open_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class CandleBuilder:
    """Builds the candles of one market and one timeframe from its ticks, in RAM.

    The first candle after a start is partial (it began before the first tick) and is never
    handed out. A tick older than the open candle is ignored: a stored candle is recomputed from
    the table, the live one is not.
    """

    __slots__ = (
        "_close",
        "_end_us",
        "_high",
        "_is_whole",
        "_low",
        "_market",
        "_open",
        "_open_us",
        "_span_us",
        "_ticks",
        "_timeframe_s",
        "_volume",
    )

    def __init__(self, *, market: str, timeframe_s: int) -> None:
        self._market = market
        self._timeframe_s = timeframe_s
        self._span_us = timeframe_s * 1_000_000
        self._open_us = self._end_us = -1  # before the first tick
        self._is_whole = False
        self._open = self._high = self._low = self._close = self._volume = 0.0
        self._ticks = 0

    def current(self) -> Candle | None:
        """Return the open candle as it stands, None before the first tick."""
        if self._ticks == 0:
            return None
        return Candle(
            market=self._market,
            timeframe_s=self._timeframe_s,
            open_us=self._open_us,
            open=self._open,
            high=self._high,
            low=self._low,
            close=self._close,
            ticks=self._ticks,
            volume=self._volume,
        )

    def add(self, tick: Tick) -> Candle | None:
        """Take one tick; return the candle it closed, if it closed a whole one."""
        if tick.ts_us >= self._end_us:
            closed = self.current() if self._is_whole else None
            self._is_whole = self._ticks > 0
            self._begin(tick)
            return closed
        if tick.ts_us >= self._open_us:
            price = tick.price
            if price > self._high:
                self._high = price
            if price < self._low:
                self._low = price
            self._close = price
            self._ticks += 1
            self._volume += tick.volume or 0.0
        return None

    def _begin(self, tick: Tick) -> None:
        self._open_us = tick.ts_us - tick.ts_us % self._span_us
        self._end_us = self._open_us + self._span_us
        self._open = self._high = self._low = self._close = tick.price
        self._ticks = 1
        self._volume = tick.volume or 0.0
