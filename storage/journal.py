"""The journal: what is in it is accepted, and survives all but its own disk. Blocking; one thread at a time.

journal.db in the state directory, in SQLite; see `storage/journal_file.py`. The storing thread reads
it by `JournalReader`, a connection of its own.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from domain.crash_points import crash_point
from domain.errors import JournalBroken, JournalFull, JournalLocked
from domain.gaps import Cause, Gap, GapRanges
from domain.market import Tick
from storage.journal_file import (
    BATCHES,
    ERRORS,
    LAST,
    NAME,
    Damaged,
    as_batch,
    connect,
    insert,
    translate,
    value,
)
from storage.payloads import JournalBatch, Lane, Money, Rows, encode
from storage.room import Room, room
from storage.salvage import finish_interrupted, is_there, put_right
from storage.survey import Survey, survey

Result = TypeVar("Result")

RESERVE_NAME = "journal.reserve"
RESERVE_BYTES = 1024 * 1024  # given up for the money lane on a full disk, where even a DELETE fails
ROWS_A_BATCH = 4_000  # ticks: 280 KB
SLICE = 100  # batches deleted in one commit: accepting waits for no longer one
SHED_AT_ONCE = 10  # batches looked at while room is made
# The part of the file that comes free when ticks have to go. Each time costs gap rows of their markets,
# which stay: for every few ticks they would fill the journal in the end.
SHED_PART = 64
LOG_BYTES = 1_200_000  # the write-ahead log grows to that: wal_autocheckpoint, and one large batch
SMALL_BYTES = 4 * 1024 * 1024  # a file of this size is not worth making smaller
BYTES_A_BATCH = 200  # beside the payload, on the safe side
BYTES_A_TICK = 80

DELETE = "DELETE FROM {lane}_batch WHERE position <= ?"
FIRST = "SELECT MIN(position) FROM {lane}_batch"


@attrs.frozen(kw_only=True)
class Opened:
    """What a start found: the last run's journal, looked over, and what became of a damaged one."""

    found: Survey
    set_aside: Path | None
    reason: str


@attrs.frozen(kw_only=True)
class Appended:
    """What became of one append: the batches, the ticks that found no room, and the ticks that had to go."""

    batches: list[JournalBatch]
    refused: list[Tick]
    shed: int


class Journal:
    """The writing end. Errors are `JournalFull` and `JournalBroken`.

    After `JournalFull` nothing was appended. After `JournalBroken` nobody can tell: a retried append
    must be given the same rows as before, and repeats their numbers.
    """

    def __init__(self, folder: Path, *, max_bytes: int, room_of: Callable[[Path], Room] = room) -> None:
        self.path = folder / NAME
        self._folder = folder
        self._max_bytes = max_bytes
        self._room_of = room_of
        self._connection: sqlite3.Connection | None = None
        self._journal_id = _fresh_id()
        self._has_read_positions = False
        self._next_number = dict.fromkeys(Lane, 1)
        self._next_position = dict.fromkeys(Lane, 1)
        self._shed = GapRanges(Cause.JOURNAL_FULL)
        self._is_reserve_given_up = False
        # Set by whoever stores: positions, and whether what is not stored may be let go for newer
        # ticks, or those be refused, because the database takes them.
        self.stored_through = dict.fromkeys(Lane, 0)
        self.keeps_unstored = False

    # --- its life -----------------------------------------------------------------------------

    def open(self) -> Opened:
        """Look over what the last run left, put it right where it is damaged, and open it."""
        return self._with_reserve(self._open_translated)

    def _open_translated(self) -> Opened:
        self.close()
        with self._translated():
            return self._open()

    def _open(self) -> Opened:
        aside = finish_interrupted(self.path)
        found = Survey()
        reason = "" if aside is None else "the start that put it right was interrupted"
        if is_there(self.path):
            found = survey(self.path)
            reason = found.summary() or reason
        if not found.is_sound:
            found, aside = put_right(self.path)
        self._connection = connect(self.path)
        if not self._has_read_positions:  # later on we know better than a file that was put right
            for lane in Lane:
                self._next_position[lane] = value(self._connection, LAST.format(lane=lane)) + 1
            self._has_read_positions = True
        self._keep_reserve()
        return Opened(found=found, set_aside=aside, reason=reason)

    def begin_anew(self, entries: Sequence[tuple[Lane, Rows]]) -> None:
        """Give up appending these entries: their failed append may have been applied all the same.

        So their numbers and positions are not used for anything else.
        """
        self._journal_id = _fresh_id()
        self._next_number = dict.fromkeys(Lane, 1)
        for lane, _ in entries:
            self._next_position[lane] += 1
        self._next_position[Lane.MONEY] += 1  # of the gaps, if some ticks had to go

    def close(self) -> None:
        """Close it; closing it again is allowed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @property
    def last_positions(self) -> dict[Lane, int]:
        """The position of the last batch of each lane, 0 where there never was one."""
        return {lane: position - 1 for lane, position in self._next_position.items()}

    @property
    def is_open(self) -> bool:
        """Whether it can be appended to."""
        return self._connection is not None

    # --- accept -------------------------------------------------------------------------------

    def append(self, entries: Sequence[tuple[Lane, Rows]]) -> Appended:
        """Append each entry as a batch, all in one commit; money in any case, ticks as there is room."""
        try:
            return self._with_reserve(partial(self._append, entries))
        except JournalLocked:
            raise
        except JournalFull:
            money = [(lane, rows) for lane, rows in entries if lane is Lane.MONEY]
            if len(money) == len(entries):
                raise
        refused = [tick for lane, rows in entries if lane is Lane.TICKS for tick in _ticks(rows)]
        appended = self._append(money) if money else Appended(batches=[], refused=[], shed=0)
        return attrs.evolve(appended, refused=refused)

    def _append(self, entries: Sequence[tuple[Lane, Rows]]) -> Appended:
        connection = self._opened()
        numbers, positions = dict(self._next_number), dict(self._next_position)
        refused: list[Tick] = []
        batches: list[JournalBatch] = []
        with self._transaction(connection):
            gaps, shed = self._make_room(connection, entries)
            if gaps:
                entries = [(Lane.MONEY, Money(gaps=gaps)), *entries]
            for lane, rows in entries:
                if lane is Lane.TICKS and self._missing_bytes(connection, _bytes_of(rows)) > 0:
                    refused += _ticks(rows)
                    continue
                batch = JournalBatch(
                    lane=lane,
                    journal_id=self._journal_id,
                    number=numbers[lane],
                    position=positions[lane],
                    rows=rows,
                )
                insert(connection, batch)
                batches.append(batch)
                numbers[lane] += 1
                positions[lane] += 1
            crash_point("accept.appended")
        self._next_number, self._next_position = numbers, positions
        crash_point("accept.committed")
        return Appended(batches=batches, refused=refused, shed=shed)

    # --- full ---------------------------------------------------------------------------------

    def _missing_bytes(self, connection: sqlite3.Connection, need: int) -> int:
        """Return how many bytes of its pages must come free before so many more go in; ≤ 0 for none."""
        page_bytes = value(connection, "PRAGMA page_size")
        size = value(connection, "PRAGMA page_count") * page_bytes
        growth = need - value(connection, "PRAGMA freelist_count") * page_bytes
        if growth <= 0:
            return 0
        # What is in its log is still to be written into the file itself.
        unwritten = max(0, size - self.path.stat().st_size)
        found = self._room_of(self._folder)
        spare = found.spare - unwritten - self._kept_apart(found)
        return growth - max(0, min(self._max_bytes - size, spare))

    def _kept_apart(self, found: Room) -> int:
        """Return what is free and not for us: the log grows into it, and money once the reserve is gone."""
        log = 0
        with contextlib.suppress(FileNotFoundError):
            log = self.path.with_name(self.path.name + "-wal").stat().st_size
        growth = max(0, min(LOG_BYTES, found.total // 8) - log)
        return growth + (RESERVE_BYTES if self._is_reserve_given_up else 0)

    def _make_room(
        self, connection: sqlite3.Connection, entries: Sequence[tuple[Lane, Rows]]
    ) -> tuple[list[Gap], int]:
        """Let the oldest ticks go until the entries fit; return the gaps and the number of ticks lost.

        What is in the database already is no loss.
        """
        need = sum(_bytes_of(rows) for _, rows in entries)
        if need and self._missing_bytes(connection, need) > 0:
            need += self.path.stat().st_size // SHED_PART
        gaps: dict[tuple[str, int], Gap] = {}
        shed = 0
        while need and self._missing_bytes(connection, need) > 0:
            batches = self._delete_oldest(connection)
            if batches is None:
                break
            for ticks in (_ticks(batch.rows) for batch in batches):
                shed += len(ticks)
                gaps |= {(gap.market, gap.from_us): gap for gap in self._shed.add(ticks)}
        return list(gaps.values()), shed

    def _delete_oldest(self, connection: sqlite3.Connection) -> list[JournalBatch] | None:
        """Delete some of the oldest batches of ticks, never the last one; return those not stored yet.

        None where there is nothing that may go.
        """
        last = self._next_position[Lane.TICKS] - 2
        if self.keeps_unstored:
            last = min(last, self.stored_through[Lane.TICKS])
        sql = BATCHES.format(lane=Lane.TICKS) + "WHERE position <= ? ORDER BY position LIMIT ?"
        rows = connection.execute(sql, (last, SHED_AT_ONCE)).fetchall()
        if not rows:
            return None
        connection.execute(DELETE.format(lane=Lane.TICKS), (rows[-1][0],)).close()
        crash_point("drop.deleted")
        unstored = [row for row in rows if row[0] > self.stored_through[Lane.TICKS]]
        try:
            return [as_batch(Lane.TICKS, row) for row in unstored]
        except Damaged as exc:
            raise JournalBroken(f"{self.path}: {exc}") from exc

    def _keep_reserve(self) -> None:
        """Make the reserve file where it is missing and there is room for it."""
        path = self._folder / RESERVE_NAME
        with contextlib.suppress(OSError):
            if not (path.exists() and path.stat().st_size == RESERVE_BYTES):
                if self._room_of(self._folder).spare <= RESERVE_BYTES:
                    return
                _fill(path)
            self._is_reserve_given_up = False

    def _with_reserve(self, work: Callable[[], Result]) -> Result:
        """Return what `work` does; where the disk is full it is done again without the reserve."""
        try:
            return work()
        except JournalLocked:
            raise
        except JournalFull:
            try:
                (self._folder / RESERVE_NAME).unlink()
            except OSError:
                raise JournalFull(f"{self.path}: no room on the disk, and no reserve") from None
            self._is_reserve_given_up = True
        return work()

    # --- trim ---------------------------------------------------------------------------------

    def trim_slice(self, lane: Lane, *, through: int) -> bool:
        """Delete some batches up to a position, never the last one; return whether there are more."""
        connection = self._opened()
        last = min(through, self._next_position[lane] - 2)
        with self._transaction(connection):
            first = value(connection, FIRST.format(lane=lane))  # 0 where it is empty
            if not 0 < first <= last:
                return False
            until = min(last, first + SLICE - 1)
            connection.execute(DELETE.format(lane=lane), (until,)).close()
            crash_point("trim.deleted")
            return until < last

    def tidy(self) -> None:
        """Give back the space of a backlog that is stored, and make the reserve anew."""
        connection = self._opened()
        self._keep_reserve()
        with self._translated():
            page_bytes = value(connection, "PRAGMA page_size")
            pages = value(connection, "PRAGMA page_count")
            used = pages - value(connection, "PRAGMA freelist_count")
            if pages * page_bytes > SMALL_BYTES and used < pages // 8:
                connection.execute("VACUUM").close()

    # --- plumbing -----------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalBroken(f"{self.path} is not open")
        return self._connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ERRORS as exc:
            raise translate(exc, path=self.path) from exc
        except OSError as exc:
            raise JournalBroken(f"{self.path}: {exc.strerror or exc}") from exc

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        with self._translated():
            connection.execute("BEGIN IMMEDIATE").close()
            with contextlib.ExitStack() as undo:
                undo.callback(_roll_back, connection)
                yield
                connection.execute("COMMIT").close()
                undo.pop_all()

    # --- figures ------------------------------------------------------------------------------

    def figures(self) -> tuple[int, int]:
        """Return about how many batches it holds, and its bytes on the disk."""
        batches = size = 0
        with contextlib.suppress(JournalBroken, JournalFull), self._translated():
            for lane, last in self.last_positions.items():
                first = value(self._opened(), FIRST.format(lane=lane))
                batches += last - first + 1 if first else 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += self.path.with_name(self.path.name + suffix).stat().st_size
        return batches, size


def _bytes_of(rows: Rows) -> int:
    """Return how many bytes a batch of these rows takes at most, about."""
    payload = len(encode(rows)) if isinstance(rows, Money) else len(rows) * BYTES_A_TICK
    return BYTES_A_BATCH + payload


def _fill(path: Path) -> None:
    with contextlib.ExitStack() as undo:
        undo.callback(path.unlink, missing_ok=True)  # half of it would only take somebody's last bytes
        path.write_bytes(bytes(RESERVE_BYTES))
        undo.pop_all()


def _fresh_id() -> int:
    return int.from_bytes(os.urandom(8), "big") >> 1  # 63 bits, as a BIGINT has


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # SQLite has done so by itself, after some errors
        connection.execute("ROLLBACK").close()


def _ticks(rows: Rows) -> list[Tick]:
    assert not isinstance(rows, Money)
    return list(rows)
