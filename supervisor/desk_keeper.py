"""Makes and keeps the desks of all markets: who sits at them, and what they are told."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import attrs

from actors.desks import DeskPlace, TraderBox
from actors.paper_broker import Silence
from domain.events import Event, emit
from domain.gaps import Gap, GapTracker
from strategies.desk import Desk, Seat
from strategies.paper import PaperBook
from supervisor.fence import Fence
from supervisor.market_specs import MarketSpec
from supervisor.outside import Outside
from supervisor.seats import Roster


@attrs.frozen(kw_only=True)
class Stored:
    """Who brings desks what is stored: ticks that were `lost` on the way there, and candles to begin with."""

    lost: Callable[[DeskPlace], None]
    show: Callable[[DeskPlace, int], Awaitable[None]]


class DeskKeeper:
    """All desks, by market. One stays while trades are open at it, whatever becomes of its market."""

    def __init__(self, *, roster: Roster | None, outside: Outside, box: TraderBox, stored: Stored) -> None:
        self.places: dict[str, DeskPlace] = {}
        self._roster = roster
        self._outside = outside
        self._box = box
        self._stored = stored
        self._fence = Fence(_say_set_aside)
        self._trackers: dict[str, GapTracker] = {}  # of the markets that are there

    # --- markets that come and go -------------------------------------------------------------

    def seat(self, spec: MarketSpec, *, tracker: GapTracker) -> DeskPlace | None:
        """Return the desk of a market that is added; None where nothing is traded on it."""
        self._trackers[spec.id] = tracker
        place = self.reseat(spec)
        if place is not None:
            place.is_closing = False
        return place

    def reseat(self, spec: MarketSpec) -> DeskPlace | None:
        """Return the desk of a market with the strategies that its spec names, made anew."""
        place = self.places.get(spec.id)
        if place is None:
            return self._keep(spec.id, self._seats(spec)) if spec.strategies else None
        place.replace(self._make(spec.id, self._seats(spec)))
        return place

    def of(self, market: str) -> DeskPlace:
        """Return a market's desk; of one that is traded on no longer, or gone, one without strategies."""
        place = self.places.get(market) or self._keep(market, ())
        branch = self._outside.markets.get(market)
        if branch is not None:
            branch.place.desk = place
        return place

    def leave(self, market: str) -> None:
        """A market is removed: trades that are open there end without prices."""
        self._trackers.pop(market, None)

    def is_gone(self, market: str) -> bool:
        """Whether a market is there no longer."""
        return market not in self._trackers

    def gap(self, gap: Gap) -> None:
        """Take note of a gap that has ended."""
        place = self.places.get(gap.market)
        if place is not None:
            place.gap(gap)

    def silence(self, market: str) -> Silence:
        """Return the gap that a market is in, for the broker."""
        tracker, last_us = self._trackers.get(market), self.places[market].last_us
        return self._outside.silence(market, tracker=tracker, last_us=last_us)

    # --- strategies ---------------------------------------------------------------------------

    def renew(self, spec: MarketSpec) -> None:
        """Where a strategy of a market was set aside, let all of them start over."""
        place = self.places.get(spec.id)
        if place is not None and any(seat.set_aside for seat in place.desk.seats):
            place.replace(self._make(spec.id, self._seats(spec)))

    def hire(self, roster: Roster | None, specs: Iterable[MarketSpec]) -> None:
        """Go on with other strategies: those of these markets that have changed are made anew."""
        before, self._roster = self._roster, roster
        for spec in specs:
            place = self.places.get(spec.id)
            if place is not None and roster is not None and roster.has_changed(spec, before):
                place.replace(self._make(spec.id, self._seats(spec)))

    def rows(self, market: str) -> list[dict[str, Any]]:
        """Return how each strategy of a market stands, as JSON takes it."""
        place = self.places.get(market)
        return [
            {
                "market": seat.market,
                "strategy": seat.name,
                "state": "set_aside" if seat.set_aside else "running",
                "reason": seat.set_aside or None,
            }
            for seat in (place.desk.seats if place is not None else ())
        ]

    # --- making -------------------------------------------------------------------------------

    def _seats(self, spec: MarketSpec) -> Sequence[Seat]:
        return () if self._roster is None else self._roster.seats(spec)

    def _keep(self, market: str, seats: Sequence[Seat]) -> DeskPlace:
        place = self.places[market] = DeskPlace(
            market=market,
            desk=self._make(market, seats),
            box=self._box,
            make_book=partial(self._make_book, market),
            payout=partial(self._outside.payout, market),
            lost=self._stored.lost,
            show_stored=self._stored.show,
        )
        return place

    def _make(self, market: str, seats: Sequence[Seat]) -> Desk:
        return Desk(market=market, seats=seats, book=self._make_book(market), fence=self._fence)

    def _make_book(self, market: str) -> PaperBook:
        return PaperBook(market=market, rules=self._outside.rules(market))


def _say_set_aside(seat: Seat) -> None:
    emit(
        Event.STRATEGY,
        f"{seat.name} on {seat.market} is set aside: {seat.set_aside}",
        level=logging.ERROR,
        actor=f"market/{seat.market}",
        strategy=seat.name,
        reason=seat.set_aside,
    )
