import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from databases import AnyDatabase, Batch, MariadbDatabase, OpenStore, SqliteDatabase, open_store, some_ticks

from domain.market import MAX_INTEGER, Tick
from storage.history import (
    CANDLE_COLUMNS,
    GAP_COLUMNS,
    TICK_COLUMNS,
    WINDOW_ROWS,
    WINDOWS,
    Page,
    Position,
    Span,
    candle_page,
    gap_page,
    tick_page,
)
from storage.markets import find_market
from storage.session import Row, Session

EVERYTHING = Span()
EACH = 60  # ticks of a market in the tests of page sizes
FIRST_US = 1_700_000_000_000_000


@pytest.fixture
def store(database: AnyDatabase) -> Iterator[OpenStore]:
    with open_store(database.target) as opened:
        yield opened


def write(store: OpenStore, ticks: list[Tick]) -> None:
    store.pool.run(functools.partial(store.batches.store, batch=Batch(ticks=ticks)))


def run(store: OpenStore, sql: str, rows: list[tuple[Any, ...]]) -> None:
    def work(session: Session) -> None:
        session.begin()
        session.execute_many(sql, rows)
        session.commit()

    store.pool.run(work)


def id_of(store: OpenStore, market: str) -> int:
    found = store.pool.run(functools.partial(find_market, name=market, configured=()))
    assert found.id is not None
    return found.id


def ticks_of(store: OpenStore, market: str, *, after: Position | None, limit: int, span: Span) -> Page:
    return store.pool.run(
        functools.partial(tick_page, market_id=id_of(store, market), span=span, after=after, limit=limit)
    )


def all_pages(read: Callable[[Position | None], Page]) -> list[Page]:
    """Return every page, the last one being the first without a next."""
    pages = [read(None)]
    while pages[-1].next is not None:
        pages.append(read(pages[-1].next))
    return pages


def joined(pages: list[Page]) -> list[tuple[Any, ...]]:
    return [row for page in pages for row in page.rows]


def tick_rows(ticks: list[Tick], market: str) -> list[tuple[Any, ...]]:
    """Return a market's ticks as a page holds them, in the order of its key."""
    return [tick[1:] for tick in sorted(ticks, key=lambda tick: tick[1:3]) if tick.market == market]


def read_all_ticks(
    store: OpenStore, market: str, *, limit: int = 50, span: Span = EVERYTHING
) -> list[tuple[Any, ...]]:
    return joined(all_pages(lambda after: ticks_of(store, market, after=after, limit=limit, span=span)))


# --- ticks ------------------------------------------------------------------------------------


def test_pages_of_ticks_join_up_to_the_stored_rows_at_every_size(store: OpenStore) -> None:
    ticks = some_ticks(markets=3, each=EACH)
    write(store, ticks)
    wanted = tick_rows(ticks, "M1@sim")
    assert len(wanted) == EACH
    for limit in range(1, EACH + 2):
        pages = all_pages(lambda after, limit=limit: ticks_of(  # type: ignore[misc]
            store, "M1@sim", after=after, limit=limit, span=EVERYTHING
        ))  # fmt: skip
        assert joined(pages) == wanted
        assert max(len(page.rows) for page in pages) <= limit
        assert {page.columns for page in pages} == {TICK_COLUMNS}


def test_ticks_of_one_time_are_neither_lost_nor_doubled_at_a_page_s_edge(store: OpenStore) -> None:
    ticks = [
        Tick(market, FIRST_US + n // 7, n % 7, 1.0 + n, None, None, None, FIRST_US, "live")
        for n in range(28)
        for market in ("A@sim", "B@sim", "C@sim")
    ]
    write(store, ticks)
    for limit in (1, 2, 3, 6, 7, 8):
        for market in ("A@sim", "B@sim", "C@sim"):
            assert read_all_ticks(store, market, limit=limit) == tick_rows(ticks, market)


def test_more_ticks_of_one_time_than_a_window_holds_are_read(store: OpenStore) -> None:
    count = 2 * WINDOW_ROWS + 1
    ticks = [
        Tick(market, FIRST_US, n, 1.0 + n, None, None, None, FIRST_US, "imported")
        for n in range(count)
        for market in ("A@sim", "B@sim")
    ]
    write(store, ticks)
    assert read_all_ticks(store, "A@sim", limit=WINDOW_ROWS) == tick_rows(ticks, "A@sim")
    assert read_all_ticks(store, "B@sim", limit=2 * count) == tick_rows(ticks, "B@sim")


def test_span_has_its_beginning_in_it_and_its_end_not(store: OpenStore) -> None:
    ticks = some_ticks(markets=2, each=20)
    write(store, ticks)
    of_one = tick_rows(ticks, "M0@sim")
    for first, last in ((0, 20), (3, 9), (5, 6), (7, 7), (19, 20)):
        to_us = of_one[last - 1][0] + 1 if last == 20 else of_one[last][0]
        span = Span(from_us=of_one[first][0], to_us=to_us)
        assert read_all_ticks(store, "M0@sim", limit=4, span=span) == of_one[first:last]


def test_span_without_ticks_is_one_empty_page(store: OpenStore) -> None:
    write(store, some_ticks(markets=1, each=5))
    for span in (Span(to_us=FIRST_US), Span(from_us=FIRST_US + 10**9)):
        page = ticks_of(store, "M0@sim", after=None, limit=10, span=span)
        assert (page.rows, page.next) == ([], None)


def test_ticks_stored_between_two_pages_move_nothing(store: OpenStore) -> None:
    ticks = some_ticks(markets=2, each=30)
    early, late = ticks[:20], ticks[20:]
    of_one = tick_rows(ticks, "M0@sim")
    write(store, [tick for tick in ticks if tick.seq % 2])
    first = ticks_of(store, "M0@sim", after=None, limit=7, span=EVERYTHING)
    write(store, early + late)
    rest = joined(
        all_pages(
            lambda after: ticks_of(store, "M0@sim", after=after or first.next, limit=7, span=EVERYTHING)
        )
    )
    assert first.rows == [row for row in of_one if row[1] % 2][:7]
    assert rest == of_one[of_one.index(first.rows[-1]) + 1 :]


def test_largest_key_can_be_a_position(store: OpenStore) -> None:
    ticks = [
        Tick("A@sim", ts_us, seq, 1.0, None, None, None, 1, "imported")
        for ts_us in (1, MAX_INTEGER - 1)
        for seq in (MAX_INTEGER - 1, MAX_INTEGER)
    ]
    write(store, ticks)
    assert read_all_ticks(store, "A@sim", limit=1) == tick_rows(ticks, "A@sim")


def test_quiet_market_among_busy_ones_costs_a_page_no_more_than_its_bound(sqlite: SqliteDatabase) -> None:
    bound = WINDOW_ROWS * WINDOWS
    busy = some_ticks(markets=9, each=bound // 9 * 2)
    # At the far end: all of the busy ones lie before it.
    quiet = Tick("QUIET@sim", busy[-1].ts_us + 1, 0, 1.5, None, None, None, 1, "live")
    with open_store(sqlite.target) as store:
        write(store, [*busy, quiet])
        looked_at: list[int] = []

        def read(after: Position | None) -> Page:
            before = store.driver.counts.statements
            page = ticks_of(store, "QUIET@sim", after=after, limit=WINDOW_ROWS, span=EVERYTHING)
            looked_at.append(store.driver.counts.statements - before)
            return page

        pages = all_pages(read)
    assert [len(page.rows) for page in pages] == [0, 1]
    [(rows_before,)] = sqlite.query(
        "SELECT COUNT(*) FROM tick WHERE (ts_us, market_id, seq) <= "
        f"({', '.join(map(str, pages[0].next or ()))})"
    )
    assert rows_before == bound
    assert max(looked_at) <= 2 * WINDOWS + 1  # and the market's id


class ExplainsQueries(Session):
    """A session that keeps how each of its queries is run."""

    plans: list[str]

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        self.plans += [row[3] for row in super().query(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        return super().query(sql, parameters)


def test_each_statement_of_a_page_reads_a_range_of_the_key_and_sorts_nothing(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        write(store, some_ticks(markets=3, each=5))
        with contextlib.closing(store.driver.connect()) as connection:
            session = ExplainsQueries(connection=connection, driver=store.driver)
            session.plans = []
            page = tick_page(session, market_id=1, span=EVERYTHING, after=None, limit=3)
            tick_page(session, market_id=1, span=EVERYTHING, after=page.next, limit=3)
    assert len(session.plans) == 4
    by_key = "SEARCH tick USING PRIMARY KEY ((ts_us,market_id,seq)>"
    assert [plan for plan in session.plans if not plan.startswith(by_key)] == []


def test_page_on_a_server_looks_at_no_more_rows_than_it_returns(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        write(store, some_ticks(markets=9, each=2_000))

        def rows_read(session: Session) -> int:
            # Not all of Handler_read%: that counts the rows of SHOW STATUS itself too.
            [(_, value)] = session.query("SHOW SESSION STATUS LIKE 'Handler_read_next'")
            return int(value)

        def read_and_count(session: Session) -> int:
            market_id = find_market(session, name="M4@sim", configured=()).id
            assert market_id is not None
            page = tick_page(session, market_id=market_id, span=EVERYTHING, after=None, limit=100)
            before = rows_read(session)
            page = tick_page(session, market_id=market_id, span=EVERYTHING, after=page.next, limit=100)
            assert len(page.rows) == 100
            return rows_read(session) - before

        assert 90 <= store.pool.run(read_and_count) <= 110


# --- candles ----------------------------------------------------------------------------------

INSERT_CANDLES = (
    "INSERT INTO candle (market_id, timeframe_s, open_us, open, high, low, close, ticks, volume, "
    "complete, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
MINUTE_US = 60_000_000


def some_candles(*, timeframe_s: int, count: int) -> list[tuple[Any, ...]]:
    """Return the rows of one market's candles, without market and timeframe."""
    return [
        (
            n * timeframe_s * 1_000_000,
            *(price + n / 7 for price in (1.0, 2.0, 0.1, 1.1)),
            n,
            n / 3,
            n % 2,
            "ticks",
        )
        for n in range(count)
    ]


def candles_of(store: OpenStore, market_id: int, *, limit: int, span: Span = EVERYTHING) -> list[Page]:
    return all_pages(
        lambda after: store.pool.run(
            functools.partial(
                candle_page, market_id=market_id, timeframe_s=60, span=span, after=after, limit=limit
            )
        )
    )


def test_pages_of_candles_join_up_to_the_rows_of_one_market_and_timeframe(store: OpenStore) -> None:
    minutes, hours = some_candles(timeframe_s=60, count=25), some_candles(timeframe_s=3_600, count=5)
    run(store, INSERT_CANDLES, [(1, 60, *row) for row in minutes])
    run(store, INSERT_CANDLES, [(1, 3_600, *row) for row in hours] + [(2, 60, *row) for row in hours])
    for limit in range(1, 27):
        pages = candles_of(store, 1, limit=limit)
        assert joined(pages) == minutes
        assert max(len(page.rows) for page in pages) <= limit
        assert {page.columns for page in pages} == {CANDLE_COLUMNS}
    assert joined(candles_of(store, 3, limit=2)) == []


def test_span_of_candles_counts_when_they_open(store: OpenStore) -> None:
    minutes = some_candles(timeframe_s=60, count=10)
    run(store, INSERT_CANDLES, [(1, 60, *row) for row in minutes])
    span = Span(from_us=3 * MINUTE_US, to_us=7 * MINUTE_US)
    assert joined(candles_of(store, 1, limit=2, span=span)) == minutes[3:7]
    span = Span(from_us=3 * MINUTE_US + 1, to_us=7 * MINUTE_US + 1)
    assert joined(candles_of(store, 1, limit=2, span=span)) == minutes[4:8]


# --- gaps -------------------------------------------------------------------------------------

INSERT_MARKETS = "INSERT INTO market (id, symbol, venue) VALUES (?, ?, ?)"
INSERT_GAPS = (
    "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES (?, ?, ?, ?, 'none', ?)"
)


def gaps_of(
    store: OpenStore, market_id: int | None, *, limit: int, span: Span = EVERYTHING
) -> list[tuple[Any, ...]]:
    pages = all_pages(
        lambda after: store.pool.run(
            functools.partial(gap_page, market_id=market_id, span=span, after=after, limit=limit)
        )
    )
    assert {page.columns for page in pages} == {GAP_COLUMNS}
    assert max(len(page.rows) for page in pages) <= limit
    return joined(pages)


def test_gaps_of_all_markets_come_by_time_the_open_ones_too(store: OpenStore) -> None:
    run(store, INSERT_MARKETS, [(1, "A", "sim"), (2, "B", "old")])
    run(
        store,
        INSERT_GAPS,
        [
            (1, 500, None, "stale", "silent 🙂"),
            (2, 100, 300, "disconnect", ""),
            (1, 100, 250, "downtime", ""),
            (2, 500, None, "overflow", ""),
        ],
    )
    wanted = [
        ("B@old", 100, 300, 200, "disconnect", "none", ""),
        ("A@sim", 100, 250, 150, "downtime", "none", ""),
        ("A@sim", 500, None, None, "stale", "none", "silent 🙂"),
        ("B@old", 500, None, None, "overflow", "none", ""),
    ]
    for limit in range(1, 6):
        assert gaps_of(store, None, limit=limit) == wanted
        assert gaps_of(store, 1, limit=limit) == [row for row in wanted if row[0] == "A@sim"]


def test_span_of_gaps_takes_what_overlaps_it(store: OpenStore) -> None:
    run(store, INSERT_MARKETS, [(1, "A", "sim")])
    run(
        store,
        INSERT_GAPS,
        [(1, 0, 100, "stale", ""), (1, 200, 300, "stale", ""), (1, 400, None, "stale", "")],
    )

    def begins(from_us: int, to_us: int) -> list[int]:
        return [row[1] for row in gaps_of(store, None, limit=2, span=Span(from_us=from_us, to_us=to_us))]

    assert begins(0, 1) == [0]
    assert begins(99, 200) == [0]
    assert begins(100, 200) == []
    assert begins(250, 260) == [200]
    assert begins(150, 500) == [200, 400]
    assert begins(10_000, 20_000) == [400]
