import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from databases import AnyDatabase, MariadbDatabase, open_store
from filled import Tables, build, content, open_own, rows_of_every_table

from domain.errors import SchemaNewer, StorageRefused
from storage.migrations import (
    Migrated,
    Migration,
    apply,
    bring_up_to_date,
    load_migrations,
    schema_version,
    split_statements,
)
from storage.session import Dialect, Session
from storage.tables import NEWEST

TABLES = {
    "market", "tick", "actor_event", "schema_version", "candle", "gap", "dead_letter", "journal_position",
    "retention", "signal", "trade", "trade_event",
}  # fmt: skip
ALL = (1, 2, 3)  # versions


def table_names(database: AnyDatabase) -> set[str]:
    sql = "SHOW TABLES" if isinstance(database, MariadbDatabase) else "SELECT name FROM sqlite_master"
    return {name for (name,) in database.query(sql)}


def migrated(database: AnyDatabase) -> Migrated:
    with open_store(database.target) as store:
        store.pool.run(lambda _: None)
        assert store.migrated is not None
        return store.migrated


def test_a_fresh_database_gets_all_tables(database: AnyDatabase) -> None:
    assert migrated(database) == Migrated(applied=ALL, was_fresh=True)
    assert table_names(database) >= TABLES
    assert [version for version, _ in database.query("SELECT * FROM schema_version")] == list(ALL)


def test_a_second_run_finds_nothing_to_do(database: AnyDatabase) -> None:
    migrated(database)
    assert migrated(database) == Migrated(applied=(), was_fresh=False)


def test_a_migration_that_was_interrupted_before_it_was_recorded_is_done_again(database: AnyDatabase) -> None:
    migrated(database)
    database.query("DELETE FROM schema_version")
    database.query("DROP TABLE tick")
    assert migrated(database) == Migrated(applied=ALL, was_fresh=True)
    assert table_names(database) >= TABLES


def test_a_newer_schema_is_refused_and_both_versions_are_named(database: AnyDatabase) -> None:
    migrated(database)
    database.query("INSERT INTO schema_version VALUES (99, 0)")
    with pytest.raises(SchemaNewer, match=r"version 99.*up to 3:"):
        migrated(database)


def test_an_existing_database_needs_no_connection_beside_the_kept_one(database: AnyDatabase) -> None:
    migrated(database)

    @contextlib.contextmanager
    def no_session() -> Iterator[Session]:
        raise AssertionError("a second connection was asked for")
        yield

    with open_store(database.target) as store:
        store.pool.run(lambda session: bring_up_to_date(session, patient_session=no_session))
        assert store.driver.counts.connects == 1


def test_a_step_that_fails_is_not_recorded(database: AnyDatabase) -> None:
    broken = Migration(version=99, statements=("CREATE TABLE extra (id INT)", "CREATE nonsense"))
    with open_store(database.target) as store:
        with pytest.raises(StorageRefused):
            store.pool.run(lambda session: apply(session, broken))
        assert store.pool.run(schema_version) == ALL[-1]


def test_names_that_differ_only_in_case_are_two_markets(database: AnyDatabase) -> None:
    migrated(database)
    database.query("INSERT INTO market VALUES (1, 'sim', 'EURUSD')")
    database.query("INSERT INTO market VALUES (2, 'sim', 'eurusd')")
    assert len(database.query("SELECT * FROM market")) == 2


def test_both_dialects_have_the_same_steps() -> None:
    versions = [[step.version for step in load_migrations(dialect)] for dialect in Dialect]
    assert versions[0] == versions[1] == list(range(1, len(versions[0]) + 1))


def test_comments_and_empty_statements_are_left_out() -> None:
    assert split_statements("-- a; b\nONE (\n 1\n);\n-- c\n\nTWO;\n") == ("ONE (\n 1\n)", "TWO")


# --- with data ----------------------------------------------------------------------------------------

each_older_version = pytest.mark.parametrize("version", range(1, NEWEST))


def rows_at(database: AnyDatabase, *, version: int) -> Tables:
    """Return the rows of that version's tables, but for which versions were applied."""
    return {**content(database.target, version=version), "schema_version": []}


@each_older_version
def test_a_migration_changes_no_row(database: AnyDatabase, version: int) -> None:
    build(database, version=version, rows=rows_of_every_table())
    before = rows_at(database, version=version)
    assert min(len(rows) for table, rows in before.items() if table != "schema_version") > 0
    assert migrated(database) == Migrated(applied=ALL[version:], was_fresh=False)
    assert rows_at(database, version=version) == before
    assert table_names(database) >= TABLES


@each_older_version
def test_a_migration_of_many_rows_loses_none(database: AnyDatabase, version: int) -> None:
    rows = rows_of_every_table(each=20_000)
    build(database, version=version, rows=rows)
    ticks = len(rows["tick"])
    assert ticks > 60_000
    sums = "SELECT COUNT(*), SUM(seq % 7), SUM(ts_us % 1009), SUM(received_us % 1009) FROM tick"
    before = database.query(sums)
    assert before[0][0] == ticks
    migrated(database)
    assert database.query(sums) == before


class PowerCut(BaseException):
    """The machine went off just then."""


class DiesBeforeStatement:
    """Lets through so many statements of a session, and then no more."""

    def __init__(self, session: Session, *, number: int) -> None:
        self._session = session
        self._left = number - 1

    def execute(self, *arguments: Any) -> None:
        if self._left == 0:
            raise PowerCut
        self._left -= 1
        self._session.execute(*arguments)

    def begin(self) -> None:
        self._session.begin()

    def commit(self) -> None:
        if self._left == 0:
            raise PowerCut
        self._session.commit()


def interrupt(database: AnyDatabase, migration: Migration, *, before: int) -> None:
    with contextlib.suppress(PowerCut), open_own(database.target) as session:
        apply(DiesBeforeStatement(session, number=before), migration)  # type: ignore[arg-type]
        raise AssertionError("it was not interrupted")


@each_older_version
def test_a_migration_that_was_interrupted_before_any_statement_is_done_again(
    database: AnyDatabase, version: int
) -> None:
    build(database, version=version, rows=rows_of_every_table())
    before = rows_at(database, version=version)
    with open_own(database.target) as session:
        [migration] = [each for each in load_migrations(session.dialect) if each.version == version + 1]
    # its statements, the two that record it, and the commit
    for number in range(1, len(migration.statements) + 4):
        interrupt(database, migration, before=number)
        with open_own(database.target) as session:
            assert schema_version(session) == version
        assert rows_at(database, version=version) == before
    assert migrated(database) == Migrated(applied=ALL[version:], was_fresh=False)
    assert rows_at(database, version=version) == before
    assert table_names(database) >= TABLES


def test_the_first_migration_that_was_interrupted_before_any_statement_is_done_again(
    database: AnyDatabase,
) -> None:
    dialect = Dialect.MYSQL if isinstance(database, MariadbDatabase) else Dialect.SQLITE
    first = load_migrations(dialect)[0]
    for number in range(1, len(first.statements) + 4):
        interrupt(database, first, before=number)
    assert migrated(database) == Migrated(applied=ALL, was_fresh=True)
    assert table_names(database) >= TABLES


# --- progress -----------------------------------------------------------------------------------------


def test_a_line_is_said_before_each_step_and_none_where_nothing_is_to_do(database: AnyDatabase) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        with open_own(database.target) as other:
            told.append(f"{schema_version(other)}: {line}")

    for _ in range(2):
        with open_own(database.target) as session:
            bring_up_to_date(
                session, patient_session=lambda own=session: contextlib.nullcontext(own), tell=tell
            )
    assert [line.partition(":")[0] for line in told] == ["0", "1", "2"]
    assert all(f"version {number}" in line for number, line in zip(ALL, told, strict=True))
