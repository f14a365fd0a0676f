"""What a broker's word changes in a trade. Pure."""

from collections.abc import Mapping
from typing import Any

import attrs

from domain.trades import (
    OrderRefused,
    OrderSent,
    Outcome,
    Trade,
    TradeOpened,
    TradeSettled,
    TradeState,
    TradeUnknown,
    profit_of,
)


@attrs.frozen(kw_only=True)
class Step:
    """What an outcome changes in a trade, and what its event says."""

    state: TradeState
    cause: str
    detail: str = ""
    changes: Mapping[str, Any] = attrs.field(factory=dict)


def step_of(outcome: Outcome, trade: Trade) -> Step:
    """Return what an outcome makes of a trade."""
    match outcome:
        case OrderSent(at_us=at_us):
            return Step(state=TradeState.SENT, cause="broker", changes={"sent_us": at_us})
        case OrderRefused(cause=cause, detail=detail):
            return Step(state=TradeState.REFUSED, cause=cause, detail=detail)
        case TradeOpened():
            return Step(
                state=TradeState.OPEN,
                cause="opened",
                detail=f"at {outcome.open_price!r}",
                changes={
                    "opened_us": outcome.opened_us,
                    "open_price": outcome.open_price,
                    "expires_us": outcome.expires_us,
                    "venue_trade_id": outcome.venue_trade_id or trade.venue_trade_id,
                },
            )
        case TradeSettled(state=state):
            profit = profit_of(state, stake=trade.stake, payout_percent=trade.payout_percent)
            return Step(
                state=state,
                cause="settled",
                detail=outcome.detail,
                changes={
                    "settled_us": outcome.at_us,
                    "close_price": outcome.close_price,
                    "close_source": outcome.close_source,
                    "profit": profit,
                },
            )
        case TradeUnknown(cause=cause, detail=detail):
            return Step(state=TradeState.UNKNOWN, cause=cause, detail=detail)
