from collections.abc import Callable, Sequence

import pytest
from databases import AnyDatabase, Batch, OpenStore, SqliteDatabase, open_store, some_ticks

from storage.progress import Progress
from storage.session import Session
from storage.slices import (
    SLICE_ROWS,
    CandleSweep,
    RefusedSweep,
    delete_old_gaps,
    delete_slice,
    free_pages,
    give_back_slice,
)

INSERT_CANDLE = "INSERT INTO candle VALUES (?, ?, ?, 1, 1, 1, 1, 1, 1, 1, 'ticks')"
INSERT_GAP = (
    "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) "
    "VALUES (?, ?, ?, 'stale', 'none', '')"
)


def pieces(store: OpenStore, piece: Callable[[Session], Progress]) -> int:
    """How many calls it took until nothing was left."""
    calls = 1
    while store.pool.run(piece) is Progress.MORE:
        calls += 1
        assert calls < 1_000
    return calls


def insert(store: OpenStore, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
    def work(session: Session) -> None:
        session.begin()
        session.execute_many(sql, rows)
        session.commit()

    store.pool.run(work)


def older_events(session: Session, *, before: int) -> Progress:
    return delete_slice(session, table="actor_event", key="id", before=before)


def put_events(store: OpenStore, ids: range) -> None:
    rows = [(id_, id_, "a", "state", "") for id_ in ids]
    insert(store, "INSERT INTO actor_event VALUES (?, ?, ?, ?, ?)", rows)


@pytest.mark.parametrize(
    ("old", "calls"), [(0, 1), (1, 1), (SLICE_ROWS - 1, 1), (SLICE_ROWS, 1), (SLICE_ROWS + 1, 2), (12_000, 3)]
)
def test_old_rows_go_in_slices_and_no_others(database: AnyDatabase, old: int, calls: int) -> None:
    with open_store(database.target) as store:
        put_events(store, range(100_000, 100_000 + old + 7))
        assert pieces(store, lambda session: older_events(session, before=100_000 + old)) == calls
    [(first, rows)] = database.query("SELECT MIN(id), COUNT(*) FROM actor_event")
    assert (first, rows) == (100_000 + old, 7)


def test_a_slice_is_a_transaction_of_bounded_size(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        put_events(store, range(1, 12_001))
        assert store.pool.run(lambda session: older_events(session, before=50_000)) is Progress.MORE
        assert database.query("SELECT COUNT(*) FROM actor_event") == [(12_000 - SLICE_ROWS,)]


def test_many_rows_of_one_time_do_not_stop_it(sqlite: SqliteDatabase) -> None:
    [tick] = some_ticks(markets=1, each=1, first_us=100)
    ticks = [tick._replace(seq=seq) for seq in range(3 * SLICE_ROWS)]
    with open_store(sqlite.target) as store:
        store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))
        pieces(store, lambda session: delete_slice(session, table="tick", key="ts_us", before=500))
    assert sqlite.query("SELECT COUNT(*) FROM tick") == [(0,)]


INSERT_SIGNAL = "INSERT INTO `signal` VALUES (?, ?, 'mine', ?, 'up', 60, 1, 0, '{}', ?, '')"


def test_old_signals_that_were_refused_go_and_those_of_trades_stay(database: AnyDatabase) -> None:
    times = [*range(10), *(3 for _ in range(5)), *range(10, 10 + SLICE_ROWS)]
    rows = [
        (market * 100_000 + n, market, at_us, "approved" if n % 4 == 0 else "refused")
        for market in (1, 2, 9)
        for n, at_us in enumerate(times)
    ]
    before_us = SLICE_ROWS + 3
    with open_store(database.target) as store:
        insert(store, INSERT_SIGNAL, rows)
        assert pieces(store, RefusedSweep(before_us=before_us).piece) > 6
        kept = database.query("SELECT id, market_id, ts_us, outcome FROM `signal` ORDER BY id")
    assert kept == [row for row in rows if row[3] == "approved" or row[2] >= before_us]


def test_old_candles_of_every_series_go(database: AnyDatabase) -> None:
    series = [(market, timeframe_s) for market in (1, 2, 9) for timeframe_s in (60, 300)]
    rows = [(*each, open_us) for each in series for open_us in range(10)]
    rows += [(5, 60, open_us) for open_us in range(50, 60)]  # nothing old in it
    rows += [(7, 60, open_us) for open_us in range(-2 * SLICE_ROWS, 10)]
    with open_store(database.target) as store:
        insert(store, INSERT_CANDLE, rows)
        pieces(store, CandleSweep(before_us=4).piece)
        kept = database.query("SELECT market_id, timeframe_s, open_us FROM candle ORDER BY 1, 2, 3")
    assert kept == sorted(row for row in rows if row[2] >= 4)


def test_a_sweep_of_no_candles_ends_at_once(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        assert pieces(store, CandleSweep(before_us=4).piece) == 1


def test_gaps_that_ended_before_go_and_open_ones_stay(database: AnyDatabase) -> None:
    rows = [(1, 10, 20), (1, 30, None), (2, 10, 99), (1, 40, 100), (2, 120, 130)]
    with open_store(database.target) as store:
        insert(store, INSERT_GAP, rows)
        pieces(store, lambda session: delete_old_gaps(session, before_us=100))
    kept = database.query("SELECT market_id, from_us, to_us FROM gap ORDER BY id")
    assert kept == [(1, 30, None), (1, 40, 100), (2, 120, 130)]


def test_more_old_gaps_than_a_slice_go(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        insert(store, INSERT_GAP, [(1, n, n + 1) for n in range(2 * SLICE_ROWS + 5)])
        assert pieces(store, lambda session: delete_old_gaps(session, before_us=10**6)) == 4
    assert database.query("SELECT COUNT(*) FROM gap") == [(0,)]


# --- the embedded file ------------------------------------------------------------------------


def filled_and_emptied(store: OpenStore) -> None:
    ticks = some_ticks(markets=10, each=10_000)
    store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))
    pieces(store, lambda session: delete_slice(session, table="tick", key="ts_us", before=2**62))
    store.pool.run(lambda session: session.query("PRAGMA wal_checkpoint(PASSIVE)"))


def test_the_file_shrinks_when_its_pages_are_given_back(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        filled_and_emptied(store)
        before = sqlite.target.path.stat().st_size
        assert pieces(store, lambda session: give_back_slice(session, spare_share=0.0)) > 2
        after = sqlite.target.path.stat().st_size
        assert store.pool.run(free_pages) == 0
    assert after < before / 10


def test_spare_pages_are_left_for_what_comes(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        filled_and_emptied(store)
        before = sqlite.target.path.stat().st_size
        pieces(store, lambda session: give_back_slice(session, spare_share=0.9))
        free = store.pool.run(free_pages)
        [(pages,)] = store.pool.run(lambda session: session.query("PRAGMA page_count"))
        after = sqlite.target.path.stat().st_size
    assert 0.85 < free / pages < 0.92
    assert after < before


def test_what_was_not_given_back_is_used_again(sqlite: SqliteDatabase) -> None:
    ticks = some_ticks(markets=10, each=10_000)
    with open_store(sqlite.target) as store:
        filled_and_emptied(store)
        before = sqlite.target.path.stat().st_size
        store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))
        store.pool.run(lambda session: session.query("PRAGMA wal_checkpoint(PASSIVE)"))
    assert sqlite.target.path.stat().st_size <= before


def test_a_file_that_cannot_give_back_does_not_keep_us_busy(sqlite: SqliteDatabase) -> None:
    sqlite.query("PRAGMA auto_vacuum = NONE")
    sqlite.query("CREATE TABLE there_before (n INTEGER)")
    with open_store(sqlite.target) as store:
        filled_and_emptied(store)
        assert store.pool.run(free_pages) > 0
        assert pieces(store, lambda session: give_back_slice(session, spare_share=0.0)) == 1
