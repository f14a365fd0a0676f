"""What a venue offers beside live prices: its past, its list over HTTP, fresh tokens. Pure."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import attrs

from domain.instruments import Listing
from domain.market import PriceUpdate
from venues.settings import VenueSettings


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

    request: Callable[[VenueSettings, str], HttpRequest]
    read: Callable[[bytes], FreshToken]
