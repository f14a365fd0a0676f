"""Binance spot public streams. Source: binance-spot-api-docs, web-socket-streams.md, 2026-07-21.

Combined frames, `{"stream": "<symbol>@<name>", "data": {…}}`, because `bookTicker` payloads carry
no event type. Subscriptions are dynamic: `{"method": "SUBSCRIBE", "params": [...], "id": 1}`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate
from venues.protocol import Budget, Refused, Subscribed, Unknown, Venue, VenueEvent, VenueSettings

STREAM_NAMES = {"trades": "aggTrade", "quotes": "bookTicker"}


class BinanceTrade(msgspec.Struct, gc=False):
    """An aggregated trade; prices and quantities are decimal strings.

    T is in milliseconds, or in microseconds where the address has `timeUnit=MICROSECOND`.

    `{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,
    "l":105,"T":1672515782136,"m":true,"M":true}`
    """

    a: int
    p: str
    q: str
    T: int


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
    """

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: dict[str, Any] | None = None
    code: int | None = None
    msg: str | None = None


FIRST_US = 10**14  # as milliseconds the year 5138, as microseconds 1973: tells the two apart

# Made once: a socket for each market would otherwise bring its own.
decode_frame = msgspec.json.Decoder(BinanceFrame).decode
decode_trade = msgspec.json.Decoder(BinanceTrade).decode
decode_quote = msgspec.json.Decoder(BinanceQuote).decode


def read_trade(symbol: str, data: msgspec.Raw) -> PriceUpdate:
    """Return the price of an `aggTrade` payload."""
    trade = decode_trade(data)
    ts_us = trade.T * 1_000 if trade.T < FIRST_US else trade.T
    return PriceUpdate(symbol, ts_us, trade.a, float(trade.p), None, None, float(trade.q))


def read_quote(symbol: str, data: msgspec.Raw) -> PriceUpdate:
    """Return the price of a `bookTicker` payload: the middle of bid and ask."""
    quote = decode_quote(data)
    bid, ask = float(quote.b), float(quote.a)
    return PriceUpdate(symbol, None, quote.u, (bid + ask) / 2, bid, ask)


class BinanceAdapter:
    """One socket's subscriptions and frames."""

    def __init__(self, settings: VenueSettings) -> None:
        self._stream_name = STREAM_NAMES[settings.source or VENUE.default_source]
        self._symbols: dict[str, str] = {}  # "eurusdt@aggTrade" → the symbol as in the settings
        self._asked: dict[int, tuple[str, ...]] = {}  # request id → symbols it subscribes
        self._last_id = 0
        self._read = read_trade if self._stream_name == "aggTrade" else read_quote

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

    def receive(self, frame: str | bytes) -> Sequence[VenueEvent]:
        """Return what the frame says; streams that nobody subscribed are `Unknown`."""
        try:
            message = decode_frame(frame)
            if message.stream is not None:
                symbol = self._symbols.get(message.stream)
                if symbol is None:
                    return (Unknown(message.stream.partition("@")[2] or message.stream),)
                return (self._read(symbol, message.data),)
        except (msgspec.DecodeError, ValueError, RecursionError) as exc:
            raise RemoteProtocolError(f"undecodable frame: {exc}", frame=_sample(frame)) from exc
        return (self._read_answer(message, frame),)

    def _read_answer(self, message: BinanceFrame, frame: str | bytes) -> VenueEvent:
        asked = self._asked.pop(message.id, None) if isinstance(message.id, int) else None
        if message.error is not None or message.code is not None:
            reason = str(message.msg or (message.error or {}).get("msg") or "without a reason")
            return Refused(asked, reason) if asked else Unknown(f"error: {reason}")
        if message.id is not None:
            return Unknown("answer to nobody") if asked is None else Subscribed(asked)
        raise RemoteProtocolError("neither a stream's frame nor an answer", frame=_sample(frame))

    def _stream(self, symbol: str) -> str:
        return f"{symbol.lower()}@{self._stream_name}"

    def _request(self, method: str, symbols: Sequence[str]) -> str:
        self._last_id += 1
        streams = [self._stream(symbol) for symbol in symbols]
        request = {"method": method, "params": streams, "id": self._last_id}
        return msgspec.json.encode(request).decode()


def _sample(frame: str | bytes) -> str:
    return repr(frame[:200])


VENUE = Venue(
    protocol="binance",
    # Market data only: no account can be reached through it.
    url="wss://data-stream.binance.vision/stream",
    sources=("trades", "quotes"),
    default_source="trades",
    markets_per_connection=1024,  # streams a connection
    connect_budgets=(Budget(300, 300),),  # attempts an address
    # 5 frames a second, pings and pongs included: one second in five is left to those.
    frame_spacing_s=0.25,
    make_adapter=BinanceAdapter,
    # 451: not served in this country. 403 is the web firewall's and passes.
    permanent_statuses=frozenset({451}),
)
