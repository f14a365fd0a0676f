"""Kraken's WebSocket v2 messages. Source: docs.kraken.com, spot-websocket-v2, seen 2026-11.

Prices and quantities are JSON numbers whose shortest text is the price: a float holds it exactly.
What nobody needs is not declared, and so not decoded: `connection_id` is beyond 2^63.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class KrakenTrade(msgspec.Struct, gc=False):
    """One trade; a message holds several.

    Recorded 2026-09-25: `{"symbol":"BTC/USD","side":"buy","price":83744.3,"qty":0.00044780,
    "ord_type":"limit","trade_id":109116693,"timestamp":"2026-09-25T17:48:26.844359Z"}`
    """

    symbol: str
    price: float
    qty: float
    trade_id: int
    timestamp: str


class KrakenTicker(msgspec.Struct, gc=False):
    """The best bid and ask; a side that nobody offers is 0 or null.

    Recorded 2026-09-25: `{"symbol":"BTC/USD","bid":83744.2,"bid_qty":0.56251979,"ask":83744.3,
    "ask_qty":0.00044780,"last":83744.3,"volume":3156.84782110,"vwap":84174.6,"low":83163.6,
    "high":85247.4,"change":-429.3,"change_pct":-0.51,"trades":135262,
    "timestamp":"2026-09-25T17:48:26.844359Z"}`
    """

    symbol: str
    bid: float | None = None
    ask: float | None = None
    timestamp: str | None = None


class KrakenPair(msgspec.Struct, gc=False):
    """One market of the `instrument` channel.

    Documented: `{"symbol":"EUR/USD","base":"EUR","quote":"USD","status":"online","qty_precision":8,
    "qty_increment":1e-08,"price_precision":5,"cost_precision":5,"marginable":false,"has_index":true,
    "cost_min":0.5,"tick_size":1e-05,"price_increment":1e-05,"qty_min":0.5}`
    """

    symbol: str
    status: str | None = "online"
    base: str | None = None
    quote: str | None = None


class KrakenPairs(msgspec.Struct, gc=False):
    """The `data` of the `instrument` channel; its assets are not looked at."""

    pairs: list[KrakenPair] = []


class KrakenSystem(msgspec.Struct, gc=False):
    """How the venue is: online, post_only, cancel_only or maintenance."""

    system: str = ""


class KrakenTrades(msgspec.Struct, tag_field="channel", tag="trade", gc=False):
    """`{"channel":"trade","type":"update","data":[…]}`."""

    data: list[KrakenTrade]


class KrakenTickers(msgspec.Struct, tag_field="channel", tag="ticker", gc=False):
    """`{"channel":"ticker","type":"update","data":[…]}`."""

    data: list[KrakenTicker]


class KrakenHeartbeat(msgspec.Struct, tag_field="channel", tag="heartbeat", gc=False):
    """`{"channel":"heartbeat"}`: about once a second while nothing else comes."""


class KrakenInstruments(msgspec.Struct, tag_field="channel", tag="instrument", gc=False):
    """`{"channel":"instrument","type":"snapshot","data":{"assets":[…],"pairs":[…]}}`."""

    data: KrakenPairs
    type: str = "update"


class KrakenStatus(msgspec.Struct, tag_field="channel", tag="status", gc=False):
    """Sent on connecting and when it changes.

    Recorded 2026-09-25: `{"channel":"status","type":"update","data":[{"version":"2.0.10",
    "system":"online","api_version":"v2","connection_id":18125794168470749634,
    "upcoming_maintenance":[],"emergency":[]}]}`
    """

    data: list[KrakenSystem]


class KrakenResult(msgspec.Struct, gc=False):
    """What was subscribed, in an answer."""

    channel: str | None = None
    symbol: str | None = None


class KrakenMessage(msgspec.Struct, gc=False):
    """Anything else: an answer, an error, a channel that we do not know, or the older protocol.

    Recorded 2026-09-25: `{"method":"subscribe","result":{"channel":"trade","snapshot":false,
    "symbol":"BTC/USD"},"success":true,"time_in":"2026-09-25T17:48:24.745996Z",
    "time_out":"2026-09-25T17:48:24.746032Z"}` confirms one symbol, and
    `{"error":"Currency pair not supported XBT/USD","method":"subscribe","success":false,
    "symbol":"XBT/USD","time_in":"…","time_out":"…"}` refuses one. Both carry the request's `req_id`.
    `{"Error":"Exceeded msg rate"}` answers whoever sends too much.
    `{"method":"pong","req_id":101,"time_in":"…","time_out":"…"}` answers a ping.
    """

    channel: str | None = None
    method: str | None = None
    event: str | None = None
    req_id: int | None = None
    success: bool | None = None
    result: KrakenResult | None = None
    symbol: str | None = None
    error: str | None = None
    plain_error: str | None = msgspec.field(default=None, name="Error")
    time_out: str | None = None


class KrakenParts(msgspec.Struct, gc=False):
    """A push whose parts are decoded one by one."""

    channel: str
    data: msgspec.Raw
    type: str = "update"


class KrakenRawPairs(msgspec.Struct, gc=False):
    """The `data` of the `instrument` channel, likewise."""

    pairs: list[msgspec.Raw]


class KrakenFields(msgspec.Struct, gc=False):
    """A message whose fields are looked at."""

    data: list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw]


KrakenPush = KrakenTrades | KrakenTickers | KrakenHeartbeat | KrakenInstruments | KrakenStatus

# Made once: a socket for each market would otherwise bring its own.
decode_push = msgspec.json.Decoder(KrakenPush).decode
decode_message = msgspec.json.Decoder(KrakenMessage).decode
decode_fields = msgspec.json.Decoder(KrakenFields).decode
decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_text = msgspec.json.Decoder(str).decode
_decode_parts = msgspec.json.Decoder(KrakenParts).decode
_decode_raw_pairs = msgspec.json.Decoder(KrakenRawPairs).decode
_decode_trade = msgspec.json.Decoder(KrakenTrade).decode
_decode_ticker = msgspec.json.Decoder(KrakenTicker).decode
_decode_pair = msgspec.json.Decoder(KrakenPair).decode

T = TypeVar("T")


class Readable(NamedTuple):
    """What of a push can be read, and how many of its parts cannot."""

    push: KrakenTrades | KrakenTickers | KrakenInstruments
    spoilt: int


def read_readable(frame: str | bytes, cause: msgspec.ValidationError) -> Readable:
    """Return a push without those of its parts that cannot be read.

    Raises `cause`, which is why it cannot be read as a whole, where nothing of it can.
    """
    try:
        parts = _decode_parts(frame)
        is_listing = parts.channel == "instrument"
        items = _decode_raw_pairs(parts.data).pairs if is_listing else decode_array(parts.data)
    except msgspec.ValidationError:
        raise cause from None
    push: KrakenTrades | KrakenTickers | KrakenInstruments
    match parts.channel:
        case "trade":
            push = KrakenTrades(_each(items, _decode_trade))
            count = len(push.data)
        case "ticker":
            push = KrakenTickers(_each(items, _decode_ticker))
            count = len(push.data)
        case "instrument":
            push = KrakenInstruments(KrakenPairs(_each(items, _decode_pair)), parts.type)
            count = len(push.data.pairs)
        case _:
            raise cause
    if not count:
        raise cause
    return Readable(push, len(items) - count)


def _each(items: list[msgspec.Raw], decode: Callable[[msgspec.Raw], T]) -> list[T]:
    found: list[T] = []
    for item in items:
        with contextlib.suppress(msgspec.ValidationError):
            found.append(decode(item))
    return found


def read_time(text: str) -> int:
    """Return an RFC 3339 time as microseconds; what is finer is cut off, as the venue itself does.

    It tells one moment as `…26.844359Z` and as `…26.844359566Z`. Raises ValueError for what is no time.
    """
    if len(text) > 20 and text[19] == "." and text[-1] == "Z":
        micros = text[17:19] + text[20:-1][:6].ljust(6, "0")
        if micros.isdecimal():
            return _minute_us(text[:16]) + int(micros)
    return _to_us(datetime.fromisoformat(text))


@lru_cache(maxsize=8)
def _minute_us(text: str) -> int:
    return _to_us(datetime.fromisoformat(f"{text}:00+00:00"))


def _to_us(time: datetime) -> int:
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return (time - _EPOCH) // _MICROSECOND
