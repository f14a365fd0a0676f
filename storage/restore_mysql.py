"""Restores into MySQL or MariaDB: loads into tables of other names, then renames all in one statement."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from domain.clock import as_text
from domain.errors import PermanentError, StorageBusy
from storage.migrations import bring_up_to_date
from storage.mysql import MysqlDriver
from storage.own_session import open_session
from storage.session import Session
from storage.sqlite import SqliteDriver
from storage.tables import NEWEST, count_rows, first_with_rows, insert_into, select_all, tables_of
from storage.target import MysqlTarget, SqliteTarget

LOADING = "restoring_"  # before the names of tables that are being loaded
PAGE_ROWS = 1_000  # in memory; PyMySQL makes statements under 1 MB of them
PAGES_A_TRANSACTION = 20
SAY_EVERY_PAGES = 1_000
RENAME_WAIT_S = 10  # for whoever reads the tables; the server's own patience is a day
TABLES = tables_of(NEWEST)
NO_MARKS = str.maketrans("", "", "-:.Z")


@attrs.frozen(kw_only=True)
class MysqlPlace:
    """A database of a server. Until the last statement of a restore its own tables stay as they are."""

    target: MysqlTarget
    state_dir: Path

    @property
    def staging(self) -> Path:
        """In the state directory."""
        return self.state_dir / "restoring.db"

    def occupied_by(self) -> str | None:
        """Return the first table with rows."""
        with open_session(self._driver()) as session:
            there = {name for (name,) in session.query("SHOW TABLES")}
            table = first_with_rows(session, [name for name in TABLES if name in there])
        return table and f"{self.target} holds rows in the table {table}"

    def load(self, staged: Path, *, tell: Callable[[str], None]) -> None:
        """Load all rows into new tables like ours; what an interrupted restore has left is dropped."""
        with (
            self._undone_by_failure(),
            open_session(SqliteDriver(target=SqliteTarget(path=staged))) as copy,
            open_session(self._driver()) as session,
        ):
            # Its own tables are brought up to date: they are what the new ones are made like.
            bring_up_to_date(session, patient_session=lambda: contextlib.nullcontext(session), tell=tell)
            for table in TABLES:
                session.execute(f"DROP TABLE IF EXISTS {LOADING}{table}")
                session.execute(f"CREATE TABLE {LOADING}{table} LIKE `{table}`")
                _load_table(copy, session, table=table, tell=tell)
            if count_rows(copy, TABLES) != count_rows(session, TABLES, prefix=LOADING):
                raise PermanentError(f"{self.target} did not take all rows; nothing was replaced")

    def switch(self, staged: Path, *, at_us: int) -> str | None:
        """Rename all tables, in one statement that the server does wholly or not at all."""
        prefix = set_aside_prefix(at_us)
        aside = [f"`{table}` TO {prefix}{table}" for table in TABLES]
        loaded = [f"{LOADING}{table} TO `{table}`" for table in TABLES]
        with self._undone_by_failure(), open_session(self._driver()) as session:
            session.execute(f"SET SESSION lock_wait_timeout = {RENAME_WAIT_S}")
            session.execute(f"RENAME TABLE {', '.join(aside + loaded)}")
            if first_with_rows(session, [prefix + table for table in TABLES if table != "schema_version"]):
                return f"the tables {prefix}* of {self.target}"
            # Nothing was in them; `load` may have made them itself.
            session.execute(f"DROP TABLE {', '.join(prefix + table for table in TABLES)}")
        return None

    @contextlib.contextmanager
    def _undone_by_failure(self) -> Iterator[None]:
        """Drop what was loaded where the block fails, as far as the server still listens."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._drop_loaded)
            yield
            undo.pop_all()

    def _drop_loaded(self) -> None:
        with contextlib.suppress(StorageBusy), open_session(self._driver()) as session:
            session.execute(f"DROP TABLE IF EXISTS {', '.join(LOADING + table for table in TABLES)}")

    def _driver(self) -> MysqlDriver:
        return MysqlDriver(target=self.target, read_timeout_s=None)


def set_tables_aside(target: MysqlTarget, *, at_us: int) -> None:
    """Rename all our tables in one step, also those of a schema that is newer than ours.

    A restore makes its tables like those that are there, which it could not do with newer ones.
    """
    with open_session(MysqlDriver(target=target, read_timeout_s=None)) as session:
        there = {str(name) for (name,) in session.query("SHOW TABLES")}
        ours = sorted(there & TABLES.keys())
        if ours:
            prefix = set_aside_prefix(at_us)
            session.execute(f"SET SESSION lock_wait_timeout = {RENAME_WAIT_S}")
            session.execute(f"RENAME TABLE {', '.join(f'`{each}` TO {prefix}{each}' for each in ours)}")


def set_aside_prefix(at_us: int) -> str:
    """Return what stands before the names of tables that were set aside then; later ones sort behind."""
    # yyyymmddThhmmss and microseconds: two restores within a second are two sets of names
    return f"replaced_{as_text(at_us).translate(NO_MARKS)}_"


def _load_table(copy: Session, session: Session, *, table: str, tell: Callable[[str], None]) -> None:
    columns = TABLES[table]
    insert = insert_into(LOADING + table, columns)
    session.begin()
    for number, page in enumerate(copy.pages(select_all(table, columns), rows=PAGE_ROWS), start=1):
        session.execute_many(insert, page)
        if number % PAGES_A_TRANSACTION == 0:
            session.commit()
            session.begin()
        if number % SAY_EVERY_PAGES == 0:
            tell(f"{table}: {number * PAGE_ROWS:,} rows")
    session.commit()
