import contextlib
import functools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from databases import AnyDatabase, Batch, MariadbDatabase, SqliteDatabase, open_store, some_ticks

from domain.errors import SchemaNewer, StorageBusy, StorageRefused
from storage.history import Page, Span, tick_page
from storage.reader import Reader, open_reader
from storage.session import Session
from storage.settings import StorageSettings

SETTINGS = StorageSettings(read_timeout_s=5.0)
TICKS = some_ticks(markets=2, each=300)
OF_ONE = [tick[1:] for tick in TICKS if tick.market == "M0@sim"]


def fill(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        store.pool.run(functools.partial(store.batches.store, batch=Batch(ticks=TICKS)))


def read_ticks(reader: Reader) -> Page:
    # The ids are given in the order of the names.
    return reader.run(functools.partial(tick_page, market_id=1, span=Span(), after=None, limit=1_000))


def files(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return all that can be seen of the files of a folder from outside."""
    return {
        file.name: (file.stat().st_mtime_ns, file.stat().st_mode, file.read_bytes())
        for file in folder.iterdir()
        if not file.name.endswith("-shm")  # memory in the shape of a file
    }


def write_something(session: Session) -> None:
    session.execute("DELETE FROM tick")


def test_what_is_read_is_what_was_stored(database: AnyDatabase) -> None:
    fill(database)
    with open_reader(database.target, settings=SETTINGS) as reader:
        assert read_ticks(reader).rows == OF_ONE
        assert read_ticks(reader).rows == OF_ONE


def test_nothing_can_be_written(database: AnyDatabase) -> None:
    fill(database)
    with open_reader(database.target, settings=SETTINGS) as reader:
        for _ in range(2):
            with pytest.raises(StorageBusy, match=r"(?i)read.?only"):
                reader.run(write_something)
            assert read_ticks(reader).rows == OF_ONE


def test_each_read_ends_its_transaction(database: AnyDatabase) -> None:
    fill(database)
    more = [tick._replace(ts_us=tick.ts_us + 10**9) for tick in TICKS]
    with open_reader(database.target, settings=SETTINGS) as reader:
        read_ticks(reader)
        with open_store(database.target) as store:
            store.pool.run(functools.partial(store.batches.store, batch=Batch(ticks=more)))
            assert len(read_ticks(reader).rows) == 2 * len(OF_ONE)


def test_schema_that_is_not_ours_is_refused(database: AnyDatabase) -> None:
    fill(database)
    for version, error, says in (
        (1, StorageRefused, "marketd migrate"),
        (99, SchemaNewer, "99"),
        (0, StorageRefused, "not a database of marketd"),
    ):
        database.query("DELETE FROM schema_version")
        database.query(f"INSERT INTO schema_version VALUES ({version}, 0)")
        with pytest.raises(error, match=says), open_reader(database.target, settings=SETTINGS):
            pass


def test_server_that_is_away_is_said_to_be(mariadb: MariadbDatabase) -> None:
    mariadb.server.kill()
    with pytest.raises(StorageBusy, match="2003"), open_reader(mariadb.target, settings=SETTINGS):
        pass


# --- a file -----------------------------------------------------------------------------------


def test_file_at_rest_is_left_as_it_was(sqlite: SqliteDatabase) -> None:
    fill(sqlite)
    folder = sqlite.target.path.parent
    before = files(folder)
    assert before.keys() == {"marketd.db"}
    with open_reader(sqlite.target, settings=SETTINGS) as reader:
        read_ticks(reader)
        assert files(folder) == before
    assert files(folder) == before


def leave_a_log(sqlite: SqliteDatabase) -> None:
    """Fill the file in a process that ends as by a power cut: what it wrote is in the log only."""
    script = (
        "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "connection.execute('UPDATE tick SET price = 7.5'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, sqlite.target.path], check=True, timeout=60)
    assert sqlite.target.path.with_name("marketd.db-wal").stat().st_size > 0


def test_file_of_a_killed_daemon_is_read_with_its_log_and_left_as_it_was(sqlite: SqliteDatabase) -> None:
    fill(sqlite)
    leave_a_log(sqlite)
    before = files(sqlite.target.path.parent)
    with open_reader(sqlite.target, settings=SETTINGS) as reader:
        assert {row[2] for row in read_ticks(reader).rows} == {7.5}
    assert files(sqlite.target.path.parent) == before


def test_missing_file_is_said_to_be_missing_and_not_made(sqlite: SqliteDatabase) -> None:
    path = sqlite.target.path
    with (
        pytest.raises(StorageRefused, match=f"no database to read at {path}"),
        open_reader(sqlite.target, settings=SETTINGS),
    ):
        pass
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database at all " * 300])
def test_file_that_is_no_database_of_ours_is_refused(sqlite: SqliteDatabase, content: bytes) -> None:
    sqlite.target.path.write_bytes(content)
    with (
        pytest.raises(StorageRefused, match=str(sqlite.target.path)),
        open_reader(sqlite.target, settings=SETTINGS),
    ):
        pass
    assert sqlite.target.path.read_bytes() == content


def test_name_of_a_file_may_hold_what_means_something_in_a_uri(sqlite: SqliteDatabase) -> None:
    fill(sqlite)
    odd = sqlite.target.path.with_name("a?mode=rwc&b#c%20d ü.db")
    sqlite.target.path.rename(odd)
    with open_reader(type(sqlite.target)(path=odd), settings=SETTINGS) as reader:
        assert read_ticks(reader).rows == OF_ONE
    assert [file.name for file in odd.parent.iterdir()] == [odd.name]


def test_writer_that_begins_while_the_file_is_read_is_noticed(sqlite: SqliteDatabase) -> None:
    fill(sqlite)
    with contextlib.ExitStack() as stack:

        def read_while_another_begins(session: Session) -> list[float]:
            if not writers:
                writer = sqlite3.connect(sqlite.target.path, isolation_level=None)
                writers.append(stack.enter_context(contextlib.closing(writer)))
                writer.execute("UPDATE tick SET price = 9.5")
            return [price for (price,) in session.query("SELECT DISTINCT price FROM tick")]

        writers: list[sqlite3.Connection] = []
        reader = stack.enter_context(open_reader(sqlite.target, settings=SETTINGS))
        assert read_ticks(reader).rows == OF_ONE
        assert reader.run(read_while_another_begins) == [9.5]
        writers[0].execute("UPDATE tick SET price = 8.5")
        assert {row[2] for row in read_ticks(reader).rows} == {8.5}


def test_writer_that_came_and_went_while_the_file_was_read_is_noticed(sqlite: SqliteDatabase) -> None:
    fill(sqlite)
    runs = []

    def read_while_another_writes(session: Session) -> list[float]:
        runs.append(session)
        if len(runs) <= goes_on_for:
            sqlite.query(f"UPDATE tick SET price = {len(runs)}")
        return [price for (price,) in session.query("SELECT DISTINCT price FROM tick")]

    with open_reader(sqlite.target, settings=SETTINGS) as reader:
        goes_on_for = 1
        assert reader.run(read_while_another_writes) == [1.0]
        goes_on_for = 1_000
        with pytest.raises(StorageBusy, match="written to"):
            reader.run(read_while_another_writes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written_to_does_not_hinder(sqlite: SqliteDatabase) -> None:
    fill(sqlite)
    sqlite.target.path.parent.chmod(0o555)
    try:
        with open_reader(sqlite.target, settings=SETTINGS) as reader:
            assert read_ticks(reader).rows == OF_ONE
    finally:
        sqlite.target.path.parent.chmod(0o755)
