"""Numbers and times as reports show them, on the command line and on pages."""

import datetime
from decimal import Decimal

from domain.trades import CENT

MINUS = "−"


def money(amount: Decimal) -> str:
    """Return an amount with all its digits, at least to the cent, thousands set apart."""
    exact = amount.normalize()
    if exact == exact.quantize(CENT):
        exact = exact.quantize(CENT)
    return f"{exact:,f}".replace("-", MINUS)


def gain(amount: Decimal) -> str:
    """Return what was won or lost, always with its sign, but for nothing."""
    return ("+" if amount > 0 else "") + money(amount)


def percent(rate: float | None) -> str:
    """Return a rate from 0 to 1 in percent, a dash where there is none."""
    return "–" if rate is None else f"{rate * 100:.1f} %"


def payout(value: float) -> str:
    """Return a payout in percent with every digit, so that it can be reckoned with."""
    return f"{str(value).removesuffix('.0')} %"


def price(value: float | None) -> str:
    """Return a price with the digits it has, at most ten; a dash where there is none."""
    return "–" if value is None else f"{value:.10g}"


def moment(ts_us: int | None, *, zone: datetime.tzinfo) -> str:
    """Return a time to the second; a dash where there is none."""
    if ts_us is None:
        return "–"
    return at(ts_us, zone=zone).strftime("%Y-%m-%d %H:%M:%S")


def moment_in(zone: datetime.tzinfo, ts_us: int) -> str:
    """Return a time to the second, with its zone."""
    return f"{moment(ts_us, zone=zone)} {zone}"


def at(ts_us: int, *, zone: datetime.tzinfo) -> datetime.datetime:
    """Return a time in a zone, to the second."""
    return datetime.datetime.fromtimestamp(ts_us // 1_000_000, tz=zone)
