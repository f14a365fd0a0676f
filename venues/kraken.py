"""Kraken's public market data, WebSocket v2. Source: docs.kraken.com, spot-websocket-v2, seen 2026-11.

One socket for many markets; each symbol is confirmed or refused by itself, in any order. The list of
markets is a channel of its own and comes first. Frames of the older v1 are skipped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate
from venues.events import Send, ServerTime, Throttled, Unknown, VenueEvent
from venues.kraken_listing import is_system_open, read_listing
from venues.kraken_rest import HISTORY
from venues.kraken_subscriptions import KrakenSubscriptions
from venues.kraken_wire import (
    KrakenInstruments,
    KrakenMessage,
    KrakenPush,
    KrakenStatus,
    KrakenTickers,
    KrakenTrades,
    decode_array,
    decode_fields,
    decode_message,
    decode_push,
    decode_text,
    read_readable,
    read_time,
)
from venues.new_fields import FieldWatch
from venues.offers import HistoryRequest
from venues.protocol import PAPER_CONTRACT, Budget, SessionContext, Venue
from venues.samples import MOST_LETTERS, sample, short

CHANNELS = {"trades": "trade", "quotes": "ticker"}
PUSHED = frozenset({"trade", "ticker", "heartbeat", "instrument", "status"})
MOST_SYMBOLS = 100  # in one request; a bound is not documented, and a public client sends so many
THROTTLED = "Exceeded msg rate"
THROTTLED_S = 60.0  # how long it lasts is not documented

KNOWN_FIELDS = {
    "trade": frozenset({"symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"}),
    "ticker": frozenset(
        {"symbol", "bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high"}
        | {"change", "change_pct", "trades", "timestamp"}
    ),
    "instrument": frozenset({"assets", "pairs"}),
    "status": frozenset(
        {"version", "system", "api_version", "connection_id", "upcoming_maintenance", "emergency"}
    ),
}


class KrakenAdapter:
    """One socket's subscriptions and frames."""

    def __init__(self, context: SessionContext) -> None:
        self._channel = CHANNELS[context.settings.source or VENUE.default_source]
        self._subscriptions = KrakenSubscriptions()
        self._wanted = self._subscriptions.wanted
        self._fields = FieldWatch(KNOWN_FIELDS)
        self._is_open = True  # the venue as a whole, by its latest word
        self._is_listed_open: bool | None = None  # and as it was when it sent its list
        self._last_id = 0
        self._ping_id = -1

    # --- what goes out ------------------------------------------------------------------------

    def opening(self) -> list[str]:
        """Return the frame that asks for the list of markets, and for its changes."""
        return [self._request("subscribe", {"channel": "instrument", "snapshot": True})]

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return a frame for each hundred."""
        more = {"snapshot": False} if self._channel == "trade" else {"event_trigger": "bbo", "snapshot": True}
        frames = []
        for some in _in_hundreds(symbols):
            frames.append(self._request("subscribe", {"channel": self._channel, "symbol": some, **more}))
            self._subscriptions.subscribed(self._last_id, some)
        return frames

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return a frame for each hundred."""
        self._subscriptions.dropped(symbols)
        return self.leave(symbols)

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return a frame for each hundred; the last one's last answer confirms the goodbye."""
        # Not recorded: an unsubscribe's `event_trigger` must be the subscribe's (its documentation).
        more = {} if self._channel == "trade" else {"event_trigger": "bbo"}
        frames = []
        for some in _in_hundreds(symbols):
            frames.append(self._request("unsubscribe", {"channel": self._channel, "symbol": some, **more}))
            self._subscriptions.left(self._last_id, some)
        return frames

    def ping(self) -> list[str]:
        """Return the venue's own ping; its answer tells the clock."""
        frame = self._request("ping", None)
        self._ping_id = self._last_id
        return [frame]

    def refresh(self) -> list[str]:
        """Nothing to say: what changes in the list of markets comes by itself."""
        return []

    def ask_history(self, request: HistoryRequest) -> list[str]:
        """Nothing to say: history comes over HTTP."""
        return []

    def _request(self, method: str, params: Mapping[str, Any] | None) -> str:
        self._last_id += 1
        request = {"method": method, "req_id": self._last_id}
        return msgspec.json.encode(request if params is None else {**request, "params": params}).decode()

    # --- what comes in ------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> Sequence[VenueEvent]:
        """Return what the frame says; prices that nobody subscribed are `Unknown`."""
        try:
            try:
                message = decode_push(frame)
            except msgspec.ValidationError as exc:
                return self._read_message(frame, exc)
            return self._read_push(message, frame)
        except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as exc:
            raise RemoteProtocolError(f"undecodable frame: {exc}", frame=sample(frame)) from exc

    def _read_push(self, message: KrakenPush, frame: str | bytes) -> Sequence[VenueEvent]:
        match message:
            case KrakenTrades():
                events = self._read_trades(message)
                return [*events, *self._look("trade", frame)] if self._fields.is_due("trade") else events
            case KrakenTickers():
                events = self._read_tickers(message)
                return [*events, *self._look("ticker", frame)] if self._fields.is_due("ticker") else events
            case KrakenInstruments():
                new = self._look("instrument", frame) if self._fields.is_due("instrument") else ()
                self._is_listed_open = self._is_open
                return [*read_listing(message, is_open=self._is_open), *new]
            case KrakenStatus():
                new = self._look("status", frame) if self._fields.is_due("status") else ()
                return [*self._read_status(message), *new]
            case _:
                return ()

    def _read_trades(self, message: KrakenTrades) -> Sequence[VenueEvent]:
        wanted = self._wanted if self._channel == "trade" else ()
        return [
            PriceUpdate(
                trade.symbol, read_time(trade.timestamp), trade.trade_id, trade.price, None, None, trade.qty
            )
            if trade.symbol in wanted
            else Unknown("trade")
            for trade in message.data
        ]

    def _read_tickers(self, message: KrakenTickers) -> Sequence[VenueEvent]:
        events: list[VenueEvent] = []
        wanted = self._wanted if self._channel == "ticker" else ()
        for ticker in message.data:
            bid, ask = ticker.bid, ticker.ask
            if ticker.symbol not in wanted:
                events.append(Unknown("ticker"))
            elif not bid or not ask:
                events.append(Unknown("ticker without both sides"))
            else:
                # 1970 is no time either: so recorded of v1, of a market without trades.
                ts_us = None if ticker.timestamp is None else read_time(ticker.timestamp) or None
                events.append(PriceUpdate(ticker.symbol, ts_us, None, (bid + ask) / 2, bid, ask))
        return events

    def _read_status(self, message: KrakenStatus) -> Sequence[VenueEvent]:
        """Return what asks for the list again where the venue as a whole opens or closes.

        Maintenance closes its markets, not this socket: another one would find the same.
        """
        for each in message.data:
            self._is_open = is_system_open(each.system)
        if self._is_listed_open in (None, self._is_open):
            return ()
        self._is_listed_open = None  # until it comes again
        instruments = {"channel": "instrument"}
        again = self._request("unsubscribe", instruments), self._request("subscribe", instruments)
        return (Send(again),)

    def _read_message(self, frame: str | bytes, cause: msgspec.ValidationError) -> Sequence[VenueEvent]:
        """Return what a frame says that is no push; `cause` is why it is none, or a broken one."""
        try:
            message = decode_message(frame)
        except msgspec.ValidationError as exc:
            return (_read_older_array(frame, exc),)
        if message.channel is not None:
            if message.channel in PUSHED:
                readable = read_readable(frame, cause)
                spoilt = [Unknown(f"unreadable {message.channel}")] * readable.spoilt
                return [*self._read_push(readable.push, frame), *spoilt]
            return (Unknown(message.channel[:MOST_LETTERS]),)
        error = message.error or message.plain_error
        if error is not None and THROTTLED.lower() in error.lower():
            return (Throttled(short(error), THROTTLED_S),)
        match message.method:
            case "subscribe" | "unsubscribe":
                return self._read_answer(message)
            case "pong" if message.time_out is not None:
                answers_ping = message.req_id == self._ping_id
                return (ServerTime(read_time(message.time_out), 1, answers_ping=answers_ping),)
        if error is not None:
            return (Unknown(f"error: {short(error)}"),)
        kind = message.method if message.event is None else f"v1 {message.event}"
        if kind is None:
            raise cause
        return (Unknown(kind[:MOST_LETTERS]),)

    def _read_answer(self, message: KrakenMessage) -> Sequence[VenueEvent]:
        if message.result is not None and message.result.channel == "instrument":
            return ()  # confirmed; the list itself follows
        return self._subscriptions.answered(message)

    def _look(self, kind: str, frame: str | bytes) -> Sequence[VenueEvent]:
        data = decode_fields(frame).data
        if isinstance(data, list):
            return self._fields.compare(kind, data[0]) if data else ()
        return self._fields.compare(kind, data)


def _in_hundreds(symbols: Sequence[str]) -> list[Sequence[str]]:
    return [symbols[first : first + MOST_SYMBOLS] for first in range(0, len(symbols), MOST_SYMBOLS)]


def _read_older_array(frame: str | bytes, cause: msgspec.ValidationError) -> VenueEvent:
    """Return what a data frame of v1 is; raise `cause` for anything else.

    `[1668, {"a": ["13.253900", 35, "35.72892241"], …}, "ticker", "WAVES/EUR"]`; a book's update has
    two payloads. Recorded 2021-04-17.
    """
    try:
        parts = decode_array(frame)
        name, _ = decode_text(parts[-2]), decode_text(parts[-1])
    except (msgspec.DecodeError, IndexError):
        raise cause from None
    if len(parts) not in (4, 5):
        raise cause
    return Unknown(f"v1 {name}"[:MOST_LETTERS])


VENUE = Venue(
    protocol="kraken",
    url="wss://ws.kraken.com/v2",
    rest_url="https://api.kraken.com",
    sources=("trades", "quotes"),
    default_source="trades",
    # A bound is not documented; a public client found 300 to work.
    markets_per_connection=300,
    # About 150 attempts in 10 minutes and address, then a ban of 10 minutes (quoted by several clients
    # from spot-ws-intro); a fifth of that.
    connect_budgets=(Budget(30, 600),),
    # Its ban lasts for ten minutes, and each attempt meanwhile counts (quoted from spot-ws-intro).
    throttled_statuses={403: 600.0, 429: 600.0},
    frame_spacing_s=0.25,  # the limit "will vary depending upon the load" (spot-ws-intro)
    make_adapter=KrakenAdapter,
    contract=PAPER_CONTRACT,
    # It closes a connection that is idle for about a minute (spot-ws-intro).
    ping_every_s=30.0,
    lists_markets=True,
    history=HISTORY,
)
