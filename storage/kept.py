"""From when on a table is whole: the rows of `retention`, raised before anything older is deleted."""

import enum

from storage.session import Session

DAY_US = 86_400_000_000


class Kept(enum.StrEnum):
    """A table of which old rows are deleted; `retention.table_name`."""

    TICKS = "tick"
    CANDLES = "candle"


def day_start_us(ts_us: int) -> int:
    """Return the midnight, UTC, at or before `ts_us`."""
    return ts_us - ts_us % DAY_US


def kept_from_us(session: Session, *, table: Kept) -> int:
    """Return from when on the table is whole, 0 where nothing was ever deleted.

    An interval that begins before it may have lost ticks: its candle is not to be recomputed.
    """
    rows = session.query("SELECT kept_from_us FROM retention WHERE table_name = ?", (table,))
    return int(rows[0][0]) if rows else 0


def raise_kept_from(session: Session, *, table: Kept, to_us: int, now_us: int) -> int:
    """Say, in a transaction of its own, that older rows may be gone; return what holds now.

    It never goes down, but for a mark in the future, left by a wall clock that was wrong: that
    one comes down to `now_us`, because everything before may have been deleted by it.
    """
    session.begin()
    before_us = kept_from_us(session, table=table)
    after_us = max(min(before_us, now_us), to_us)
    if before_us == 0 and after_us > 0:
        session.execute("INSERT INTO retention (table_name, kept_from_us) VALUES (?, ?)", (table, after_us))
    elif after_us != before_us:
        session.execute("UPDATE retention SET kept_from_us = ? WHERE table_name = ?", (after_us, table))
    session.commit()
    return after_us
