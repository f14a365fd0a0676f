import pytest
from databases import AnyDatabase, open_store, some_ticks
from simulated_days import FIRST_DAY_US, Keeper

from storage.disk import Disk
from storage.forecast import days_left, days_until_full, used
from storage.kept import DAY_US

PLENTY = Disk(free_bytes=10**12, total_bytes=2 * 10**12)
HOUR_US = DAY_US // 24


def test_the_room_is_used_up_at_the_growth_of_a_day() -> None:
    assert days_until_full(used_bytes=200, bytes_a_day=100, keep_ticks_days=30, free_bytes=500) == 5


def test_retention_that_comes_first_means_never() -> None:
    # 14 days and today at 100 bytes are 1,500; 200 are there.
    assert days_until_full(used_bytes=200, bytes_a_day=100, keep_ticks_days=14, free_bytes=1_300) is None
    found = days_until_full(used_bytes=200, bytes_a_day=100, keep_ticks_days=14, free_bytes=1_299)
    assert found == pytest.approx(12.99)


def test_a_table_that_does_not_grow_never_fills_a_disk() -> None:
    assert days_until_full(used_bytes=200, bytes_a_day=0, keep_ticks_days=14, free_bytes=0) is None


def test_a_disk_without_room_is_full_today() -> None:
    assert days_until_full(used_bytes=200, bytes_a_day=100, keep_ticks_days=14, free_bytes=0) == 0


def asked(
    database: AnyDatabase, *, disk: Disk | None, now_us: int, keep_ticks_days: int = 14
) -> float | None:
    with open_store(database.target) as store:
        return store.pool.run(
            lambda session: days_left(session, disk=disk, keep_ticks_days=keep_ticks_days, now_us=now_us)
        )


def test_nothing_is_said_of_an_empty_table_nor_of_an_unknown_disk(database: AnyDatabase) -> None:
    small = Disk(free_bytes=10**6, total_bytes=10**7)
    assert asked(database, disk=small, now_us=FIRST_DAY_US) is None
    with open_store(database.target) as store:
        Keeper(store, keep_ticks_days=14).keep(some_ticks(markets=3, each=100, first_us=FIRST_DAY_US))
    assert asked(database, disk=None, now_us=FIRST_DAY_US + DAY_US) is None


def test_minutes_of_ticks_say_nothing_about_days(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        Keeper(store, keep_ticks_days=14).keep(some_ticks(markets=3, each=100, first_us=FIRST_DAY_US))
    small = Disk(free_bytes=0, total_bytes=10**7)
    assert asked(database, disk=small, now_us=FIRST_DAY_US + HOUR_US // 2) is None
    assert asked(database, disk=small, now_us=FIRST_DAY_US + HOUR_US) == 0


def test_two_percent_are_not_counted_as_room(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        Keeper(store, keep_ticks_days=14).keep(some_ticks(markets=3, each=100, first_us=FIRST_DAY_US))
    nearly = Disk(free_bytes=20, total_bytes=1_000)
    assert asked(database, disk=nearly, now_us=FIRST_DAY_US + DAY_US) == 0


def test_growth_is_that_of_the_kept_days(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=30)
        keeper.live(days=4, ticks_a_day=5_000)
        size, now_us = store.pool.run(used), keeper.now_us
    assert size > 4 * 5_000 * 20  # no row is smaller
    ten_days = Disk(free_bytes=size * 2 + size // 2, total_bytes=0)
    found = asked(database, disk=ten_days, now_us=now_us, keep_ticks_days=30)
    assert found == pytest.approx(10, rel=0.01)
    assert asked(database, disk=PLENTY, now_us=now_us, keep_ticks_days=30) is None


def test_one_tick_of_1970_does_not_hide_the_growth(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=30)
        keeper.live(days=3, ticks_a_day=5_000)
        [old] = some_ticks(markets=1, each=1, first_us=5)
        keeper.keep([old])
        size = store.pool.run(used)
        found = asked(
            database, disk=Disk(free_bytes=0, total_bytes=size), now_us=keeper.now_us, keep_ticks_days=30
        )
    assert found == 0
