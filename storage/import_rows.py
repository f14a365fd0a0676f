"""Makes a tick or a candle of ours of a row of another bot's table, or says what is wrong with it. Pure."""

import datetime
import math
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs

from domain.clock import as_text
from domain.market import MAX_INTEGER, HistoryCandle, Tick
from storage.import_map import UNIT_US, Kind, Marks, TableMap, TimeForm, TimeMap
from storage.kept import DAY_US, day_start_us
from storage.session import Row
from storage.settings import StorageSettings

SECOND_US = 1_000_000
EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001  # what we subtract from has no zone either
MICROSECOND = datetime.timedelta(microseconds=1)
# No such venue is older: a time before it was read in the wrong form.
EARLIEST_US = 946_684_800 * SECOND_US  # 2000-01-01
LATEST_US = MAX_INTEGER

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
        if isinstance(ts_us, Refusal):
            return ts_us
        return self._read(row, market, ts_us)

    def _market(self, row: Row) -> str | Refusal:
        if self._symbol_at is None:
            assert self._table.market is not None, "the map was checked"
            return self._table.market
        symbol = _text(row[self._symbol_at])
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
            seq = int(_text(row[self._at["seq"]]))
        except (TypeError, ValueError, OverflowError):
            return self._refusal(row, "seq", "is no whole number")
        return seq if 0 <= seq <= MAX_INTEGER else self._refusal(row, "seq", "does not fit 63 bits")

    def _refusal(self, row: Row, name: str, reason: str) -> Refusal:
        return Refusal(self._table.columns[name], row[self._at[name]], reason)


def _text(value: object) -> Any:
    """Return a text as one, also from a column of bytes; anything else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _number(value: object) -> float | str:
    """Return the number, or why there is none."""
    if value is None:
        return "is null"
    try:
        return float(_text(value))
    except (TypeError, ValueError, OverflowError):
        return "is no number"


# --- times ------------------------------------------------------------------------------------


def time_reader(time: TimeMap) -> Callable[[Row], int | Refusal]:
    """Return what reads the time of a row, microseconds UTC; its columns are the row's first."""
    to_us: Callable[[Sequence[Any]], int]
    if time.form is TimeForm.DATETIME:
        zone = None if time.zone == "UTC" else ZoneInfo(time.zone)

        def to_us(values: Sequence[Any]) -> int:
            return _datetime_us(_moment(values), zone)
    else:
        unit_us = UNIT_US[time.form]

        def to_us(values: Sequence[Any]) -> int:
            return _unix_us(_text(values[0]), unit_us)

    count = len(time.columns)

    def read(row: Row) -> int | Refusal:
        values = row[:count]
        if None in values:
            return Refusal(_names(time), _values(row, time), "is null")
        try:
            return to_us(values)
        except (TypeError, ValueError, OverflowError, InvalidOperation) as exc:
            reason = str(exc) if isinstance(exc, AmbiguousTime) else f"is no time of the form {time.form}"
            return Refusal(_names(time), _values(row, time), reason)

    return read


class AmbiguousTime(ValueError):
    """A wall clock showed this time twice, or never."""


def _unix_us(value: Any, unit_us: int) -> int:
    if isinstance(value, int):
        return value * unit_us
    if isinstance(value, float):
        return round(value * unit_us)
    return round(Decimal(value) * unit_us)


def _moment(values: Sequence[Any]) -> datetime.datetime:
    """Return date and time, from one value or from two."""
    if len(values) == 1:
        return _one_moment(_text(values[0]))
    day, clock = map(_text, values)
    if isinstance(day, str):
        day = datetime.date.fromisoformat(day)
    if isinstance(clock, str):
        clock = datetime.time.fromisoformat(clock)
    midnight = datetime.datetime.combine(day, datetime.time())
    if isinstance(clock, datetime.time):
        return datetime.datetime.combine(day, clock)
    moment: datetime.datetime = midnight + clock  # PyMySQL gives a TIME as a timedelta
    return moment


def _one_moment(value: Any) -> datetime.datetime:
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time())


def _datetime_us(moment: datetime.datetime, zone: ZoneInfo | None) -> int:
    if moment.tzinfo is not None:  # a text that says its offset itself
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    elif zone is not None:
        early, late = (moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        assert early is not None, "a ZoneInfo knows its offset"
        if early != late:
            raise AmbiguousTime("is a time at which the clock was set")
        moment -= early
    return (moment - EPOCH) // MICROSECOND


def _names(time: TimeMap) -> str:
    return ", ".join(time.columns)


def _values(row: Row, time: TimeMap) -> Any:
    values = row[: len(time.columns)]
    return values[0] if len(values) == 1 else " ".join(map(str, values))


def in_words(value: Any, *, characters: int = 60) -> str:
    """Return a value of theirs as a line shows it."""
    text = str(value) if isinstance(value, datetime.datetime | Decimal) else repr(_text(value))
    return text if len(text) <= characters else f"{text[:characters]}…"


def span_in_words(first_us: int | None, last_us: int | None) -> str:
    """Return `from … to …`, or nothing where there is no time."""
    return "" if first_us is None or last_us is None else f"from {as_text(first_us)} to {as_text(last_us)}"
