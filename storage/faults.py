"""What a driver's exception means, by its number. Pure.

The numbers are the servers' own (MySQL and MariaDB error reference, SQLite result codes), each
seen in an experiment or named by the reference, 2026-11.
"""

from domain.errors import RowRefused, StorageBusy, StorageRefused

# Waiting mends these: disk full, too many connections, shutting down, table full, lock wait,
# deadlock, read only, cannot connect (socket, TCP), gone away, lost during a query.
MYSQL_TRANSIENT = frozenset({1021, 1040, 1053, 1114, 1205, 1213, 1290, 2002, 2003, 2006, 2013})
# These need somebody: database, user or host refused, no such database, column, table, right;
# a statement that does not parse.
MYSQL_PERMANENT = frozenset({1044, 1045, 1049, 1054, 1064, 1130, 1142, 1146, 1698})
# A row is refused: out of range, wrong text, too long.
MYSQL_DATA = frozenset({1264, 1366, 1406})

# PERM, READONLY, CORRUPT, CANTOPEN, NOTADB, and ERROR: no such table, a statement that does not parse.
SQLITE_PERMANENT = frozenset({1, 3, 8, 11, 14, 26})
# TOOBIG, CONSTRAINT, MISMATCH.
SQLITE_DATA = frozenset({18, 19, 20})

REASON_LENGTH = 300  # characters; a server's message may quote a whole statement


def mysql_fault(*, number: int | None, text: str) -> StorageBusy:
    """Return our error for a server's or PyMySQL's number; an unknown one is transient."""
    reason = _reason(number=number, text=text)
    if number in MYSQL_DATA:
        return RowRefused(reason)
    if number in MYSQL_PERMANENT:
        return StorageRefused(reason)
    return StorageBusy(reason)


def sqlite_fault(*, code: int | None, text: str) -> StorageBusy:
    """Return our error for a SQLite result code, extended or not; an unknown one is transient."""
    primary = None if code is None else code & 0xFF  # the extended part says only where
    reason = _reason(number=primary, text=text)
    if primary in SQLITE_DATA:
        return RowRefused(reason)
    if primary in SQLITE_PERMANENT:
        return StorageRefused(reason)
    return StorageBusy(reason)


def _reason(*, number: int | None, text: str) -> str:
    line = " ".join(text.split())[:REASON_LENGTH]
    return line if number is None else f"{number} {line}"
