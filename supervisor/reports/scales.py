"""Where a number lies on a drawing, and which numbers are written at its edge."""

import datetime
import math

import attrs

from supervisor.reports.words import at

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
TIME_STEPS_S = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200)
DAY_S = 86_400
DAY_STEPS = (1, 2, 7, 14, 30, 60, 90, 180, 365, 730, 1825, 3650)


@attrs.frozen(kw_only=True)
class Scale:
    """Takes the numbers from `low` to `high` to places from `start` to `end`, which may run downwards."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a number; one beyond an end lies at the end."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)


def widened(low: float, high: float) -> tuple[float, float]:
    """Return bounds with some air around both, apart even where they are the same."""
    air = (high - low) * 0.06 or abs(high) * 0.001 or 1.0
    return low - air, high + air


def round_numbers(low: float, high: float, *, most: int) -> list[float]:
    """Return up to `most` round numbers from `low` to `high`, equally far apart."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in STEPS if power * each >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def decimals(numbers: list[float]) -> int:
    """Return how many decimals tell these numbers apart, at most ten."""
    return next((count for count in range(10) if all(abs(round(n, count) - n) < 1e-11 for n in numbers)), 10)


def round_times(from_us: int, to_us: int, *, most: int, zone: datetime.tzinfo) -> list[tuple[int, str]]:
    """Return up to `most` round times of a zone and how to write each."""
    rough_s = (to_us - from_us) / 1e6 / most
    step_s = next((step for step in TIME_STEPS_S if step >= rough_s), None)
    if step_s is None:
        return _round_days(from_us, to_us, rough_days=rough_s / DAY_S, zone=zone)
    offset = at(from_us, zone=zone).utcoffset() or datetime.timedelta()
    shift_us, step_us = int(offset.total_seconds()) * 1_000_000, step_s * 1_000_000
    first_us = -(-(from_us + shift_us) // step_us) * step_us - shift_us
    form = "%H:%M:%S" if step_s < 60 else "%H:%M"
    times = range(first_us, to_us + 1, step_us)
    return [(each, _label(at(each, zone=zone), form=form)) for each in times]


def _label(when: datetime.datetime, *, form: str) -> str:
    """Return the time of day, at midnight the day."""
    return when.strftime("%b %-d" if when.hour == when.minute == when.second == 0 else form)


def _round_days(
    from_us: int, to_us: int, *, rough_days: float, zone: datetime.tzinfo
) -> list[tuple[int, str]]:
    step = next((days for days in DAY_STEPS if days >= rough_days), DAY_STEPS[-1])
    first, last = at(from_us, zone=zone).date(), at(to_us, zone=zone).date()
    form = "%Y-%m-%d" if step >= 60 else "%b %-d"
    found = []
    for number in range(first.toordinal() // step * step, last.toordinal() + 1, step):
        day = datetime.date.fromordinal(number)
        when = datetime.datetime(day.year, day.month, day.day, tzinfo=zone)
        ts_us = int(when.timestamp()) * 1_000_000
        if from_us <= ts_us <= to_us:
            found.append((ts_us, when.strftime(form)))
    return found
