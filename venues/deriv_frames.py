"""What Deriv's frames hold, in both dialects.

Sources: the legacy dialect's own JSON schemas (deriv-api-docs, `config/v3`, seen 2026-06-11); of the
new dialect the reference of deriv-api-plugin and the migration pages (seen 2026-11-23). In the new one
many fields may be a string or a number, `echo_req` may be missing, and names differ where said so.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from domain.errors import RemoteProtocolError
from domain.market import MAX_INTEGER, PriceUpdate
from venues.events import Balance

Number = int | float | str
SECOND_US = 1_000_000
LATEST_S = 10**11  # the year 5138; as milliseconds 1973. So a time in those is no time


class DerivTick(msgspec.Struct, gc=False):
    """One price; `epoch` is in whole seconds.

    `{"ask":218.1026,"bid":218.0826,"epoch":1587547610,"id":"b4d42748-0744-c46b-f59b-cb7dd936bafa",
    "pip_size":4,"quote":218.0926,"symbol":"R_50"}` (flutter-deriv-api, mock data, 2020)
    """

    symbol: str
    epoch: int | str
    quote: Number
    bid: Number | None = None
    ask: Number | None = None


class DerivTickFrame(msgspec.Struct, gc=False):
    """As much of a frame as a tick needs; in every other frame there is no `tick`."""

    tick: DerivTick | None = None
    req_id: int | None = None


class DerivSubscription(msgspec.Struct, gc=False):
    """`{"id":"b4d42748-0744-c46b-f59b-cb7dd936bafa"}`; it means something on its own socket only."""

    id: str


class DerivError(msgspec.Struct, gc=False):
    """Why a request failed.

    `{"code":"InvalidToken","message":"The token is invalid."}` (errors.md of deriv-api-plugin, 2026-08)
    """

    code: str
    message: str = ""


class DerivFrame(msgspec.Struct, gc=False):
    """Any frame: a request's answer, or a message of a subscription, which repeats the request's id.

    `{"echo_req":{"time":1},"msg_type":"time","req_id":3,"time":1587544006}`
    `{"echo_req":{"ticks":"X"},"error":{"code":"InvalidSymbol","message":"Symbol X invalid."},
    "msg_type":"tick","req_id":4}`
    """

    msg_type: str = ""
    req_id: int | None = None
    error: DerivError | None = None
    subscription: DerivSubscription | None = None
    active_symbols: msgspec.Raw = msgspec.Raw()
    authorize: msgspec.Raw = msgspec.Raw()
    balance: msgspec.Raw = msgspec.Raw()
    candles: msgspec.Raw = msgspec.Raw()
    contracts_for: msgspec.Raw = msgspec.Raw()
    history: msgspec.Raw = msgspec.Raw()
    time: msgspec.Raw = msgspec.Raw()


class DerivAccount(msgspec.Struct, gc=False):
    """Who a token belongs to; of `authorize`, legacy dialect only.

    `{"balance":10000,"currency":"USD","is_virtual":1,"loginid":"VRTC0000001","scopes":["read"],…}`
    """

    loginid: str
    is_virtual: int


class DerivBalance(msgspec.Struct, gc=False):
    """What an account holds; pushed at each change.

    `{"balance":10000.55,"currency":"USD","id":"c84a793b-8a87-7999-ce10-9b22f7ceead3",
    "loginid":"VRTC0000001"}` (balance/receive.json)
    """

    balance: Decimal
    currency: str
    loginid: str


_decode_tick_frame = msgspec.json.Decoder(DerivTickFrame).decode
_decode_frame = msgspec.json.Decoder(DerivFrame).decode
_decode_account = msgspec.json.Decoder(DerivAccount).decode
_decode_balance = msgspec.json.Decoder(DerivBalance).decode
_decode_time = msgspec.json.Decoder(int | str).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOTHING = msgspec.Raw(b"{}")
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

UNREADABLE = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)

read_tick_frame = _decode_tick_frame
read_frame = _decode_frame


def read_price(tick: DerivTick) -> PriceUpdate:
    """Return the price of a tick; it has no number, and its time is in whole seconds.

    Raises `ValueError` for a time that is none in seconds.
    """
    bid, ask, epoch = tick.bid, tick.ask, int(tick.epoch)
    if not 0 < epoch < LATEST_S:
        raise ValueError(f"{tick.symbol}: {epoch!r} is not a time in seconds")
    return PriceUpdate(
        tick.symbol,
        epoch * SECOND_US,
        None,
        float(tick.quote),
        None if bid is None else float(bid),
        None if ask is None else float(ask),
    )


def read_time_us(data: msgspec.Raw) -> int:
    """Return the venue's clock; it tells whole seconds: `1587544006`."""
    return read_seconds(_decode_time(data))


def read_account(data: msgspec.Raw) -> DerivAccount:
    """Return whose token it is."""
    return _decode_account(data)


def read_balance(data: msgspec.Raw, *, groups: Mapping[str, str]) -> Balance:
    """Return an account's balance; `groups` says of which accounts we know what they are.

    Raises `RemoteProtocolError` for an amount that is none.
    """
    told = _decode_balance(data)
    if not told.balance.is_finite():
        raise RemoteProtocolError(f"balance {told.balance} of {told.loginid} is not an amount")
    # Accounts whose login begins with VRT are demo accounts; the legacy docs, 2026-06.
    group = groups.get(told.loginid, "demo" if told.loginid.startswith("VRT") else "real")
    return Balance(told.loginid, group, told.currency.upper(), told.balance)


def read_seconds(told: int | str) -> int:
    """Return a time in microseconds; raise `ValueError` for one that is out of this world."""
    ts_us = int(told) * SECOND_US
    if not 0 <= ts_us <= MAX_INTEGER:
        raise ValueError(f"{told!r} is not a time")
    return ts_us


def read_number(told: Number) -> float:
    """Return a price; raise `ValueError` for one that is not finite and above 0."""
    price = float(told)
    if not 0.0 < price < math.inf:
        raise ValueError(f"{told!r} is not a positive number")
    return price


def request(**fields: Any) -> str:
    """Return a request's frame; its first field names the call."""
    return msgspec.json.encode(fields).decode()


# --- fields that are known --------------------------------------------------------------------

_ENVELOPE = frozenset({"msg_type", "req_id", "echo_req", "passthrough", "subscription", "error", "pip_size"})
_LISTED = """
    symbol display_name symbol_type pip spot spot_age spot_time spot_percentage_change market
    market_display_name submarket submarket_display_name subgroup subgroup_display_name display_order
    exchange_is_open exchange_name is_trading_suspended allow_forward_starting close_only delay_amount
    intraday_interval_minutes quoted_currency_symbol underlying_symbol underlying_symbol_name
    underlying_symbol_type pip_size
"""


def _known(payload: str, fields: str) -> frozenset[str]:
    return _ENVELOPE | {payload} | {f"{payload}.{name}" for name in fields.split()}


# By `msg_type`, in both dialects. Of `authorize` nothing: it tells who somebody is.
KNOWN_FIELDS: Mapping[str, frozenset[str]] = {
    "tick": _known("tick", "ask bid epoch id pip_size quote symbol"),
    "history": _known("history", "prices times"),
    "candles": _known("candles", "close epoch high low open"),
    "active_symbols": _known("active_symbols", _LISTED),
    "contracts_for": _known(
        "contracts_for", "available close feed_license hit_count non_available open spot"
    ),
    "balance": _known("balance", "accounts balance currency id loginid total"),
}


def fields_of(frame: str | bytes, *, kind: str) -> set[str]:
    """Return the names of a frame's fields, and `kind.name` for those of its payload, or the first of it."""
    fields = _decode_fields(frame)
    payload = fields.get(kind, _NOTHING)
    try:
        if bytes(payload).lstrip().startswith(b"["):
            payload = next(iter(_decode_items(payload)), _NOTHING)
        inner = _decode_fields(payload)
    except UNREADABLE:
        inner = {}  # it is for others to complain of
    return {*fields, *(f"{kind}.{name}" for name in inner)}
