"""Makes a tick or a candle of ours of a row of another bot's table, or says what is wrong with it. Pure."""

import datetime
import math
from decimal import Decimal
from typing import Any, NamedTuple

import attrs

from domain.market import MAX_INTEGER, HistoryCandle, Tick
from storage.import_map import Kind, Marks, TableMap, TimeMap
from storage.import_times import decoded, time_reader
from storage.kept import DAY_US, day_start_us
from storage.session import Row
from storage.settings import StorageSettings

SECOND_US = 1_000_000
# No such venue is older: a time before it was read in the wrong form.
EARLIEST_US = 946_684_800 * SECOND_US  # 2000-01-01

TOO_EARLY = "is before 2000: is the form right?"
IN_FUTURE = "is in the future"
NO_MARKET = "has no market in the map"


class Refusal(NamedTuple):
    """Why a row is not brought in: the column of theirs, what it holds, and what is wrong with that."""

    column: str
    value: Any
    reason: str


@attrs.frozen(kw_only=True)
class Bounds:
    """Which times are brought in."""

    kept_from_us: int  # older rows would be deleted by the next run of the daemon
    now_us: int
    older: str  # what is wrong with a row that is older


Item = Tick | HistoryCandle


def bounds_of(kind: Kind, *, settings: StorageSettings, now_us: int) -> Bounds:
    """Return the times that rows of this kind are brought in for."""
    key = "keep_ticks_days" if kind is Kind.TICKS else "keep_candles_days"
    days = settings.keep_ticks_days if kind is Kind.TICKS else settings.keep_candles_days
    return Bounds(
        kept_from_us=day_start_us(now_us) - days * DAY_US,
        now_us=now_us,
        older=f"is older than [storage] {key} = {days}: it would be deleted again",
    )


class RowReader:
    """Reads the rows of one table, each as `TableMap.selected()` orders it. Ticks have `seq` 0 for now."""

    def __init__(self, table: TableMap, *, bounds: Bounds) -> None:
        self._table = table
        self._bounds = bounds
        self._read_time = time_reader(table.time)
        times = len(table.time.columns)
        self._symbol_at = times if table.symbol_column is not None else None
        first = times + (table.symbol_column is not None)
        self._at = {ours: first + n for n, ours in enumerate(table.columns)}
        self._read = self._read_tick if table.kind is Kind.TICKS else self._read_candle

    def read(self, row: Row) -> Item | Refusal:
        """Return what the row is."""
        market = self._market(row)
        if isinstance(market, Refusal):
            return market
        ts_us = self._read_time(row)
        if isinstance(ts_us, str):
            return Refusal(_names(self._table.time), _values(row, self._table.time), ts_us)
        return self._read(row, market, ts_us)

    def _market(self, row: Row) -> str | Refusal:
        if self._symbol_at is None:
            assert self._table.market is not None, "the map was checked"
            return self._table.market
        symbol = decoded(row[self._symbol_at])
        market = self._table.markets.get(symbol) if isinstance(symbol, str) else None
        if market is None:
            return Refusal(str(self._table.symbol_column), symbol, NO_MARKET)
        return market

    def _read_tick(self, row: Row, market: str, ts_us: int) -> Tick | Refusal:
        wrong = self._wrong_time(row, ts_us)
        if wrong is not None:
            return wrong
        price, bid, ask = (self._price(row, name) for name in ("price", "bid", "ask"))
        volume, seq = self._volume(row), self._seq(row)
        for each in (price, bid, ask, volume, seq):
            if isinstance(each, Refusal):
                return each
        if price is None:
            price = (bid + ask) / 2  # type: ignore[operator]  # the map has both, and neither is refused
        return Tick(market, ts_us, seq, price, bid, ask, volume, ts_us, "imported")  # type: ignore[arg-type]

    def _read_candle(self, row: Row, market: str, ts_us: int) -> HistoryCandle | Refusal:
        timeframe_s = self._table.timeframe_s
        assert timeframe_s is not None, "the map was checked"
        span_us = timeframe_s * SECOND_US
        open_us = ts_us - span_us if self._table.time.marks is Marks.CLOSE else ts_us
        wrong = self._wrong_time(row, open_us, span_us=span_us)
        if wrong is not None:
            return wrong
        prices = [self._price(row, name) for name in ("open", "high", "low", "close")]
        volume = self._volume(row)
        for each in (*prices, volume):
            if isinstance(each, Refusal):
                return each
        opened, high, low, close = prices
        candle = HistoryCandle(market, timeframe_s, open_us, opened, high, low, close, volume or 0.0)  # type: ignore[arg-type]
        if candle.high < max(candle.open, candle.close, candle.low):
            return self._refusal(row, "high", "is below another price of its candle")
        if candle.low > min(candle.open, candle.close):
            return self._refusal(row, "low", "is above another price of its candle")
        return candle

    def _wrong_time(self, row: Row, from_us: int, *, span_us: int = 0) -> Refusal | None:
        """Return what is wrong with the time of a tick, or with the interval of a candle."""
        bounds, reason = self._bounds, ""
        if from_us < EARLIEST_US:
            reason = TOO_EARLY
        elif from_us > bounds.now_us:
            reason = IN_FUTURE
        elif from_us + span_us > bounds.now_us:
            reason = "is of a candle that is not over yet"
        elif span_us and from_us % span_us:
            reason = f"is no beginning of an interval of {span_us // SECOND_US} s"
        elif from_us < bounds.kept_from_us:
            reason = bounds.older
        return Refusal(_names(self._table.time), _values(row, self._table.time), reason) if reason else None

    def _price(self, row: Row, name: str) -> float | Refusal | None:
        if name not in self._at:
            return None
        number = _number(row[self._at[name]])
        if isinstance(number, str):
            return self._refusal(row, name, number)
        return number if 0.0 < number < math.inf else self._refusal(row, name, "is no positive number")

    def _volume(self, row: Row) -> float | Refusal | None:
        if "volume" not in self._at or row[self._at["volume"]] is None:
            return None
        number = _number(row[self._at["volume"]])
        if isinstance(number, str):
            return self._refusal(row, "volume", number)
        return number if 0.0 <= number < math.inf else self._refusal(row, "volume", "is no number from 0 up")

    def _seq(self, row: Row) -> int | Refusal:
        if "seq" not in self._at:
            return 0
        try:
            seq = int(decoded(row[self._at["seq"]]))
        except (TypeError, ValueError, OverflowError):
            return self._refusal(row, "seq", "is no whole number")
        return seq if 0 <= seq <= MAX_INTEGER else self._refusal(row, "seq", "does not fit 63 bits")

    def _refusal(self, row: Row, name: str, reason: str) -> Refusal:
        return Refusal(self._table.columns[name], row[self._at[name]], reason)


def _number(value: object) -> float | str:
    """Return the number, or why there is none."""
    if value is None:
        return "is null"
    try:
        return float(decoded(value))
    except (TypeError, ValueError, OverflowError):
        return "is no number"


def _names(time: TimeMap) -> str:
    return ", ".join(time.columns)


def _values(row: Row, time: TimeMap) -> Any:
    values = row[: len(time.columns)]
    return values[0] if len(values) == 1 else " ".join(map(str, values))


def in_words(value: Any, *, characters: int = 60) -> str:
    """Return a value of theirs as a line shows it."""
    text = str(value) if isinstance(value, datetime.datetime | Decimal) else repr(decoded(value))
    return text if len(text) <= characters else f"{text[:characters]}…"
