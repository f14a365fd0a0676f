"""What a venue's adapter must answer. Adapters are sans I/O: text in, events out, no clock.

A venue says here what is fixed about it: where it is, what it takes, what it offers. Symbols are the
venue's own spelling on every side of an adapter; what the settings call them is the connection's
business (`domain/instruments.py`).
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import attrs

from domain.contracts import ContractRules, OpensAt, Tie
from venues.events import VenueEvent
from venues.offers import History, HistoryRequest, RefreshToken, RestListing
from venues.settings import VenueSettings


class Budget(NamedTuple):
    """At most `attempts` connection attempts in any `window_s` seconds."""

    attempts: int
    window_s: int


class TokenUse(enum.Enum):
    """Whether a venue wants a token."""

    NONE = "none"
    OPTIONAL = "optional"  # prices need none, accounts do
    REQUIRED = "required"


class Upgrade(NamedTuple):
    """Where to connect, and the headers that go with it; both may hold a secret."""

    url: str
    headers: Mapping[str, str]


@attrs.frozen(kw_only=True)
class SessionContext:
    """What one session begins with. `started_us` (wall clock) makes ids that no other session has."""

    settings: VenueSettings
    token: str | None = attrs.field(default=None, repr=False)
    started_us: int = 0


class Adapter(Protocol):
    """One session's side of a venue's protocol; made anew for each socket."""

    def opening(self) -> list[str]:
        """Return the frames to send as soon as the socket is open."""

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the frames that subscribe these symbols; further ones may follow as `Send`."""

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the frames that end these symbols' subscriptions; prices on the way are not told."""

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return the frames that end all there is before a close; prices on the way are still told."""

    def ping(self) -> list[str]:
        """Return the venue's own ping, or what asks for its clock; called every `ping_every_s`."""

    def refresh(self) -> list[str]:
        """Return what asks for the list of markets again; nothing where it comes by itself."""

    def ask_history(self, request: HistoryRequest) -> list[str]:
        """Return what asks for history; answered by a `HistoryPage` with the request's id."""

    def receive(self, frame: str | bytes) -> Sequence[VenueEvent]:
        """Return what a frame says, in its order.

        Raises `RemoteProtocolError` for a frame that cannot be decoded; the connection counts it,
        keeps a sample and skips it, and gives up after 20 in a row.
        """


# Of venues without fixed-time contracts, for paper: as most venues that have them do it. 80 % is what
# they pay in the middle (70 to 95 %); half a second is twice what an order takes to a far venue.
PAPER_CONTRACT = ContractRules(
    opens_at=OpensAt.LAST_BEFORE,
    tie=Tie.REFUNDED,
    latency_us=500_000,
    least_expiry_s=1,
    most_expiry_s=86_400,
    payout_percent=80.0,
)


@attrs.frozen(kw_only=True)
class Venue:
    """What is fixed about a protocol: its limits, each with its source beside it in its file."""

    protocol: str
    url: str
    rest_url: str = ""
    sources: tuple[str, ...]
    default_source: str
    markets_per_connection: int
    most_connections: int | None = None  # of one user, all programs together
    connect_budgets: tuple[Budget, ...]
    frame_spacing_s: float  # least time between two frames that we send on one socket,
    is_spacing_shared: bool = False  # or on all sockets together
    make_adapter: Callable[[SessionContext], Adapter]
    contract: ContractRules
    make_upgrade: Callable[[VenueSettings, str | None], Upgrade] | None = None
    check_settings: Callable[[VenueSettings], None] | None = None
    token: TokenUse = TokenUse.NONE
    refresh_token: RefreshToken | None = None
    # Of the upgrade, and of close frames: trying again is no use. What to do about it.
    permanent_statuses: Mapping[int, str] = attrs.field(factory=dict)
    permanent_closes: Mapping[int, str] = attrs.field(factory=dict)
    # Of the upgrade: for how many seconds at least nothing is to be tried, whatever Retry-After says.
    throttled_statuses: Mapping[int, float] = attrs.field(factory=dict)
    ping_every_s: float | None = None
    lists_markets: bool = False  # a `Listing` comes in every session, before anything is subscribed
    refresh_every_s: float | None = None  # the list, while a market is closed
    rest_listing: RestListing | None = None
    history: History | None = None
    rotate_after_s: float | None = None  # a socket is replaced before the venue ends it

    def check(self, settings: VenueSettings) -> None:
        """Raise `ConfigError` that names a key of the section which this venue cannot do with."""
        if self.check_settings is not None:
            self.check_settings(settings)

    def upgrade(self, settings: VenueSettings, token: str | None) -> Upgrade:
        """Return where and how to connect."""
        if self.make_upgrade is not None:
            return self.make_upgrade(settings, token)
        return Upgrade(self.address(settings.url), {})

    def address(self, url: str | None) -> str:
        """Return where to connect: `url` with the protocol's own path where it names none."""
        if url is None:
            return self.url
        parts, own = urlsplit(url), urlsplit(self.url)
        return urlunsplit(parts._replace(path=own.path)) if parts.path in ("", "/") else url

    def rest_address(self, settings: VenueSettings) -> str:
        """Return the REST interface's base, without a slash at its end: as set, else beside `url`."""
        if settings.rest_url is not None:
            return settings.rest_url.rstrip("/")
        if settings.url is None:
            return self.rest_url
        parts = urlsplit(settings.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        return urlunsplit((scheme, parts.netloc, "", "", ""))
