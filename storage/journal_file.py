"""The journal's file: SQLite, one table a lane, one row a batch. Connections and plain statements."""

import contextlib
import os
import sqlite3
from pathlib import Path

from domain.errors import JournalBroken, JournalFull, JournalLocked
from storage.payloads import JournalBatch, Lane, checksum, decode, encode

NAME = "journal.db"  # in the state directory
VERSION = 1
LOCK_TIMEOUT_S = 1.0  # somebody else looks at it; longer waits are retries

# 1,024: a commit of a few ticks writes a page or two, and a page is the least that is written.
NEW = ("PRAGMA page_size = 1024", "PRAGMA journal_mode = WAL")
EACH = (
    "PRAGMA synchronous = FULL",  # accepted means: not even a power cut loses it
    "PRAGMA secure_delete = OFF",  # some builds overwrite what is deleted: twice the bytes for nothing
    "PRAGMA wal_autocheckpoint = 1000",  # pages: about 1 MB
    "PRAGMA journal_size_limit = 2097152",  # a large batch leaves no large file behind
    "PRAGMA cache_size = -256",  # KiB: it is written once and read once
)
# The position orders a lane over all journal ids. No index: batches are read in that order only.
TABLE = """
    CREATE TABLE IF NOT EXISTS {lane}_batch (
        position INTEGER PRIMARY KEY,
        journal_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        payload BLOB NOT NULL
    )
"""
BATCHES = "SELECT position, journal_id, number, rows, checksum, payload FROM {lane}_batch "

INSERT = "INSERT OR REPLACE INTO {lane}_batch VALUES (?, ?, ?, ?, ?, ?)"
LAST = "SELECT MAX(position) FROM {lane}_batch"

FULL, BUSY, LOCKED = 13, 5, 6  # SQLite's result codes
# What a file's own content cannot cause: rights, locks, memory, a disk without room.
OUTSIDE = frozenset({3, BUSY, LOCKED, 7, 8, 9, FULL, 14, 15, 23})
IOERR, IOERR_SHMSIZE = 10, 4874  # the index of the log grows 32 KB at a time, and says so in its own way
# …_READ, _SHORT_READ, _DATA, _CORRUPTFS
IOERR_READS = frozenset({IOERR | 1 << 8, IOERR | 2 << 8, IOERR | 32 << 8, IOERR | 33 << 8})

# A damaged name in one of SQLite's messages makes the second of these out of the first.
ERRORS = (sqlite3.Error, UnicodeDecodeError)


class Damaged(ValueError):
    """A batch is not what was written: its checksum or its content is wrong."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal for writing; make it where it is missing."""
    if not path.exists():
        _make(path)
    return _connect_writable(path)


def _make(path: Path) -> None:
    """Make an empty journal, whole from the moment it has its name: a file without content is damaged."""
    new = path.with_name(path.name + ".new")
    for suffix in ("", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o640))  # its other files get the same mode
    _connect_writable(new).close()
    new.rename(path)


def _connect_writable(path: Path) -> sqlite3.Connection:
    connection = _connect(f"file:{_quoted(path)}?mode=rw")
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        if value(connection, "PRAGMA page_count") == 0:
            for statement in NEW:
                connection.execute(statement).close()
        for statement in EACH:
            connection.execute(statement).close()
        connection.execute("BEGIN IMMEDIATE").close()  # a file with tables and without a version is damaged
        for lane in Lane:
            connection.execute(TABLE.format(lane=lane)).close()
        connection.execute(f"PRAGMA user_version = {VERSION}").close()
        connection.execute("COMMIT").close()
        undo.pop_all()
    return connection


def has_our_schema(connection: sqlite3.Connection) -> bool:
    """Whether the tables are ours, letter by letter: a damaged one may hide all rows and seem well."""
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    with contextlib.closing(sqlite3.connect(":memory:")) as ours:
        for lane in Lane:
            ours.execute(TABLE.format(lane=lane)).close()
        wanted = ours.execute(schema).fetchall()
    return connection.execute(schema).fetchall() == wanted


def connect_readonly(path: Path) -> sqlite3.Connection:
    """Open a journal without changing it, what its write-ahead log holds included."""
    return _connect(f"file:{_quoted(path)}?mode=ro")


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def value(connection: sqlite3.Connection, sql: str) -> int:
    """Return the one number that a statement gives."""
    [(found,)] = connection.execute(sql).fetchall()
    return int(found or 0)


def as_batch(lane: Lane, row: tuple[int, int, int, int, int, bytes]) -> JournalBatch:
    """Return the batch of a row of `BATCHES`; raise `Damaged` where it is not what was written."""
    position, journal_id, number, rows, expected, payload = row
    try:
        if not isinstance(position, int):  # a damaged table may have no key
            raise Damaged("no position")
        if checksum(payload, journal_id=journal_id, lane=lane, number=number, rows=rows) != expected:
            raise Damaged(f"batch {number} of journal {journal_id}, lane {lane}: wrong checksum")
        return JournalBatch(
            lane=lane, journal_id=journal_id, number=number, position=position, rows=decode(lane, payload)
        )
    except (ValueError, TypeError) as exc:  # the column may hold anything in a damaged file
        raise Damaged(f"batch at {position!r}, lane {lane}: {exc}") from exc


def insert(connection: sqlite3.Connection, batch: JournalBatch) -> None:
    """Write a batch at its position; again where it may have been written already."""
    payload, rows = encode(batch.rows), len(batch.rows)
    guard = checksum(payload, journal_id=batch.journal_id, lane=batch.lane, number=batch.number, rows=rows)
    values = (batch.position, batch.journal_id, batch.number, rows, guard, payload)
    connection.execute(INSERT.format(lane=batch.lane), values).close()


def is_damage(exc: Exception) -> bool:
    """Whether the file's content is to blame; else it may be sound, and only out of reach now."""
    code = getattr(exc, "sqlite_errorcode", 0)
    return code in IOERR_READS or code & 0xFF not in {*OUTSIDE, IOERR}


def translate(exc: Exception, *, path: Path) -> JournalFull | JournalBroken:
    """Return our error for one of `ERRORS`."""
    code = getattr(exc, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == FULL or code == IOERR_SHMSIZE:
        return JournalFull(f"{path}: no room on the disk")
    if primary in (BUSY, LOCKED):
        return JournalLocked(f"{path}: locked by another process")
    return JournalBroken(f"{path}: {exc}")
