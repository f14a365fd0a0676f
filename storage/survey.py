"""Looks a journal over, page by page and batch by batch, before it is trusted."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from domain.gaps import Gap
from domain.market import Tick
from storage.journal_file import (
    BATCHES,
    ERRORS,
    LAST,
    VERSION,
    Damaged,
    as_batch,
    connect_readonly,
    has_our_schema,
    is_damage,
    translate,
    value,
)
from storage.log_file import lost_commits, read_index
from storage.payloads import JournalBatch, Lane, Money

MAX_COMPLAINTS = 5  # that are named; the others are counted
MOST_BATCHES_A_PAGE = 12  # 1,024 bytes by the 80 of a batch of one short tick
FILE_HEADER_BYTES = 100
LOGGED = b"\2\2"  # at 18 in the header: written and read by way of a log

GapKey = tuple[str, int, str]


@attrs.define(kw_only=True)
class Survey:
    """What a journal holds, and what is wrong with it."""

    complaints: list[str] = attrs.field(factory=list)
    batches: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
    rows: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
    payload_bytes: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
    last_position: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
    first_number: dict[tuple[int, Lane], int] = attrs.field(factory=dict)
    last_number: dict[tuple[int, Lane], int] = attrs.field(factory=dict)
    last_ticks: dict[str, Tick] = attrs.field(factory=dict)  # by market
    gaps: dict[GapKey, Gap] = attrs.field(factory=dict)  # as they stand at the end

    @property
    def is_sound(self) -> bool:
        """Whether every batch is there, as it was written."""
        return not self.complaints

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not any(self.batches.values())

    def complain(self, text: str) -> None:
        """Note something that is wrong."""
        self.complaints.append(text)

    def summary(self) -> str:
        """Return what is wrong, the first few of it."""
        more = len(self.complaints) - MAX_COMPLAINTS
        named = "; ".join(self.complaints[:MAX_COMPLAINTS])
        return named + (f"; and {more} more" if more > 0 else "")

    def take(self, batch: JournalBatch) -> None:
        """Count a batch that is as it was written, the next of its lane."""
        key = batch.journal_id, batch.lane
        before = self.last_number.get(key)
        if before is not None and batch.number != before + 1:
            self.complain(
                f"journal {batch.journal_id}, lane {batch.lane}: batch {batch.number} after {before}"
            )
        if batch.position < 1:  # no checksum guards it, and nobody looks there
            self.complain(f"lane {batch.lane}: batch {batch.number} stands at position {batch.position}")
        self.first_number.setdefault(key, batch.number)
        self.last_number[key] = batch.number
        self.last_position[batch.lane] = batch.position
        self.batches[batch.lane] += 1
        self.rows[batch.lane] += len(batch.rows)
        if isinstance(batch.rows, Money):
            for gap in batch.rows.gaps:
                self.gaps[gap.market, gap.from_us, gap.cause] = gap
        else:
            for tick in batch.rows:
                if tick.source != "backfill":  # which is older than what came before it
                    self.last_ticks[tick[0]] = tick


def survey(path: Path) -> Survey:
    """Return what a journal holds, after a look at every page and every batch of it.

    Changes nothing. A file that cannot be read at all is one complaint. Raises `JournalFull` or
    `JournalBroken` where it is out of reach and may be sound.
    """
    found = Survey()
    if not has_header(path):  # SQLite would take it for a new one, and delete its log
        found.complain(f"cut to {path.stat().st_size} bytes" if path.exists() else "missing beside its log")
        return found
    left = read_index(path)
    try:
        with contextlib.closing(connect_readonly(path)) as connection:
            _survey(connection, found)
            found.complaints += lost_commits(path, page_size=value(connection, "PRAGMA page_size"), left=left)
    except ERRORS as exc:
        if not is_damage(exc):
            raise translate(exc, path=path) from exc
        found.complain(str(exc))
    with path.open("rb") as file:
        if file.read(FILE_HEADER_BYTES)[18:20] != LOGGED:  # it could be read, and not be written
            found.complain("the file's header is damaged")
    return found


def has_header(path: Path) -> bool:
    """Return whether there is as much of a file as SQLite needs to take it for a database."""
    return path.exists() and path.stat().st_size >= FILE_HEADER_BYTES


def first_ticks_after(path: Path, *, numbers: Mapping[int, int]) -> dict[str, int]:
    """Return, by market, the time of the first tick in the batches above a number, by journal id.

    What is damaged is passed over; the next start sees to it. Without a journal there is none.
    """
    first: dict[str, int] = {}
    if not path.exists():
        return first
    with contextlib.suppress(*ERRORS), contextlib.closing(connect_readonly(path)) as connection:
        for batch in readable(connection, Lane.TICKS, Survey()):
            if batch.number > numbers.get(batch.journal_id, 0) and not isinstance(batch.rows, Money):
                for tick in batch.rows:
                    if tick.source != "backfill":  # which may fill a gap from before them
                        first[tick.market] = min(tick.ts_us, first.get(tick.market, tick.ts_us))
    return first


def _survey(connection: sqlite3.Connection, found: Survey) -> None:
    version = value(connection, "PRAGMA user_version")
    if version != VERSION:
        found.complain(f"version {version}, this marketd knows {VERSION}")
        return
    if not has_our_schema(connection):
        found.complain("the tables are not as they were made")
    for (line,) in connection.execute("PRAGMA quick_check(10)").fetchall():
        if line != "ok":
            found.complain(" ".join(str(line).split()))
    for lane in Lane:
        for row in connection.execute(BATCHES.format(lane=lane) + "ORDER BY position"):
            for batch in _sound(lane, row, found):
                found.take(batch)
                found.payload_bytes[lane] += len(row[5])


def _sound(lane: Lane, row: tuple[int, int, int, int, int, bytes], found: Survey) -> list[JournalBatch]:
    """Return the batch of a row; nothing, and a complaint, where it is not what was written."""
    try:
        return [as_batch(lane, row)]
    except Damaged as exc:
        found.complain(str(exc))
        return []


# --- reading what may be damaged ----------------------------------------------------------------


def readable(source: sqlite3.Connection, lane: Lane, found: Survey) -> Iterator[JournalBatch]:
    """Yield the batches that can be read: in order up to the damage, then one by one what lies behind.

    Raises one of `ERRORS` where it is not the content that stands in the way.
    """
    reached = 0
    try:
        for row in source.execute(BATCHES.format(lane=lane) + "ORDER BY position"):
            for batch in _sound(lane, row, found):
                reached = max(reached, batch.position)
                yield batch
    except ERRORS as exc:
        if not is_damage(exc):
            raise
        found.complain(f"lane {lane} after position {reached}: {exc}")
    else:
        return
    for position in range(reached + 1, _last_position(source, lane, reached=reached) + 1):
        with contextlib.suppress(*ERRORS):
            rows = source.execute(BATCHES.format(lane=lane) + "WHERE position = ?", (position,)).fetchall()
            for row in rows:
                yield from _sound(lane, row, found)


def _last_position(source: sqlite3.Connection, lane: Lane, *, reached: int) -> int:
    """Return where the lane may end: a damaged page may say anything, the file's size does not."""
    last = most = reached
    with contextlib.suppress(*ERRORS):
        last = most = reached + MOST_BATCHES_A_PAGE * value(source, "PRAGMA page_count")
        last = value(source, LAST.format(lane=lane))
    return min(last, most)
