"""Saves what can be saved from a damaged journal, and sets that aside."""

import contextlib
import sqlite3
from pathlib import Path

import attrs

from domain.clock import now_us
from storage.journal_file import (
    ERRORS,
    connect,
    connect_readonly,
    insert,
)
from storage.payloads import JournalBatch, Lane, Money, Rows
from storage.survey import Survey, has_header, readable

COPIED_A_COMMIT = 1_000  # batches: the log of what is not yet committed stays small


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


def finish_interrupted(path: Path) -> Path | None:
    """Finish a `put_right` that was interrupted after the damaged journal got its other name; return that."""
    fresh = _salvaging(path)
    aside = None
    if fresh.exists() and not path.exists():
        aside = max(path.parent.glob(f"{path.name}.damaged-*[0-9]"), default=_aside(path))
        _set_aside_log(path, aside)
        fresh.rename(path)
    _remove(fresh)
    return aside


def is_there(path: Path) -> bool:
    """Whether there is a journal, or what is left of one."""
    return path.exists() or _log(path).exists()


def _salvaging(path: Path) -> Path:
    return path.with_name(path.name + ".salvaging")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged-{now_us()}")


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _set_aside(path: Path) -> Path:
    """Rename the file, then its log: as long as the log is here, it is the log of the last one renamed."""
    aside = _aside(path)
    if path.exists():
        path.rename(aside)
    _set_aside_log(path, aside)
    return aside


def _set_aside_log(path: Path, aside: Path) -> None:
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    if _log(path).exists():
        _log(path).rename(_log(aside))


def _copy(source_path: Path, target_path: Path, found: Survey) -> None:
    with contextlib.closing(connect(target_path)) as target:
        if not has_header(source_path):
            found.complain("nothing is left of it")
            return
        with contextlib.closing(connect_readonly(source_path)) as source:
            with contextlib.suppress(*ERRORS):
                source.execute("PRAGMA writable_schema = ON").close()  # also reads what was cut short
            for lane in Lane:
                _copy_lane(source, target, lane=lane, found=found)


def _copy_lane(source: sqlite3.Connection, target: sqlite3.Connection, *, lane: Lane, found: Survey) -> None:
    position = 0
    numbers: dict[int, int] = {}
    target.execute("BEGIN IMMEDIATE").close()
    for batch in readable(source, lane, found):
        # Pages that lead astray may show a batch twice, or out of its order. No checksum guards its position.
        before = numbers.get(batch.journal_id)
        if before is None:
            position = max(position, batch.position - 1)
        elif batch.number <= before:
            continue
        for number in range(batch.number if before is None else before + 1, batch.number):
            position += 1
            insert(target, _empty(batch, number=number, position=position))
        position, numbers[batch.journal_id] = position + 1, batch.number
        found.take(attrs.evolve(batch, position=position))
        insert(target, attrs.evolve(batch, position=position))
        if found.batches[lane] % COPIED_A_COMMIT == 0:
            target.execute("COMMIT").close()
            target.execute("BEGIN IMMEDIATE").close()
    target.execute("COMMIT").close()


def _empty(after: JournalBatch, *, number: int, position: int) -> JournalBatch:
    """Return what takes the place of a lost batch: so that a hole is complained of once, and not for ever."""
    rows: Rows = Money() if after.lane is Lane.MONEY else []
    return attrs.evolve(after, number=number, position=position, rows=rows)
