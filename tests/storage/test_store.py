import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from daemons import wait_until
from databases import (
    AnyDatabase,
    MariadbDatabase,
    SqliteDatabase,
    in_order,
    some_ticks,
    stored_ticks,
)
from ledgers import a_signal, a_step, a_trade, as_money, settled, stored_ledger
from ledgers import in_order as in_order_of_ids
from proxy import Fate, running_proxy
from storing import (
    Injected,
    event,
    fails_after_commit,
    fails_before_commit,
    in_lists,
    money,
    storing,
)

from domain.errors import StorageBusy, StorageRefused
from domain.market import Tick
from storage.batches import ROWS_A_STATEMENT
from storage.dead_letters import MOST_REFUSED
from storage.payloads import DETAIL_LENGTH, Lane, Money

GUARD_S = 30.0  # against hanging
TICKS, MONEY = Lane.TICKS, Lane.MONEY
WIDEST = -1.2345678901234567e-100  # 24 characters


def position(database: AnyDatabase, lane: Lane = TICKS) -> list[int]:
    """Return the positions of all journals in a lane."""
    return [row[0] for row in database.query(f"SELECT batch FROM journal_position WHERE lane = '{lane}'")]


def take_out(database: AnyDatabase, tick: Tick) -> None:
    """Delete a row behind everybody's back: who stores it again gives himself away."""
    database.query(f"DELETE FROM tick WHERE ts_us = {tick.ts_us} AND seq = {tick.seq}")


class InThread:
    """A call in a thread of its own; `join()` gives what it returned, or raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except StorageBusy as exc:
            self._failure = exc

    def join(self) -> Any:
        self._thread.join(GUARD_S)
        assert not self._thread.is_alive(), "the thread hangs"
        if self._failure is not None:
            raise self._failure
        return self._result


@contextlib.contextmanager
def another_session(mariadb: MariadbDatabase) -> Iterator[Any]:
    """Give a connection of somebody else, whose transaction ends with the block."""
    connection = pymysql.connect(
        unix_socket=str(mariadb.server.unix_socket),
        user="root",
        database=mariadb.target.database,
        ssl_disabled=True,
    )
    with contextlib.closing(connection), connection.cursor() as cursor:
        yield cursor


def wait_for_lock_wait(mariadb: MariadbDatabase) -> None:
    # innodb_trx would not do: what is read from it often is a copy that is not brought up to date.
    wait_until(
        lambda: mariadb.server.status("Innodb_row_lock_current_waits"), what="somebody waits for a row"
    )


# --- the ledger ---------------------------------------------------------------------------------


def test_the_ledger_is_stored_with_the_latest_word_on_each_trade(
    database: AnyDatabase, tmp_path: Path
) -> None:
    signals = [a_signal(number, market=f"M{number % 2}@sim") for number in range(4)]
    trades = [a_trade(signal, stake=f"{number}.10000001") for number, signal in enumerate(signals)]
    over = [settled(trade, profit="-0.00000001") for trade in trades[:2]]
    steps = [a_step(trade, 1) for trade in trades] + [a_step(trade, 2) for trade in over]
    rows = [*signals, *trades, *over[:1], *steps, over[1]]
    with storing(tmp_path, database.target) as run:
        run.accept(as_money(*rows[:7]), as_money(*rows[7:-1]), as_money(rows[-1]))
        run.store_all(max_rows=8)
    assert stored_ledger(database) == in_order_of_ids(as_money(*rows))


def test_a_ledger_that_is_stored_again_from_the_journal_is_the_same(
    database: AnyDatabase, tmp_path: Path
) -> None:
    """As where the database went back: earlier words pass once more, and the latest holds in the end."""
    signal = a_signal(1)
    trade = a_trade(signal)
    rows = [signal, trade, a_step(trade, 1), trade._replace(state="sent"), settled(trade), a_step(trade, 2)]
    with storing(tmp_path, database.target) as run:
        run.accept(*(as_money(row) for row in rows))
        run.store_all()
        database.query("UPDATE journal_position SET batch = 1 WHERE lane = 'money'")
        run.accept(as_money(a_step(trade, 3)))
        run.store_all()
    assert stored_ledger(database) == in_order_of_ids(as_money(*rows, a_step(trade, 3)))


def test_a_signal_and_a_step_never_change(database: AnyDatabase, tmp_path: Path) -> None:
    signal = a_signal(1)
    step = a_step(a_trade(signal), 1)
    with storing(tmp_path, database.target) as run:
        run.accept(as_money(signal, step))
        run.accept(as_money(signal._replace(reason="another"), step._replace(detail="another")))
        run.store_all()
    assert stored_ledger(database) == as_money(signal, step)


# --- exactly once -------------------------------------------------------------------------------


def test_batches_are_stored_in_order_and_the_position_goes_along(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=5, each=20)
    with storing(tmp_path, database.target) as run:
        run.accept(*in_lists(ticks, of=10), money(1, 2), money(3))
        assert run.step(max_rows=30).position == 3
        assert stored_ticks(database) == in_order(ticks[:30])
        assert position(database) == [3]
        run.store_all()
        assert position(database) == [10]
        assert position(database, MONEY) == [2]
    assert stored_ticks(database) == in_order(ticks)
    assert database.query("SELECT id FROM actor_event ORDER BY id") == [(1,), (2,), (3,)]
    assert database.query("SELECT from_us, to_us FROM gap ORDER BY from_us") == [(10, 15), (20, 25), (30, 35)]


def test_failed_commit_leaves_nothing_and_is_run_again(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=3, each=5)
    with storing(tmp_path, database.target) as run:
        run.accept(ticks)
        with pytest.raises(Injected):
            run.step(wrapped=fails_before_commit)
        assert stored_ticks(database) == []
        assert database.query("SELECT COUNT(*) FROM market") == [(0,)]
        assert position(database) == []
        run.store_all()
    assert stored_ticks(database) == in_order(ticks)


def test_commit_whose_answer_was_lost_is_not_run_again(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=3, each=5)
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[:5], ticks[5:10])
        with pytest.raises(Injected):
            run.step(max_rows=5, wrapped=fails_after_commit)
        take_out(database, ticks[0])
        run.accept(ticks[10:])
        assert run.step().rows == len(ticks)  # the five of before are told as stored
    assert stored_ticks(database) == in_order(ticks[1:])
    assert position(database) == [3]


def test_batches_stored_by_an_earlier_run_are_skipped(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=3, each=10)
    with storing(tmp_path, database.target) as run:
        run.accept(*in_lists(ticks[:20], of=5), money(1))
        run.step(max_rows=10)
        run.step(MONEY)
    take_out(database, ticks[0])
    database.query("DELETE FROM actor_event")
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[20:])
        run.store_all()
        assert sorted(position(database)) == [1, 4]
    assert stored_ticks(database) == in_order(ticks[1:])
    assert database.query("SELECT COUNT(*) FROM actor_event") == [(0,)]


def test_journals_of_earlier_runs_are_stored_before_this_ones(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=3, each=10)
    for lot in (ticks[:10], ticks[10:20]):
        with storing(tmp_path, database.target) as run:
            run.accept(lot[:5], lot[5:])
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[20:])
        for stored in (10, 20, 30):  # a transaction never holds batches of two journals
            run.step()
            assert stored_ticks(database) == in_order(ticks[:stored])
    assert sorted(position(database)) == [1, 2, 2]


def test_ram_that_begins_later_than_the_position_is_not_taken(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=3, each=10)
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[:10], ticks[10:20])
        run.forget_ram()
        run.accept(ticks[20:])
        assert run.step(max_rows=10).position == 1  # from the journal
        assert run.step(max_rows=10).position == 2
        run.store.close()  # from now on the journal could not be read without opening it
        assert run.step(max_rows=10).position == 3
        assert run.store._reader._connection is None
    assert stored_ticks(database) == in_order(ticks)


def test_position_is_confirmed_only_when_read_back_after_its_commit(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=1, each=9)
    with storing(tmp_path, database.target) as run:
        run.accept(*in_lists(ticks, of=3))
        assert [run.step(max_rows=3).confirmed for _ in range(3)] == [0, 1, 2]


def test_candles_come_only_as_far_as_time_is_given(database: AnyDatabase, tmp_path: Path) -> None:
    first_us = 1_700_000_040_000_000  # a whole minute
    ticks = some_ticks(markets=1, each=2, first_us=first_us)
    with storing(tmp_path, database.target) as run:
        run.accept(ticks)
        run.step()  # as the ticks tell: the minute has just begun
        assert database.query("SELECT COUNT(*) FROM candle") == [(0,)]
        run.accept(some_ticks(markets=1, each=1, first_us=first_us + 10_000))
        run.step(until_us=first_us + 70_000_000)
    assert database.query("SELECT open_us, ticks FROM candle") == [(first_us, 3)]


# --- the answer to COMMIT -----------------------------------------------------------------------


@pytest.mark.parametrize("fate", [Fate.CUT_BEFORE, Fate.ANSWER_CUT])
def test_cut_commit_doubles_and_loses_nothing(mariadb: MariadbDatabase, tmp_path: Path, fate: Fate) -> None:
    ticks = some_ticks(markets=3, each=10)
    with running_proxy(mariadb) as (proxy, proxied), storing(tmp_path, proxied.target) as run:
        run.accept(ticks[:10])
        run.store_all()
        run.accept(ticks[10:20])
        proxy.fates.append(fate)
        with pytest.raises(StorageBusy, match=r"2013|2006"):
            run.step()
        was_applied = fate is Fate.ANSWER_CUT
        assert stored_ticks(mariadb) == in_order(ticks[: 20 if was_applied else 10])
        assert position(mariadb) == [2 if was_applied else 1]
        take_out(mariadb, ticks[10])
        run.accept(ticks[20:])
        run.store_all()
    expected = ticks[:10] + ticks[11:] if was_applied else ticks
    assert stored_ticks(mariadb) == in_order(expected)
    assert position(mariadb) == [3]


def test_transaction_that_outlives_its_timeout_decides_what_the_retry_stores(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=10)
    with (
        running_proxy(mariadb) as (proxy, proxied),
        storing(tmp_path, proxied.target, read_timeout_s=1) as run,
    ):
        run.accept(ticks[:10], money(1))
        run.store_all()
        run.accept(ticks[10:20])
        proxy.fates.append(Fate.HELD)
        with pytest.raises(StorageBusy, match="timed out"):
            run.step()
        assert proxy.is_held.is_set()
        run.accept(ticks[20:])  # the retry holds more than the attempt before
        run.pool.close()
        run.pool = run.make_pool(proxied.target, read_timeout_s=600)
        retry = InThread(run.step)
        wait_for_lock_wait(mariadb)
        assert stored_ticks(mariadb) == in_order(ticks[:10])
        proxy.let_go()
        assert retry.join().position == 3
        assert position(mariadb) == [3]
    assert stored_ticks(mariadb) == in_order(ticks)


def test_retry_that_waits_for_the_old_transaction_gives_up_by_its_own_deadline(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=10)
    with (
        running_proxy(mariadb) as (proxy, proxied),
        storing(tmp_path, proxied.target, read_timeout_s=1) as run,
    ):
        run.accept(ticks[:10])
        run.pool.run(lambda _: None)
        proxy.fates.append(Fate.HELD)
        with pytest.raises(StorageBusy, match="timed out"):
            run.step()
        run.pool.close()
        run.pool = run.make_pool(proxied.target, read_timeout_s=3)  # the server waits 1 s for a lock
        run.accept(ticks[10:])
        with pytest.raises(StorageBusy, match="1205"):
            run.step()
        assert stored_ticks(mariadb) == []
        proxy.let_go()
        assert proxy.is_answered.wait(GUARD_S)
        assert stored_ticks(mariadb) == in_order(ticks[:10])
        take_out(mariadb, ticks[0])
        run.store_all()
    assert stored_ticks(mariadb) == in_order(ticks[1:])


# --- locks --------------------------------------------------------------------------------------


def test_lock_wait_is_rolled_back_whole(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    first, *rest = some_ticks(markets=1, each=10)
    with storing(tmp_path, mariadb.target, read_timeout_s=3) as run, another_session(mariadb) as other:
        run.accept([first])
        run.store_all()
        run.accept([tick._replace(market="NEW@sim") for tick in rest], [first._replace(price=2.0)])
        # The server undoes only the statement that waited: the market and the ticks before it stay.
        other.execute("SELECT * FROM tick FOR UPDATE")
        with pytest.raises(StorageBusy, match="1205"):
            run.step()
        assert mariadb.query("SELECT COUNT(*) FROM market") == [(1,)]
        other.execute("ROLLBACK")
        assert mariadb.query("SELECT COUNT(*) FROM tick") == [(1,)]
        assert position(mariadb) == [1]
        run.store_all()
    assert mariadb.query("SELECT COUNT(*) FROM tick") == [(10,)]
    assert position(mariadb) == [3]


def test_victim_of_a_deadlock_is_run_again(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=1, each=10)
    with storing(tmp_path, mariadb.target) as run, another_session(mariadb) as other:
        run.accept(ticks[:5])
        run.store_all()
        other.execute("CREATE TABLE heavy (id INT) ENGINE = InnoDB")
        other.execute("BEGIN")
        other.execute("INSERT INTO heavy SELECT seq FROM seq_1_to_5000")  # the lighter one is the victim
        other.execute("SELECT * FROM tick FOR UPDATE")
        run.accept(ticks[5:])
        storing_ = InThread(run.step)
        wait_for_lock_wait(mariadb)
        other.execute("SELECT * FROM journal_position FOR UPDATE")
        with pytest.raises(StorageBusy, match="1213"):
            storing_.join()
        other.execute("ROLLBACK")
        assert stored_ticks(mariadb) == in_order(ticks[:5])
        run.store_all()
    assert stored_ticks(mariadb) == in_order(ticks)


# --- connections --------------------------------------------------------------------------------


def test_idle_connection_that_the_server_closed_loses_nothing(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=4)
    with storing(tmp_path, mariadb.target) as run:
        run.accept(ticks[:6])
        run.store_all()
        run.pool.run(lambda session: session.execute("SET SESSION wait_timeout = 1"))
        wait_until(lambda: mariadb.server.status("Threads_connected") == 1, what="only root is left")
        run.accept(ticks[6:])
        with pytest.raises(StorageBusy, match=r"2006|2013|4031"):
            run.step()
        run.store_all()
    assert stored_ticks(mariadb) == in_order(ticks)


def test_connection_killed_between_statements_is_not_replaced_within_the_transaction(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    """DBUtils would go on with a new connection, and the COMMIT would keep the second half only."""
    ticks = some_ticks(markets=1, each=6)

    @contextlib.contextmanager
    def killed_in_the_midst(session: Any) -> Iterator[None]:
        execute = session.execute

        def execute_and_die(sql: Any, parameters: Any = ()) -> None:
            if isinstance(sql, bytes):  # the ticks; the position is locked and open by now
                mariadb.server.execute(f"KILL {own_id}")
            execute(sql, parameters)

        session.execute = execute_and_die
        yield

    with storing(tmp_path, mariadb.target) as run:
        [(own_id,)] = run.pool.run(lambda session: session.query("SELECT CONNECTION_ID()"))
        run.accept(ticks)
        with pytest.raises(StorageBusy, match=r"2006|2013|1927"):
            run.step(wrapped=killed_in_the_midst)
        assert (position(mariadb), stored_ticks(mariadb)) == ([], [])
        run.store_all()
    assert stored_ticks(mariadb) == in_order(ticks)


# --- another database behind the connection -----------------------------------------------------


def test_database_that_went_back_gets_again_what_the_journal_has(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=5, each=6)
    with storing(tmp_path, database.target) as run:
        run.accept(*in_lists(ticks[:25], of=5))
        run.store_all(max_rows=5)
        assert run.confirmed[TICKS] == 4
        database.query("UPDATE journal_position SET batch = 2 WHERE lane = 'ticks'")
        database.query(f"DELETE FROM tick WHERE ts_us >= {ticks[10].ts_us}")
        run.accept(ticks[25:])
        done = run.step()
        assert "has batch 2, it had 5" in done.went_back
        assert done.confirmed == 2  # what comes after it must not be trimmed
        run.store_all()
        assert run.step().went_back == ""
    assert stored_ticks(database) == in_order(ticks)


def test_database_that_went_back_behind_the_journal_gets_what_is_left(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=5, each=6)
    with storing(tmp_path, database.target) as run:
        run.accept(*in_lists(ticks[:25], of=5))
        run.store_all()
        run.journal.trim_slice(TICKS, through=3)
        database.query("UPDATE journal_position SET batch = 1 WHERE lane = 'ticks'")
        database.query(f"DELETE FROM tick WHERE ts_us >= {ticks[5].ts_us}")
        run.accept(ticks[25:])
        run.store_all()
        assert position(database) == [6]
    assert {*stored_ticks(database)} >= {*ticks[15:]}


def test_database_made_anew_gets_also_what_earlier_runs_left(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=5, each=6)
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[:5], ticks[5:10])
        run.store_all()
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[10:20])
        run.store_all()
        for table in ("tick", "market", "journal_position"):
            database.query(f"DELETE FROM {table}")
        run.store.forget()  # as each new connection does
        run.accept(ticks[20:])
        run.store_all()
        assert sorted(position(database)) == [2, 2]
    assert stored_ticks(database) == in_order(ticks)


def test_database_that_went_back_between_two_journals_is_found_out(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=5, each=6)
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[:10], ticks[10:20])
    with storing(tmp_path, database.target) as run:
        run.accept(ticks[20:])
        run.step()  # all of the earlier run's, and nothing of this one's
        assert position(database) == [2]
        database.query("UPDATE journal_position SET batch = 1 WHERE lane = 'ticks'")
        database.query(f"DELETE FROM tick WHERE ts_us >= {ticks[10].ts_us}")
        assert "has batch 1, it had 2" in run.step().went_back
        run.store_all()
        assert sorted(position(database)) == [1, 2]
    assert stored_ticks(database) == in_order(ticks)


def test_market_that_the_database_forgot_gets_an_id_again(database: AnyDatabase, tmp_path: Path) -> None:
    """A dump loaded beside us breaks no connection, so nobody asks for the ids again by himself."""
    ticks = some_ticks(markets=5, each=6)
    with storing(tmp_path, database.target) as run:
        run.accept(*in_lists(ticks[:20], of=10))
        run.store_all()
        database.query("UPDATE journal_position SET batch = 1 WHERE lane = 'ticks'")
        database.query(f"DELETE FROM tick WHERE ts_us >= {ticks[10].ts_us}")
        database.query("DELETE FROM market WHERE symbol = 'M4'")
        database.query("UPDATE market SET symbol = 'OTHER' WHERE symbol = 'M3'")
        run.accept(ticks[20:])
        run.store_all()
    expected = [*ticks[10:], *(tick for tick in ticks[:10] if tick.market not in {"M3@sim", "M4@sim"})]
    assert {*stored_ticks(database)} >= {*expected}


def test_older_copy_of_the_file_put_in_its_place_is_found_out(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=5, each=6)
    copy = tmp_path / "copy.db"
    with storing(tmp_path, sqlite.target) as run:
        run.accept(ticks[:10])
        run.store_all()
        with (
            contextlib.closing(sqlite3.connect(sqlite.target.path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        run.accept(ticks[10:20])
        run.store_all()
        copy.rename(sqlite.target.path)
        run.accept(ticks[20:])
        with pytest.raises(StorageBusy, match="is not the file that was opened"):
            run.step()
        run.store_all()
    assert stored_ticks(sqlite) == in_order(ticks)


def test_file_deleted_under_us_is_made_anew_from_the_journal(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=5, each=6)
    with storing(tmp_path, sqlite.target) as run:
        run.accept(ticks[:10])
        run.store_all()
        sqlite.target.path.unlink()
        run.accept(ticks[10:])
        with pytest.raises(StorageBusy, match="the file that was opened is not there"):
            run.step()
        run.store_all()
    assert stored_ticks(sqlite) == in_order(ticks)


# --- refused rows -------------------------------------------------------------------------------

REFUSES = {
    "1264": "ALTER TABLE tick MODIFY volume DECIMAL(4, 1)",
    "1406": "ALTER TABLE tick MODIFY volume VARCHAR(3)",
}
TRIGGER = (
    "CREATE TRIGGER refuses BEFORE INSERT ON tick WHEN NEW.volume > 999 "
    "BEGIN SELECT RAISE(ABORT, 'too much'); END"
)


def refuse_large_volumes(database: AnyDatabase, *, number: str = "1264") -> None:
    """Make the table refuse every tick with a volume of 5,000."""
    database.query(TRIGGER if isinstance(database, SqliteDatabase) else REFUSES[number])


def plain(tick: Tick) -> Tick:
    return tick._replace(volume=1.0)


def bad(tick: Tick) -> Tick:
    return tick._replace(volume=5_000.0)


@pytest.mark.parametrize(("kind", "number"), [("sqlite", "19"), ("mariadb", "1264"), ("mariadb", "1406")])
def test_bad_rows_are_put_aside_and_the_rest_is_stored(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, number: str
) -> None:
    database: AnyDatabase = request.getfixturevalue(kind)
    ticks = [plain(tick) for tick in some_ticks(markets=27, each=300)]  # more than a statement
    spoilt = {0, 1, 700, 5_000, len(ticks) - 1}
    with storing(tmp_path, database.target) as run:
        run.pool.run(lambda _: None)
        refuse_large_volumes(database, number=number)
        run.accept([bad(tick) if n in spoilt else tick for n, tick in enumerate(ticks)])
        done = run.step()
    assert len(done.refused) == len(spoilt)
    assert all(number in reason for reason in done.refused)
    kept = [tick for n, tick in enumerate(ticks) if n not in spoilt]
    assert [tick[:5] for tick in stored_ticks(database)] == [tick[:5] for tick in in_order(kept)]
    letters = database.query("SELECT table_name, `row`, error FROM dead_letter ORDER BY id")
    assert len(letters) == len(spoilt)
    table, row, error = letters[0]
    assert table == "tick"
    assert ticks[0].market in row
    assert number in error
    assert position(database) == [1]


def test_put_aside_once_though_the_answer_was_lost(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = [plain(tick) for tick in some_ticks(markets=2, each=3)]
    with storing(tmp_path, database.target) as run:
        run.pool.run(lambda _: None)
        refuse_large_volumes(database)
        run.accept([bad(ticks[0]), *ticks[1:]])
        for wrapped in (fails_before_commit, fails_after_commit):
            with pytest.raises(Injected):
                run.step(wrapped=wrapped)
        run.store_all()
    assert database.query("SELECT COUNT(*) FROM dead_letter") == [(1,)]
    assert database.query("SELECT COUNT(*) FROM tick") == [(5,)]


@pytest.mark.parametrize("more", [0, 1])
def test_too_many_bad_rows_are_a_wrong_database_and_nothing_is_put_aside(
    database: AnyDatabase, tmp_path: Path, more: int
) -> None:
    count = MOST_REFUSED + more
    ticks = [plain(tick) for tick in some_ticks(markets=5, each=100)]
    with storing(tmp_path, database.target) as run:
        run.pool.run(lambda _: None)
        refuse_large_volumes(database)
        run.accept([bad(tick) for tick in ticks[:count]] + ticks[count:])
        if not more:
            assert len(run.step().refused) == count
            return
        with pytest.raises(StorageRefused, match="over 100 rows refused"):
            run.step()
    for table in ("dead_letter", "tick", "market", "journal_position"):
        assert database.query(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_refused_money_row_is_put_aside_by_nobody(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    with storing(tmp_path, mariadb.target) as run:
        run.pool.run(lambda _: None)
        mariadb.query("ALTER TABLE actor_event MODIFY detail TEXT CHARACTER SET latin1")
        run.accept(Money(events=[event(1), event(2, detail="↯")]), money(3))
        with pytest.raises(StorageRefused, match="1366"):
            run.step(MONEY)
        assert mariadb.query("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        assert position(mariadb, MONEY) == []
        mariadb.query("ALTER TABLE actor_event MODIFY detail TEXT CHARACTER SET utf8mb4")
        run.store_all()
    assert mariadb.query("SELECT id, detail FROM actor_event") == [(1, "live"), (2, "↯"), (3, "live")]


def test_refused_row_of_the_ledger_is_put_aside_by_nobody(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    signal = a_signal(1)
    trade = a_trade(signal, stake="1000.5")
    with storing(tmp_path, mariadb.target) as run:
        run.pool.run(lambda _: None)
        mariadb.query("ALTER TABLE trade MODIFY stake DECIMAL(5, 2)")
        run.accept(as_money(signal, trade, a_step(trade, 1)), money(3))
        with pytest.raises(StorageRefused, match="1264"):
            run.step(MONEY)
        assert mariadb.query("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        assert position(mariadb, MONEY) == []
        assert stored_ledger(mariadb) == Money()
        mariadb.query("ALTER TABLE trade MODIFY stake DECIMAL(20, 8)")
        run.store_all()
    assert stored_ledger(mariadb) == as_money(signal, trade, a_step(trade, 1))


def test_unknown_refusal_puts_nothing_aside(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    with storing(tmp_path, mariadb.target) as run:
        run.pool.run(lambda _: None)
        mariadb.query("ALTER TABLE tick ADD CONSTRAINT small CHECK (price < 1)")
        run.accept(some_ticks(markets=1, each=3))
        with pytest.raises(StorageBusy, match="4025"):
            run.step()
    assert mariadb.query("SELECT COUNT(*) FROM dead_letter") == [(0,)]


def test_market_without_a_free_id_is_a_wrong_database(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=1, each=3)
    with storing(tmp_path, mariadb.target) as run:
        run.pool.run(lambda _: None)
        mariadb.query("INSERT INTO market VALUES (32767, 'sim', 'LAST')")  # a SMALLINT's highest
        run.accept(ticks)
        with pytest.raises(StorageRefused, match="1264"):
            run.step()
        assert (position(mariadb), mariadb.query("SELECT COUNT(*) FROM dead_letter")) == ([], [(0,)])
        mariadb.query("DELETE FROM market")
        run.store_all()
    assert stored_ticks(mariadb) == ticks


# --- sizes and texts ----------------------------------------------------------------------------


def test_every_statement_stays_under_the_smallest_packet(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    large_us = 9_000_000_000_000_000_000
    ticks = [
        Tick("M0@sim", large_us + n, large_us + n, 1.2345678901234567e-100, 2.2250738585072014e-308,
             2.2250738585072014e-308, 2.2250738585072014e-308, large_us)
        for n in range(2 * ROWS_A_STATEMENT)
    ]  # fmt: skip
    events = [event(n, detail="\N{ROCKET}" * DETAIL_LENGTH) for n in range(200)]
    mariadb.server.execute(f"SET GLOBAL max_allowed_packet = {2**20}")
    try:
        with storing(tmp_path, mariadb.target) as run:
            run.accept(ticks, Money(events=events))
            run.store_all()
    finally:
        mariadb.server.execute(f"SET GLOBAL max_allowed_packet = {2**24}")
    assert mariadb.query("SELECT COUNT(*) FROM tick") == [(len(ticks),)]
    assert mariadb.query("SELECT COUNT(*), MIN(CHAR_LENGTH(detail)) FROM actor_event") == [
        (200, DETAIL_LENGTH)
    ]


def test_texts_come_through_where_the_server_thinks_latin1(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    mariadb.query(f"ALTER DATABASE {mariadb.target.database} CHARACTER SET latin1")
    [tick] = some_ticks(markets=1, each=1)
    with storing(tmp_path, mariadb.target) as run:
        run.accept(
            [tick._replace(market="\N{ROCKET}USD@sim")], Money(events=[event(1, detail="\N{ROCKET}é")])
        )
        run.store_all()
    assert [stored.market for stored in stored_ticks(mariadb)] == ["\N{ROCKET}USD@sim"]
    assert mariadb.query("SELECT detail FROM actor_event") == [("\N{ROCKET}é",)]
