"""What a map says of one table of another bot's database: which column is what."""

import enum
from collections.abc import Iterator, Mapping

import attrs


class Kind(enum.StrEnum):
    """What a row of the table is."""

    TICKS = "ticks"
    CANDLES = "candles"


class TimeForm(enum.StrEnum):
    """How a column tells the time."""

    UNIX_S = "unix_s"
    UNIX_MS = "unix_ms"
    UNIX_US = "unix_us"
    DATETIME = "datetime"  # DATETIME, TIMESTAMP, DATE and TIME, or such a text


class Marks(enum.StrEnum):
    """Which end of its interval a candle's time is."""

    OPEN = "open"
    CLOSE = "close"


UNIT_US: Mapping[TimeForm, int] = {TimeForm.UNIX_S: 1_000_000, TimeForm.UNIX_MS: 1_000, TimeForm.UNIX_US: 1}

# name of ours: whether the table must have it. A tick without a price is the middle of bid and ask.
COLUMNS: Mapping[Kind, Mapping[str, bool]] = {
    Kind.TICKS: {"price": False, "bid": False, "ask": False, "volume": False, "seq": False},
    Kind.CANDLES: {"open": True, "high": True, "low": True, "close": True, "volume": False},
}


@attrs.frozen(kw_only=True)
class TimeMap:
    """Where the time of a row is. Either `column`, or `date_column` and `clock_column`, are there."""

    form: TimeForm
    column: str | None = None
    date_column: str | None = None
    clock_column: str | None = None
    zone: str = "UTC"  # of a DATETIME, which knows none
    marks: Marks = Marks.OPEN

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of theirs, in the order in which a row has them."""
        named = (self.column,) if self.column is not None else (self.date_column, self.clock_column)
        return tuple(name for name in named if name is not None)


@attrs.frozen(kw_only=True)
class TableMap:
    """One table. `market` is the market of all its rows; without one `symbol_column` and `markets` tell."""

    table: str
    kind: Kind
    time: TimeMap
    columns: Mapping[str, str]  # name of ours: name of theirs
    market: str | None = None
    symbol_column: str | None = None
    markets: Mapping[str, str] = attrs.field(factory=dict)  # their symbol: our market
    timeframe_s: int | None = None  # of candles
    gap_after_s: int = 60  # a longer silence between two ticks is a gap, as it is live

    def all_markets(self) -> tuple[str, ...]:
        """Every market that rows may be of."""
        return (self.market,) if self.market is not None else tuple(self.markets.values())

    def selected(self) -> tuple[str, ...]:
        """Names of theirs as they are selected: the time's, the symbol's, the others in the map's order."""
        symbol = () if self.symbol_column is None else (self.symbol_column,)
        return (*self.time.columns, *symbol, *self.columns.values())

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield the key of the map and the name of theirs for each column that it names."""
        keys = ("column",) if self.time.column is not None else ("date_column", "clock_column")
        yield from ((f"time.{key}", name) for key, name in zip(keys, self.time.columns, strict=True))
        if self.symbol_column is not None:
            yield "symbol_column", self.symbol_column
        yield from ((f"columns.{ours}", theirs) for ours, theirs in self.columns.items())
