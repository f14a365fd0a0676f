"""Restores into the embedded database: the file is exchanged, the present one gets another name."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs

from domain.errors import StorageBusy, StorageRefused
from storage.backup_file import companions, sync_folder
from storage.faults import sqlite_fault
from storage.migrations import schema_version
from storage.own_session import open_session
from storage.sqlite import LOCK_TIMEOUT_S, SqliteDriver
from storage.tables import NEWEST, first_with_rows, tables_of
from storage.target import SqliteTarget

NEW_MODE = 0o640  # of a database file where there was none, before the umask
SQLITE_BROKEN = frozenset({11, 26})  # CORRUPT, NOTADB


@attrs.frozen(kw_only=True)
class SqlitePlace:
    """A database file."""

    target: SqliteTarget

    @property
    def path(self) -> Path:
        """The file."""
        return self.target.path

    @property
    def staging(self) -> Path:
        """Beside it: only on one file system can a file take another one's name."""
        return self.path.with_name(f"{self.path.name}.restoring")

    def occupied_by(self) -> str | None:
        """Return the first table with rows; a file that is no database counts as full of them."""
        if not self.path.exists():
            return None
        try:
            with open_session(SqliteDriver(target=self.target)) as session:
                version = min(schema_version(session), NEWEST)
                table = first_with_rows(session, tables_of(version))
        except StorageRefused as exc:
            return f"{self.path} cannot be read ({exc})"
        return table and f"{self.path} holds rows in the table {table}"

    def load(self, staged: Path, *, tell: Callable[[str], None]) -> None:
        """Bring the copy to disk; it gets the present file's mode."""
        tell(f"bringing {staged} to disk")
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else NEW_MODE
        staged.chmod(mode)
        with staged.open("rb") as file:
            os.fsync(file.fileno())

    def switch(self, staged: Path, *, at_us: int) -> str | None:
        """Give the present file a second name, then the copy its first: nobody ever finds none."""
        aside = self.path.with_name(f"{self.path.name}.replaced-{at_us}")
        was_there = self.path.exists()
        if was_there:
            self._fold_log()
            aside.hardlink_to(self.path)
        # Also where only these are left of a database: SQLite would take them for the new one's.
        for mine, other in zip(companions(self.path), companions(aside), strict=True):
            with contextlib.suppress(FileNotFoundError):
                mine.rename(other)
        staged.rename(self.path)
        sync_folder(self.path.parent)
        return str(aside) if was_there else None

    def _fold_log(self) -> None:
        """Bring the write-ahead log into the file: found beside another one, it would break that.

        A file that is no database, or damaged, has its log set aside with it.
        """
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
            ) as connection:
                # Succeeds only where no other process reads or writes the file.
                connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.Error as exc:
            code = getattr(exc, "sqlite_errorcode", 0)
            if code & 0xFF in SQLITE_BROKEN:
                return
            if code & 0xFF == sqlite3.SQLITE_BUSY:
                raise StorageBusy(f"{self.path} is open in another process; end that first") from exc
            raise sqlite_fault(code=code, text=f"{exc} ({self.path})") from exc
