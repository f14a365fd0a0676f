from databases import AnyDatabase, open_store

from storage.kept import DAY_US, Kept, day_start_us, kept_from_us, raise_kept_from

NOW_US = 20_000 * DAY_US


def raised(database: AnyDatabase, *to_us: int, table: Kept = Kept.TICKS, now_us: int = NOW_US) -> int:
    """What is read back after the mark was raised to each of these."""
    with open_store(database.target) as store:
        for each in to_us:
            store.pool.run(
                lambda session, to_us=each: raise_kept_from(session, table=table, to_us=to_us, now_us=now_us)
            )
        return store.pool.run(lambda session: kept_from_us(session, table=table))


def test_where_nothing_was_deleted_all_is_kept(database: AnyDatabase) -> None:
    assert raised(database) == 0


def test_the_mark_is_raised_and_stays(database: AnyDatabase) -> None:
    assert raised(database, 500, 700) == 700
    assert raised(database) == 700


def test_the_mark_never_goes_down(database: AnyDatabase) -> None:
    assert raised(database, 700, 500) == 700


def test_raising_it_again_changes_nothing(database: AnyDatabase) -> None:
    assert raised(database, 700, 700) == 700
    assert len(database.query("SELECT * FROM retention")) == 1


def test_a_clock_before_1970_raises_nothing(database: AnyDatabase) -> None:
    assert raised(database, -5) == 0
    assert database.query("SELECT * FROM retention") == []


def test_each_table_has_its_own_mark(database: AnyDatabase) -> None:
    raised(database, 700)
    assert raised(database, 300, table=Kept.CANDLES) == 300
    assert raised(database) == 700


def test_a_mark_that_a_wrong_clock_set_in_the_future_comes_down_to_now(database: AnyDatabase) -> None:
    raised(database, NOW_US + 50_000 * DAY_US, now_us=NOW_US + 60_000 * DAY_US)
    assert raised(database, 700) == NOW_US
    assert raised(database, 700, now_us=NOW_US + DAY_US) == NOW_US


def test_days_begin_at_midnight_utc() -> None:
    assert day_start_us(NOW_US) == NOW_US
    assert day_start_us(NOW_US + DAY_US - 1) == NOW_US
