"""Olymp Trade's messages: what is in them, and what they say in our words. Pure.

The protocol is not published. Where a real frame was recorded it is shown and "recorded 2025-07-04";
the rest is from independent clients' accounts, and marked so.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from domain.errors import RemoteProtocolError
from domain.instruments import StakeLimit
from domain.market import MAX_INTEGER
from venues.events import Balance, Balances, Payouts, ServerTime, StakeLimits
from venues.offers import VenueCandle
from venues.olymptrade_envelope import decode_each, decode_items

SECOND_US = 1_000_000
MOST_MONEY = Decimal(10) ** 12  # what a DECIMAL(20,8) holds
LATEST_S = 1e11  # the year 5138; as milliseconds 1973. So a time in those is no time

# Event codes.
TICK = 1
CANDLES = 10
SUBSCRIBE = 12
UNSUBSCRIBE = 13
DEAL_CODES = frozenset({21, 22, 23, 26, 31})
BALANCES = 55
STAKE_LIMITS = 75
PING = 90
EVENTS = 98  # which codes the client wants to be told of
PAYOUTS = 182
PAYOUTS_CHANGED = 183
SUBSCRIBE_COMPANION = 280
UNSUBSCRIBE_COMPANION = 281
LINE_CODES = (SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE_COMPANION, UNSUBSCRIBE_COMPANION)
CANDLES_GUESSED = 1003  # one client takes it for the answer to 10
INSTRUMENTS = 1054
# One client's start-up of 2026: payouts (`profitability`) and sentiment come of these.
PAYOUT_CODES = (74, 301, 73, 4074, 4301, 4076)

# Seen or told of, and nothing to us: user (110), counters (111, 112, 602), indices and stocks of
# other products (1301, 2223, 2301), sentiment (1097), candle updates (2, 11, 282, 283), asset
# selection (80, 95), the lists of before 2023 (70, 71, 72), account information (1043, 1068).
# 1055 are the limits of another product: its family of codes is that of multipliers, as 75's is
# that of fixed-time deals.
IGNORED_CODES = DEAL_CODES | {
    EVENTS,
    *(2, 11, 70, 71, 72, 80, 95, 110, 111, 112, 282, 283, 602),
    *(1043, 1055, 1068, 1097, 1301, 2223, 2301),
}


class OlympTick(msgspec.Struct, gc=False):
    """One price. Not recorded: from four independent clients' accounts (2019-2026).

    `[{"e":1,"t":1,"d":[{"p":"EURUSD","t":1751668293.5,"q":1.17781}]}]`; `t` may be an integer.
    """

    p: str
    t: float
    q: float


class OlympBalance(msgspec.Struct, gc=False):
    """One wallet; it does not say its currency.

    `{"amount":10000,"amount_bonus":0,"amount_bonus_free":0,"amount_free":10000,"amount_real":10000,
    "account_id":1000000002,"group":"demo","holds":{"payout":0}}` (recorded 2025-07-04, id replaced)
    """

    account_id: int
    group: str
    amount: Decimal


class OlympStakeLimit(msgspec.Struct, gc=False):
    """What one deal may cost in one currency.

    `{"usd":{"min":1,"max":3000,"default":1},"omr":{"min":0.5,"max":1200,"default":0.5}}`
    (recorded 2025-07-04)
    """

    min: Decimal
    max: Decimal


class OlympPayout(msgspec.Struct, gc=False):
    """What a won deal pays, in percent. Not recorded: from three independent clients' accounts.

    `{"pair":"EURUSD","profitability":82}`
    """

    pair: str
    profitability: float


class OlympCandle(msgspec.Struct, gc=False):
    """One candle of an answer to 10. Not recorded: from two independent clients' accounts (2026).

    `{"t":1719828525,"open":1.0731,"high":1.0733,"low":1.073,"close":1.0732,"volume":12}`
    """

    t: float
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None


class OlympCandles(msgspec.Struct, gc=False):
    """The answer to 10: `[{"p":"EURUSD","candles":[{"t":1719828525,…},…]}]`. Not recorded, as above."""

    p: str
    candles: list[OlympCandle]


# Made once: a session for each market would otherwise bring its own.
decode_ticks = msgspec.json.Decoder(list[OlympTick]).decode
_decode_tick = msgspec.json.Decoder(OlympTick).decode
_decode_balances = msgspec.json.Decoder(list[OlympBalance]).decode
_decode_stake_limits = msgspec.json.Decoder(dict[str, OlympStakeLimit]).decode
_decode_payouts = msgspec.json.Decoder(list[OlympPayout]).decode
_decode_payout = msgspec.json.Decoder(OlympPayout).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_candles = msgspec.json.Decoder(list[OlympCandles]).decode
_decode_seconds = msgspec.json.Decoder(float).decode


def read_ticks(d: msgspec.Raw) -> Sequence[OlympTick | None]:
    """Return the prices of a message, None in the place of one that cannot be read."""
    return decode_each(d, decode_all=decode_ticks, decode_one=_decode_tick)


def to_us(seconds: float) -> int:
    """Return a venue's time as microseconds; raise `RemoteProtocolError` for one that none can be."""
    if not 0.0 <= seconds <= MAX_INTEGER / SECOND_US:
        raise RemoteProtocolError(f"{seconds!r} is not a time")
    return round(seconds * SECOND_US)


def read_balances(d: msgspec.Raw) -> Balances:
    """Return every wallet; strict, because it is money."""
    return Balances(
        tuple(
            Balance(str(each.account_id), each.group, "", _money(each.amount)) for each in _decode_balances(d)
        )
    )


def read_stake_limits(d: msgspec.Raw) -> StakeLimits:
    """Return the limits of a stake; strict, because it is money."""
    limits = _decode_stake_limits(d)
    return StakeLimits({name.upper(): _stake_limit(each) for name, each in limits.items()})


def read_payouts(d: msgspec.Raw) -> Payouts:
    """Return the payouts of 182 and 183; strict, because it is money."""
    return _payouts(_decode_payouts(d))


def read_some_payouts(d: msgspec.Raw) -> Payouts | None:
    """Return the payouts among the items of one of `PAYOUT_CODES`, None where there are none.

    Not recorded, from one client's account (2026): other items of the same codes have other shapes.
    """
    try:
        items = [raw for raw in decode_items(d) if "profitability" in _decode_keys(raw)]
    except msgspec.DecodeError:
        return None
    return _payouts(map(_decode_payout, items)) if items else None


def read_candles(d: msgspec.Raw, *, symbol: str) -> list[VenueCandle]:
    """Return the candles of that market in an answer, in its order."""
    return [_candle(each) for part in _decode_candles(d) if part.p == symbol for each in part.candles]


def read_server_time(ts: msgspec.Raw, *, answers_ping: bool) -> ServerTime:
    """Return the clock of an answer to a ping, whole seconds.

    `[{"e":90,"t":3,"uuid":"QLQS-bu","ts":1751668293}]` (recorded 2025-07-04)
    """
    return ServerTime(to_us(_decode_seconds(ts)), SECOND_US, answers_ping)


def _payouts(items: Iterable[OlympPayout]) -> Payouts:
    percents: dict[str, float] = {}
    for each in items:
        if not 0.0 <= each.profitability <= 10_000.0:
            raise RemoteProtocolError(f"{each.pair}: a payout of {each.profitability!r} %")
        percents[each.pair] = each.profitability
    return Payouts(percents)


def _stake_limit(told: OlympStakeLimit) -> StakeLimit:
    least, most = _money(told.min), _money(told.max)
    if not 0 <= least <= most:
        raise RemoteProtocolError(f"stakes from {least} to {most}")
    return StakeLimit(least, most)


def _money(amount: Decimal) -> Decimal:
    if not amount.is_finite() or abs(amount) >= MOST_MONEY:
        raise RemoteProtocolError("an amount that no account holds")
    return amount


def _candle(candle: OlympCandle) -> VenueCandle:
    prices, volume = (candle.open, candle.high, candle.low, candle.close), candle.volume or 0.0
    if not all(0.0 < price < math.inf for price in prices) or not 0.0 <= volume < math.inf:
        raise RemoteProtocolError(f"a candle of impossible numbers: {prices!r}")
    opened_us = to_us(candle.t)
    return VenueCandle(opened_us, candle.open, candle.high, candle.low, candle.close, volume)
