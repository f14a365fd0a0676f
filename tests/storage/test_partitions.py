from databases import Batch, MariadbDatabase, OpenStore, open_store, some_ticks, stored_ticks
from simulated_days import FIRST_DAY_US, a_day

from domain.market import Tick
from storage.kept import DAY_US
from storage.oldest import newest_tick_us, oldest_tick_us
from storage.partitions import (
    QUICK_ROWS,
    Division,
    divide,
    drop_oldest,
    first_end_with_ticks,
    name_of,
    partition_ends,
    plan_division,
)
from storage.progress import Progress

TODAY_US = FIRST_DAY_US
NOON_US = TODAY_US + DAY_US // 2


def put(store: OpenStore, *times_us: int) -> None:
    [tick] = some_ticks(markets=1, each=1)
    ticks = [tick._replace(ts_us=ts_us, received_us=NOON_US) for ts_us in times_us]
    store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))


def plan(store: OpenStore, *, keep: int = 14, now_us: int = NOON_US) -> Division | None:
    return store.pool.run(lambda session: plan_division(session, keep_ticks_days=keep, now_us=now_us))


def make(store: OpenStore, *, keep: int = 14, now_us: int = NOON_US) -> list[int]:
    """The days after dividing, counted from today."""
    division = plan(store, keep=keep, now_us=now_us)
    if division is not None:
        # On a busy machine a statement before it may not have let go of the table within its second.
        progress = [store.pool.run(lambda session: divide(session, division))]
        while progress[-1] is Progress.LATER and len(progress) < 30:
            progress.append(store.pool.run(lambda session: divide(session, division)))
        assert progress[-1] is Progress.DONE
    return days(store)


def days(store: OpenStore) -> list[int]:
    return [(end_us - TODAY_US) // DAY_US - 1 for end_us in store.pool.run(partition_ends)]


def drop(store: OpenStore, *, before_us: int) -> list[Progress]:
    seen = [Progress.MORE]
    while seen[-1] is Progress.MORE:
        seen.append(store.pool.run(lambda session: drop_oldest(session, before_us=before_us)))
    return seen[1:]


def rows_in(database: MariadbDatabase, partition: str) -> int:
    [(rows,)] = database.query(f"SELECT COUNT(*) FROM tick PARTITION ({partition})")
    return int(rows)


def test_a_partition_is_named_after_its_day() -> None:
    assert name_of(FIRST_DAY_US + DAY_US) == "p20241004"


def test_an_empty_table_gets_today_and_three_days_ahead(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        assert make(store) == [0, 1, 2, 3]
        assert plan(store) is None


def test_a_table_that_somebody_made_without_partitions_stays_as_it_is(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        store.pool.run(lambda _: None)
        mariadb.query("ALTER TABLE tick REMOVE PARTITIONING")
        assert plan(store) is None
        assert drop(store, before_us=NOON_US) == [Progress.DONE]


def test_the_next_day_gets_one_more(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        make(store)
        assert make(store, now_us=NOON_US + DAY_US) == [0, 1, 2, 3, 4]


def test_after_a_month_away_no_empty_days_are_made(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        make(store)
        assert make(store, now_us=NOON_US + 30 * DAY_US) == [0, 1, 2, 3, 30, 31, 32, 33]


def test_a_filled_table_is_divided_into_the_days_it_has(mariadb: MariadbDatabase) -> None:
    times = [NOON_US - 3 * DAY_US, NOON_US - DAY_US, NOON_US - 5, NOON_US]
    with open_store(mariadb.target) as store:
        put(store, *times)
        assert make(store) == [-3, -2, -1, 0, 1, 2, 3]
    assert [tick.ts_us for tick in stored_ticks(mariadb)] == times
    assert rows_in(mariadb, name_of(TODAY_US + DAY_US)) == 2


def test_absurd_times_make_no_partitions(mariadb: MariadbDatabase) -> None:
    in_2100 = 47_482 * DAY_US
    with open_store(mariadb.target) as store:
        put(store, 5, NOON_US, in_2100)
        assert make(store, keep=2) == [-2, -1, 0, 1, 2, 3]
    assert rows_in(mariadb, name_of(TODAY_US - DAY_US)) == 1  # 1970 is in the first one
    assert rows_in(mariadb, "pmax") == 1
    assert len(stored_ticks(mariadb)) == 3


def test_years_of_ticks_make_only_so_many_partitions(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        put(store, 5)
        division = plan(store, keep=10_000)
    assert division is not None
    assert len(division.ends_us) == 1_000


def test_dividing_again_after_the_schema_was_repeated_loses_nothing(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        put(store, NOON_US - DAY_US, NOON_US)
        before = make(store)
        mariadb.query(
            "ALTER TABLE tick PARTITION BY RANGE (ts_us) (PARTITION pmax VALUES LESS THAN MAXVALUE)"
        )
        assert days(store) == []
        assert make(store) == before
    assert len(stored_ticks(mariadb)) == 2


def test_many_rows_to_be_copied_are_a_long_division(mariadb: MariadbDatabase) -> None:
    def is_long(store: OpenStore, *, rows: int) -> bool:
        [ticks] = a_day(TODAY_US, ticks_a_day=10_000, markets=27)
        more = [tick._replace(seq=1) for tick in ticks[: rows - 10_000]]
        store.pool.run(lambda session: store.batches.store(session, Batch(ticks=[*ticks, *more])))
        division = plan(store)
        assert division is not None
        return division.is_long

    with open_store(mariadb.target) as store:
        assert not is_long(store, rows=QUICK_ROWS)
        assert is_long(store, rows=QUICK_ROWS + 1)


def test_days_made_by_a_clock_far_ahead_are_divided_anew(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        make(store, now_us=NOON_US + 10_000 * DAY_US)
        put(store, NOON_US, NOON_US + 10_000 * DAY_US)
        assert make(store) == [0, 1, 2, 3]
        assert plan(store) is None
    assert len(stored_ticks(mariadb)) == 2
    assert rows_in(mariadb, name_of(TODAY_US + DAY_US)) == 1


def test_a_clock_far_behind_does_not_copy_the_true_days(mariadb: MariadbDatabase) -> None:
    [ticks] = a_day(TODAY_US, ticks_a_day=10_000, markets=27)
    more = [tick._replace(seq=1) for tick in ticks]
    with open_store(mariadb.target) as store:
        before = make(store)
        store.pool.run(lambda session: store.batches.store(session, Batch(ticks=[*ticks, *more])))
        assert make(store, now_us=DAY_US) == before


def test_old_days_are_dropped_one_at_a_time(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        put(store, *(NOON_US - day * DAY_US for day in range(5)))
        make(store)
        assert drop(store, before_us=TODAY_US - 2 * DAY_US) == [Progress.MORE, Progress.DONE]
        assert days(store)[0] == -2
        assert drop(store, before_us=TODAY_US - 2 * DAY_US) == [Progress.DONE]
    assert [tick.ts_us for tick in stored_ticks(mariadb)] == [NOON_US - day * DAY_US for day in (2, 1, 0)]


def test_a_day_that_is_not_over_is_not_dropped(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        make(store)
        drop(store, before_us=TODAY_US + DAY_US - 1)
        assert days(store)[0] == 0


def test_a_reader_delays_dropping_and_dividing_and_no_setting_is_left_behind(
    mariadb: MariadbDatabase,
) -> None:
    with open_store(mariadb.target) as store, open_store(mariadb.target) as reader:
        put(store, NOON_US - DAY_US, NOON_US)
        make(store)
        reader.pool.run(lambda session: session.query("SELECT COUNT(*) FROM tick"))  # and no commit
        connects = store.driver.counts.connects
        assert drop(store, before_us=TODAY_US) == [Progress.LATER]
        division = plan(store, now_us=NOON_US + DAY_US)
        assert division is not None
        assert store.pool.run(lambda session: divide(session, division)) is Progress.LATER
        [(ours, everybodys)] = store.pool.run(
            lambda session: session.query("SELECT @@lock_wait_timeout, @@GLOBAL.lock_wait_timeout")
        )
        assert ours == everybodys
        assert len(stored_ticks(mariadb)) == 2
        assert store.driver.counts.connects == connects  # nothing was wrong with the connection
        reader.pool.run(lambda session: session.commit())
        assert drop(store, before_us=TODAY_US) == [Progress.DONE]


def test_the_first_day_with_ticks_is_found_behind_empty_ones(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        assert store.pool.run(first_end_with_ticks) == 0
        make(store, now_us=NOON_US - 5 * DAY_US)
        put(store, NOON_US - 4 * DAY_US, NOON_US)
        make(store)
        assert store.pool.run(first_end_with_ticks) == TODAY_US - 3 * DAY_US


def test_the_ends_of_the_table_are_found_by_seeks(mariadb: MariadbDatabase) -> None:
    [first, *_] = batches = list(a_day(TODAY_US, ticks_a_day=30_000, markets=27))
    with open_store(mariadb.target) as store:
        make(store)
        for ticks in batches:
            store.pool.run(lambda session, ticks=ticks: store.batches.store(session, Batch(ticks=ticks)))

        def read(asked: str) -> int:
            [(_, before)] = mariadb.query("SHOW GLOBAL STATUS LIKE 'Handler_read_next'")
            function = oldest_tick_us if asked == "oldest" else newest_tick_us
            expected = first[0].ts_us if asked == "oldest" else batches[-1][-1].ts_us
            assert store.pool.run(function) == expected
            [(_, after)] = mariadb.query("SHOW GLOBAL STATUS LIKE 'Handler_read_next'")
            return int(after) - int(before)

        assert read("oldest") < 1_000
        assert read("newest") < 1_000


def test_ticks_of_all_markets_stand_in_their_days(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        make(store)
        ticks: list[Tick] = [tick for batch in a_day(TODAY_US, ticks_a_day=100, markets=9) for tick in batch]
        store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))
    assert rows_in(mariadb, name_of(TODAY_US + DAY_US)) == 100
    assert rows_in(mariadb, "pmax") == 0
