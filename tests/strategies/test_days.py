from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.days import clock_text, day_of, is_between

SECOND_US = 1_000_000
# With clocks that change at midnight, a minute after it, by half an hour, and by a whole day.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Atlantic/Azores",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
TIMES = st.integers(631_152_000, 2_145_916_800)  # 1990 to 2038, seconds
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, *, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US


def near_changes(zone: str) -> list[int]:
    """Return hours of the years in which a zone's clocks change, and of the days beside."""
    tz, found = ZoneInfo(zone), []
    hour = datetime(2005, 1, 1, tzinfo=UTC)
    while hour.year < 2013:
        if hour.astimezone(tz).utcoffset() != (hour + timedelta(hours=1)).astimezone(tz).utcoffset():
            found += [int(hour.timestamp()) + 900 * step for step in range(-110, 111)]
        hour += timedelta(hours=1)
    return found


@given(TIMES, st.sampled_from(ZONES))
def test_each_time_lies_in_the_day_it_is_said_to(at_s: int, zone: str) -> None:
    day = day_of(at_s * SECOND_US, zone=zone)
    assert at_s * SECOND_US in day
    assert day_of(day.end_us, zone=zone).start_us == day.end_us
    assert day_of(day.end_us - 1, zone=zone) == day


@pytest.mark.parametrize("zone", ["America/Havana", "America/St_Johns", "Pacific/Apia"])
def test_days_follow_each_other_without_hole_or_overlap_where_clocks_change(zone: str) -> None:
    times = near_changes(zone)
    assert times
    for at_s in times:
        day = day_of(at_s * SECOND_US, zone=zone)
        assert at_s * SECOND_US in day
        assert day_of(day.start_us - 1, zone=zone).end_us == day.start_us


def test_a_day_may_have_23_or_25_hours() -> None:
    spring = day_of(at("2026-03-29 12:00", zone="Europe/Berlin"), zone="Europe/Berlin")
    autumn = day_of(at("2026-10-25 12:00", zone="Europe/Berlin"), zone="Europe/Berlin")
    assert spring.end_us - spring.start_us == 23 * 3_600 * SECOND_US
    assert autumn.end_us - autumn.start_us == 25 * 3_600 * SECOND_US


def test_a_day_ends_at_its_zones_midnight() -> None:
    midnight = at("2026-08-12 00:00", zone="Europe/Berlin")
    assert midnight == at("2026-08-11 22:00")
    assert day_of(midnight - 1, zone="Europe/Berlin").date.isoformat() == "2026-08-11"
    assert day_of(midnight, zone="Europe/Berlin").date.isoformat() == "2026-08-12"
    assert day_of(midnight, zone="UTC").date.isoformat() == "2026-08-11"


@pytest.mark.parametrize(
    ("hours", "clock", "answer"),
    [
        ("08:00-17:30", "07:59:59", False),
        ("08:00-17:30", "08:00:00", True),
        ("08:00-17:30", "17:29:59", True),
        ("08:00-17:30", "17:30:00", False),
        ("22:00-02:00", "21:59:59", False),
        ("22:00-02:00", "22:00:00", True),
        ("22:00-02:00", "00:00:00", True),
        ("22:00-02:00", "01:59:59", True),
        ("22:00-02:00", "02:00:00", False),
        ("08:00-00:00", "23:59:59", True),
        ("08:00-00:00", "00:00:00", False),
    ],
)
def test_hours_are_the_zones_and_their_end_is_exclusive(hours: str, clock: str, *, answer: bool) -> None:
    at_us = at(f"2026-08-12 {clock}", zone="America/New_York")
    assert is_between(hours, at_us, zone="America/New_York") is answer


def test_a_time_is_told_in_the_zone() -> None:
    assert clock_text(at("2026-08-12 12:00:05"), zone="Europe/Berlin") == "2026-08-12 14:00:05"
