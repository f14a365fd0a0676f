"""What the tree is made of: one branch a venue, a connection, a market."""

import attrs

from actors.market import MarketPlace
from actors.ports import ConnectionPlace, MarketPort, VenuePlace
from supervisor.gate import Gate
from supervisor.market_specs import MarketSpec
from supervisor.supervise import Child


@attrs.define(kw_only=True, eq=False)
class VenueBranch:
    """One venue: what its connections share, and its gate."""

    place: VenuePlace
    gate: Gate


@attrs.define(kw_only=True, eq=False)
class ConnectionBranch:
    """One connection and the child that runs it."""

    place: ConnectionPlace
    child: Child


@attrs.define(kw_only=True, eq=False)
class MarketBranch:
    """One market, the child that runs it, and the connection it is on."""

    spec: MarketSpec
    child: Child
    place: MarketPlace
    port: MarketPort
    connection: ConnectionBranch


def data_s(since: float | None, until: float | None) -> float:
    """Return how long data flowed, in seconds."""
    return 0.0 if since is None or until is None else max(0.0, until - since)
