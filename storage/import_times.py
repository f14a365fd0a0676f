"""Reads the time of a row of another bot's table, in each form that a map can name. Pure."""

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from storage.import_map import UNIT_US, TimeForm, TimeMap
from storage.session import Row

EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001  # what we subtract from has no zone either
MICROSECOND = datetime.timedelta(microseconds=1)


def time_reader(time: TimeMap) -> Callable[[Row], int | str]:
    """Return what reads the time of a row: microseconds UTC, or a text that says what is wrong with it.

    The time's columns are the row's first.
    """
    to_us = (
        _datetime_reader(time.zone) if time.form is TimeForm.DATETIME else _unix_reader(UNIT_US[time.form])
    )
    count = len(time.columns)

    def read(row: Row) -> int | str:
        values = row[:count]
        if None in values:
            return "is null"
        try:
            return to_us(values)
        except (TypeError, ValueError, OverflowError, InvalidOperation):
            return f"is no time of the form {time.form}"

    return read


def decoded(value: object) -> Any:
    """Return a text as one, also from a column of bytes; anything else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _datetime_reader(zone_name: str) -> Callable[[Sequence[Any]], int | str]:
    zone = None if zone_name == "UTC" else ZoneInfo(zone_name)
    return lambda values: _datetime_us(_moment(values), zone)


def _unix_reader(unit_us: int) -> Callable[[Sequence[Any]], int | str]:
    return lambda values: _unix_us(decoded(values[0]), unit_us)


def _unix_us(value: Any, unit_us: int) -> int:
    if isinstance(value, int):
        return value * unit_us
    if isinstance(value, float):
        return round(value * unit_us)
    return round(Decimal(value) * unit_us)


def _moment(values: Sequence[Any]) -> datetime.datetime:
    """Return date and time, from one value or from two."""
    if len(values) == 1:
        return _one_moment(decoded(values[0]))
    day, clock = map(decoded, values)
    if isinstance(day, str):
        day = datetime.date.fromisoformat(day)
    if isinstance(clock, str):
        clock = datetime.time.fromisoformat(clock)
    midnight = datetime.datetime.combine(day, datetime.time())
    if isinstance(clock, datetime.time):
        return datetime.datetime.combine(day, clock)
    moment: datetime.datetime = midnight + clock  # PyMySQL gives a TIME as a timedelta
    return moment


def _one_moment(value: Any) -> datetime.datetime:
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time())


def _datetime_us(moment: datetime.datetime, zone: ZoneInfo | None) -> int | str:
    if moment.tzinfo is not None:  # a text that says its offset itself
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    elif zone is not None:
        early, late = (moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        assert early is not None, "a ZoneInfo knows its offset"
        if early != late:
            return "is a time at which the clock was set"
        moment -= early
    return (moment - EPOCH) // MICROSECOND
