"""The registry of venue protocols. Each is imported when it is first asked for: 0.5 MiB apiece."""

import importlib

from domain.errors import ConfigError
from venues.protocol import Venue

PROTOCOLS = ("olymptrade", "deriv", "binance", "kraken")  # each is a module here, with its VENUE

_found: dict[str, Venue] = {}


def find_venue(protocol: str) -> Venue:
    """Return the protocol of that name; raise `ConfigError` naming those there are."""
    if protocol not in _found:
        if protocol not in PROTOCOLS:
            known = ", ".join(sorted(PROTOCOLS))
            raise ConfigError(f"protocol {protocol!r} is not known; known: {known}")
        _found[protocol] = importlib.import_module(f"venues.{protocol}").VENUE
    return _found[protocol]
