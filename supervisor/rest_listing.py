"""Asks a venue for its list of markets over HTTP, where no frame brings it."""

import logging

import attrs
import trio

from actors.ports import VenuePlace
from domain.clock import now_us
from domain.errors import MarketdError
from domain.events import Event, emit
from venues.offers import RestListing
from wire.rest import fetch

GOOD_FOR_S = 6 * 3600.0  # a list; asked for again only when a connection is opened
AGAIN_AFTER_S = 60.0  # one that could not be had
WITHIN_S = 10.0  # a venue's prices do not wait longer for its list


@attrs.define(eq=False)
class RestLister:
    """Keeps one venue's list fresh enough: called before each connect, by all of its connections.

    What goes wrong is said, and stops nobody: markets are then subscribed unchecked.
    """

    place: VenuePlace
    offer: RestListing
    _due_at: float = -float("inf")  # monotonic
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def ask_if_due(self) -> None:
        """Bring the catalog up to date where it is old, or wait for who does."""
        async with self._turn:
            if trio.current_time() < self._due_at:
                return
            place = self.place
            request = self.offer.request(place.venue.rest_address(place.settings), ())
            try:
                answer = await fetch(request, timeout_s=WITHIN_S)
                place.catalog.take(self.offer.read(answer.body), at_us=now_us())
            except MarketdError as exc:
                self._due_at = trio.current_time() + AGAIN_AFTER_S
                emit(
                    Event.HOURS,
                    f"{place.name}: no list of markets, so symbols are not checked: {exc}",
                    level=logging.WARNING,
                    actor="tree",
                    venue=place.name,
                )
                return
            self._due_at = trio.current_time() + GOOD_FOR_S
            place.listed()
