"""Which tables and columns a version of the schema has, by asking the embedded database itself."""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping

from domain.errors import PermanentError, SchemaNewer
from storage.migrations import load_migrations
from storage.session import Dialect, Session

NEWEST = load_migrations(Dialect.SQLITE)[-1].version


def tables_of(version: int) -> Mapping[str, tuple[str, ...]]:
    """Return each table of this version with its columns; both dialects have the same."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in load_migrations(Dialect.SQLITE):
            if migration.version <= version:
                for statement in migration.statements:
                    connection.execute(statement)
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        ).fetchall()
        return {
            name: tuple(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
            for (name,) in names
        }


def check_version(version: int, *, what: str) -> None:
    """Raise unless it is the version of a schema that this marketd knows."""
    if version == 0:
        raise PermanentError(f"{what} holds no database of marketd")
    if version > NEWEST:
        raise SchemaNewer(
            f"{what} has schema version {version}, this marketd knows versions up to {NEWEST}: "
            "use the newer marketd"
        )


def quoted(columns: tuple[str, ...]) -> str:
    """Return a list of columns for a statement; `row` is a word of both dialects, both take backticks."""
    return ", ".join(f"`{column}`" for column in columns)


def select_all(table: str, columns: tuple[str, ...]) -> str:
    """Return the SELECT of a whole table."""
    return f"SELECT {quoted(columns)} FROM `{table}`"  # noqa: S608  # names of our own schema


def insert_into(table: str, columns: tuple[str, ...]) -> str:
    """Return the INSERT of one row."""
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO `{table}` ({quoted(columns)}) VALUES ({marks})"  # noqa: S608  # as above


def count_rows(session: Session, tables: Mapping[str, object], *, prefix: str = "") -> dict[str, int]:
    """Return how many rows each table has; `prefix` stands before its name in the database."""
    return {
        table: session.query(f"SELECT COUNT(*) FROM `{prefix}{table}`")[0][0]  # noqa: S608  # our names
        for table in tables
    }


def first_with_rows(session: Session, tables: Iterable[str]) -> str | None:
    """Return the first of these tables that has rows; `schema_version` always has."""
    for table in tables:
        if table != "schema_version" and session.query(f"SELECT 1 FROM `{table}` LIMIT 1"):  # noqa: S608
            return table
    return None
