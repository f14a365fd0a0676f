"""Trades as tests make them: in the state and at the times they name, else plausible."""

from decimal import Decimal
from typing import Any

from domain.trades import SETTLED, Mode, Position, Trade, TradeState, profit_of, stable_id

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


def trade_of(
    state: TradeState, *, intended_us: int, stake: str = "10", market: str = "A@one", **changes: Any
) -> Trade:
    """Return a trade of 60 s at 80 %, settled 61 s after it was intended where it is settled."""
    is_settled = state in SETTLED
    trade = Trade(
        id=stable_id("trade", market, intended_us, changes.pop("number", 0)),
        signal_id=intended_us,
        market=market,
        mode=Mode.PAPER,
        venue_trade_id=None,
        direction="up",
        stake=Decimal(stake),
        currency="USD",
        payout_percent=80.0,
        state=state,
        intended_us=intended_us,
        settled_us=intended_us + 61 * SECOND_US if is_settled else None,
        profit=profit_of(state, stake=Decimal(stake), payout_percent=80.0) if is_settled else None,
    )
    return trade._replace(**changes)


def position_of(state: TradeState, *, intended_us: int, strategy: str = "mine", **changes: Any) -> Position:
    """Return such a trade with what its signal says."""
    trade = trade_of(state, intended_us=intended_us, **changes)
    return Position(trade=trade, strategy=strategy, expiry_s=60, ts_us=intended_us)
