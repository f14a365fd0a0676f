"""When simulated markets are open. Pure; times are microseconds, UTC."""

import enum
from typing import NamedTuple

from venues.simulated.prices import FX_LISTINGS

HOUR_US = 3_600_000_000
WEEK_US = 7 * 24 * HOUR_US
# 1970-01-01 was a Thursday. FX closes on Friday and opens on Sunday at 21:00 UTC, as in the
# recording of July 2025.
FRIDAY_CLOSE_US = (24 + 21) * HOUR_US
SUNDAY_OPEN_US = (3 * 24 + 21) * HOUR_US


class Hours(enum.StrEnum):
    """Which hours the markets keep; the value is what `--hours` takes."""

    ALWAYS = "always"
    WEEK = "week"  # currency pairs keep the weekend, everything else is always open


class Opening(NamedTuple):
    """Whether a market is open, its next (or, closed, its last) close, and the opening after it."""

    is_open: bool
    closes_us: int | None
    opens_us: int | None


def opening(hours: Hours, symbol: str, *, at_us: int) -> Opening:
    """Return what the hours say of a market at that moment."""
    if hours is Hours.ALWAYS or symbol.upper().replace("/", "") not in FX_LISTINGS:
        return Opening(True, None, None)
    week_us = (at_us - SUNDAY_OPEN_US) // WEEK_US * WEEK_US + SUNDAY_OPEN_US
    closes_us = week_us + FRIDAY_CLOSE_US - SUNDAY_OPEN_US + WEEK_US
    return Opening(at_us < closes_us, closes_us, week_us + WEEK_US)
