"""In how many days the disk will be full. An estimate for status, not more."""

from storage.disk import FULL_SHARE, Disk
from storage.kept import DAY_US, Kept, kept_from_us
from storage.oldest import oldest_tick_us
from storage.session import Dialect, Session

LEAST_SPAN_US = 3_600_000_000  # less than an hour of ticks says nothing about a day


def days_left(session: Session, *, disk: Disk | None, keep_ticks_days: int, now_us: int) -> float | None:
    """Return the days until the disk is full; None where that never comes, or is not known.

    Cheap enough for once in some minutes. The growth is the average over all ticks kept, quiet
    days and busy ones; `now_us` is the wall clock.
    """
    used_bytes = used(session)
    # Older ones, with absurd times, would make the growth look small.
    kept_us = max(kept_from_us(session, table=Kept.TICKS), now_us - (keep_ticks_days + 1) * DAY_US)
    oldest_us = oldest_tick_us(session, from_us=kept_us)
    span_us = now_us - oldest_us
    if disk is None or oldest_us == 0 or span_us < LEAST_SPAN_US:
        return None
    return days_until_full(
        used_bytes=used_bytes,
        bytes_a_day=used_bytes * DAY_US / span_us,
        keep_ticks_days=keep_ticks_days,
        free_bytes=max(0, disk.free_bytes - int(FULL_SHARE * disk.total_bytes)),
    )


def days_until_full(
    *, used_bytes: int, bytes_a_day: float, keep_ticks_days: int, free_bytes: int
) -> float | None:
    """Return the days until so much is used up; None where retention stops the growth before. Pure."""
    most_bytes = bytes_a_day * (keep_ticks_days + 1)  # today's, beside the days that are kept
    if most_bytes - used_bytes <= free_bytes:
        return None
    return free_bytes / bytes_a_day


def used(session: Session) -> int:
    """Return the bytes in use, free pages left out: the whole file, or a server's `tick` table.

    A server's figure is its own estimate, renewed as the table changes.
    """
    if session.dialect is Dialect.SQLITE:
        [(pages,)] = session.query("PRAGMA page_count")
        [(free,)] = session.query("PRAGMA freelist_count")
        [(page_bytes,)] = session.query("PRAGMA page_size")
        return (int(pages) - int(free)) * int(page_bytes)
    [(size,)] = session.query(
        "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = 'tick'"
    )
    return int(size)
