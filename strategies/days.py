"""Trading days and hours: when a day begins in a zone, and whether a time of day lies between two. Pure.

A day is a date of the zone, from its midnight to the next one's: 23 or 25 hours where clocks change.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

import attrs

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


@attrs.frozen(kw_only=True)
class Day:
    """A date of a zone, and where it begins and ends: `start_us` up to `end_us`, exclusive."""

    date: date
    start_us: int
    end_us: int

    def __contains__(self, at_us: int | None) -> bool:
        return at_us is not None and self.start_us <= at_us < self.end_us


def day_of(at_us: int, *, zone: str) -> Day:
    """Return the day that a time lies in. Days follow each other without hole or overlap."""
    tz = _tz(zone)
    local = _local(at_us, tz).date()
    if at_us >= _midnight_us(local + timedelta(days=1), tz):  # clocks went back over midnight
        local += timedelta(days=1)
    return Day(
        date=local,
        start_us=_midnight_us(local, tz),
        end_us=_midnight_us(local + timedelta(days=1), tz),
    )


def is_between(hours: str, at_us: int, *, zone: str) -> bool:
    """Return whether a time lies in hours such as `08:00-17:30`, the end exclusive; `22:00-02:00` too."""
    begin, _, end = hours.partition("-")
    now = _local(at_us, _tz(zone)).strftime("%H:%M")
    if begin <= end:
        return begin <= now < end
    return now >= begin or now < end


def clock_text(at_us: int, *, zone: str) -> str:
    """Return a time as people read it, in the zone: `2026-08-12 14:30:05`."""
    return _local(at_us, _tz(zone)).strftime("%Y-%m-%d %H:%M:%S")


@lru_cache(maxsize=8)
def _tz(zone: str) -> tzinfo:
    if zone == "UTC":  # is there on systems without zone data too
        return UTC
    import zoneinfo  # 0.2 MiB, with sysconfig

    return zoneinfo.ZoneInfo(zone)


def _local(at_us: int, tz: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_us // SECOND_US, tz)


@lru_cache(maxsize=64)
def _midnight_us(day: date, tz: tzinfo) -> int:
    # Of a midnight that is skipped or comes twice, the first moment of the date.
    return round(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp()) * SECOND_US
