"""The limits in force today: kept in control.json, so that neither a restart nor new settings raise them."""

import logging
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from domain.events import Event, emit
from strategies.limits import MONEY, InForce, Limits, in_force
from supervisor.desired import LimitsOfDay
from supervisor.keeping import Keeper


class LimitsToday:
    """What holds now. `wanted` are the settings': lower ones at once, higher ones from the next day on."""

    def __init__(self, *, wanted: Limits, keeper: Keeper, save: Callable[[], None]) -> None:
        self.wanted = wanted
        self._keeper = keeper
        self._save = save
        self._before = _read(keeper.wanted.limits)

    def at(self, now_us: int) -> Limits:
        """Return the limits at a time of our clock; what changes by it is kept on disk."""
        found = in_force(settings=self.wanted, before=self._before, now_us=now_us)
        if found != self._before:
            self._before = found
            self._keeper.wanted.limits = LimitsOfDay(
                day=found.day.isoformat(), limits=found.limits.as_table()
            )
            self._save()
        return found.limits

    def tell_later(self, now_us: int) -> None:
        """Say which of the settings' limits do not hold yet, because they would raise one today."""
        held, wanted = self.at(now_us).as_table(), self.wanted.as_table()
        later = [
            f"{name} = {wanted[name]} ({held[name]} until then)"
            for name in held
            if _differ(name, held, wanted)
        ]
        if later:
            emit(
                Event.SETTINGS,
                f"limits are raised at midnight, {held['zone']}: {', '.join(later)}",
                actor="trader",
            )


def _differ(name: str, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if name in MONEY:
        return Decimal(held[name]) != Decimal(wanted[name])
    return bool(held[name] != wanted[name])


def _read(content: LimitsOfDay | None) -> InForce | None:
    """Return what control.json says; None where it says nothing that this version knows."""
    if content is None:
        return None
    try:
        return InForce(limits=Limits.from_table(content.limits), day=date.fromisoformat(content.day))
    except (KeyError, TypeError, ValueError, ArithmeticError) as exc:
        emit(
            Event.DESIRED,
            f"the limits in control.json cannot be read ({exc!r}); the settings' hold from now on",
            level=logging.ERROR,
            actor="trader",
        )
        return None
