import functools
import threading
from typing import Any

from databases import (
    AnyDatabase,
    Batch,
    MariadbDatabase,
    OpenStore,
    SqliteDatabase,
    open_store,
    some_ticks,
    stored_ticks,
)
from simulated_days import FIRST_DAY_US, ADisk, Keeper, a_day, bytes_on_disk, empty_log, grown_fresh

from domain.errors import StorageBusy
from storage.kept import DAY_US, Kept, kept_from_us
from storage.retention import LOOK_EVERY_S, PAUSE_S, RETRY_S
from storage.session import Session

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
START_US = 11 * MINUTE_US  # longer than the time after a start in which nothing is given up


class BreaksAt:
    """A session whose database fails at its n-th statement."""

    def __init__(self, session: Session, *, statement: int) -> None:
        self._session = session
        self._breaks_at = statement
        self.made = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return functools.partial(self._counted, found) if callable(found) else found

    def _counted(self, method: Any, *arguments: Any) -> Any:
        self.made += 1
        if self.made == self._breaks_at:
            raise StorageBusy("broken by the test")
        return method(*arguments)


def days_with_ticks(database: AnyDatabase) -> list[int]:
    """Counted from the first simulated day."""
    return sorted({(tick.ts_us - FIRST_DAY_US) // DAY_US for tick in stored_ticks(database)})


def kept_day(store: OpenStore, *, table: Kept = Kept.TICKS) -> float:
    found = store.pool.run(lambda session: kept_from_us(session, table=table))
    return (found - FIRST_DAY_US) / DAY_US


def states(keeper: Keeper) -> list[str]:
    return [notice.state for notice in keeper.notices]


def low_on_disk(store: OpenStore, *, days: int = 5, ticks_a_day: int = 300) -> Keeper:
    """Some days are stored, the sixth begins, and just now the disk gets low."""
    keeper = Keeper(store, keep_ticks_days=14)
    keeper.live(days=days, ticks_a_day=ticks_a_day)
    for us in (MINUTE_US, MINUTE_US, START_US):  # the new day's work, a first look at the disk, the pause
        later(keeper, us=us)
    keeper.disk.free_bytes = 9
    return keeper


def later(keeper: Keeper, *, us: int = MINUTE_US) -> None:
    keeper.now_us += us
    keeper.settle()


# --- old days ---------------------------------------------------------------------------------


def test_days_older_than_the_setting_go_and_the_others_stay(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=3)
        keeper.live(days=8, ticks_a_day=300)
        assert days_with_ticks(database) == [4, 5, 6, 7]  # today is the eighth
        assert kept_day(store) == 4
        assert keeper.notices == []
    assert len(stored_ticks(database)) == 4 * 300


def test_nothing_goes_while_nothing_is_old(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=14)
        keeper.live(days=3, ticks_a_day=300)
    assert days_with_ticks(database) == [0, 1, 2]


def test_candles_gaps_and_events_have_days_of_their_own(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=3)
        old_us, new_us = FIRST_DAY_US - 3_651 * DAY_US, FIRST_DAY_US - 3_649 * DAY_US
        for us in (old_us, new_us):
            database.query(f"INSERT INTO candle VALUES (1, 60, {us}, 1, 1, 1, 1, 1, 1, 1, 'ticks')")
            database.query(f"INSERT INTO actor_event VALUES ({us}, {us}, 'a', 'state', '')")
            database.query(
                "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) "
                f"VALUES (1, {us - 9}, {us}, 'stale', 'none', '')"
            )
        keeper.settle()
        assert kept_day(store, table=Kept.CANDLES) == -3_650
    assert database.query("SELECT open_us FROM candle") == [(new_us,)]
    assert database.query("SELECT id FROM actor_event") == [(new_us,)]
    assert database.query("SELECT to_us FROM gap") == [(new_us,)]


def test_signals_that_were_refused_go_as_ticks_do(database: AnyDatabase) -> None:
    rows = [(1, 4, "refused"), (2, 4, "approved"), (3, 2, "refused"), (4, 3_651, "approved")]
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=3)
        for id_, days, outcome in rows:
            values = f"{id_}, 1, 's', {FIRST_DAY_US - days * DAY_US}, 'up', 60, 1, 0, '', '{outcome}', ''"
            database.query(f"INSERT INTO `signal` VALUES ({values})")
        keeper.settle()
    assert database.query("SELECT id FROM `signal` ORDER BY id") == [(2,), (3,), (4,)]


def test_no_tick_lands_behind_the_last_day(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        keeper = Keeper(store, keep_ticks_days=3)
        for _ in range(9):
            keeper.live(days=1, ticks_a_day=200)
            assert mariadb.query("SELECT COUNT(*) FROM tick PARTITION (pmax)") == [(0,)]


def is_broken_at(store: OpenStore, *, statement: int) -> bool:
    """Do the work of the seventh day until that statement; return whether there were so many."""
    keeper = Keeper(store, keep_ticks_days=2, now_us=FIRST_DAY_US + 6 * DAY_US)
    breaking: list[BreaksAt] = []

    def step(session: Session) -> float:
        breaking.append(BreaksAt(session, statement=statement - sum(each.made for each in breaking)))
        return keeper.retention.step(breaking[-1], now_us=keeper.now_us, monotonic_s=0.0)

    try:
        while store.pool.run(step) < LOOK_EVERY_S:
            pass
    except StorageBusy:
        return True
    return False


def store_six_days(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        Keeper(store, keep_ticks_days=14).live(days=6, ticks_a_day=60)


def test_the_mark_is_raised_before_anything_is_deleted(database: AnyDatabase) -> None:
    store_six_days(database)
    marks: list[float] = []
    while days_with_ticks(database) == [0, 1, 2, 3, 4, 5]:
        with open_store(database.target) as store:
            assert is_broken_at(store, statement=len(marks) + 1)
            marks.append(kept_day(store))
    assert marks[0] < 0  # that of 14 days
    assert marks[-2:] == [3, 3]  # said while all ticks are there; then some are not


def test_every_step_can_be_broken_off_and_repeated(database: AnyDatabase) -> None:
    store_six_days(database)
    with open_store(database.target) as store:
        statement = 1
        while is_broken_at(store, statement=statement):
            statement += 1
        assert statement > 20
        assert kept_day(store) == 3  # of the newest tick's day, 5, two days back
    assert days_with_ticks(database) == [3, 4, 5]


def test_a_wall_clock_far_ahead_deletes_nothing(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=2)
        keeper.live(days=3, ticks_a_day=60)
        now_us = keeper.now_us
        later(keeper, us=20_000 * DAY_US)
        assert days_with_ticks(database) == [0, 1, 2]
        keeper.now_us = now_us
        keeper.live(days=3, ticks_a_day=60)
        assert days_with_ticks(database) == [3, 4, 5]


def test_a_mark_in_the_future_does_not_delete_the_last_two_days(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=14)
        keeper.live(days=4, ticks_a_day=60)
        database.query(f"UPDATE retention SET kept_from_us = {2**62} WHERE table_name = 'tick'")
        keeper.settle()
        assert days_with_ticks(database) == [3]  # today is 4
        keeper.live(days=2, ticks_a_day=60)
        assert kept_day(store) == 4
        assert days_with_ticks(database) == [4, 5]


def test_a_late_tick_from_before_the_mark_goes_again(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=2)
        keeper.live(days=5, ticks_a_day=60)
        [tick] = some_ticks(markets=1, each=1, first_us=FIRST_DAY_US)
        keeper.keep([tick])
        assert days_with_ticks(database) == [0, 2, 3, 4]
        keeper.live(days=1, ticks_a_day=60)
        assert days_with_ticks(database) == [3, 4, 5]


def test_with_nothing_to_do_it_is_called_every_ten_seconds_and_asks_nothing(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=2)
        keeper.live(days=1, ticks_a_day=60)
        keeper.settle()
        before = store.driver.counts.statements
        keeper.now_us += 30_000_000
        assert keeper.step() == LOOK_EVERY_S
        assert store.driver.counts.statements - before == 1  # the commit


def test_much_to_delete_is_spread_over_many_steps(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        keeper = Keeper(store, keep_ticks_days=14)
        for ticks in a_day(FIRST_DAY_US, ticks_a_day=400_000, markets=27):
            keeper.keep(ticks)
        keeper.now_us += 20 * DAY_US
        keeper.keep(some_ticks(markets=1, each=1, first_us=keeper.now_us))
        waits = []
        while not waits or waits[-1] == PAUSE_S:
            waits.append(keeper.step())
        assert len(waits) > 1
    assert len(stored_ticks(sqlite)) == 1


# --- the first time ---------------------------------------------------------------------------


def test_a_filled_table_is_divided_before_storing_begins_and_it_is_said(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        for day in range(3):
            for ticks in a_day(FIRST_DAY_US + day * DAY_US, ticks_a_day=4_000, markets=27):
                store.pool.run(functools.partial(store.batches.store, batch=Batch(ticks=ticks)))
    with open_store(mariadb.target) as store:
        keeper = Keeper(store, keep_ticks_days=14, now_us=FIRST_DAY_US + 2 * DAY_US)
        assert states(keeper) == ["divides", "divided"]
        keeper.prepare()
        assert states(keeper) == ["divides", "divided"]
    assert len(stored_ticks(mariadb)) == 12_000
    assert mariadb.query("SELECT COUNT(*) FROM tick PARTITION (pmax)") == [(0,)]


# --- readers ----------------------------------------------------------------------------------


def test_a_reader_delays_the_drop_but_not_the_inserts(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store, open_store(mariadb.target) as reader:
        keeper = Keeper(store, keep_ticks_days=14)
        keeper.live(days=6, ticks_a_day=60)
        reader.pool.run(lambda session: session.query("SELECT COUNT(*) FROM tick"))  # and no commit
        with open_store(mariadb.target) as second:
            keeper = Keeper(second, keep_ticks_days=2, now_us=FIRST_DAY_US + 5 * DAY_US)
            # While the drop waits, somebody else inserts: their read timeout is 5 s.
            inserting = threading.Thread(target=insert_some, args=(mariadb,))
            inserting.start()
            keeper.settle()
            inserting.join(15)
            assert not inserting.is_alive()
            assert days_with_ticks(mariadb) == [0, 1, 2, 3, 4, 5]
            assert kept_day(second) == 3
            keeper.keep(some_ticks(markets=1, each=1, first_us=keeper.now_us + 77))
            reader.pool.run(lambda session: session.commit())
            keeper.settle()
            assert days_with_ticks(mariadb) == [0, 1, 2, 3, 4, 5]  # not yet
            later(keeper, us=int(RETRY_S * 1e6))
            assert days_with_ticks(mariadb) == [3, 4, 5]


def insert_some(database: MariadbDatabase) -> None:
    [tick] = some_ticks(markets=1, each=1, first_us=FIRST_DAY_US + 5 * DAY_US)
    with open_store(database.target) as store:
        for seq in range(50):
            batch = Batch(ticks=[tick._replace(seq=seq)])
            store.pool.run(functools.partial(store.batches.store, batch=batch))


# --- a disk that fills up ---------------------------------------------------------------------


def test_below_ten_percent_one_more_day_goes_and_it_is_said(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = low_on_disk(store)
        later(keeper)
        assert days_with_ticks(database) == [1, 2, 3, 4]
        assert kept_day(store) == 1
        [notice] = keeper.notices
        assert notice.state == "drops"
        assert "2024-10-04" in notice.message
        assert "9.0 % free" in notice.message


def test_with_room_no_day_goes(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = low_on_disk(store)
        keeper.disk.free_bytes = 10
        later(keeper)
    assert days_with_ticks(database) == [0, 1, 2, 3, 4]


def test_each_hour_a_day_goes_but_never_the_last_two(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = low_on_disk(store, days=5)  # today is the sixth, and has no ticks
        keeper.disk.total_bytes, keeper.disk.free_bytes = 1_000, 50
        seen = []
        for _ in range(6):
            later(keeper, us=HOUR_US)
            keeper.disk.free_bytes += 1  # a day helps
            later(keeper)
            seen.append(days_with_ticks(database))
        assert seen == [[1, 2, 3, 4], [2, 3, 4], [3, 4], [4], [4], [4]]
        assert states(keeper) == ["drops"] * 4 + ["gives_up"]


def test_it_stops_where_a_day_did_not_help_and_says_so_once(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = low_on_disk(store)
        for _ in range(5):
            later(keeper, us=HOUR_US)
        assert states(keeper) == ["drops", "gives_up"]
        assert days_with_ticks(database) == [1, 2, 3, 4]
        keeper.disk.free_bytes = 11
        later(keeper)
        keeper.disk.free_bytes = 9
        later(keeper)
        assert states(keeper) == ["drops", "gives_up", "drops"]
        assert days_with_ticks(database) == [2, 3, 4]


def test_a_drop_that_a_reader_delays_is_not_taken_for_useless(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store, open_store(mariadb.target) as reader:
        keeper = low_on_disk(store)
        reader.pool.run(lambda session: session.query("SELECT COUNT(*) FROM tick"))  # and no commit
        later(keeper, us=10_000_000)
        later(keeper, us=20_000_000)
        assert states(keeper) == ["drops"]
        assert days_with_ticks(mariadb)[0] == 0
        reader.pool.run(lambda session: session.commit())
        later(keeper)
        assert days_with_ticks(mariadb)[0] == 1


def test_free_pages_go_before_a_day_does(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        keeper = low_on_disk(store, ticks_a_day=20_000)
        sqlite.query(f"DELETE FROM tick WHERE ts_us < {FIRST_DAY_US + DAY_US // 2}")
        before = bytes_of_file(sqlite)
        later(keeper)
        assert bytes_of_file(sqlite) < before
        assert keeper.notices == []
        later(keeper)
        assert states(keeper) == ["drops"]


def bytes_of_file(database: SqliteDatabase) -> int:
    return database.target.path.stat().st_size


def test_the_embedded_file_gets_shorter_when_a_day_goes(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        keeper = low_on_disk(store, ticks_a_day=20_000)
        store.pool.run(lambda session: session.query("PRAGMA wal_checkpoint(PASSIVE)"))
        before = bytes_of_file(sqlite)
        later(keeper)
        assert states(keeper) == ["drops"]
        assert bytes_of_file(sqlite) < before * 0.85  # four of five days


def test_the_disk_as_last_seen_and_whether_it_is_full_can_be_read(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=14, disk=ADisk(free_bytes=1, total_bytes=100))
        keeper.settle()
        assert keeper.retention.is_full
        keeper.disk.free_bytes = 3
        later(keeper)
        assert keeper.retention.is_full
        keeper.disk.free_bytes = 4
        later(keeper)
        assert not keeper.retention.is_full
        assert keeper.retention.disk is not None
        assert keeper.retention.disk.free_bytes == 4


# --- sixty days -------------------------------------------------------------------------------


def test_sixty_days_take_the_room_of_those_that_are_kept(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=5)
        keeper.live(days=60, ticks_a_day=4_000)
        first_us = keeper.now_us - 6 * DAY_US  # with the last one, "today"
        assert days_with_ticks(database) == list(range(54, 60))
        empty_log(database)
        found = bytes_on_disk(database)
    implied = grown_fresh(another(database), first_us=first_us, days=6, ticks_a_day=4_000)
    assert found <= 1.2 * implied


def another(database: AnyDatabase) -> AnyDatabase:
    if isinstance(database, MariadbDatabase):
        server = database.server
        return MariadbDatabase(target=server.target(server.new_database()), server=server)
    target = type(database.target)(path=database.target.path.with_name("fresh.db"))
    return SqliteDatabase(target=target)
