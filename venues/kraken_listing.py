"""Kraken's list of markets, and which of them are open. Source: docs.kraken.com, seen 2026-11."""

from collections.abc import Iterator

from domain.instruments import Instrument, Listing
from venues.events import Unknown, VenueEvent
from venues.kraken_wire import KrakenInstruments, KrakenPair
from venues.samples import MOST_LETTERS

# The venue as a whole: in cancel_only and maintenance no orders are matched. In post_only neither,
# but that is a moment on the way back, and its prices move.
CLOSED_SYSTEMS = frozenset({"cancel_only", "maintenance"})
OPEN_PAIRS = frozenset({"online", "post_only", "limit_only", "reduce_only"})
TRADABLE_PAIRS = frozenset({"online", "limit_only"})
CLOSED_PAIRS = frozenset({"cancel_only", "maintenance", "work_in_progress", "delisted"})


def is_system_open(system: str) -> bool:
    """Return whether prices come while the venue is like this; one that says nothing is open."""
    return system not in CLOSED_SYSTEMS


def read_listing(message: KrakenInstruments, *, is_open: bool) -> Iterator[VenueEvent]:
    """Return the list that a message brings; `is_open` is whether the venue as a whole is.

    A market with a status that we do not know is listed as open, and told as `Unknown`; so is one
    that tells none.
    """
    is_whole = message.type == "snapshot"
    pairs = [pair for pair in message.data.pairs if not is_whole or pair.status != "delisted"]
    yield Listing(tuple(_instrument(pair, is_open=is_open) for pair in pairs), is_whole)
    for status in sorted({str(pair.status) for pair in pairs} - OPEN_PAIRS - CLOSED_PAIRS):
        yield Unknown(f"pair status {status}"[:MOST_LETTERS])


def _instrument(pair: KrakenPair, *, is_open: bool) -> Instrument:
    alias = f"{pair.base or ''}{pair.quote or ''}"
    return Instrument(
        pair.symbol,
        title=pair.symbol,
        is_open=is_open and pair.status not in CLOSED_PAIRS,
        is_tradable=is_open and pair.status in TRADABLE_PAIRS,
        aliases=(alias,) if alias else (),
    )
