"""What a venue's adapter must answer. Adapters are sans I/O: text in, events out, no clock.

A venue says here what is fixed about it: where it is, what it takes, what it offers. Symbols are the
venue's own spelling on every side of an adapter; what the settings call them is the connection's
business (`domain/instruments.py`).
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import attrs
from attrs import validators

from domain.instruments import Listing, StakeLimit
from domain.market import PriceUpdate


class Budget(NamedTuple):
    """At most `attempts` connection attempts in any `window_s` seconds."""

    attempts: int
    window_s: int


# --- what an adapter makes of a frame ---------------------------------------------------------


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


class VenueCandle(NamedTuple):
    """One candle of a venue's history, `[open_us, open_us + timeframe)`; `volume` 0 where not told."""

    open_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0


class HistoryPage(NamedTuple):
    """The answer to one `HistoryRequest`, oldest first.

    It may hold more than was asked for. `through_us`: up to here (inclusive) nothing more is to be
    had; None where the venue has nothing at all for us, and `reason` says why.
    """

    id: int
    ticks: tuple[PriceUpdate, ...] = ()
    candles: tuple[VenueCandle, ...] = ()
    through_us: int | None = None
    reason: str = ""


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


# --- history ----------------------------------------------------------------------------------


class HistoryRequest(NamedTuple):
    """A wish for what lies in `(from_us, to_us)`, both exclusive; a page of it is enough.

    `timeframe_s` is None for ticks. `id` tells answers apart.
    """

    id: int
    symbol: str
    from_us: int
    to_us: int
    timeframe_s: int | None


class HistoryKind(enum.Enum):
    """What a venue's history holds."""

    TICKS = "ticks"
    CANDLES = "candles"


class HttpRequest(NamedTuple):
    """One request to a venue's REST interface."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@attrs.frozen(kw_only=True)
class RestHistory:
    """How history is asked for over HTTP: pure, as adapters are.

    `request` takes the base address; `read` raises `RemoteProtocolError`.
    """

    request: Callable[[HistoryRequest, str], HttpRequest]
    read: Callable[[HistoryRequest, bytes], HistoryPage]


@attrs.frozen(kw_only=True)
class History:
    """What a venue offers of its past, and how often it may be asked.

    `rest` is None where the socket is asked (`Adapter.ask_history`). `longest_us` bounds how far
    back it goes, None where nobody knows. `timeframes_s` are the candles it has, () for any. `source`
    is which of the venue's sources its ticks are, None for whichever is set.
    """

    kind: HistoryKind
    spacing_s: float  # between two requests
    rest: RestHistory | None = None
    timeframes_s: tuple[int, ...] = ()
    longest_us: int | None = None
    source: str | None = None


@attrs.frozen(kw_only=True)
class RestListing:
    """How the list of markets is asked for over HTTP, where no frame brings it.

    `request` takes the base address and the symbols in question; `read` raises `RemoteProtocolError`.
    """

    request: Callable[[str, Sequence[str]], HttpRequest]
    read: Callable[[bytes], Listing]


# --- a token ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class FreshToken:
    """What a venue gave for a refresh token: a new token, and the refresh token of the next time.

    `refresh_token` is None where the one that was used stays good.
    """

    token: str = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class RefreshToken:
    """How a fresh token is asked for over HTTP, where a venue has that: pure, as adapters are.

    `request` takes the refresh token; `read` raises `RemoteProtocolError`, which never shows the body.
    """

    request: Callable[["VenueSettings", str], HttpRequest]
    read: Callable[[bytes], FreshToken]


# --- a session --------------------------------------------------------------------------------


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

    settings: "VenueSettings"
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
    make_upgrade: Callable[["VenueSettings", str | None], Upgrade] | None = None
    check_settings: Callable[["VenueSettings"], None] | None = None
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

    def check(self, settings: "VenueSettings") -> None:
        """Raise `ConfigError` that names a key of the section which this venue cannot do with."""
        if self.check_settings is not None:
            self.check_settings(settings)

    def upgrade(self, settings: "VenueSettings", token: str | None) -> Upgrade:
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

    def rest_address(self, settings: "VenueSettings") -> str:
        """Return the REST interface's base, without a slash at its end: as set, else beside `url`."""
        if settings.rest_url is not None:
            return settings.rest_url.rstrip("/")
        if settings.url is None:
            return self.rest_url
        parts = urlsplit(settings.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        return urlunsplit((scheme, parts.netloc, "", "", ""))


def _check_source(_: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value not in (None, "trades", "quotes"):
        raise ValueError('expected "trades" or "quotes"')


def _check_dialect(_: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value not in (None, "new", "legacy"):
        raise ValueError('expected "new" or "legacy"')


def _check_positive(_: object, field: "attrs.Attribute[float]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError("expected a number above 0")


@attrs.frozen(kw_only=True)
class VenueSettings:
    """`[venues.NAME]`: one venue and how to reach it."""

    protocol: str = attrs.field(metadata={"help": "which protocol it speaks"})
    url: str | None = attrs.field(default=None, metadata={"help": "web-socket address; the venue's own"})
    rest_url: str | None = attrs.field(
        default=None, metadata={"help": "address of its HTTP interface; the venue's own, or beside url"}
    )
    dialect: str | None = attrs.field(
        default=None, validator=_check_dialect, metadata={"help": 'of Deriv: "new" or "legacy" (v3)'}
    )
    app_id: str | None = attrs.field(
        default=None, metadata={"help": "of Deriv's legacy dialect: the id of a registered application"}
    )
    token_file: str | None = attrs.field(
        default=None,
        metadata={"help": "file with the account's token; default: what `marketd token set` wrote"},
    )
    source: str | None = attrs.field(
        default=None, validator=_check_source, metadata={"help": "what a tick is: trades or quotes"}
    )
    stale_after_s: float = attrs.field(
        default=60.0, validator=_check_positive, metadata={"help": "silence that makes a market stale"}
    )
    markets_per_connection: int | None = attrs.field(
        default=None,
        validator=validators.optional(validators.ge(1)),
        metadata={"help": "markets that share a socket"},
    )
    account: str | None = attrs.field(default=None, metadata={"help": "account to trade on"})
    connect_timeout_s: float = attrs.field(
        default=10.0, validator=_check_positive, metadata={"help": "deadline of a whole connect"}
    )
