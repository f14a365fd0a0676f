"""Reads the journal while it is written: by a connection of its own, in the storing thread."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import attrs

from domain.errors import JournalBroken
from storage.journal_file import BATCHES, ERRORS, NAME, Damaged, as_batch, connect_readonly, translate
from storage.payloads import JournalBatch, Lane

HEAD = "SELECT position, journal_id, number FROM {lane}_batch WHERE position > ? ORDER BY position LIMIT 1"
LAST_UP_TO = (
    "SELECT MAX(CASE WHEN number <= ? THEN position END), MIN(position) "
    "FROM {lane}_batch WHERE journal_id = ?"
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Head:
    """The name and place of a batch, without its rows."""

    position: int
    journal_id: int
    number: int


class JournalReader:
    """The reading end. Each call ends its transaction, so that the write-ahead log stays small.

    Raises `JournalBroken`; after that, and after `close()`, it opens the file anew.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close it: the file may be another one when it is read again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def head(self, lane: Lane, *, after: int) -> Head | None:
        """Return the first batch behind a position, None where there is none."""
        with self._reading() as connection:
            for position, journal_id, number in connection.execute(HEAD.format(lane=lane), (after,)):
                return Head(position=position, journal_id=journal_id, number=number)
        return None

    def position_of(self, lane: Lane, *, journal_id: int, number: int) -> int | None:
        """Return the position after which a journal's batches above a number come; None without any.

        Looks at every batch: for a start, and for the rare case that the database went back.
        """
        with self._reading() as connection:
            sql = LAST_UP_TO.format(lane=lane)
            [(last, first)] = connection.execute(sql, (number, journal_id)).fetchall()
        if first is None:
            return None
        return int(first) - 1 if last is None else int(last)

    def read(self, lane: Lane, *, after: int, max_rows: int) -> list[JournalBatch]:
        """Return the batches behind a position, all of one journal id, at least one, up to `max_rows`."""
        batches: list[JournalBatch] = []
        count = 0
        sql = BATCHES.format(lane=lane) + "WHERE position > ? ORDER BY position"
        with self._reading() as connection, contextlib.closing(connection.execute(sql, (after,))) as cursor:
            for row in cursor:
                if batches and (row[1] != batches[0].journal_id or count + row[3] > max_rows):
                    break
                batches.append(as_batch(lane, row))
                count += len(batches[-1].rows)
        return batches

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            try:
                if self._connection is None:
                    self._connection = connect_readonly(self._path)
                yield self._connection
            except Damaged as exc:
                raise JournalBroken(f"{self._path}: {exc}") from exc
            except ERRORS as exc:
                raise JournalBroken(str(translate(exc, path=self._path))) from exc
            undo.pop_all()
