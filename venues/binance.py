"""Binance spot public streams. Source: binance-spot-api-docs, web-socket-streams.md, 2026-07-21.

Combined frames, `{"stream": "<symbol>@<name>", "data": {…}}`, because `bookTicker` payloads carry
no event type. Subscriptions are dynamic: `{"method": "SUBSCRIBE", "params": [...], "id": 1}`. A stream
that does not exist is confirmed all the same: unknown symbols are found by the list of markets.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate
from venues.binance_rest import HISTORY, LISTING, to_us
from venues.events import Leaving, Refused, ServerTime, Subscribed, Unknown, VenueEvent
from venues.new_fields import FieldWatch
from venues.offers import HistoryRequest
from venues.protocol import PAPER_CONTRACT, Budget, SessionContext, Venue
from venues.samples import MOST_LETTERS, sample, short

STREAM_NAMES = {"trades": "aggTrade", "quotes": "bookTicker"}
SHUTDOWN = "serverShutdown"
OUR_MISTAKES = (0, 1, 2, 3)  # error codes: what was asked is wrong, and will be again

LEAVING = Leaving("the server is about to shut down")

KNOWN_FIELDS = {"aggTrade": frozenset("eEsapqflTmM"), "bookTicker": frozenset("usbBaA")}


class BinanceTrade(msgspec.Struct, gc=False):
    """An aggregated trade; prices and quantities are decimal strings.

    Times are in milliseconds, or in microseconds where the address has `timeUnit=MICROSECOND`.

    `{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,
    "l":105,"T":1672515782136,"m":true,"M":true}`
    """

    a: int
    p: str
    q: str
    T: int
    E: int | None = None  # when it was sent


class BinanceQuote(msgspec.Struct, gc=False):
    """The best bid and ask; it has neither an event type nor a time, only an update id.

    `{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21","a":"25.36520000","A":"40.66"}`
    """

    u: int
    b: str
    a: str


class BinanceFrame(msgspec.Struct, gc=False):
    """Any frame: a combined stream's (`stream`, `data`), or an answer (`id`, `result`, `error`).

    `{"result":null,"id":1}` confirms, `{"error":{"code":2,"msg":"Invalid request: …"},"id":1}`
    and `{"code":2,"msg":"Invalid request: …"}` refuse; the latter names no request.
    `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}` comes before
    the server leaves, on `/ws` without its wrapping.
    """

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    e: str | None = None
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: dict[str, Any] | None = None
    code: int | None = None
    msg: str | None = None


# Made once: a socket for each market would otherwise bring its own.
decode_frame = msgspec.json.Decoder(BinanceFrame).decode
decode_trade = msgspec.json.Decoder(BinanceTrade).decode
decode_quote = msgspec.json.Decoder(BinanceQuote).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class BinanceAdapter:
    """One socket's subscriptions and frames."""

    __slots__ = ("_asked", "_fields", "_is_time_asked", "_last_id", "_read", "_stream_name", "_symbols")

    def __init__(self, context: SessionContext) -> None:
        self._stream_name = STREAM_NAMES[context.settings.source or VENUE.default_source]
        self._symbols: dict[str, str] = {}  # "eurusdt@aggTrade" → the symbol
        self._asked: dict[int, tuple[str, ...]] = {}  # request id → symbols it subscribes
        self._last_id = 0
        self._read = self._read_trade if self._stream_name == "aggTrade" else self._read_quote
        self._fields = FieldWatch(KNOWN_FIELDS)
        self._is_time_asked = False

    def opening(self) -> list[str]:
        """Nothing to say: public streams need no log-in."""
        return []

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one frame for all: up to 1,024 streams a connection, 5 frames a second."""
        for symbol in symbols:
            self._symbols[self._stream(symbol)] = symbol
        request = self._request("SUBSCRIBE", symbols)
        self._asked[self._last_id] = tuple(symbols)
        return [request]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one frame for all."""
        for symbol in symbols:
            self._symbols.pop(self._stream(symbol), None)
        return self.leave(symbols)

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return one frame for all; its answer confirms no symbol."""
        request = self._request("UNSUBSCRIBE", symbols)
        self._asked[self._last_id] = ()
        return [request]

    def ping(self) -> list[str]:
        """Nothing to say: the next trade tells when it was sent. Quotes never do."""
        self._is_time_asked = True
        return []

    def refresh(self) -> list[str]:
        """Nothing to say: the list of markets comes over HTTP."""
        return []

    def ask_history(self, request: HistoryRequest) -> list[str]:
        """Nothing to say: history comes over HTTP."""
        return []

    def receive(self, frame: str | bytes) -> Sequence[VenueEvent]:
        """Return what the frame says; streams that nobody subscribed are `Unknown`."""
        try:
            message = decode_frame(frame)
            if message.stream is not None:
                symbol = self._symbols.get(message.stream)
                if symbol is not None:
                    return self._read(symbol, message.data)
                return (_read_other(message.stream),)
        except (msgspec.DecodeError, ValueError, RecursionError) as exc:
            raise RemoteProtocolError(f"undecodable frame: {exc}", frame=sample(frame)) from exc
        return (self._read_answer(message, frame),)

    def _read_trade(self, symbol: str, data: msgspec.Raw) -> Sequence[VenueEvent]:
        trade = decode_trade(data)
        price = PriceUpdate(symbol, to_us(trade.T), trade.a, float(trade.p), None, None, float(trade.q))
        is_due = self._fields.is_due("aggTrade")
        if not is_due and not self._is_time_asked:
            return (price,)
        new = self._fields.compare("aggTrade", decode_fields(data)) if is_due else ()
        if not self._is_time_asked or trade.E is None:
            return (price, *new)
        self._is_time_asked = False
        return (price, ServerTime(to_us(trade.E), 1_000, answers_ping=False), *new)

    def _read_quote(self, symbol: str, data: msgspec.Raw) -> Sequence[VenueEvent]:
        quote = decode_quote(data)
        bid, ask = float(quote.b), float(quote.a)
        price = PriceUpdate(symbol, None, quote.u, (bid + ask) / 2, bid, ask)
        if self._fields.is_due("bookTicker"):
            return (price, *self._fields.compare("bookTicker", decode_fields(data)))
        return (price,)

    def _read_answer(self, message: BinanceFrame, frame: str | bytes) -> VenueEvent:
        asked = self._asked.pop(message.id, None) if isinstance(message.id, int) else None
        if message.error is not None or message.code is not None:
            error = message.error or {}
            reason = short(str(message.msg or error.get("msg") or "without a reason"))
            is_for_good = error.get("code", message.code) in OUR_MISTAKES
            return Refused(asked, reason) if asked and is_for_good else Unknown(f"error: {reason}")
        if message.e == SHUTDOWN:
            return LEAVING
        if message.id is not None:
            return Unknown("answer to nobody") if asked is None else Subscribed(asked)
        raise RemoteProtocolError("neither a stream's frame nor an answer", frame=sample(frame))

    def _stream(self, symbol: str) -> str:
        return f"{symbol.lower()}@{self._stream_name}"

    def _request(self, method: str, symbols: Sequence[str]) -> str:
        self._last_id += 1
        streams = [self._stream(symbol) for symbol in symbols]
        request = {"method": method, "params": streams, "id": self._last_id}
        return msgspec.json.encode(request).decode()


def _read_other(stream: str) -> VenueEvent:
    """Return what a frame of a stream that nobody subscribed says: only its name matters."""
    if stream == f"!{SHUTDOWN}":
        return LEAVING
    return Unknown((stream.partition("@")[2] or stream)[:MOST_LETTERS])


VENUE = Venue(
    protocol="binance",
    # Market data only: no account can be reached through either (faqs/market_data_only.md, 2026-07).
    url="wss://data-stream.binance.vision/stream",
    rest_url="https://data-api.binance.vision",
    sources=("trades", "quotes"),
    default_source="trades",
    markets_per_connection=1024,  # streams a connection
    # 300 attempts in 5 minutes and address: the rest is for `marketd probe` and other programs there.
    connect_budgets=(Budget(200, 300),),
    # 5 frames a second, pings and pongs included. Three of ours leave two for those, also where the way
    # there bunches them.
    frame_spacing_s=0.4,
    make_adapter=BinanceAdapter,
    contract=PAPER_CONTRACT,
    # 451: not served in this country. 403 is the web firewall's and passes.
    permanent_statuses={451: "this venue does not serve your country"},
    # For its clock; no frame is sent.
    ping_every_s=60.0,
    rest_listing=LISTING,
    history=HISTORY,
    # A connection is valid for 24 h. Ten minutes before, since several go one after another.
    rotate_after_s=24 * 3600.0 - 600.0,
)
