"""The registry of venue protocols."""

from domain.errors import ConfigError
from venues import binance, deriv, olymptrade
from venues.protocol import Venue

VENUES: dict[str, Venue] = {venue.protocol: venue for venue in (olymptrade.VENUE, deriv.VENUE, binance.VENUE)}


def find_venue(protocol: str) -> Venue:
    """Return the protocol of that name; raise `ConfigError` naming those there are."""
    try:
        return VENUES[protocol]
    except KeyError:
        known = ", ".join(sorted(VENUES))
        raise ConfigError(f"protocol {protocol!r} is not known; known: {known}") from None
