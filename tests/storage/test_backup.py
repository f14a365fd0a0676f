import contextlib
import sqlite3
import stat
from pathlib import Path

import pymysql
import pytest
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase
from filled import FIRST_US, build, content, open_own, rows_of_every_table

from domain.errors import PermanentError, SchemaNewer, StorageBusy
from storage.backup import record_hole, write_backup
from storage.backup_file import CONTROL, MANIFEST, SETTINGS, Manifest, decode_manifest, read_papers
from storage.session import Row
from storage.tables import NEWEST, tables_of
from storage.target import SqliteTarget, Target

PAPERS = {CONTROL: b'{"version": 1}', SETTINGS: b"[storage]\n"}
each_version = pytest.mark.parametrize("version", range(1, NEWEST + 1))


def back_up(target: Target, file: Path) -> Manifest:
    return write_backup(target, file=file, papers=PAPERS, made_by="0.0.1", tell=lambda _: None)


def fill(database: AnyDatabase, *, version: int = NEWEST) -> None:
    build(database, version=version, rows=rows_of_every_table())


# --- what is in it ------------------------------------------------------------------------------------


@each_version
def test_a_backup_holds_all_rows_of_all_tables(database: AnyDatabase, tmp_path: Path, version: int) -> None:
    fill(database, version=version)
    before = content(database.target, version=version)
    manifest = back_up(database.target, tmp_path / "copy")
    assert content(SqliteTarget(path=tmp_path / "copy"), version=version) == before
    assert manifest.rows == {table: len(rows) for table, rows in before.items()}
    assert manifest.schema_version == version


def test_the_source_is_as_before(database: AnyDatabase, tmp_path: Path) -> None:
    fill(database)
    before = content(database.target, version=NEWEST)
    back_up(database.target, tmp_path / "copy")
    assert content(database.target, version=NEWEST) == before


def test_times_of_migrations_are_copied(database: AnyDatabase, tmp_path: Path) -> None:
    fill(database)
    back_up(database.target, tmp_path / "copy")
    select = "SELECT version, applied_us FROM schema_version ORDER BY version"
    copy = SqliteDatabase(target=SqliteTarget(path=tmp_path / "copy"))
    assert copy.query(select) == list(database.query(select))


def test_the_papers_say_where_it_comes_from_and_hold_what_was_given(
    database: AnyDatabase, tmp_path: Path
) -> None:
    fill(database)
    manifest = back_up(database.target, tmp_path / "copy")
    with open_own(SqliteTarget(path=tmp_path / "copy")) as session:
        papers = read_papers(session)
    assert decode_manifest(papers.pop(MANIFEST)) == manifest
    assert (manifest.source, manifest.marketd) == (str(database.target), "0.0.1")
    assert papers == PAPERS


def test_ticks_of_equal_time_and_of_more_than_a_page_are_copied_in_order(
    database: AnyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.backup_mysql.PAGE_ROWS", 7)
    monkeypatch.setattr("storage.backup_mysql.MERGED_ROWS", 9)
    monkeypatch.setattr("storage.backup_mysql.MERGED_ROWS_EACH", 1)
    fill(database)
    back_up(database.target, tmp_path / "copy")
    assert content(SqliteTarget(path=tmp_path / "copy"), version=NEWEST) == content(
        database.target, version=NEWEST
    )


def test_a_copy_of_either_database_can_give_space_back(database: AnyDatabase, tmp_path: Path) -> None:
    fill(database)
    back_up(database.target, tmp_path / "copy")
    assert SqliteDatabase(target=SqliteTarget(path=tmp_path / "copy")).query("PRAGMA auto_vacuum") == [(2,)]


def test_a_page_size_of_its_own_is_kept(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(sqlite.target.path)) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("VACUUM")
    fill(sqlite)
    back_up(sqlite.target, tmp_path / "copy")
    copy = SqliteDatabase(target=SqliteTarget(path=tmp_path / "copy"))
    assert copy.query("PRAGMA page_size") == [(1024,)]


def test_rows_that_are_stored_meanwhile_are_not_in_it(
    database: AnyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of a server can we stop the copy between two tables: the embedded one is one statement."""
    fill(database)
    before = content(database.target, version=NEWEST)
    market = (99, "sim", "NEW")

    def store_and_tell(_: str) -> None:
        with open_own(database.target) as session:
            session.begin()
            session.execute("INSERT INTO market VALUES (?, ?, ?)", market)
            session.commit()

    monkeypatch.setattr("storage.backup_mysql.SAY_EVERY_ROWS", 200)
    told: list[str] = []

    def tell(line: str) -> None:
        if not told:
            store_and_tell(line)
        told.append(line)

    write_backup(database.target, file=tmp_path / "copy", papers={}, made_by="0", tell=tell)
    assert told
    copied = content(SqliteTarget(path=tmp_path / "copy"), version=NEWEST)
    if isinstance(database, SqliteDatabase):
        assert copied["tick"] == before["tick"]  # told before the snapshot is taken
    else:
        assert copied == before


def test_a_table_that_is_still_to_be_copied_cannot_change_meanwhile(
    mariadb: MariadbDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot ends where the definition of a table changes before its first use."""
    fill(mariadb)
    before = content(mariadb.target, version=NEWEST)
    monkeypatch.setattr("storage.backup_mysql.SAY_EVERY_ROWS", 50)
    refused = []

    def change(line: str) -> None:
        if line.startswith("actor_event"):  # the first table
            mariadb.query("SET SESSION lock_wait_timeout = 1")
            with pytest.raises(pymysql.err.OperationalError, match="1205"):
                mariadb.query("ALTER TABLE tick DROP COLUMN volume")
            mariadb.query("SET SESSION lock_wait_timeout = DEFAULT")
            refused.append(line)

    write_backup(mariadb.target, file=tmp_path / "copy", papers={}, made_by="0", tell=change)
    assert len(refused) == 1
    assert content(SqliteTarget(path=tmp_path / "copy"), version=NEWEST) == before


# --- the file -----------------------------------------------------------------------------------------


def test_only_its_owner_may_read_it(database: AnyDatabase, tmp_path: Path) -> None:
    fill(database)
    back_up(database.target, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_it_is_one_file(database: AnyDatabase, tmp_path: Path) -> None:
    fill(database)
    (tmp_path / "folder").mkdir()
    back_up(database.target, tmp_path / "folder/copy")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["copy"]


@pytest.mark.parametrize("name", ["copy", "copy.new"])
def test_a_file_that_is_there_is_refused_and_left(sqlite: SqliteDatabase, tmp_path: Path, name: str) -> None:
    fill(sqlite)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(PermanentError, match=name):
        back_up(sqlite.target, tmp_path / "copy")
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_backup_that_fails_leaves_nothing(
    database: AnyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)

    def break_off(_: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("storage.backup.seal", break_off)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="no space"):
        back_up(database.target, tmp_path / "folder/copy")
    assert list((tmp_path / "folder").iterdir()) == []


# --- what cannot be backed up ---------------------------------------------------------------------------


def test_a_database_that_nobody_has_used_is_refused(database: AnyDatabase, tmp_path: Path) -> None:
    with pytest.raises(PermanentError):
        back_up(database.target, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_newer_schema_is_refused(database: AnyDatabase, tmp_path: Path) -> None:
    fill(database)
    database.query("INSERT INTO schema_version VALUES (99, 0)")
    with pytest.raises(SchemaNewer, match="99"):
        back_up(database.target, tmp_path / "copy")


def test_a_file_that_is_no_database_is_refused_by_name(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    sqlite.target.path.write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageBusy, match=str(sqlite.target.path)):
        back_up(sqlite.target, tmp_path / "copy")


# --- holes --------------------------------------------------------------------------------------------

HOLES = "SELECT market_id, from_us, to_us, cause, fill FROM gap WHERE cause = 'downtime' ORDER BY market_id"
LAST_US = {1: FIRST_US + 10, 2: FIRST_US + 20}  # by market


def build_with_last_ticks(database: AnyDatabase) -> None:
    rows = rows_of_every_table()
    ticks: list[Row] = [
        (market, at_us, 0, 1.0, None, None, None, at_us, "live")
        for market, last_us in LAST_US.items()
        for at_us in (FIRST_US, last_us)
    ]
    build(database, version=NEWEST, rows=rows | {"tick": ticks})


def record(database: AnyDatabase, **first_after: int) -> int:
    with open_own(database.target) as session:
        named = {f"{symbol}@sim": at_us for symbol, at_us in first_after.items()}
        return record_hole(session, first_after=named)


def test_a_hole_reaches_from_the_last_restored_tick_to_the_first_remaining(database: AnyDatabase) -> None:
    build_with_last_ticks(database)
    assert record(database, EURUSD=FIRST_US + 100, eurusd=FIRST_US + 21) == 2
    assert list(database.query(HOLES)) == [
        (1, FIRST_US + 10, FIRST_US + 100, "downtime", "none"),
        (2, FIRST_US + 20, FIRST_US + 21, "downtime", "none"),
    ]


def open_gap(database: AnyDatabase, *, market: int, from_us: int, cause: str) -> None:
    values = (market, from_us, cause)
    with open_own(database.target) as session:
        session.begin()
        session.execute(
            "INSERT INTO gap (market_id, from_us, cause, fill, fill_note) VALUES (?, ?, ?, 'none', '')",
            values,
        )
        session.commit()


def gaps_of(database: AnyDatabase, market: int) -> list[Row]:
    sql = f"SELECT from_us, to_us, cause FROM gap WHERE market_id = {market} ORDER BY from_us, to_us"
    return list(database.query(sql))


def test_a_gap_that_was_open_after_the_last_restored_tick_is_the_hole(database: AnyDatabase) -> None:
    build_with_last_ticks(database)
    before = gaps_of(database, 1)
    open_gap(database, market=1, from_us=FIRST_US + 10, cause="disconnect")
    for _ in range(2):
        assert record(database, EURUSD=FIRST_US + 100) == 1
    assert gaps_of(database, 1) == [*before, (FIRST_US + 10, FIRST_US + 100, "disconnect")]


def test_a_gap_whose_end_was_not_restored_covers_no_restored_tick(database: AnyDatabase) -> None:
    build_with_last_ticks(database)
    assert record(database, eurusd=FIRST_US + 21) == 1
    assert gaps_of(database, 2) == [
        (FIRST_US, FIRST_US + 20, "journal_full"),
        (FIRST_US + 20, FIRST_US + 21, "downtime"),
    ]


@pytest.mark.parametrize(
    ("symbol", "at_us"),
    [("EURUSD", FIRST_US + 10), ("EURUSD", FIRST_US), ("GBP/USD", FIRST_US + 100), ("UNKNOWN", FIRST_US)],
    ids=["at the last tick", "before it", "no tick restored", "no such market"],
)
def test_where_nothing_is_missing_no_hole_is_recorded(database: AnyDatabase, symbol: str, at_us: int) -> None:
    build_with_last_ticks(database)
    assert record(database, **{symbol: at_us}) == 0
    assert list(database.query(HOLES)) == []


def test_no_journal_no_hole(database: AnyDatabase) -> None:
    build_with_last_ticks(database)
    assert record(database) == 0


def test_a_hole_recorded_again_is_one_row(database: AnyDatabase) -> None:
    build_with_last_ticks(database)
    for _ in range(2):
        record(database, EURUSD=FIRST_US + 100)
    assert len(database.query(HOLES)) == 1


# --- the words ------------------------------------------------------------------------------------------


@each_version
def test_both_databases_have_the_same_tables_and_columns(database: AnyDatabase, version: int) -> None:
    build(database, version=version, rows=rows_of_every_table())
    content(database.target, version=version)  # a column that is missing would be refused
    if not isinstance(database, SqliteDatabase):
        columns = database.query(
            "SELECT table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema = '{database.target.database}' ORDER BY table_name, ordinal_position"
        )
        found: dict[str, tuple[str, ...]] = {}
        for table, column in columns:
            found[table] = (*found.get(table, ()), column)
        assert found == dict(tables_of(version))
