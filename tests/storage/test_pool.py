import functools
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from databases import AnyDatabase, Batch, MariadbDatabase, SqliteDatabase, open_store, some_ticks

from domain.errors import StorageBusy, StorageRefused
from storage.session import Session

HANG_GUARD_S = 30.0


def nothing(_: Session) -> None:
    pass


class InThread:
    """Runs one call in a thread and keeps its exception."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.failure: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except StorageBusy as exc:
            self.failure = exc

    def join(self) -> None:
        self._thread.join(HANG_GUARD_S)
        assert not self._thread.is_alive(), "the thread hangs"


def wait_until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG_GUARD_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_connection_is_kept(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        store.pool.run(nothing)
        connects, statements = store.driver.counts.connects, store.driver.counts.statements
        for _ in range(10):
            store.pool.run(nothing)
        assert store.driver.counts.connects == connects
        assert store.driver.counts.statements == statements


def test_our_counts_are_the_servers(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as migrating:
        migrating.pool.run(nothing)
    server = mariadb.server
    server.wait_alone()
    with open_store(mariadb.target) as store:
        connections, questions = server.status("Connections"), server.status("Questions")
        store.pool.run(nothing)
        store.pool.run(
            functools.partial(store.batches.store, batch=Batch(ticks=some_ticks(markets=3, each=9)))
        )
        # Asking for a counter is a question too: Connections once, Questions itself once.
        assert server.status("Connections") - connections == store.driver.counts.connects == 1
        assert server.status("Questions") - questions - 2 == store.driver.counts.statements


def test_an_error_gives_a_new_connection_and_leaves_no_half_transaction(database: AnyDatabase) -> None:
    def fail(session: Session) -> None:
        session.begin()
        session.execute("INSERT INTO market VALUES (1, 'sim', 'EURUSD')")
        session.execute("SELECT * FROM no_such_table")

    with open_store(database.target) as store:
        store.pool.run(nothing)
        connects = store.driver.counts.connects
        with pytest.raises(StorageRefused, match="no_such_table"):
            store.pool.run(fail)
        store.pool.run(nothing)
        assert store.driver.counts.connects == connects + 1
    assert database.query("SELECT * FROM market") == []


def test_an_exception_of_our_own_ends_the_transaction_too(database: AnyDatabase) -> None:
    def fail(session: Session) -> None:
        session.begin()
        session.execute("INSERT INTO market VALUES (1, 'sim', 'EURUSD')")
        raise KeyError("our bug")

    with open_store(database.target) as store:
        with pytest.raises(KeyError):
            store.pool.run(fail)
        store.pool.run(lambda session: store.batches.store(session, Batch()))
    assert database.query("SELECT * FROM market") == []


def test_no_connection_is_left_behind_by_errors(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        for _ in range(5):
            with pytest.raises(StorageRefused):
                store.pool.run(lambda session: session.execute("nonsense"))
        store.pool.run(nothing)
        wait_until(lambda: mariadb.server.status("Threads_connected") == 2)  # ours and root's
    wait_until(lambda: mariadb.server.status("Threads_connected") == 1)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_failed_attempts_leave_no_open_file(mariadb: MariadbDatabase) -> None:
    with open_store(attrs.evolve(mariadb.target, password="wrong")) as store:
        before = open_files()
        for _ in range(5):
            with pytest.raises(StorageRefused):
                store.pool.run(nothing)
        mariadb.server.stop()
        for _ in range(5):
            with pytest.raises(StorageBusy):
                store.pool.run(nothing)
        assert open_files() <= before  # root's own connection is gone with the server


def test_a_server_restarted_in_a_transaction_loses_no_row_silently(mariadb: MariadbDatabase) -> None:
    def insert_over_a_restart(session: Session) -> None:
        session.begin()
        session.execute("INSERT INTO market VALUES (1, 'sim', 'A')")
        mariadb.server.kill()
        mariadb.server.start()
        session.execute("INSERT INTO market VALUES (2, 'sim', 'B')")
        session.commit()

    with open_store(mariadb.target) as store:
        store.pool.run(nothing)
        with pytest.raises(StorageBusy, match=r"2013|2006"):
            store.pool.run(insert_over_a_restart)
    assert mariadb.query("SELECT * FROM market") == []


def test_a_server_that_is_not_there_is_named(mariadb: MariadbDatabase) -> None:
    mariadb.server.stop()
    with open_store(mariadb.target) as store:
        with pytest.raises(
            StorageBusy, match=r"2003 can't connect to mysql://marketd@127.0.0.1:\d+.*refused"
        ):
            store.pool.run(nothing)
        mariadb.server.start()
        store.pool.run(nothing)


def test_a_session_is_strict_in_utc_and_waits_less_for_locks_than_for_answers(
    mariadb: MariadbDatabase,
) -> None:
    sql = (
        "SELECT @@sql_mode, @@time_zone, @@innodb_lock_wait_timeout, @@autocommit, @@character_set_connection"
    )
    with open_store(mariadb.target, read_timeout_s=6) as store:
        [(sql_mode, zone, lock_wait_s, autocommit, charset)] = store.pool.run(lambda s: s.query(sql))
    assert "STRICT_ALL_TABLES" in sql_mode
    assert (zone, lock_wait_s, autocommit, charset) == ("+00:00", 3, 0, "utf8mb4")


def test_a_unix_socket_works_too(mariadb: MariadbDatabase) -> None:
    target = attrs.evolve(mariadb.target, unix_socket=str(mariadb.server.unix_socket))
    with open_store(target) as store:
        assert store.pool.run(lambda session: session.query("SELECT 1")) == [(1,)]


def test_a_hanging_statement_is_cut(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target, read_timeout_s=600) as store:
        store.pool.run(nothing)
        mariadb.server.pause()
        hanging = InThread(lambda: store.pool.run(lambda session: session.execute("SELECT 1")))
        store.pool.cut()
        hanging.join()
        assert hanging.failure is not None


def test_a_statement_that_runs_long_is_cut(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target, read_timeout_s=600) as store:
        store.pool.run(nothing)
        sleeping = InThread(lambda: store.pool.run(lambda session: session.execute("SELECT SLEEP(500)")))
        running = "SELECT 1 FROM information_schema.processlist WHERE info = 'SELECT SLEEP(500)'"
        wait_until(lambda: mariadb.server.execute(running))
        store.pool.cut()
        sleeping.join()
        assert "2013" in str(sleeping.failure)


def test_a_hanging_connect_is_cut(mariadb: MariadbDatabase) -> None:
    mariadb.server.pause()
    with open_store(mariadb.target, read_timeout_s=600) as store:
        hanging = InThread(lambda: store.pool.run(nothing))
        wait_until(lambda: store.driver.counts.connects == 1)
        store.pool.cut()
        hanging.join()
        assert hanging.failure is not None


def test_a_hanging_migration_is_cut_though_it_has_no_timeout(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target, read_timeout_s=600) as store:
        mariadb.query("CREATE TABLE market (id INT)")
        mariadb.query("LOCK TABLES market WRITE")  # CREATE TABLE waits for it
        try:
            hanging = InThread(lambda: store.pool.run(nothing))
            waiting = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'CREATE TABLE%market (%'"
            wait_until(lambda: mariadb.server.execute(waiting))
            store.pool.cut()
            hanging.join()
            assert "2013" in str(hanging.failure)
        finally:
            mariadb.query("UNLOCK TABLES")


def test_a_silent_server_is_given_up_after_the_read_timeout(mariadb: MariadbDatabase) -> None:
    mariadb.server.pause()
    with open_store(mariadb.target, read_timeout_s=1) as store:
        hanging = InThread(lambda: store.pool.run(nothing))
        hanging.join()
        assert "timed out" in str(hanging.failure)


def test_after_the_cut_no_connection_is_begun(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        store.pool.cut()
        with pytest.raises(StorageBusy, match="stopping"):
            store.pool.run(nothing)
        assert store.driver.counts.connects == 0


def test_a_long_sqlite_statement_is_interrupted(sqlite: SqliteDatabase) -> None:
    has_begun = threading.Event()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"

    def count_for_ever(session: Session) -> None:
        has_begun.set()
        session.query(endless)

    with open_store(sqlite.target) as store:
        store.pool.run(nothing)
        running = InThread(lambda: store.pool.run(count_for_ever))
        assert has_begun.wait(HANG_GUARD_S)
        while running._thread.is_alive():  # interrupt() does nothing before the statement runs
            store.pool.cut()
            time.sleep(0.005)
        running.join()
        assert "interrupted" in str(running.failure)


def test_a_locked_file_says_so_and_works_when_it_is_free(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        store.pool.run(nothing)
        other = sqlite3.connect(sqlite.target.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy, match="5 database is locked"):
            store.pool.run(lambda session: session.begin())
        other.execute("COMMIT")
        other.close()
        store.pool.run(lambda session: store.batches.store(session, Batch()))


def test_a_file_that_is_no_database_is_refused(sqlite: SqliteDatabase) -> None:
    sqlite.target.path.write_bytes(b"this is no database, but long enough to be looked at" * 50)
    with open_store(sqlite.target) as store, pytest.raises(StorageRefused, match=r"26 .*not a database"):
        store.pool.run(nothing)


def test_a_missing_folder_is_named(sqlite: SqliteDatabase) -> None:
    target = attrs.evolve(sqlite.target, path=sqlite.target.path / "deeper" / "x.db")
    with open_store(target) as store, pytest.raises(StorageRefused, match=r"14 unable to open.*deeper/x.db"):
        store.pool.run(nothing)


def test_the_driver_of_the_other_database_is_not_imported() -> None:
    code = (
        "import sys, pathlib, actors.writer\n"
        "import storage.drivers as d, storage.settings as s, storage.target as t\n"
        "d.make_driver(t.SqliteTarget(path=pathlib.Path('x')), settings=s.StorageSettings());"
        "sys.exit('pymysql' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wrong_password_is_refused_by_its_number(mariadb: MariadbDatabase) -> None:
    target = attrs.evolve(mariadb.target, password="wrong")
    with open_store(target) as store, pytest.raises(StorageRefused, match="1045 Access denied"):
        store.pool.run(nothing)
