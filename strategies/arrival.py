"""Which recorded ticks no desk has taken, because they came after one with a later time. Pure."""

from collections.abc import Sequence
from operator import le

from domain.market import Tick

LIVE = "live"
AHEAD = 16  # ticks that may have overtaken one; where our clock stepped back, so many may be missed


def as_taken(ticks: Sequence[Tick]) -> Sequence[Tick]:
    """Leave out what came live after a tick with a later time: a desk ignored it.

    `ticks` are in the order of their times and numbers. When each reached us tells the order they came
    in; the last of a page may have been overtaken by ones of the next, and are let pass.
    """
    received = [tick.received_us for tick in ticks]
    if all(map(le, received, received[1:])):
        return ticks
    return [
        tick for place, tick in enumerate(ticks) if not _is_late(tick, ticks[place + 1 : place + 1 + AHEAD])
    ]


def _is_late(tick: Tick, later: Sequence[Tick]) -> bool:
    return tick.source == LIVE and any(
        each.received_us < tick.received_us and each.ts_us > tick.ts_us and each.source == LIVE
        for each in later
    )
