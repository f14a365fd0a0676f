"""What keys of the settings are checked with: attrs validators whose complaint is a ValueError."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from attrs import validators

CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"

# A hundredth of what the ledger holds, a DECIMAL(20,8): a row that is refused holds up all storing.
MOST_MONEY = Decimal(10_000_000_000)

Validator = Callable[[object, object, Any], None]


def one_of(*allowed: str) -> Validator:
    """Let these texts pass."""

    def check(_: object, __: object, value: str) -> None:
        if value not in allowed:
            raise ValueError("expected " + " or ".join(f'"{name}"' for name in allowed))

    return check


def matches(pattern: str, *, expected: str) -> Validator:
    """Let None pass, and what a pattern matches as a whole; `expected` says what that is."""

    def check(_: object, __: object, value: str | None) -> None:
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}")

    return check


def check_zone(_: object, __: object, value: str | None) -> None:
    """Let None pass, and time zones of this system."""
    if value in (None, "UTC"):  # UTC is there on systems without zone data too
        return
    import zoneinfo  # 0.2 MiB, with sysconfig

    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown; leads out of the zones; is a folder
        raise ValueError('expected a time zone such as "UTC" or "Europe/Berlin"') from None


def at_least(bound: int) -> Any:
    """Let None pass, and numbers from `bound` up."""
    return validators.optional(validators.ge(bound))


def check_hours(_: object, __: object, value: str | None) -> None:
    """Let None pass, and hours such as `08:00-17:30` or, over midnight, `22:00-02:00`."""
    if value is None:
        return
    if not re.fullmatch(f"{CLOCK}-{CLOCK}", value):
        raise ValueError('expected hours such as "08:00-17:30"')
    begin, _, end = value.partition("-")
    if begin == end:
        raise ValueError("they end when they begin; leave the key out for the whole day")


def check_cents(_: object, __: object, value: Decimal | None) -> None:
    """Let None pass, and amounts of whole cents from one up."""
    if value is not None and (value <= 0 or value.as_tuple().exponent < -2):  # type: ignore[operator]
        raise ValueError("expected an amount above 0, in whole cents")
    if value is not None and value > MOST_MONEY:
        raise ValueError(f"expected an amount up to {MOST_MONEY}")
