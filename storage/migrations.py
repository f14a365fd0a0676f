"""Brings a database's schema up to date. One file for each step: `schema/NNN_name.DIALECT.sql`."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import resources

import attrs

from domain.clock import now_us
from domain.errors import SchemaNewer
from storage.session import Dialect, Session

FILE_NAME = re.compile(r"(\d{3})_\w+\.(sqlite|mysql)\.sql")


@attrs.frozen(kw_only=True)
class Migration:
    """One step: its number and its statements, each of which can be repeated."""

    version: int
    statements: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Migrated:
    """What was done: the versions applied, and whether the database was ours before."""

    applied: tuple[int, ...]
    was_fresh: bool


def quietly(_: str) -> None:
    """Say nothing."""


def bring_up_to_date(
    session: Session,
    *,
    patient_session: Callable[[], AbstractContextManager[Session]],
    tell: Callable[[str], None] = quietly,
) -> Migrated:
    """Apply what is missing, on a session of its own, and say what that was.

    `tell` is called, in the calling thread, with a line for people before each step. Raises
    `SchemaNewer` where the database is ahead of us; nothing is written to it then.
    """
    migrations = load_migrations(session.dialect)
    newest = migrations[-1].version
    current = schema_version(session)
    if current > newest:
        raise SchemaNewer(
            f"the database has schema version {current}, this marketd knows versions up to {newest}: "
            "run the newer marketd, or name another database in [storage] url"
        )
    missing = [migration for migration in migrations if migration.version > current]
    if missing:
        with patient_session() as own:
            for migration in missing:
                tell(f"applying schema version {migration.version} of {newest}, this may take a while")
                apply(own, migration)
    return Migrated(applied=tuple(each.version for each in missing), was_fresh=current == 0)


def schema_version(session: Session) -> int:
    """Return the version of the database's schema, 0 where none was ever finished."""
    if session.dialect is Dialect.SQLITE:
        tables = session.query("SELECT name FROM sqlite_master WHERE name = 'schema_version'")
    else:
        tables = session.query("SHOW TABLES LIKE 'schema_version'")
    if not tables:
        return 0
    [(version,)] = session.query("SELECT COALESCE(MAX(version), 0) FROM schema_version")
    return int(version)


def apply(session: Session, migration: Migration) -> None:
    """Run one step and record it. Interrupted at any point, it can be run again from its start."""
    session.begin()
    for statement in migration.statements:
        session.execute(statement)
    session.execute("DELETE FROM schema_version WHERE version = ?", (migration.version,))
    session.execute("INSERT INTO schema_version VALUES (?, ?)", (migration.version, now_us()))
    session.commit()


def load_migrations(dialect: Dialect) -> list[Migration]:
    """Return all steps of a dialect, the oldest first."""
    found = []
    for file in resources.files("storage").joinpath("schema").iterdir():
        match = FILE_NAME.fullmatch(file.name)
        if match is not None and match[2] == dialect:
            statements = split_statements(file.read_text(encoding="utf-8"))
            found.append(Migration(version=int(match[1]), statements=statements))
    return sorted(found, key=lambda migration: migration.version)


def split_statements(sql: str) -> tuple[str, ...]:
    """Return the statements of a schema file: whole lines of comment left out, each ends a line with `;`."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    statements = "\n".join(lines).split(";\n")
    return tuple(each.strip().removesuffix(";") for each in statements if each.strip())
