"""The silences of what is imported: nobody recorded then, and a backtest is to know. Pure."""

from collections.abc import Iterator, Mapping, Set

from domain.gaps import Cause, Fill, Gap
from domain.market import Tick
from storage.import_place import HOLE_NOTE, Covered

SECOND_US = 1_000_000


class Holes:
    """Finds the gaps between imported ticks, which come in the order of their times.

    Our own ticks fill a silence too. `known` are the gaps that an earlier import wrote down; they are
    not told again.
    """

    def __init__(self, *, after_s: int, covered: Mapping[str, Covered], known: Set[Gap]) -> None:
        self._after_us = after_s * SECOND_US
        self._covered = covered
        self._known = known
        self._last_us: dict[str, int] = {}

    def take(self, tick: Tick) -> Iterator[Gap]:
        """Yield the gaps between the market's last tick and this one, which is not later told by our own."""
        market, ts_us = tick.market, tick.ts_us
        own, last_us = self._covered.get(market), self._last_us.get(market)
        self._last_us[market] = ts_us
        if own is None:
            pieces = [] if last_us is None else [(last_us, ts_us)]
        else:
            pieces = list(_beside(own, last_us, ts_us))
        yield from self._gaps(market, pieces)

    def end(self) -> Iterator[Gap]:
        """Yield the gaps between the last imported ticks and our own first ones."""
        for market, last_us in self._last_us.items():
            own = self._covered.get(market)
            if own is not None and last_us < own.first_us:
                yield from self._gaps(market, [(last_us, own.first_us)])

    def _gaps(self, market: str, pieces: list[tuple[int, int]]) -> Iterator[Gap]:
        for from_us, to_us in pieces:
            gap = Gap(market, from_us, to_us, Cause.DOWNTIME, Fill.NOT_AVAILABLE, HOLE_NOTE)
            if to_us - from_us > self._after_us and gap not in self._known:
                yield gap


def _beside(own: Covered, last_us: int | None, ts_us: int) -> Iterator[tuple[int, int]]:
    """Yield what of the time between two ticks lies outside of our own: a hole in that is a gap already."""
    if last_us is not None and last_us < own.first_us:
        yield last_us, min(own.first_us, ts_us)
    if ts_us > own.last_us:
        yield own.last_us if last_us is None else max(own.last_us, last_us), ts_us
