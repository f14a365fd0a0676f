"""The limits in force today: kept in control.json, so that neither a restart nor new settings raise them."""

import logging
from collections.abc import Callable
from datetime import date

from domain.events import Event, emit
from strategies.limits import InForce, Limits, in_force
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
