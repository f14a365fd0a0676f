"""What the writer says of the database and of itself."""

import enum

import attrs


class Contact(enum.Enum):
    """What the first contact with the database found."""

    FRESH = "fresh"  # reached, and never ours before
    EXISTING = "existing"
    UNREACHABLE = "unreachable"  # it failed, or did not answer in time; the writer goes on trying


class DatabaseState(enum.StrEnum):
    """`writer.db` in status."""

    UP = "up"
    DOWN = "down"


@attrs.frozen(kw_only=True)
class Finished:
    """How the writer ended: rows that are nowhere, and whether a thread of its hangs."""

    lost: int
    is_stuck: bool


@attrs.frozen(kw_only=True)
class Recovered:
    """What earlier runs had accepted, and only this one stored: ticks, and their batches in the journal."""

    batches: int = 0
    ticks: int = 0


@attrs.frozen(kw_only=True)
class WriterStatistics:
    """What `status` shows. `accepted`, `stored`, `dropped` and `waiting` count ticks.

    `waiting` are accepted and not stored yet, as far as this run accepted them; `unaccepted` are
    neither in the journal nor in the database.
    """

    accepted: int
    stored: int
    dropped: int
    waiting: int
    unaccepted: int
    journal_batches: int
    journal_bytes: int
    unjournaled: bool
    days_until_full: float | None  # of the database's disk; None for never, or not known
    db: DatabaseState
    db_reason: str
    statements: int
    connects: int
    recovered: Recovered
