import argparse
import sqlite3
from pathlib import Path

import attrs
import pytest
from databases import MariadbDatabase, open_store

from storage.migrations import schema_version
from storage.settings import StorageSettings
from storage.target import MysqlTarget, SqliteTarget, Target
from supervisor.commands import check
from supervisor.commands.check_database import check_database, judge_database
from supervisor.commands.check_machine import (
    TIME_ERROR,
    check_clock,
    check_disk,
    check_state_dir,
    judge_clock,
    judge_disk,
)
from supervisor.commands.findings import Level
from supervisor.commands.init import Answers, settings_text

GIB = 2**30
GOOD_TIME_US = 1_795_000_000_000_000  # 2026-11-18


def run_check(config: Path, state: Path) -> int:
    return check.run(argparse.Namespace(config=config, state_dir=state))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file that is right."""
    path = tmp_path / "marketd.toml"
    path.write_text(settings_text(Answers()))
    return path


def lay_schema(target: Target) -> None:
    """Bring an empty database to our newest schema."""
    with open_store(target) as store:
        store.pool.run(schema_version)


@pytest.fixture
def database(tmp_path: Path) -> SqliteTarget:
    """A database file with our newest schema."""
    target = SqliteTarget(path=tmp_path / "marketd.db")
    lay_schema(target)
    return target


# --- the command ------------------------------------------------------------------------------


def test_all_is_well_exits_0_with_a_line_for_each_thing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(config, tmp_path / "state") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[9:].partition(":")[0] for line in lines] == [
        "settings",
        "state directory",
        "database",
        "clock",
        "disk",
    ]
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}


def test_it_changes_nothing(config: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    run_check(config, tmp_path / "state")
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_settings_exit_78_and_are_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[storage]\nflush_rows = 0")
    assert run_check(config, tmp_path) == 78
    assert "[storage] flush_rows = 0" in capsys.readouterr().out


def test_a_password_file_that_is_missing_exits_78(config: Path, tmp_path: Path) -> None:
    config.write_text('[storage]\nurl = "mysql://marketd@localhost/marketd"\npassword_file = "/missing"')
    assert run_check(config, tmp_path) == 78


def test_a_state_directory_that_is_a_file_exits_1(config: Path) -> None:
    assert run_check(config, config) == 1


def test_what_has_no_effect_yet_is_a_warning(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('[door]\nlisten = ""')
    assert run_check(config, tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("warning  settings") for line in lines) == 2  # and no market is named


# --- the database -----------------------------------------------------------------------------


def level_of_database(target: Target, *, state: Path) -> Level:
    settings = StorageSettings(read_timeout_s=5.0)
    return check_database(target, settings=settings, state=state).level


def test_a_database_with_our_schema_is_good(database: SqliteTarget, tmp_path: Path) -> None:
    assert level_of_database(database, state=tmp_path) is Level.OK


def test_an_empty_database_is_brought_up_to_date_by_the_next_start(tmp_path: Path) -> None:
    target = SqliteTarget(path=tmp_path / "empty.db")
    target.path.touch()
    assert level_of_database(target, state=tmp_path) is Level.WARNING


def test_a_database_of_a_newer_marketd_is_refused(database: SqliteTarget, tmp_path: Path) -> None:
    connection = sqlite3.connect(database.path)
    with connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, 0)")
    connection.close()
    assert level_of_database(database, state=tmp_path) is Level.FAILED


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    target = SqliteTarget(path=tmp_path / "text.db")
    target.path.write_text("this is no database, and long enough to be looked at\n" * 100)
    assert level_of_database(target, state=tmp_path) is Level.FAILED


def test_a_database_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    target = SqliteTarget(path=tmp_path / "missing/marketd.db")
    assert level_of_database(target, state=tmp_path) is Level.FAILED
    assert level_of_database(target, state=tmp_path / "missing") is Level.OK


def test_a_server_that_is_not_there_is_refused(tmp_path: Path) -> None:
    target = MysqlTarget(
        host="localhost",
        port=3306,
        unix_socket=str(tmp_path / "no.sock"),
        user="marketd",
        database="marketd",
        password="",
    )
    assert level_of_database(target, state=tmp_path) is Level.FAILED


def test_a_server_that_answers_without_our_schema_is_brought_up_to_date_by_the_next_start(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    assert level_of_database(mariadb.target, state=tmp_path) is Level.WARNING


def test_a_server_with_our_schema_is_good(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    lay_schema(mariadb.target)
    assert level_of_database(mariadb.target, state=tmp_path) is Level.OK


def test_a_server_that_loses_commits_in_a_crash_is_refused(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    lay_schema(mariadb.target)
    mariadb.server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
    try:
        assert level_of_database(mariadb.target, state=tmp_path) is Level.FAILED
    finally:
        mariadb.server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


def test_a_wrong_password_is_refused_and_not_shown(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    target = attrs.evolve(mariadb.target, password="hunter2")
    finding = check_database(target, settings=StorageSettings(), state=tmp_path)
    assert finding.level is Level.FAILED
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("version", "flush", "level"),
    [
        (3, "1", Level.OK),
        (3, "2", Level.OK),
        (3, "0", Level.FAILED),
        (0, "0", Level.FAILED),
        (0, "1", Level.WARNING),
        (2, "1", Level.WARNING),
        (4, "1", Level.FAILED),
    ],
)
def test_a_database_is_judged_by_its_schema_and_by_what_a_commit_promises(
    version: int, flush: str, level: Level
) -> None:
    assert judge_database("mysql://…", version=version, newest=3, flush=flush).level is level


# --- the machine ------------------------------------------------------------------------------


def test_a_state_directory_to_be_made_is_good_and_not_made(tmp_path: Path) -> None:
    assert check_state_dir(tmp_path / "a/b").level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_state_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert check_state_dir(tmp_path / "file/state").level is Level.FAILED


@pytest.mark.parametrize(
    ("wall_us", "kernel_state", "level"),
    [
        (GOOD_TIME_US, 0, Level.OK),
        (GOOD_TIME_US, TIME_ERROR, Level.WARNING),
        (GOOD_TIME_US, -1, Level.WARNING),
        (0, 0, Level.FAILED),
        (5_000_000_000_000_000, 0, Level.FAILED),  # 2128
    ],
)
def test_a_clock_is_judged_by_its_year_and_by_the_kernel(
    wall_us: int, kernel_state: int, level: Level
) -> None:
    assert judge_clock(wall_us=wall_us, kernel_state=kernel_state).level is level


def test_the_clock_of_this_machine_can_be_asked() -> None:
    assert check_clock().level in {Level.OK, Level.WARNING}


@pytest.mark.parametrize(
    ("free", "level"), [(50 * GIB, Level.OK), (9 * GIB, Level.WARNING), (1 * GIB, Level.FAILED)]
)
def test_a_disk_is_judged_by_what_is_free(free: int, level: Level, tmp_path: Path) -> None:
    assert judge_disk(tmp_path, free=free, total=100 * GIB).level is level


def test_the_disk_of_a_folder_that_is_missing_is_that_of_the_one_above(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "a/b").detail.startswith(f"{tmp_path}: ")
