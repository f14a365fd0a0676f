"""What an adapter makes of a frame."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from domain.instruments import Listing, StakeLimit
from domain.market import PriceUpdate
from venues.offers import HistoryPage


class Subscribed(NamedTuple):
    """The venue confirmed these symbols' subscriptions; no symbol: it confirmed a goodbye."""

    symbols: tuple[str, ...]


class Refused(NamedTuple):
    """The venue refused to subscribe these symbols, for good; `reason` is for people."""

    symbols: tuple[str, ...]
    reason: str


class Closed(NamedTuple):
    """The venue takes no subscription of these symbols now: their markets are closed."""

    symbols: tuple[str, ...]
    reason: str


class Unknown(NamedTuple):
    """A frame, or a part of one, that is well formed and means nothing to us: counted, skipped."""

    kind: str


class NewFields(NamedTuple):
    """A message of a known kind has fields that we do not know: counted, said once, skipped."""

    kind: str
    fields: tuple[str, ...]


class Send(NamedTuple):
    """The adapter wants these frames sent: the next of several that go one at a time."""

    frames: tuple[str, ...]


class ServerTime(NamedTuple):
    """The venue's clock, as it was when it sent this; `resolution_us` is how coarsely it is told.

    `answers_ping` says whether it answers our last `ping()`, so that the way there and back is known.
    """

    ts_us: int
    resolution_us: int
    answers_ping: bool


class Balance(NamedTuple):
    """What one account holds. `currency` is in upper case, "" where the venue does not say."""

    account: str
    group: str  # the venue's word: demo, real
    currency: str
    amount: Decimal


class Balances(NamedTuple):
    """The accounts that the venue told of, whole or those that changed."""

    balances: tuple[Balance, ...]


class Payouts(NamedTuple):
    """What a won deal pays beside the stake, in percent of it, by symbol."""

    percents: Mapping[str, float]


class StakeLimits(NamedTuple):
    """What one deal may cost, by currency in upper case."""

    limits: Mapping[str, StakeLimit]


class Leaving(NamedTuple):
    """The venue will close this socket soon: another one is to take its place before."""

    reason: str


class Denied(NamedTuple):
    """The venue does not let us in, for good; `reason` says why and what to do."""

    reason: str


class Throttled(NamedTuple):
    """The venue asks for patience: nothing is to be asked for `retry_after_s` seconds."""

    reason: str
    retry_after_s: float


VenueEvent = (
    PriceUpdate
    | Subscribed
    | Refused
    | Closed
    | Unknown
    | NewFields
    | Send
    | ServerTime
    | Listing
    | Balances
    | Payouts
    | StakeLimits
    | HistoryPage
    | Leaving
    | Denied
    | Throttled
)
