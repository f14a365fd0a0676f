"""The limits that are in force: the settings' or their defaults, raised at a day boundary only. Pure."""

import math
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import attrs

from strategies.days import day_of


@attrs.frozen(kw_only=True)
class Limits:
    """What all strategies of one mode together may do. Money in the account's currency.

    The defaults are those of paper and demo; in real the settings have to say the main ones.
    `trade_between` are hours such as `08:00-17:30`, all of which have to hold. `zone` is that of days
    and hours.
    """

    max_stake: Decimal = Decimal(100)
    max_open_trades: int = 10
    max_open_per_market: int = 1
    max_trades_per_day: int = 200
    max_daily_loss: Decimal = Decimal(500)
    max_losses_in_a_row: int = 5
    pause_min: float = 30.0
    cooldown_s: float = 0.0
    min_payout_percent: float = 70.0
    trade_between: tuple[str, ...] = ()
    zone: str = "UTC"

    def as_table(self) -> dict[str, Any]:
        """Return them as JSON takes them."""
        table = attrs.asdict(self)
        for name in MONEY:
            table[name] = str(table[name])
        return {**table, "trade_between": list(self.trade_between)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Limits":
        """Return what `as_table` made; raise Value-, Type-, Key- or ArithmeticError for anything else."""
        values = dict(table)
        for name in MONEY:
            values[name] = Decimal(values[name])
        limits = cls(**{**values, "trade_between": tuple(values["trade_between"])})
        for name in (*LESS_IS_STRICTER, *MORE_IS_STRICTER):
            value = getattr(limits, name)
            if not isinstance(value, int | float | Decimal) or not math.isfinite(value):
                raise ValueError(f"{name} = {value!r} is no number")
        if not all(isinstance(hours, str) for hours in limits.trade_between):
            raise TypeError(f"trade_between = {limits.trade_between!r} are no hours")
        day_of(0, zone=limits.zone)  # it is known here
        return limits


MONEY = ("max_stake", "max_daily_loss")
LESS_IS_STRICTER = (
    "max_stake",
    "max_open_trades",
    "max_open_per_market",
    "max_trades_per_day",
    "max_daily_loss",
    "max_losses_in_a_row",
)
MORE_IS_STRICTER = ("pause_min", "cooldown_s", "min_payout_percent")


@attrs.frozen(kw_only=True)
class InForce:
    """The limits of a day. Kept on disk, so that a restart raises nothing."""

    limits: Limits
    day: date


def in_force(*, settings: Limits, before: InForce | None, now_us: int) -> InForce:
    """Return what holds now, given what held before: lower limits at once, higher ones on a new day.

    A new day begins at midnight of the zone that was in force. A clock that steps back over midnight
    does not make the same day new again.
    """
    if before is None:
        return InForce(limits=settings, day=day_of(now_us, zone=settings.zone).date)
    today = day_of(now_us, zone=before.limits.zone).date
    if today > before.day:
        return InForce(limits=settings, day=day_of(now_us, zone=settings.zone).date)
    # Days behind: the clock had been ahead, and was set right.
    day = before.day if before.day - today <= timedelta(days=1) else today
    return InForce(limits=stricter(before.limits, settings), day=day)


def stricter(held: Limits, wanted: Limits) -> Limits:
    """Return the stricter of each two, in the zone of those that held."""
    values: dict[str, Any] = {"zone": held.zone}
    for name in LESS_IS_STRICTER:
        values[name] = min(getattr(held, name), getattr(wanted, name))
    for name in MORE_IS_STRICTER:
        values[name] = max(getattr(held, name), getattr(wanted, name))
    hours = dict.fromkeys((*held.trade_between, *wanted.trade_between))
    return Limits(**values, trade_between=tuple(hours))
