import functools
import math

import pytest
from databases import (
    AnyDatabase,
    Batch,
    MariadbDatabase,
    OpenStore,
    SqliteDatabase,
    in_order,
    open_store,
    some_ticks,
    stored_ticks,
)
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import StorageRefused
from domain.market import MAX_INTEGER, Tick
from domain.messages import ActorEvent
from storage.batches import tick_rows_text
from storage.payloads import EventNumbers, EventRow

EVENTS = "SELECT id, ts_us, actor, event, detail FROM actor_event ORDER BY id"


def write(store: OpenStore, batch: Batch) -> None:
    store.pool.run(functools.partial(store.batches.store, batch=batch))


def event_rows(*details: str) -> list[EventRow]:
    numbers = EventNumbers()
    event = functools.partial(ActorEvent, ts_us=5, actor="market/EURUSD@sim", event="state")
    return [numbers.row(event(detail=detail), at_us=1_000) for detail in details]


def test_what_is_stored_equals_what_was_given(database: AnyDatabase) -> None:
    ticks = some_ticks(markets=27, each=20)
    events = event_rows("live → stale", "'); DROP TABLE tick; -- %s ? 🙂")
    with open_store(database.target) as store:
        write(store, Batch(ticks=ticks, events=events))
    assert stored_ticks(database) == in_order(ticks)
    assert database.query(EVENTS) == events


def test_a_batch_that_was_already_applied_adds_nothing(database: AnyDatabase) -> None:
    batch = Batch(ticks=some_ticks(markets=3, each=5), events=event_rows("a", "b"))
    with open_store(database.target) as store:
        write(store, batch)
        write(store, batch)
    with open_store(database.target) as restarted:
        write(restarted, batch)
    assert stored_ticks(database) == in_order(list(batch.ticks))
    assert database.query(EVENTS) == list(batch.events)


def test_a_batch_that_overlaps_a_stored_one_adds_the_rest(database: AnyDatabase) -> None:
    ticks = some_ticks(markets=3, each=10)
    with open_store(database.target) as store:
        write(store, Batch(ticks=ticks[:20]))
        write(store, Batch(ticks=ticks[10:]))
    assert stored_ticks(database) == in_order(ticks)


def test_a_repeated_tick_does_not_change_the_stored_one(database: AnyDatabase) -> None:
    [tick] = some_ticks(markets=1, each=1)
    with open_store(database.target) as store:
        write(store, Batch(ticks=[tick]))
        write(store, Batch(ticks=[tick._replace(price=99.0)]))
    assert stored_ticks(database) == [tick]


def test_more_rows_than_a_statement_takes_are_one_transaction(mariadb: MariadbDatabase) -> None:
    ticks = some_ticks(markets=1_000, each=10)
    with open_store(mariadb.target) as store:
        write(store, Batch(ticks=ticks[:1_000]))
        commits, questions = mariadb.server.status("Com_commit"), mariadb.server.status("Questions")
        write(store, Batch(ticks=ticks))
        assert mariadb.server.status("Com_commit") - commits == 1
        # BEGIN, 10,000 rows in threes of 4,000, COMMIT, and our two questions.
        assert mariadb.server.status("Questions") - questions == 1 + 3 + 1 + 2
    assert stored_ticks(mariadb) == in_order(ticks)


def test_a_thousand_markets_fit_into_three_statements(database: AnyDatabase) -> None:
    ticks = some_ticks(markets=1_000, each=4)
    with open_store(database.target) as store:
        write(store, Batch(ticks=ticks))
        before = store.driver.counts.statements
        write(store, Batch(ticks=[tick._replace(ts_us=tick.ts_us + 10**9) for tick in ticks]))
        assert store.driver.counts.statements - before == 3
    assert len(stored_ticks(database)) == 8_000


def test_ids_of_markets_are_not_burnt_by_repetition_nor_by_a_rollback(database: AnyDatabase) -> None:
    ticks = some_ticks(markets=3, each=2)
    poison = ticks[0]._replace(market="POISON@sim", price=None)
    with open_store(database.target) as store:
        for _ in range(5):
            write(store, Batch(ticks=ticks))
        for _ in range(5):
            with pytest.raises(Exception, match=r"null|NULL"):
                write(store, Batch(ticks=[poison]))
        write(store, Batch(ticks=some_ticks(markets=4, each=1)))
    assert sorted(id_ for (id_,) in database.query("SELECT id FROM market")) == [1, 2, 3, 4]


def test_ids_are_looked_up_again_behind_a_new_connection(database: AnyDatabase) -> None:
    ticks = some_ticks(markets=2, each=1)
    with open_store(database.target) as store:
        write(store, Batch(ticks=ticks))
        database.query("DELETE FROM tick")
        database.query("DELETE FROM market")
        database.query("INSERT INTO market (id, venue, symbol) VALUES (7, 'sim', 'M1')")
        store.batches.forget()
        write(store, Batch(ticks=ticks))
    assert stored_ticks(database) == in_order(ticks)
    assert sorted(database.query("SELECT id, symbol FROM market")) == [(7, "M1"), (8, "M0")]


def test_the_largest_and_smallest_numbers_survive(database: AnyDatabase) -> None:
    numbers = [5e-324, 1e-7, 0.1, 1 / 3, 1e15, 123456789.123456789, 1e22, 1.7976931348623157e308]
    ticks = [
        Tick("A@sim", MAX_INTEGER - n, MAX_INTEGER, number, number, number, 0.0, MAX_INTEGER, "imported")
        for n, number in enumerate(numbers)
    ]
    with open_store(database.target) as store:
        write(store, Batch(ticks=ticks))
    assert stored_ticks(database) == in_order(ticks)


def test_an_overlong_symbol_is_refused_and_not_cut(mariadb: MariadbDatabase) -> None:
    [tick] = some_ticks(markets=1, each=1)
    with open_store(mariadb.target) as store, pytest.raises(StorageRefused, match="1406"):
        write(store, Batch(ticks=[tick._replace(market="X" * 33 + "@sim")]))


def test_texts_that_no_table_takes_are_made_storable(database: AnyDatabase) -> None:
    event = ActorEvent(ts_us=1, actor="a" * 500, event="e" * 99, detail="\udcff\0" + "🙂" * 9_000)
    row = EventNumbers().row(event, at_us=1)
    with open_store(database.target) as store:
        write(store, Batch(events=[row]))
    assert database.query(EVENTS) == [(1, 1, "a" * 128, "e" * 32, ("??" + "🙂" * 9_000)[:4_000])]


def test_a_thousand_long_events_are_stored(database: AnyDatabase) -> None:
    events = event_rows(*("🙂" * 4_000 for _ in range(1_000)))
    with open_store(database.target) as store:
        write(store, Batch(events=events))
    assert database.query("SELECT COUNT(*) FROM actor_event") == [(1_000,)]


def test_ids_of_events_go_up_also_when_the_clock_does_not() -> None:
    numbers = EventNumbers()
    event = ActorEvent(ts_us=1, actor="", event="", detail="")
    assert [numbers.row(event, at_us=at_us).id for at_us in (50, 50, 20, 90)] == [50, 51, 52, 90]


def test_the_embedded_file_can_give_space_back(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        write(store, Batch(ticks=some_ticks(markets=1, each=1)))
    assert sqlite.query("PRAGMA auto_vacuum") == [(2,)]
    assert sqlite.query("PRAGMA journal_mode") == [("wal",)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, MAX_INTEGER),
            st.floats(min_value=0, exclude_min=True, allow_infinity=False),
            st.none() | st.floats(min_value=0, allow_infinity=False),
        ),
        min_size=1,
    )
)
def test_the_text_of_rows_reads_back_as_the_same_numbers(rows: list[tuple[int, float, float | None]]) -> None:
    ticks = [
        Tick("A@sim", ts_us, 0, price, None, None, volume, ts_us, "live") for ts_us, price, volume in rows
    ]
    text = tick_rows_text(ticks, ids={"A@sim": 3}).decode()
    assert set(text) <= set("0123456789.,()e+-nul")
    read = eval("[" + text + "]", {"null": None})
    assert read == [(3, *tick[1:8], 1) for tick in ticks]


def test_a_row_of_text_is_short_enough_for_a_statement_below_a_megabyte() -> None:
    longest = -math.nextafter(1.7976931348623157e-308, 1)
    tick = Tick("A@sim", MAX_INTEGER, MAX_INTEGER, longest, longest, longest, longest, MAX_INTEGER, "live")
    assert len(tick_rows_text([tick], ids={"A@sim": 32_767})) * 4_000 < 1_000_000
