"""One connection, as the rest of `storage` speaks to it: statements out, rows back, all counted."""

import enum
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import attrs

from domain.errors import StorageBusy

Row = tuple[Any, ...]


class Dialect(enum.StrEnum):
    """Whose SQL; also the middle part of a schema file's name."""

    SQLITE = "sqlite"
    MYSQL = "mysql"


@attrs.define(kw_only=True)
class Counts:
    """Statements sent and connections begun, over every pool and session of one driver."""

    statements: int = 0
    connects: int = 0


class Driver(Protocol):
    """Makes connections of one kind, and can cut them from another thread."""

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it speaks."""

    @property
    def counts(self) -> Counts:
        """What it has cost so far."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What its library raises when the database fails."""

    @property
    def threadsafety(self) -> int:
        """As DB-API 2.0 has it, asked for by DBUtils: 1, threads share the module, not connections."""

    def connect(self) -> Any:
        """Return a new DB-API connection; raise `StorageBusy` after `cut()`."""

    def patient(self) -> Self:
        """Return a driver that shares everything with this one and waits for ever for answers."""

    def translate(self, exc: Exception) -> StorageBusy:
        """Return our error for one of `errors`."""

    def sever(self) -> None:
        """Make sure that no open connection can be waited for; new ones may still be made."""

    def cut(self) -> None:
        """From any thread, never waiting: end what is under way; no connection is begun any more."""


class Session:
    """Runs statements on one connection, for one thread at a time. SQL is written with `?` marks.

    `errors` are what its driver raises, and `translate` makes ours of them.
    """

    def __init__(self, *, connection: Any, driver: Driver) -> None:
        self.dialect = driver.dialect
        self.errors = driver.errors
        self.translate = driver.translate
        self._counts = driver.counts
        # Kept beside its cursor: a pooled handle that nobody holds takes its cursor along.
        self._connection = connection
        self._cursor = connection.cursor()

    def begin(self) -> None:
        """Open a transaction. Without it DBUtils replaces a lost connection and loses rows silently."""
        self._connection.begin()
        if self.dialect is Dialect.SQLITE:
            # DBUtils' begin() sends nothing here. IMMEDIATE: wait for the lock now, not at the first write.
            self.execute("BEGIN IMMEDIATE")
        else:
            self._counts.statements += 1

    def commit(self) -> None:
        """Make the transaction permanent. Where it raises, it may have been applied all the same."""
        self._counts.statements += 1
        self._connection.commit()

    def execute(self, sql: str | bytes, parameters: Sequence[Any] = ()) -> None:
        """Run one statement; bytes are sent as they are and take no parameters."""
        self._counts.statements += 1
        if isinstance(sql, bytes) or not parameters:
            self._cursor.execute(sql)
        else:
            self._cursor.execute(self._marked(sql), parameters)

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Run one INSERT for many rows; PyMySQL joins them into statements under 1 MB."""
        self._counts.statements += 1
        self._cursor.executemany(self._marked(sql), rows)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a SELECT."""
        self.execute(sql, parameters)
        return list(self._cursor.fetchall())

    def pages(self, sql: str, *, rows: int) -> Iterator[list[Row]]:
        """Yield the rows of a SELECT in lists of at most `rows`; take the last before another statement.

        PyMySQL holds all rows in memory unless its driver was made with an unbuffered cursor.
        """
        self.execute(sql)
        while page := self._cursor.fetchmany(rows):
            yield list(page)

    def run_to_end(self, sql: str) -> None:
        """Run a statement of SQLite's that works while it is stepped: `execute()` steps a PRAGMA once."""
        self._counts.statements += 1
        self._cursor.executescript(sql)

    def _marked(self, sql: str) -> str:
        return sql.replace("?", "%s") if self.dialect is Dialect.MYSQL else sql
