import datetime
from decimal import Decimal
from typing import Any

import pytest

from storage.import_map import TimeForm, TimeMap
from storage.import_times import time_reader

NOON_US = 1_795_003_200_000_000  # 2026-11-18 12:00 UTC
WRONG = "is no time of the form"


def read(*values: Any, form: str, zone: str = "UTC") -> int | str:
    columns = ("a", "b")[: len(values)]
    pair = {"date_column": "a", "clock_column": "b"} if len(values) == 2 else {"column": columns[0]}
    return time_reader(TimeMap(form=TimeForm(form), zone=zone, **pair))((*values, "another column"))


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (1_795_003_200, "unix_s"),
        (1_795_003_200.0, "unix_s"),
        ("1795003200.000", "unix_s"),
        (b"1795003200", "unix_s"),
        (Decimal(1795003200000), "unix_ms"),
        ("1795003200000000", "unix_us"),
        (datetime.datetime(2026, 11, 18, 12), "datetime"),  # noqa: DTZ001
        ("2026-11-18 12:00:00", "datetime"),
        ("2026-11-18T19:00:00+07:00", "datetime"),
    ],
)
def test_every_form_is_the_same_moment(value: Any, form: str) -> None:
    assert read(value, form=form) == NOON_US


def test_microseconds_are_kept_where_the_column_has_them() -> None:
    assert read(Decimal("1795003200.123457"), form="unix_s") == NOON_US + 123_457
    assert read("2026-11-18 12:00:00.123457", form="datetime") == NOON_US + 123_457


def test_a_clock_shows_the_time_of_its_zone() -> None:
    assert read("2026-11-18 19:00:00", form="datetime", zone="Asia/Jakarta") == NOON_US
    day, clock = datetime.date(2026, 11, 18), datetime.timedelta(hours=13)
    assert read(day, clock, form="datetime", zone="Europe/Berlin") == NOON_US
    assert read("2026-11-18", "13:00:00", form="datetime", zone="Europe/Berlin") == NOON_US
    # Its own offset counts, where a text has one.
    assert read("2026-11-18T12:00:00Z", form="datetime", zone="Europe/Berlin") == NOON_US


@pytest.mark.parametrize("value", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"], ids=["twice", "never"])
def test_a_time_that_a_clock_showed_twice_or_never_is_refused(value: str) -> None:
    assert read(value, form="datetime", zone="Europe/Berlin") == "is a time at which the clock was set"
    assert isinstance(read(value, form="datetime"), int)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("0000-00-00 00:00:00", "datetime"),
        ("yesterday", "datetime"),
        (1_795_003_200, "datetime"),
        ("12:00", "unix_s"),
        (float("nan"), "unix_s"),
        (float("inf"), "unix_ms"),
        (Decimal("NaN"), "unix_s"),
        (b"\xff\xfe", "unix_s"),
        (datetime.datetime(2026, 11, 18), "unix_s"),  # noqa: DTZ001
    ],
)
def test_what_is_no_time_is_told_and_not_raised(value: Any, form: str) -> None:
    assert str(read(value, form=form)).startswith(WRONG)


def test_no_value_is_no_time() -> None:
    assert read(None, form="unix_s") == "is null"
    assert read("2026-11-18", None, form="datetime") == "is null"
