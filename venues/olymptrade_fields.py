"""Which fields of Olymp Trade's messages are known: a new one is worth a word. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from venues.events import NewFields
from venues.new_fields import FieldWatch
from venues.olymptrade_frames import (
    BALANCES,
    CANDLES,
    CANDLES_GUESSED,
    INSTRUMENTS,
    PAYOUTS,
    PAYOUTS_CHANGED,
    PING,
    STAKE_LIMITS,
    SUBSCRIBE,
    SUBSCRIBE_COMPANION,
    TICK,
    UNSUBSCRIBE,
    UNSUBSCRIBE_COMPANION,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENVELOPE = frozenset({"t", "e", "uuid", "d", "ts", "err"})
NOTHING = frozenset[str]()
CANDLE_ANSWER = frozenset({"p", "candles"})
PAYOUT = frozenset({"pair", "profitability"})
# Of an item, or of a currency's value. Those of 1, 10, 182 and 183 are from clients' accounts.
KNOWN_FIELDS = {
    TICK: frozenset({"p", "t", "q"}),
    CANDLES: CANDLE_ANSWER,
    CANDLES_GUESSED: CANDLE_ANSWER,
    SUBSCRIBE: NOTHING,
    UNSUBSCRIBE: NOTHING,
    SUBSCRIBE_COMPANION: NOTHING,
    UNSUBSCRIBE_COMPANION: NOTHING,
    PING: NOTHING,
    PAYOUTS: PAYOUT,
    PAYOUTS_CHANGED: PAYOUT,
    STAKE_LIMITS: frozenset({"min", "max", "default"}),
    BALANCES: _words("account_id amount amount_bonus amount_bonus_free amount_free amount_real group holds"),
    INSTRUMENTS: _words(
        "aliases allowed_multiplicators default_multiplicator group group_view icon icon_vector id "
        "is_endless locked locked_buy locked_reason locked_sell locked_trading "
        "locked_trading_reason margin_call2_rate max_multiplicator min_commission "
        "min_multiplicator multiplicator_suggestions open_commission_max precision rank "
        "stop_loss_rate stop_out_rate swap_commission_buy swap_commission_max "
        "swap_commission_sell take_profit_rate time_close time_close_trading time_open "
        "time_open_trading title volatility"
    ),
}


KINDS = {code: str(code) for code in KNOWN_FIELDS}


def make_watch() -> FieldWatch:
    """Return a session's watch over the kinds that we read."""
    return FieldWatch({KINDS[code]: fields | ENVELOPE for code, fields in KNOWN_FIELDS.items()})


def new_fields(frame: str | bytes, kinds: Iterable[str], watch: FieldWatch) -> list[NewFields]:
    """Return what a decodable frame's messages of these kinds have that we do not know."""
    found: dict[str, set[str]] = {kind: set() for kind in kinds}
    for message in msgspec.json.decode(frame):
        fields = found.get(str(message.get("e"))) if isinstance(message, dict) else None
        if fields is not None:
            fields |= message.keys() | _keys(message.get("d"))
    return [each for kind, fields in found.items() for each in watch.compare(kind, fields)]


def _keys(d: Any) -> set[str]:
    items = d.values() if isinstance(d, dict) else d if isinstance(d, list) else ()
    return {key for item in items if isinstance(item, dict) for key in item}
