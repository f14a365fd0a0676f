"""What a venue's adapter must answer. Adapters are sans I/O: text in, events out, no clock."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import attrs
from attrs import validators

from domain.market import PriceUpdate


class Budget(NamedTuple):
    """At most `attempts` connection attempts in any `window_s` seconds."""

    attempts: int
    window_s: int


# --- what an adapter makes of a frame ---------------------------------------------------------


class Subscribed(NamedTuple):
    """The venue confirmed these symbols' subscriptions."""

    symbols: tuple[str, ...]


class Refused(NamedTuple):
    """The venue refused to subscribe these symbols, for good; `reason` is for people."""

    symbols: tuple[str, ...]
    reason: str


class Unknown(NamedTuple):
    """A frame that is well formed and means nothing to us: counted, skipped."""

    kind: str


VenueEvent = PriceUpdate | Subscribed | Refused | Unknown


class Adapter(Protocol):
    """One session's side of a venue's protocol; made anew for each socket.

    Symbols are as in the settings, on both sides of every method.
    """

    def opening(self) -> list[str]:
        """Return the frames to send as soon as the socket is open."""

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the frames that subscribe these symbols."""

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the frames that end these symbols' subscriptions; prices on the way are not told."""

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return the frames that end all there is before a close; prices on the way are still told."""

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
    sources: tuple[str, ...]
    default_source: str
    markets_per_connection: int
    connect_budgets: tuple[Budget, ...]
    frame_spacing_s: float  # least time between two frames that we send on one socket
    make_adapter: Callable[["VenueSettings"], Adapter]
    headers: Mapping[str, str] = attrs.field(factory=dict)  # sent with the upgrade
    permanent_statuses: frozenset[int] = frozenset()  # of the upgrade: trying again is no use

    def address(self, url: str | None) -> str:
        """Return where to connect: `url` with the protocol's own path where it names none."""
        if url is None:
            return self.url
        parts, own = urlsplit(url), urlsplit(self.url)
        return urlunsplit(parts._replace(path=own.path)) if parts.path in ("", "/") else url


def _check_source(_: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value not in (None, "trades", "quotes"):
        raise ValueError('expected "trades" or "quotes"')


def _check_positive(_: object, field: "attrs.Attribute[float]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError("expected a number above 0")


@attrs.frozen(kw_only=True)
class VenueSettings:
    """`[venues.NAME]`: one venue and how to reach it."""

    protocol: str = attrs.field(metadata={"help": "which protocol it speaks"})
    url: str | None = attrs.field(default=None, metadata={"help": "web-socket address; the venue's own"})
    token_file: str | None = attrs.field(default=None, metadata={"help": "file with the account's token"})
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
