"""Looks a journal over before it is trusted, and saves what can be saved from a damaged one."""

import contextlib
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from domain.clock import now_us
from domain.gaps import Gap
from domain.market import Tick
from storage.journal_file import (
    BATCHES,
    LAST,
    VERSION,
    Damaged,
    as_batch,
    connect,
    connect_readonly,
    insert,
    is_damage,
    value,
)
from storage.payloads import JournalBatch, Lane, Money, Rows

MAX_COMPLAINTS = 5  # that are named; the others are counted
COPIED_A_COMMIT = 1_000  # batches: the log of what is not yet committed stays small
MOST_BATCHES_A_PAGE = 12  # 1,024 bytes by the 80 of a batch of one short tick
WAL_HEADER = struct.Struct(">8I")  # SQLite's file format, section 4: magic … salt-1, salt-2 …
FRAME_HEADER = struct.Struct(">6I")  # page, size after a commit (else 0), salt-1, salt-2 …
SHM_MAX_FRAME = struct.Struct("=16xI")  # mxFrame of the first wal-index header (walformat.html)

GapKey = tuple[str, int, str]


@attrs.define(kw_only=True)
class Survey:
    """What a journal holds, and what is wrong with it."""

    complaints: list[str] = attrs.field(factory=list)
    batches: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
    rows: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
    last_position: dict[Lane, int] = attrs.field(factory=lambda: dict.fromkeys(Lane, 0))
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
        self.last_number[key] = batch.number
        self.last_position[batch.lane] = batch.position
        self.batches[batch.lane] += 1
        self.rows[batch.lane] += len(batch.rows)
        if isinstance(batch.rows, Money):
            for gap in batch.rows.gaps:
                self.gaps[gap.market, gap.from_us, gap.cause] = gap
        else:
            for tick in batch.rows:
                self.last_ticks[tick[0]] = tick


def survey(path: Path) -> Survey:
    """Return what a journal holds, after a look at every page and every batch of it.

    Changes nothing. A file that cannot be read at all is one complaint. Raises sqlite3.Error where that
    has another reason than the file: no room, no rights, no memory.
    """
    found = Survey()
    try:
        with contextlib.closing(connect_readonly(path)) as connection:
            _survey(connection, found)
            found.complaints += _lost_commits(path, page_size=value(connection, "PRAGMA page_size"))
    except sqlite3.Error as exc:
        _take_for_damage(exc)
        found.complain(str(exc))
    return found


def first_ticks_after(path: Path, *, numbers: Mapping[int, int]) -> dict[str, int]:
    """Return, by market, the time of the first tick in the batches above a number, by journal id.

    What is damaged is passed over; the next start sees to it. Without a journal there is none.
    """
    first: dict[str, int] = {}
    if not path.exists():
        return first
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect_readonly(path)) as connection:
        for batch in _readable(connection, Lane.TICKS, Survey()):
            if batch.number > numbers.get(batch.journal_id, 0) and not isinstance(batch.rows, Money):
                for tick in batch.rows:
                    first[tick.market] = min(tick.ts_us, first.get(tick.market, tick.ts_us))
    return first


def _survey(connection: sqlite3.Connection, found: Survey) -> None:
    version = value(connection, "PRAGMA user_version")
    tables = value(connection, "SELECT COUNT(*) FROM sqlite_master")
    if version == 0 and tables == 0:
        return  # the start that was to make it was interrupted
    if version != VERSION:
        found.complain(f"version {version}, this marketd knows {VERSION}")
        return
    for (line,) in connection.execute("PRAGMA quick_check(10)").fetchall():
        if line != "ok":
            found.complain(" ".join(str(line).split()))
    for lane in Lane:
        for row in connection.execute(BATCHES.format(lane=lane) + "ORDER BY position"):
            for batch in _sound(lane, row, found):
                found.take(batch)


def _take_for_damage(exc: sqlite3.Error) -> None:
    """Raise what is no damage: a sound journal would be set aside, and what is accepted in it with it."""
    if not is_damage(exc):
        raise exc


def _lost_commits(path: Path, *, page_size: int) -> list[str]:
    """Return a complaint where the write-ahead log holds commits that SQLite does not take for valid.

    SQLite ends its log at the first frame whose checksum is wrong, silently. Frames of the same
    generation (salt) after that were written later; a commit among them had been accepted. The
    journal is open: what SQLite takes for valid stands in its index of the log.
    """
    wal, shm = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    content = wal.read_bytes() if wal.exists() else b""
    index = shm.read_bytes() if shm.exists() else b""
    step = FRAME_HEADER.size + page_size
    starts = range(WAL_HEADER.size, len(content) - step + 1, step)
    frames = [FRAME_HEADER.unpack_from(content, start) for start in starts]
    if not frames:
        return []
    valid = SHM_MAX_FRAME.unpack_from(index)[0] if len(index) >= SHM_MAX_FRAME.size else 0
    salts = {WAL_HEADER.unpack_from(content)[4:6], frames[0][2:4]}  # either may be what is damaged
    lost = sum(n > valid and frame[1] > 0 and frame[2:4] in salts for n, frame in enumerate(frames, start=1))
    return [f"{wal.name}: {lost} commits after frame {valid} are damaged"] if lost else []


def _sound(lane: Lane, row: tuple[int, int, int, int, int, bytes], found: Survey) -> list[JournalBatch]:
    """Return the batch of a row; nothing, and a complaint, where it is not what was written."""
    try:
        return [as_batch(lane, row)]
    except Damaged as exc:
        found.complain(str(exc))
        return []


# --- a damaged one ----------------------------------------------------------------------------


def put_right(path: Path) -> tuple[Survey, Path]:
    """Replace a damaged journal by a new one with all batches that are as they were written.

    Returns what it holds and the name under which the damaged one stays; nothing deletes it. Can be
    interrupted at any point: `finish_interrupted` of the next start sees to that.
    """
    fresh = _salvaging(path)
    _remove(fresh)
    found = Survey()
    _copy(path, fresh, found)
    aside = _set_aside(path)
    fresh.rename(path)
    return found, aside


def finish_interrupted(path: Path) -> None:
    """Finish a `put_right` that was interrupted after the damaged journal got its other name."""
    fresh = _salvaging(path)
    if fresh.exists() and not path.exists():
        fresh.rename(path)
    _remove(fresh)


def _salvaging(path: Path) -> Path:
    return path.with_name(path.name + ".salvaging")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{now_us()}")
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    for suffix in ("-wal", ""):  # the log first: it is never left beside a journal that is not its own
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _copy(source_path: Path, target_path: Path, found: Survey) -> None:
    with contextlib.closing(connect(target_path)) as target:
        try:
            with contextlib.closing(connect_readonly(source_path)) as source:
                for lane in Lane:
                    _copy_lane(source, target, lane=lane, found=found)
        except sqlite3.Error as exc:
            _take_for_damage(exc)
            found.complain(str(exc))


def _copy_lane(source: sqlite3.Connection, target: sqlite3.Connection, *, lane: Lane, found: Survey) -> None:
    position = 0
    numbers: dict[int, int] = {}
    target.execute("BEGIN IMMEDIATE").close()
    for batch in _readable(source, lane, found):
        # Pages that lead astray may show a batch twice, or out of its order.
        if batch.position <= position or batch.number <= numbers.get(batch.journal_id, 0):
            continue
        for number in range(numbers.get(batch.journal_id, batch.number - 1) + 1, batch.number):
            insert(target, _empty(batch, number=number))
        position, numbers[batch.journal_id] = batch.position, batch.number
        found.take(batch)
        insert(target, batch)
        if found.batches[lane] % COPIED_A_COMMIT == 0:
            target.execute("COMMIT").close()
            target.execute("BEGIN IMMEDIATE").close()
    target.execute("COMMIT").close()


def _empty(after: JournalBatch, *, number: int) -> JournalBatch:
    """Return what takes the place of a lost batch: so that a hole is complained of once, and not for ever."""
    rows: Rows = Money() if after.lane is Lane.MONEY else []
    return attrs.evolve(after, number=number, position=after.position - (after.number - number), rows=rows)


def _readable(source: sqlite3.Connection, lane: Lane, found: Survey) -> Iterator[JournalBatch]:
    """Yield the batches that can be read: in order up to the damage, then one by one what lies behind."""
    reached = 0
    try:
        for row in source.execute(BATCHES.format(lane=lane) + "ORDER BY position"):
            if isinstance(row[0], int):
                reached = max(reached, row[0])
            yield from _sound(lane, row, found)
    except sqlite3.Error as exc:
        _take_for_damage(exc)
        found.complain(f"lane {lane} after position {reached}: {exc}")
        for position in range(reached + 1, _last_position(source, lane, reached=reached) + 1):
            with contextlib.suppress(sqlite3.Error):
                rows = source.execute(
                    BATCHES.format(lane=lane) + "WHERE position = ?", (position,)
                ).fetchall()
                for row in rows:
                    yield from _sound(lane, row, found)


def _last_position(source: sqlite3.Connection, lane: Lane, *, reached: int) -> int:
    try:
        return value(source, LAST.format(lane=lane))
    except sqlite3.Error:
        return reached + MOST_BATCHES_A_PAGE * value(source, "PRAGMA page_count")
