import contextlib
from collections.abc import Iterator

import pytest
from databases import AnyDatabase, MariadbDatabase, open_store

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

TABLES = {
    "market", "tick", "actor_event", "schema_version", "candle", "gap", "dead_letter", "journal_position",
    "retention",
}  # fmt: skip
ALL = (1, 2)  # versions


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
    with pytest.raises(SchemaNewer, match=r"version 99.*up to 2:"):
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
