"""Connections to the embedded database. Imported only where one is used."""

import contextlib
import sqlite3
import threading
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Self

import attrs

from domain.errors import StorageBusy
from storage.faults import sqlite_fault
from storage.session import Counts, Dialect
from storage.target import SqliteTarget

# SQLite sleeps through interrupt() while it waits for a lock: so less than the second that a
# thread has after the cut. Longer waits are retries.
LOCK_TIMEOUT_S = 0.75

PRAGMAS = (
    # Before the first table, or never: lets old days be given back to the file system in steps.
    "PRAGMA auto_vacuum = INCREMENTAL",
    # Some systems build SQLite so that it overwrites what is deleted: twice the bytes for nothing.
    "PRAGMA secure_delete = OFF",
    # KiB, of 2,000 by default: ticks come in order of time, so the pages at hand are the last ones.
    "PRAGMA cache_size = -800",
    # Readers and the writer do not wait for each other.
    "PRAGMA journal_mode = WAL",
    # FULL: without a journal of our own this file is the only copy, and NORMAL may lose the commits
    # since the last checkpoint to a power cut. It costs one fsync a transaction, one in store_every_ms.
    "PRAGMA synchronous = FULL",
)


# Money is text here, and exact: sums are made of Decimals, never by SQLite.
sqlite3.register_adapter(Decimal, "{:f}".format)


class WeaklyHeldConnection(sqlite3.Connection):
    """A connection that can be found, to interrupt it, without being kept; it knows its file again."""

    path: Path
    identity: tuple[int, int]

    def keep_in_mind(self, path: Path) -> None:
        """Remember which file it is that was opened by this name."""
        self.path, self.identity = path, _identity(path)

    def commit(self) -> None:
        """Make the transaction permanent, in the file that everybody else finds by this name.

        SQLite goes on writing into one that was deleted or replaced, and reports no error.
        """
        if _identity(self.path) != self.identity:
            raise sqlite3.OperationalError("what has this name is not the file that was opened")
        super().commit()


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as exc:
        raise sqlite3.OperationalError(f"the file that was opened is not there: {exc.strerror}") from exc
    return found.st_dev, found.st_ino


@attrs.frozen(kw_only=True, eq=False)
class SqliteDriver:
    """Makes connections that another thread can interrupt."""

    target: SqliteTarget
    counts: Counts = attrs.field(factory=Counts)
    dialect: Dialect = Dialect.SQLITE
    threadsafety: int = 1  # for DBUtils: connections are not shared
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _open: "weakref.WeakSet[WeaklyHeldConnection]" = attrs.field(factory=weakref.WeakSet)
    _stopping: threading.Event = attrs.field(factory=threading.Event)

    def connect(self) -> WeaklyHeldConnection:
        """Return a connection in which we alone begin transactions; the file is made if missing."""
        self._check()
        self.counts.connects += 1
        connection = sqlite3.connect(
            self.target.path,
            timeout=LOCK_TIMEOUT_S,
            isolation_level=None,  # the module begins no transaction behind our back
            check_same_thread=False,  # one thread at a time, but not always the same one
            factory=WeaklyHeldConnection,
        )
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            with self._lock:
                self._open.add(connection)
            self._check()
            for pragma in PRAGMAS:
                connection.execute(pragma).close()
                self.counts.statements += 1
            connection.keep_in_mind(self.target.path)
            undo.pop_all()
        return connection

    def patient(self) -> Self:
        """Return itself: SQLite has no timeout but that for locks."""
        return self

    def translate(self, exc: Exception) -> StorageBusy:
        """Return our error."""
        return sqlite_fault(code=getattr(exc, "sqlite_errorcode", None), text=f"{exc} ({self.target.path})")

    def sever(self) -> None:
        """Nothing to do: closing a file waits for nobody."""

    def cut(self) -> None:
        """Interrupt what is under way; no connection is begun any more."""
        self._stopping.set()
        with self._lock:
            for connection in list(self._open):
                with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
                    connection.interrupt()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StorageBusy("stopping: no connection is begun any more")
