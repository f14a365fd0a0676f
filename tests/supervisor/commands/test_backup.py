from pathlib import Path

import pytest
from databases import SqliteDatabase
from filled import build, open_own, rows_of_every_table

from storage.backup_file import CONTROL, MANIFEST, SETTINGS, read_papers
from storage.tables import NEWEST
from storage.target import SqliteTarget
from supervisor import desired, lock
from supervisor.cli import run_command
from supervisor.commands.backup import without_passwords
from supervisor.desired import DesiredState

SETTINGS_TEXT = """
[storage]
# url = "mysql://me:hunter2@localhost/marketd"
flush_rows = 20000
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A filled installation."""
    (tmp_path / "state").mkdir()
    (tmp_path / "marketd.toml").write_text(SETTINGS_TEXT, encoding="utf-8")
    database = SqliteDatabase(target=SqliteTarget(path=tmp_path / "state/marketd.db"))
    build(database, version=NEWEST, rows=rows_of_every_table())
    desired.write(tmp_path / "state", DesiredState(stopped=["EURUSD@sim"]))
    return ["--config", str(tmp_path / "marketd.toml"), "--state-dir", str(tmp_path / "state")]


def papers(file: Path) -> dict[str, bytes]:
    with open_own(SqliteTarget(path=file)) as session:
        return read_papers(session)


def test_memory_and_settings_are_in_it_without_a_password(tmp_path: Path, words: list[str]) -> None:
    assert run_command(["backup", str(tmp_path / "b"), *words]) == 0
    found = papers(tmp_path / "b")
    assert found.keys() == {MANIFEST, CONTROL, SETTINGS}
    assert found[CONTROL] == (tmp_path / "state" / desired.FILE_NAME).read_bytes()
    assert b"flush_rows = 20000" in found[SETTINGS]
    assert b"hunter2" not in (tmp_path / "b").read_bytes()


def test_the_result_is_one_line(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["backup", str(tmp_path / "b"), *words])
    [line] = capsys.readouterr().out.splitlines()
    assert f"schema version {NEWEST}" in line
    assert "tick 302" in line


def test_it_is_made_beside_a_daemon(tmp_path: Path, words: list[str]) -> None:
    with lock.held(tmp_path / "state"):
        assert run_command(["backup", str(tmp_path / "b"), *words]) == 0


def test_without_a_memory_it_is_made_all_the_same(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "state" / desired.FILE_NAME).unlink()
    assert run_command(["backup", str(tmp_path / "b"), *words]) == 0
    assert CONTROL not in papers(tmp_path / "b")


def test_a_file_that_is_there_exits_1_and_is_left(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "b").write_bytes(b"mine")
    assert run_command(["backup", str(tmp_path / "b"), *words]) == 1
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_a_folder_that_is_missing_exits_1_by_name(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["backup", str(tmp_path / "missing/b"), *words]) == 1
    assert str(tmp_path / "missing") in capsys.readouterr().err


def test_a_database_that_is_missing_exits_1_and_is_not_made(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "state/marketd.db").unlink()
    assert run_command(["backup", str(tmp_path / "b"), *words]) == 1
    assert not (tmp_path / "state/marketd.db").exists()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('url = "mysql://me:secret@host/db"', 'url = "mysql://me:***@host/db"'),
        ('url = "mysql://me:se@cr:et@host/db"', 'url = "mysql://me:***@host/db"'),
        ("url = 'wss://me:se cret@host/x?key=1'", "url = 'wss://me:***@host/x?key=1'"),
        ('# url = "mysql://:secret@host/db"', '# url = "mysql://:***@host/db"'),
    ],
)
def test_passwords_in_addresses_are_left_out(line: str, wanted: str) -> None:
    assert without_passwords(f"a = 1\n{line}\nb = 2\n") == f"a = 1\n{wanted}\nb = 2\n"


@pytest.mark.parametrize(
    "line",
    [
        'url = "mysql://me@localhost/db?unix_socket=/run/socket"',
        'url = "wss://host:8443/stream"',
        'urls = ["wss://host:1/a", "me@x"]',
        'symbols = ["EURUSD"]  # as in EURUSD@sim',
    ],
)
def test_settings_without_passwords_are_as_they_were(line: str) -> None:
    assert without_passwords(line) == line
