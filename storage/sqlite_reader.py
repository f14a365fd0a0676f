"""Reads an embedded database and leaves no trace. Imported only where one is read without the daemon.

Even a connection with `mode=ro` makes the two files of the write-ahead log where they are missing,
and leaves them. So a file at rest, which has no log, is read as one that does not change
(`immutable`), and after each read it is looked at whether that held. A file with a log is in use, or
was left by a crash: it is read with `mode=ro`, by SQLite's own rules, and its log stays as it is.
(Tried with SQLite 3.40.1, 2026-11.)
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import attrs

from domain.errors import StorageBusy, StorageRefused
from storage.faults import sqlite_fault
from storage.session import Session
from storage.sqlite import LOCK_TIMEOUT_S, SqliteDriver
from storage.target import SqliteTarget

Result = TypeVar("Result")

ATTEMPTS = 5  # who begins to write stays, so that the second one succeeds

# READONLY, CANTOPEN: what SQLite says where it may not make or read the log's files.
NOT_ALLOWED = frozenset({8, 14})


@attrs.frozen(kw_only=True)
class Look:
    """What tells from outside whether a database file was written to; a log comes before any change."""

    has_log: bool
    size_bytes: int
    changed_ns: int

    @classmethod
    def at(cls, path: Path) -> "Look":
        """Look at a file now. Raises `StorageRefused` where there is none."""
        try:
            found = path.stat()
        except OSError as exc:
            raise StorageRefused(f"there is no database to read at {path}: {exc.strerror}") from exc
        log = path.with_name(path.name + "-wal")
        return cls(has_log=log.exists(), size_bytes=found.st_size, changed_ns=found.st_mtime_ns)


class SqliteReader:
    """Runs reads on a database file, which is never made and never changed. One thread at a time."""

    def __init__(self, target: SqliteTarget) -> None:
        self._path = target.path
        self._open()

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Return what `work` makes of the session; it is run again where somebody wrote meanwhile."""
        for _ in range(ATTEMPTS):
            try:
                result = self._run_once(work)
            except StorageBusy:
                if self._is_sound():
                    raise
            else:
                if self._is_sound():
                    return result
            self.close()
            self._open()  # as a rule there is a log now, and with it the writer's locks
        raise StorageBusy(f"{self._path} was written to during each of {ATTEMPTS} attempts to read it")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> None:
        self._before = Look.at(self._path)
        mode = "mode=ro" if self._before.has_log else "mode=ro&immutable=1"
        uri = f"file:{quote(str(self._path))}?{mode}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as exc:
            raise self._translate(exc) from exc
        self._session = Session(
            connection=self._connection, driver=SqliteDriver(target=SqliteTarget(path=self._path))
        )

    def _is_sound(self) -> bool:
        return self._before.has_log or Look.at(self._path) == self._before

    def _run_once(self, work: Callable[[Session], Result]) -> Result:
        try:
            return work(self._session)
        except sqlite3.Error as exc:
            raise self._translate(exc) from exc

    def _translate(self, exc: sqlite3.Error) -> StorageBusy:
        code = getattr(exc, "sqlite_errorcode", None)
        fault = sqlite_fault(code=code, text=f"{exc} ({self._path})")
        if code is not None and code & 0xFF in NOT_ALLOWED:
            return StorageRefused(f"{fault}: read it as the user that runs marketd")
        return fault
