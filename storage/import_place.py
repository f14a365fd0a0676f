"""The database that rows are imported into: what is there already."""

import contextlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import attrs

from domain.gaps import Gap
from domain.market import HistoryCandle, Tick, market_id
from storage.reader import open_if_there
from storage.session import Dialect, Row, Session
from storage.settings import StorageSettings
from storage.target import Target

Result = TypeVar("Result")
TickKey = tuple[str, int, int]  # market, ts_us, seq
CandleKey = tuple[str, int, int]  # market, timeframe_s, open_us

# Beyond 200 (eq_range_index_dive_limit) the optimizer guesses by statistics, which a table that is just being
# filled has not got, and reads the whole market each time. Seen on MariaDB 10.11, 2026-11.
KEYS_A_QUERY = 150

# An own tick is one that is not imported. MySQL steps through one market's key; SQLite's begins with
# the time, so there the whole table is read once.
OWN_TICKS_SQLITE = (
    "SELECT market_id, MIN(ts_us), MAX(ts_us) FROM tick WHERE source <> 'imported' GROUP BY market_id"
)
OWN_TICKS_MYSQL = (
    "SELECT (SELECT ts_us FROM tick WHERE market_id = ? AND source <> 'imported' ORDER BY ts_us LIMIT 1), "
    "(SELECT ts_us FROM tick WHERE market_id = ? AND source <> 'imported' ORDER BY ts_us DESC LIMIT 1)"
)
# What the venue's history has filled, in full or in part, is no hole any more.
HOLES = (
    "SELECT market_id, from_us, to_us FROM gap WHERE to_us IS NOT NULL AND fill NOT IN ('full', 'partly') "
    "ORDER BY market_id, from_us"
)
HOLE_NOTE = "nothing was imported of this time"
KNOWN_HOLES = "SELECT market_id, from_us, to_us, cause, fill, fill_note FROM gap WHERE fill_note = ?"


class Standing(NamedTuple):
    """A candle that is there."""

    source: str
    is_complete: bool

    @property
    def gives_way(self) -> bool:
        """Whether an imported one takes its place."""
        return self.source == "ticks" and not self.is_complete


@attrs.frozen(kw_only=True)
class Covered:
    """The stretch in which a market has ticks of our own, and the holes in it, in order."""

    first_us: int
    last_us: int
    holes: Sequence[tuple[int, int]]  # from, to, both exclusive

    def has(self, ts_us: int) -> bool:
        """Whether what happened then is told by our own ticks."""
        if not self.first_us <= ts_us <= self.last_us:
            return False
        number = bisect_right(self.holes, (ts_us, 0))
        return not (number and self.holes[number - 1][0] < ts_us < self.holes[number - 1][1])


@attrs.frozen(kw_only=True)
class NewRows:
    """What is to be put in one transaction."""

    ticks: Sequence[Tick] = ()
    candles: Sequence[HistoryCandle] = ()
    gaps: Sequence[Gap] = ()

    @property
    def markets(self) -> set[str]:
        """Those that these are of."""
        found = {tick.market for tick in self.ticks} | {candle.market for candle in self.candles}
        return found | {gap.market for gap in self.gaps}


class Place(Protocol):
    """Where rows are imported to, or would be."""

    def covered(self) -> Mapping[str, Covered]:
        """Return by market where we have ticks of our own."""

    def known_holes(self) -> set[Gap]:
        """Return the gaps that earlier imports wrote down."""

    def known_ticks(self, ticks: Sequence[Tick]) -> set[TickKey]:
        """Return which of these are there."""

    def known_candles(self, candles: Sequence[HistoryCandle]) -> Mapping[CandleKey, Standing]:
        """Return what stands where these are to go."""

    def put(self, rows: NewRows) -> None:
        """Put them there, in one transaction with the candles that they change."""


class Nowhere:
    """A database that is not there yet: nothing is known, nothing is put."""

    def covered(self) -> Mapping[str, Covered]:
        """Nothing."""
        return {}

    def known_holes(self) -> set[Gap]:
        """None."""
        return set()

    def known_ticks(self, ticks: Sequence[Tick]) -> set[TickKey]:
        """None."""
        return set()

    def known_candles(self, candles: Sequence[HistoryCandle]) -> Mapping[CandleKey, Standing]:
        """None."""
        return {}

    def put(self, rows: NewRows) -> None:
        """Nothing is put."""


@attrs.define(kw_only=True)
class LookedAt(Nowhere):
    """A database that is only looked at. `run` runs reads on a session, each in its own transaction."""

    run: Callable[[Callable[[Session], Any]], Any]
    ids: dict[str, int] = attrs.field(factory=dict, init=False)

    def covered(self) -> Mapping[str, Covered]:
        """Return by market where we have ticks of our own; reads the whole table of an embedded database."""
        self.ids = self.run(_market_ids)
        found: Mapping[str, Covered] = self.run(lambda session: _covered(session, ids=self.ids))
        return found

    def known_holes(self) -> set[Gap]:
        """Return the gaps that earlier imports wrote down."""
        names = {id_: market for market, id_ in self.ids.items()}
        rows = self.run(lambda session: session.query(KNOWN_HOLES, (HOLE_NOTE,)))
        return {Gap(names[id_], *rest) for id_, *rest in rows}

    def known_ticks(self, ticks: Sequence[Tick]) -> set[TickKey]:
        """Return which of these are there."""
        return {
            (market, ts_us, seq)
            for market, times in _by((tick.market, tick.ts_us) for tick in ticks)
            for ts_us, seq in self._find("ts_us, seq", "tick", "ts_us", times, {"market_id": market})
        }

    def known_candles(self, candles: Sequence[HistoryCandle]) -> Mapping[CandleKey, Standing]:
        """Return what stands where these are to go."""
        keys = (((each.market, each.timeframe_s), each.open_us) for each in candles)
        columns = "open_us, source, complete"
        return {
            (market, timeframe_s, open_us): Standing(source, bool(complete))
            for (market, timeframe_s), times in _by(keys)
            for open_us, source, complete in self._find(
                columns, "candle", "open_us", times, {"market_id": market, "timeframe_s": timeframe_s}
            )
        }

    def _find(
        self, columns: str, table: str, time: str, times: Sequence[int], where: Mapping[str, Any]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield columns of the rows at these times; a market of `where` is looked up."""
        id_ = self.ids.get(where["market_id"])
        if id_ is None:
            return
        equal = " AND ".join(f"{column} = ?" for column in where)
        values = [id_, *list(where.values())[1:]]
        for start in range(0, len(times), KEYS_A_QUERY):
            some = times[start : start + KEYS_A_QUERY]
            marks = ", ".join("?" * len(some))
            sql = f"SELECT {columns} FROM {table} WHERE {equal} AND {time} IN ({marks})"  # noqa: S608  # ours
            yield from self.run(_querying(sql, [*values, *some]))


@contextlib.contextmanager
def open_to_look(target: Target, *, settings: StorageSettings) -> Iterator[Place]:
    """Give a place that is only looked at, and never made."""
    with open_if_there(target, settings=settings) as reader:
        yield Nowhere() if reader is None else LookedAt(run=reader.run)


def _querying(sql: str, parameters: Sequence[Any]) -> Callable[[Session], list[Row]]:
    return lambda session: session.query(sql, parameters)


def _market_ids(session: Session) -> dict[str, int]:
    rows = session.query("SELECT id, venue, symbol FROM market")
    return {market_id(symbol=symbol, venue=venue): int(id_) for id_, venue, symbol in rows}


def _covered(session: Session, *, ids: Mapping[str, int]) -> dict[str, Covered]:
    if session.dialect is Dialect.SQLITE:
        spans = {id_: (first, last) for id_, first, last in session.query(OWN_TICKS_SQLITE)}
    else:
        spans = {id_: session.query(OWN_TICKS_MYSQL, (id_, id_))[0] for id_ in ids.values()}
    holes: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for id_, from_us, to_us in session.query(HOLES):
        holes[id_].append((from_us, to_us))
    return {
        market: Covered(first_us=spans[id_][0], last_us=spans[id_][1], holes=_joined(holes[id_]))
        for market, id_ in ids.items()
        if spans.get(id_, (None, None))[0] is not None
    }


def _joined(holes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return holes, in the order of their beginnings, of which none overlaps the next."""
    joined: list[tuple[int, int]] = []
    for from_us, to_us in holes:
        if joined and from_us < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(to_us, joined[-1][1]))
        else:
            joined.append((from_us, to_us))
    return joined


def _by(pairs: Iterable[tuple[Any, int]]) -> Iterator[tuple[Any, list[int]]]:
    """Yield each first of these pairs with all its seconds, each once."""
    found: defaultdict[Any, set[int]] = defaultdict(set)
    for key, number in pairs:
        found[key].add(number)
    return ((key, sorted(numbers)) for key, numbers in found.items())
