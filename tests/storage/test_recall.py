from collections.abc import Sequence

import pytest
from databases import AnyDatabase, Batch, OpenStore, SqliteDatabase, open_store

from domain.gaps import Gap
from domain.market import Tick
from storage.batches import put_gaps
from storage.recall import Found, recall
from storage.session import Session

START_US = 1_700_000_000_000_000
MINUTE_US = 60_000_000
EVER = 2**62
CANDLE = (
    "INSERT INTO candle (market_id, timeframe_s, open_us, open, high, low, close, ticks, volume, complete, "
    "source) VALUES (?, 60, ?, 1, 1, 1, 1, 1, 0, 1, 'ticks')"
)


def tick(market: str, after_us: int, *, seq: int = 0) -> Tick:
    at_us = START_US + after_us
    return Tick(f"{market}@sim", at_us, seq, 1.5, 1.4, None, 2.0, at_us + 7, "live")


def write(store: OpenStore, ticks: Sequence[Tick]) -> None:
    store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))


def write_gaps(store: OpenStore, gaps: Sequence[Gap]) -> None:
    def put(session: Session) -> None:
        session.begin()
        put_gaps(session, gaps=gaps, ids=store.batches.ids)
        session.commit()

    store.pool.run(put)


def write_candles(store: OpenStore, opens: Sequence[tuple[str, int]]) -> None:
    def put(session: Session) -> None:
        session.begin()
        session.execute_many(CANDLE, [(store.batches.ids[f"{market}@sim"], at_us) for market, at_us in opens])
        session.commit()

    store.pool.run(put)


def ask(store: OpenStore, **before_us: int) -> dict[str, Found]:
    named = {f"{market}@sim": at_us for market, at_us in before_us.items()}
    return store.pool.run(lambda session: recall(session, before_us=named, timeframe_s=60))


def test_a_markets_last_tick_is_recalled_whole(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        write(store, [tick("A", 1), tick("A", 5, seq=1), tick("A", 5, seq=2), tick("B", 9)])
        assert ask(store, A=EVER)["A@sim"] == Found(last=tick("A", 5, seq=2), open_gaps=())


def test_only_what_was_before_the_time_asked_for_counts(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        write(store, [tick("A", 1), tick("A", 5), tick("A", 9)])
        assert ask(store, A=START_US + 5)["A@sim"].last == tick("A", 1)
        assert ask(store, A=START_US + 1)["A@sim"].last is None


def test_only_the_markets_asked_for_are_looked_up(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        write(store, [tick("A", 1), tick("B", 1)])
        assert list(ask(store, B=EVER, NEW=EVER)) == ["B@sim"]


def test_gaps_left_open_are_recalled_and_closed_ones_not(database: AnyDatabase) -> None:
    left_open = Gap("A@sim", START_US + 5, None, "stale", "none", "a note")
    with open_store(database.target) as store:
        write(store, [tick("A", 5), tick("B", 5)])
        write_gaps(store, [left_open, Gap("A@sim", START_US, START_US + 5, "stale")])
        found = ask(store, A=EVER, B=EVER)
        assert (found["A@sim"].open_gaps, found["B@sim"].open_gaps) == ([left_open], ())


def test_a_database_without_markets_knows_nothing(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        assert ask(store, A=EVER) == {}


@pytest.mark.parametrize("has_candles", ["with candles", "without"])
def test_a_market_that_fell_quiet_long_ago_is_found_all_the_same(
    database: AnyDatabase, has_candles: str
) -> None:
    opens: list[tuple[str, int]] = []
    if has_candles == "with candles":
        opens = [("QUIET", START_US - START_US % MINUTE_US), ("A", START_US + 5 * MINUTE_US)]
    with open_store(database.target) as store:
        write(store, [tick("QUIET", 7), *(tick("A", n * MINUTE_US) for n in range(10))])
        write_candles(store, opens)
        assert ask(store, QUIET=EVER)["QUIET@sim"].last == tick("QUIET", 7)


def test_a_quiet_market_is_found_without_reading_what_others_sent_since(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        loud = [tick("A", n * 5_000) for n in range(1, 100_000)]
        write(store, [tick("QUIET", 7), *loud])
        minute_us = START_US - START_US % MINUTE_US
        last_us = loud[-1].ts_us - loud[-1].ts_us % MINUTE_US
        write_candles(store, [("QUIET", minute_us), ("A", minute_us), ("A", last_us)])
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        def counted(session: Session) -> dict[str, Found]:
            raw = session._connection.dbapi_connection
            raw.set_progress_handler(count, 1_000)
            try:
                return recall(session, before_us={"QUIET@sim": EVER}, timeframe_s=60)
            finally:
                raw.set_progress_handler(None, 0)

        assert store.pool.run(counted)["QUIET@sim"].last == tick("QUIET", 7)
    # Two of the eight minutes are looked at, at the most: a quarter of some 16 instructions a tick.
    assert steps * 1_000 < 8 * len(loud)
