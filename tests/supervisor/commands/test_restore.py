import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from daemons import CLOSED_PORT_URL, FIVE, WITHIN_S, Settings
from databases import AnyDatabase, MariaDB, MariadbDatabase, SqliteDatabase
from filled import Tables, build, content, rows_of_every_table

from storage.backup_file import seal
from storage.tables import NEWEST, tables_of
from storage.target import SqliteTarget
from supervisor import desired, lock
from supervisor.cli import run_command
from supervisor.desired import DesiredState, KillSwitch

NOBODY = 65_534
SWITCH = KillSwitch(who="uid 0", when_us=1_795_000_000_000_000, reason="…")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="only root can be somebody else"
)


@attrs.frozen(kw_only=True)
class Home:
    """An installation: settings, a state directory, a database."""

    folder: Path
    database: AnyDatabase

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def words(self) -> list[str]:
        config = self.folder / "marketd.toml"
        settings = Settings(url=CLOSED_PORT_URL, database=self.database, symbols=FIVE)
        config.write_text(settings.text(), encoding="utf-8")
        return ["--config", str(config), "--state-dir", str(self.state_dir)]

    def back_up(self, file: Path) -> Path:
        assert run_command(["backup", str(file), *self.words]) == 0
        return file

    def restore(self, file: Path, *more: str) -> int:
        return run_command(["restore", str(file), *more, *self.words])

    def content(self) -> Tables:
        return content(self.database.target, version=NEWEST)

    def names(self) -> set[str]:
        """Return what is in the state directory and in the database."""
        files = {path.name for path in self.state_dir.iterdir()} if self.state_dir.exists() else set()
        return files | table_names(self.database)

    def control(self) -> DesiredState:
        found = desired.read(self.state_dir)
        assert found is not None
        return found


def table_names(database: AnyDatabase) -> set[str]:
    if isinstance(database, MariadbDatabase):
        return {name for (name,) in database.query("SHOW TABLES")}
    if not database.target.path.exists():
        return set()
    return {name for (name,) in database.query("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def home(tmp_path: Path, database: AnyDatabase) -> Home:
    """A filled installation that a backup is made of; its embedded file is in the state directory."""
    made = make_home(tmp_path / "home", database)
    build(made.database, version=NEWEST, rows=rows_of_every_table())
    desired.write(made.state_dir, DesiredState(stopped=["EURUSD@sim"], started=["GBPUSD@sim"]))
    return made


@pytest.fixture(params=["sqlite", "mariadb"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """An installation that was never started, with each kind of database."""
    if request.param == "sqlite":
        yield make_home(tmp_path / "other", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
        return
    server: MariaDB = request.getfixturevalue("mariadb_server")
    server.make_sound()
    name = server.new_database()
    yield make_home(tmp_path / "other", MariadbDatabase(target=server.target(name), server=server))
    server.make_sound()
    server.execute(f"DROP DATABASE {name}")


def make_home(folder: Path, database: AnyDatabase) -> Home:
    home = Home(folder=folder, database=database)
    home.state_dir.mkdir(parents=True)
    if isinstance(database, SqliteDatabase):
        database = SqliteDatabase(target=SqliteTarget(path=home.state_dir / "marketd.db"))
    return Home(folder=folder, database=database)


OTHER_ROWS = rows_of_every_table(each=10)
NO_ROWS: Tables = {table: [] for table in OTHER_ROWS}


def fill_otherwise(home: Home) -> Tables:
    build(home.database, version=NEWEST, rows=OTHER_ROWS)
    return home.content()


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of an embedded database, as a file."""
    home = make_home(tmp_path / "made", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
    build(home.database, version=NEWEST, rows=rows_of_every_table())
    desired.write(home.state_dir, DesiredState(stopped=["EURUSD@sim"]))
    return home.back_up(tmp_path / "backup")


# --- there and back -------------------------------------------------------------------------------------


def test_all_rows_of_all_tables_come_back_in_either_database(home: Home, other: Home, tmp_path: Path) -> None:
    file = home.back_up(tmp_path / "backup")
    assert other.restore(file) == 0
    assert other.content() == home.content()


def test_a_restored_database_is_like_one_that_was_never_anything_else(
    home: Home, other: Home, tmp_path: Path
) -> None:
    other.restore(home.back_up(tmp_path / "backup"))
    assert table_names(other.database) == set(tables_of(NEWEST))
    if isinstance(other.database, MariadbDatabase):
        assert "PARTITION BY RANGE" in other.database.query("SHOW CREATE TABLE tick")[0][1]
        other.database.query("INSERT INTO gap VALUES (NULL, 3, 1, 2, 'stale', 'none', '')")
        assert other.database.query("SELECT MAX(id) FROM gap") == [(8,)]  # counted on
    else:
        assert other.database.query("PRAGMA auto_vacuum") == [(2,)]
        assert other.database.query("PRAGMA application_id") == [(0,)]
        assert other.database.query("PRAGMA user_version") == [(0,)]


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    database: AnyDatabase, other: Home, tmp_path: Path, version: int
) -> None:
    old = make_home(tmp_path / "old", database)
    build(old.database, version=version, rows=rows_of_every_table())
    before = content(old.database.target, version=version)
    assert other.restore(old.back_up(tmp_path / "backup")) == 0
    assert table_names(other.database) == set(tables_of(NEWEST))
    after = content(other.database.target, version=version)
    assert after["schema_version"] == [(number,) for number in range(1, NEWEST + 1)]
    assert {**after, "schema_version": None} == {**before, "schema_version": None}


def test_nothing_of_the_work_is_left(home: Home, other: Home, tmp_path: Path) -> None:
    other.restore(home.back_up(tmp_path / "backup"))
    left = {name for name in other.names() if "restoring" in name or "replaced" in name}
    assert left == set()


# --- data that are there --------------------------------------------------------------------------------


def test_data_are_not_replaced_unless_that_is_asked_for(other: Home, backup: Path) -> None:
    before = fill_otherwise(other)
    names = other.names()
    assert other.restore(backup) == 1
    assert other.content() == before
    assert other.names() - names == {"marketd.lock"}


@pytest.mark.parametrize("table", sorted(OTHER_ROWS))
def test_a_row_in_any_table_is_data(other: Home, backup: Path, table: str) -> None:
    build(other.database, version=NEWEST, rows={**NO_ROWS, table: OTHER_ROWS[table]})
    assert other.restore(backup) == 1


def test_empty_tables_are_no_data(other: Home, backup: Path) -> None:
    build(other.database, version=NEWEST, rows=NO_ROWS)
    assert other.restore(backup) == 0


def rows_set_aside(home: Home, *, version: int = NEWEST) -> Tables:
    if isinstance(home.database, SqliteDatabase):
        [path] = home.state_dir.glob("marketd.db.replaced-*")
        return content(SqliteTarget(path=path), version=version)
    [marker] = [name for name in table_names(home.database) if name.endswith("_schema_version")]
    prefix = marker.removesuffix("schema_version")
    assert prefix.startswith("replaced_")
    for table in tables_of(NEWEST):
        home.database.query(f"DROP TABLE `{table}`")
        home.database.query(f"RENAME TABLE {prefix}{table} TO `{table}`")
    return content(home.database.target, version=version)


def test_replaced_data_are_set_aside_whole(other: Home, backup: Path) -> None:
    before = fill_otherwise(other)
    assert other.restore(backup, "--replace") == 0
    assert rows_set_aside(other) == before


def test_data_of_an_older_schema_are_set_aside_whole(other: Home, backup: Path) -> None:
    build(other.database, version=1, rows=OTHER_ROWS)
    before = content(other.database.target, version=1)
    assert other.restore(backup, "--replace") == 0
    after = rows_set_aside(other, version=1)
    assert {**after, "schema_version": None} == {**before, "schema_version": None}


def test_rows_that_were_only_in_the_write_ahead_log_are_set_aside_too(tmp_path: Path, backup: Path) -> None:
    other = make_home(tmp_path / "other", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
    fill_otherwise(other)
    script = f"""
import os, sqlite3
connection = sqlite3.connect({str(other.database.target.path)!r}, isolation_level=None)
connection.execute("INSERT INTO market VALUES (77, 'sim', 'LATE')")
os._exit(0)  # nobody brings the log into the file
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=WITHIN_S)
    assert (other.state_dir / "marketd.db-wal").stat().st_size > 0
    assert other.restore(backup, "--replace") == 0
    assert (77, "sim", "LATE") in rows_set_aside(other)["market"]
    assert (77, "sim", "LATE") not in other.content()["market"]


def test_a_database_that_is_broken_is_set_aside_as_it_is(tmp_path: Path, backup: Path) -> None:
    other = make_home(tmp_path / "other", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
    assert isinstance(other.database, SqliteDatabase)
    other.database.target.path.write_bytes(b"broken" * 1_000)
    assert other.restore(backup) == 1
    assert other.restore(backup, "--replace") == 0
    [aside] = other.state_dir.glob("marketd.db.replaced-*")
    assert aside.read_bytes() == b"broken" * 1_000
    assert len(other.content()["tick"]) == 302


def test_the_log_of_a_database_that_was_removed_does_not_get_into_the_restored_one(
    tmp_path: Path, backup: Path
) -> None:
    other = make_home(tmp_path / "other", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
    path = other.state_dir / "marketd.db"
    script = f"""
import os, sqlite3
connection = sqlite3.connect({str(path)!r}, isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE market (id)")
os._exit(0)  # nobody brings the log into the file
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=WITHIN_S)
    path.unlink()
    log = (other.state_dir / "marketd.db-wal").read_bytes()
    assert len(log) > 0
    assert other.restore(backup) == 0
    [aside] = other.state_dir.glob("marketd.db.replaced-*-wal")
    assert aside.read_bytes() == log
    assert other.content() == content_of_backup(backup)


def test_a_file_that_another_process_has_open_is_not_replaced(tmp_path: Path, backup: Path) -> None:
    other = make_home(tmp_path / "other", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
    before = fill_otherwise(other)
    desired.write(other.state_dir, DesiredState(started=["A@sim"]))
    reader = sqlite3.connect(other.database.target.path, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM market").fetchall()
        assert other.restore(backup, "--replace") == 1
    finally:
        reader.close()
    assert other.content() == before
    assert other.control() == DesiredState(started=["A@sim"], drain=True)


def test_tables_that_another_session_holds_are_not_replaced(
    tmp_path: Path, mariadb: MariadbDatabase, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.restore_mysql.RENAME_WAIT_S", 1)
    other = make_home(tmp_path / "other", mariadb)
    before = fill_otherwise(other)
    desired.write(other.state_dir, DesiredState(started=["A@sim"]))
    mariadb.query("BEGIN")
    mariadb.query("SELECT * FROM tick LIMIT 1")  # root's session holds the table's definition
    try:
        assert other.restore(backup, "--replace") == 1
    finally:
        mariadb.query("ROLLBACK")
    assert other.content() == before
    assert other.control() == DesiredState(started=["A@sim"], drain=True)
    assert not any(name.startswith("restoring_") for name in other.names())
    assert other.restore(backup, "--replace") == 0


def test_a_newer_database_is_not_touched(tmp_path: Path, mariadb: MariadbDatabase, backup: Path) -> None:
    other = make_home(tmp_path / "other", mariadb)
    fill_otherwise(other)
    mariadb.query("INSERT INTO schema_version VALUES (99, 0)")
    before = other.content()
    assert other.restore(backup, "--replace") == 78
    assert other.content() == before


# --- wrong files ------------------------------------------------------------------------------------------


def assert_refused_untouched(home: Home, file: Path) -> None:
    before, names = home.content(), home.names()
    assert home.restore(file, "--replace") == 1
    assert home.content() == before
    assert home.names() - names <= {"marketd.lock"}


def test_a_backup_that_was_cut_off_anywhere_is_refused(other: Home, backup: Path) -> None:
    fill_otherwise(other)
    whole = backup.read_bytes()
    for size in (0, 50, 100, 4_096, len(whole) // 2, len(whole) - 4_096, len(whole) - 1):
        backup.write_bytes(whole[:size])
        assert_refused_untouched(other, backup)


def test_a_backup_with_one_changed_byte_is_refused(other: Home, backup: Path) -> None:
    fill_otherwise(other)
    whole = backup.read_bytes()
    for at in (0, 24, 60, 68, 99, 100, 5_000, len(whole) // 2, len(whole) - 1):
        backup.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert_refused_untouched(other, backup)


def test_a_backup_with_something_behind_it_is_refused(other: Home, backup: Path) -> None:
    fill_otherwise(other)
    backup.write_bytes(backup.read_bytes() + bytes(4_096))
    assert_refused_untouched(other, backup)


def test_what_is_no_backup_is_refused(other: Home, tmp_path: Path) -> None:
    fill_otherwise(other)
    for name, text in (("empty", b""), ("text", b"text" * 5_000), ("folder", None)):
        file = tmp_path / name
        file.mkdir() if text is None else file.write_bytes(text)
        assert_refused_untouched(other, file)
    assert_refused_untouched(other, tmp_path / "missing")


def test_a_database_of_marketd_is_no_backup(other: Home, tmp_path: Path) -> None:
    fill_otherwise(other)
    plain = SqliteDatabase(target=SqliteTarget(path=tmp_path / "plain"))
    build(plain, version=NEWEST, rows=OTHER_ROWS)
    assert_refused_untouched(other, tmp_path / "plain")


CHANGES = {
    "newer schema": (
        f"UPDATE backup SET content = CAST(replace(content, '\"schema_version\":{NEWEST},', "
        "'\"schema_version\":99,') AS BLOB) WHERE name = 'manifest'"
    ),
    "newer schema in the table": "INSERT INTO schema_version VALUES (99, 0)",
    "other format": (
        "UPDATE backup SET content = CAST(replace(content, '\"format\":1', '\"format\":2') AS BLOB) "
        "WHERE name = 'manifest'"
    ),
    "no manifest": "DELETE FROM backup WHERE name = 'manifest'",
    "a manifest that is none": "UPDATE backup SET content = x'ff' WHERE name = 'manifest'",
    "no papers": "DROP TABLE backup",
    "a row is missing": "DELETE FROM tick WHERE ts_us = 0",
    "a table is missing": "DROP TABLE gap",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_backup_that_contradicts_itself_is_refused(other: Home, backup: Path, change: str) -> None:
    fill_otherwise(other)
    changed = SqliteDatabase(target=SqliteTarget(path=backup))
    before = changed.query("SELECT COUNT(*) FROM sqlite_master"), changed.query("SELECT * FROM backup")
    changed.query(change)
    seal(backup)
    if change.startswith("UPDATE"):
        assert changed.query("SELECT * FROM backup") != before[1]  # the change hit something
    assert_refused_untouched(other, backup)


# --- control.json, settings -------------------------------------------------------------------------------


def test_what_was_wanted_comes_back_in_drain(home: Home, other: Home, tmp_path: Path) -> None:
    other.restore(home.back_up(tmp_path / "backup"))
    assert other.control() == DesiredState(stopped=["EURUSD@sim"], started=["GBPUSD@sim"], drain=True)


def test_a_kill_switch_of_the_present_stays_on(other: Home, backup: Path) -> None:
    desired.write(other.state_dir, DesiredState(kill_switch=SWITCH))
    other.restore(backup)
    assert other.control().kill_switch == SWITCH


def test_a_kill_switch_of_the_backup_comes_back(home: Home, other: Home, tmp_path: Path) -> None:
    desired.write(home.state_dir, DesiredState(kill_switch=SWITCH))
    other.restore(home.back_up(tmp_path / "backup"))
    assert other.control().kill_switch == SWITCH


def test_a_present_memory_that_is_missing_beside_data_switches_all_trading_off(
    other: Home, backup: Path
) -> None:
    fill_otherwise(other)
    other.restore(backup, "--replace")
    assert other.control().kill_switch is not None


def test_a_memory_that_the_backup_has_not_switches_all_trading_off(
    home: Home, other: Home, tmp_path: Path
) -> None:
    (home.state_dir / desired.FILE_NAME).unlink()
    other.restore(home.back_up(tmp_path / "backup"))
    assert other.control().kill_switch is not None


def test_what_is_unknown_in_it_is_not_restored_and_said(
    home: Home, other: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.state_dir / desired.FILE_NAME).write_text('{"version": 1, "armed": {"account": "123"}}')
    other.restore(home.back_up(tmp_path / "backup"))
    assert "armed" in capsys.readouterr().out
    written = json.loads((other.state_dir / desired.FILE_NAME).read_bytes())
    assert "armed" not in written


def test_the_present_memory_is_set_aside(other: Home, backup: Path) -> None:
    desired.write(other.state_dir, DesiredState(started=["A@sim"]))
    before = (other.state_dir / desired.FILE_NAME).read_bytes()
    other.restore(backup)
    [aside] = other.state_dir.glob("control.json.replaced-*")
    assert aside.read_bytes() == before


def test_the_settings_are_written_beside_and_those_in_use_stay(other: Home, backup: Path) -> None:
    used = other.words[1]
    before = Path(used).read_bytes()
    other.restore(backup)
    assert Path(used).read_bytes() == before
    [restored] = other.state_dir.glob("marketd.toml.restored-*")
    assert "[storage]" in restored.read_text()
    assert stat.S_IMODE(restored.stat().st_mode) == 0o600


# --- who may ------------------------------------------------------------------------------------------------


def test_beside_a_daemon_it_is_refused_and_the_pid_named(
    other: Home, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fill_otherwise(other)
    with lock.held(other.state_dir):
        assert other.restore(backup, "--replace") == 1
    assert str(os.getpid()) in capsys.readouterr().err
    assert other.content() == before


def test_the_mode_of_the_database_is_kept(tmp_path: Path, backup: Path) -> None:
    other = make_home(tmp_path / "other", SqliteDatabase(target=SqliteTarget(path=tmp_path / "x")))
    assert isinstance(other.database, SqliteDatabase)
    fill_otherwise(other)
    other.database.target.path.chmod(0o660)
    other.restore(backup, "--replace")
    assert stat.S_IMODE(other.database.target.path.stat().st_mode) == 0o660


@pytest.fixture
def foreign() -> Iterator[Home]:
    """An installation that is nobody's, in a folder whose way is open to everybody."""
    with tempfile.TemporaryDirectory(prefix="marketd-foreign-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = make_home(folder / "home", SqliteDatabase(target=SqliteTarget(path=folder / "x")))
        fill_otherwise(home)
        for path in (home.state_dir, *home.state_dir.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        yield home


@needs_root
def test_what_root_restores_belongs_to_the_owner_of_the_state_directory(foreign: Home, backup: Path) -> None:
    words = foreign.words
    pid = os.fork()  # for good, it becomes somebody who may not even read our Python
    if pid == 0:
        os._exit(run_command(["restore", str(backup), "--replace", *words]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    made = {path.name.partition(".replaced")[0] for path in foreign.state_dir.iterdir()}
    assert {"marketd.db", "control.json", "marketd.lock"} <= made
    assert {path.stat().st_uid for path in foreign.state_dir.iterdir()} == {NOBODY}


def test_somebody_else_may_not_restore(other: Home, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fill_otherwise(other)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert other.restore(backup, "--replace") == 1
    assert other.content() == before


# --- killed -------------------------------------------------------------------------------------------------


def content_of_backup(backup: Path) -> Tables:
    """Return its rows, from a copy: our driver changes a file's journal mode, and so its checksum."""
    copy = backup.with_suffix(".copy")
    copy.write_bytes(backup.read_bytes())
    return content(SqliteTarget(path=copy), version=NEWEST)


DIES_BEFORE = """
import importlib, os, signal, sys
from supervisor.cli import main
name, count = {point!r}.split(" ")
module, _, path = name.partition(":")
owner, _, attribute = path.rpartition(".")
place = importlib.import_module(module)
place = getattr(place, owner) if owner else place
real, left = getattr(place, attribute), int(count)

def die_or_do(*arguments, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(place, attribute, die_or_do)
sys.exit(main())
"""

POINTS = {
    "both": (
        "storage.restore:copy_sealed 1",
        "storage.restore:unseal 1",
        "storage.restore:bring_up_to_date 1",
        "supervisor.desired:write 1",  # the second name of control.json is there
        "supervisor.commands.restore:rows_in_words 1",  # all is in its place
        "supervisor.commands.restore:Restore._settings_beside 1",
    ),
    "sqlite": (
        "storage.restore_sqlite:SqlitePlace.switch 1",
        "pathlib:Path.hardlink_to 2",  # of the database, the first is of control.json
        "storage.restore_sqlite:companions 1",  # the present file has two names
        "storage.restore_sqlite:sync_folder 1",
    ),
    "mariadb": (
        "storage.session:Session.execute_many 1",
        "storage.session:Session.execute_many 3",
        "storage.session:Session.commit 4",
        "storage.session:Session.commit 6",
        "storage.restore_mysql:count_rows 1",
        "storage.restore_mysql:MysqlPlace.switch 1",
        "storage.restore_mysql:first_with_rows 2",  # renamed, not said yet
    ),
}
EACH_POINT = [
    *(("sqlite", point) for point in POINTS["both"] + POINTS["sqlite"]),
    *(("mariadb", point) for point in POINTS["both"] + POINTS["mariadb"]),
]


@pytest.mark.parametrize(("other", "point"), EACH_POINT, indirect=["other"])
def test_killed_at_any_point_old_or_new_data_are_whole_and_it_can_be_given_again(
    other: Home, backup: Path, point: str
) -> None:
    old = fill_otherwise(other)
    desired.write(other.state_dir, DesiredState())
    new = content_of_backup(backup)
    done = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE.format(point=point),
         "restore", str(backup), "--replace", *other.words],
        capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = other.content()
    assert found in (old, new)
    if found == new:
        assert other.control().drain
    assert other.restore(backup, "--replace") == 0
    assert other.content() == new
    assert not any("restoring" in name for name in other.names())
