import argparse

import pytest

from supervisor.commands.times import argument, parse_time

NOON_US = 1_795_521_600_000_000  # 2026-11-24T12:00:00Z
MIDNIGHT_US = NOON_US - 12 * 3_600_000_000
SECOND_US = 1_000_000

UNDERSTOOD = {
    "2026-11-24": MIDNIGHT_US,
    "20261124": MIDNIGHT_US,
    "2026-11-24T12:00": NOON_US,
    "2026-11-24 12:00": NOON_US,
    "2026-11-24T12:00:00Z": NOON_US,
    "2026-11-24T14:00+02:00": NOON_US,
    "2026-11-24T07:30-04:30": NOON_US,
    "2026-11-24T12:00:00.000001": NOON_US + 1,
    "2026-11-24T12:00:00.999999Z": NOON_US + 999_999,
    "1970-01-01": 0,
    "today": MIDNIGHT_US,
    "yesterday": MIDNIGHT_US - 86_400 * SECOND_US,
    "0s": NOON_US,
    "45s": NOON_US - 45 * SECOND_US,
    "30m": NOON_US - 1_800 * SECOND_US,
    "2h": NOON_US - 7_200 * SECOND_US,
    "3d": NOON_US - 3 * 86_400 * SECOND_US,
    "2w": NOON_US - 14 * 86_400 * SECOND_US,
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_time_is_understood(text: str) -> None:
    assert parse_time(text, at_us=NOON_US) == UNDERSTOOD[text]


@pytest.mark.parametrize(
    "text",
    ["", " ", "now", "2026-13-01", "2026-02-30", "24.11.2026", "2026-11-24T25:00", "-2h", "2 h", "h", "2y",
     "1e3s", "²d", "1700000000000000", "2026-11-24T10:00 Berlin", "2026-11-24T10:00+99:00", "\0", "🙂"],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_its_value(text: str) -> None:
    with pytest.raises(ValueError, match="is no time") as refused:
        parse_time(text, at_us=NOON_US)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["1969-12-31", "0001-01-01T00:00+23:59", "999999999w"])
def test_time_before_the_first_is_refused_by_its_value(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text.replace('+', '.')}' is before 1970"):
        parse_time(text, at_us=NOON_US)


def test_flag_says_what_is_wrong_with_its_value() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="'soon'"):
        argument("soon")
