"""Brings one table of another bot's database into ours, page by page, and keeps account of every row.

Repeatable: a row that was brought in is known again by its key, so a second run adds nothing and one
that was interrupted is completed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from domain.gaps import Gap
from domain.market import HistoryCandle, Tick
from storage.import_holes import Holes
from storage.import_map import Kind, TableMap
from storage.import_place import Covered, NewRows, Place
from storage.import_rows import NO_MARKET, Bounds, Refusal, RowReader, in_words
from storage.session import Row

SAMPLES = 3  # of each kind of wrong row
SAY_EVERY_ROWS = 200_000
MOST_SYMBOLS = 50  # without a market that are told by name

IS_TWICE = "is twice in the table"


class Sample(NamedTuple):
    """One row that was refused: its number in the order of the times, from 1, and what was in it."""

    row: int
    value: str
    whole: str


@attrs.define(kw_only=True)
class Refused:
    """How many rows were refused for one reason, and the first of them."""

    count: int = 0
    samples: list[Sample] = attrs.field(factory=list)


@attrs.define(kw_only=True)
class MarketAccount:
    """What became of one market's rows."""

    added: int = 0
    replaced: int = 0  # incomplete candles of ours
    known: int = 0  # brought in before
    gaps: int = 0  # new ones
    ours: int = 0  # left out, because there is better: a candle of ours, or our own ticks of that time
    first_us: int | None = None
    last_us: int | None = None

    def see(self, ts_us: int) -> None:
        """Take note of a time."""
        self.first_us = ts_us if self.first_us is None else min(self.first_us, ts_us)
        self.last_us = ts_us if self.last_us is None else max(self.last_us, ts_us)


@attrs.define(kw_only=True)
class Account:
    """What became of the rows of one table; every one of them is counted once."""

    table: TableMap
    rows: int = 0
    markets: dict[str, MarketAccount] = attrs.field(factory=dict)
    refused: dict[tuple[str, str], Refused] = attrs.field(factory=dict)  # by column and reason
    symbols: Counter[str] = attrs.field(factory=Counter)  # without a market in the map

    def market(self, name: str) -> MarketAccount:
        """Return the part of one market."""
        return self.markets.setdefault(name, MarketAccount())

    @property
    def refused_rows(self) -> int:
        """How many rows are wrong, or of a market that the map does not have."""
        return sum(each.count for each in self.refused.values())

    def total(self, what: str) -> int:
        """Return the sum over all markets of one field of `MarketAccount`."""
        return sum(getattr(each, what) for each in self.markets.values())

    def refuse(self, refusal: Refusal, *, row: Row) -> None:
        """Count a row that is not brought in; `rows` is its number."""
        found = self.refused.setdefault((refusal.column, refusal.reason), Refused())
        found.count += 1
        if len(found.samples) < SAMPLES:
            named = zip(self.table.selected(), row, strict=True)
            whole = ", ".join(f"{name} = {in_words(value, characters=40)}" for name, value in named)
            found.samples.append(Sample(self.rows, in_words(refusal.value), whole))
        if refusal.reason == NO_MARKET:
            symbol = in_words(refusal.value)
            self.symbols[symbol if symbol in self.symbols or len(self.symbols) < MOST_SYMBOLS else "…"] += 1


@attrs.frozen(kw_only=True)
class Importing:
    """One table's way into a place."""

    table: TableMap
    bounds: Bounds
    place: Place
    covered: Mapping[str, Covered]
    holes: Holes
    tell: Callable[[str], None]

    def run(self, pages: Iterable[Sequence[Row]], *, about_rows: int | None) -> Account:
        """Bring in all pages, rows in the order of their times; return the account."""
        account = Account(table=self.table)
        reader = RowReader(self.table, bounds=self.bounds)
        bring = self._bring_ticks if self.table.kind is Kind.TICKS else self._bring_candles
        places = _Places(has_seq="seq" in self.table.columns)
        for page in pages:
            bring(self._read(reader, page, account=account, places=places), account)
            self._say(account, before=account.rows - len(page), about_rows=about_rows)
        self._put(account, gaps=list(self.holes.end()))
        return account

    def _read(
        self, reader: RowReader, page: Sequence[Row], *, account: Account, places: "_Places"
    ) -> list[Any]:
        items = []
        for row in page:
            account.rows += 1
            item = reader.read(row)
            if not isinstance(item, Refusal):
                account.market(item.market).see(item[1] if isinstance(item, Tick) else item.open_us)
                item = places.place(item, names=self.table)
            if isinstance(item, Refusal):
                account.refuse(item, row=row)
            else:
                items.append(item)
        return items

    def _bring_ticks(self, ticks: Sequence[Tick], account: Account) -> None:
        missing = []
        for tick in ticks:
            covered = self.covered.get(tick.market)
            if covered is not None and covered.has(tick.ts_us):
                account.market(tick.market).ours += 1
            else:
                missing.append(tick)
        known = self.place.known_ticks(missing)
        new, gaps = [], list[Gap]()
        for tick in missing:
            gaps += self.holes.take(tick)
            if tick[:3] in known:
                account.market(tick.market).known += 1
            else:
                account.market(tick.market).added += 1
                new.append(tick)
        self._put(account, ticks=new, gaps=gaps)

    def _bring_candles(self, candles: Sequence[HistoryCandle], account: Account) -> None:
        known = self.place.known_candles(candles)
        new = []
        for candle in candles:
            market, standing = account.market(candle.market), known.get(candle[:3])
            if standing is None:
                market.added += 1
            elif standing.gives_way:
                market.replaced += 1
            elif standing.source == "imported":
                market.known += 1
                continue
            else:
                market.ours += 1
                continue
            new.append(candle)
        self._put(account, candles=new)

    def _put(
        self,
        account: Account,
        *,
        ticks: Sequence[Tick] = (),
        candles: Sequence[HistoryCandle] = (),
        gaps: Sequence[Gap] = (),
    ) -> None:
        for gap in gaps:
            account.market(gap.market).gaps += 1
        if ticks or candles or gaps:
            self.place.put(NewRows(ticks=ticks, candles=candles, gaps=gaps))

    def _say(self, account: Account, *, before: int, about_rows: int | None) -> None:
        if before // SAY_EVERY_ROWS == account.rows // SAY_EVERY_ROWS:
            return
        about = "" if about_rows is None else f" of about {max(about_rows, account.rows):,}"
        self.tell(
            f"{self.table.table}: {account.rows:,}{about} rows read, "
            f"{account.total('added') + account.total('replaced'):,} new, {account.refused_rows:,} refused"
        )


class _Places:
    """Gives each row its place among those of the same market and time, which come one after the other."""

    def __init__(self, *, has_seq: bool) -> None:
        self._has_seq = has_seq
        self._times: dict[str, int] = {}
        self._taken: dict[str, set[int]] = {}

    def place(self, item: Tick | HistoryCandle, *, names: TableMap) -> Tick | HistoryCandle | Refusal:
        """Return the item with its `seq`, or a refusal where its place is taken."""
        market, ts_us = item.market, item.ts_us if isinstance(item, Tick) else item.open_us
        if self._times.get(market) != ts_us:
            self._times[market], self._taken[market] = ts_us, set()
        taken = self._taken[market]
        number = item.seq if isinstance(item, Tick) and self._has_seq else 0
        if number in taken:
            if not isinstance(item, Tick) or self._has_seq:
                column = names.columns["seq"] if self._has_seq else ", ".join(names.time.columns)
                return Refusal(column, number if self._has_seq else ts_us, IS_TWICE)
            number = len(taken)
        taken.add(number)
        return item._replace(seq=number) if isinstance(item, Tick) else item
