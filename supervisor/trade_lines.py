"""What the log says of trades: when one has opened, and when it has come to its end."""

import logging
from collections.abc import Iterable
from decimal import Decimal

from domain.events import Event, emit
from domain.trades import FINAL, LedgerRow, Trade, TradeEvent, TradeState
from supervisor.reports.words import gain, money, price

TOLD = FINAL | {TradeState.OPEN, TradeState.UNKNOWN}


def tell(rows: Iterable[LedgerRow]) -> None:
    """Say what became of trades, by the rows that go to the ledger: each trade before its step."""
    trade: Trade | None = None
    for row in rows:
        if isinstance(row, Trade):
            trade = row
        elif isinstance(row, TradeEvent) and trade is not None and row.state in TOLD:
            _tell(trade, step=row)


def _tell(trade: Trade, *, step: TradeEvent) -> None:
    is_unknown = trade.state == TradeState.UNKNOWN
    emit(
        Event.TRADE,
        f"trade {trade.id} on {trade.market}: {_text(trade, step=step)}",
        level=logging.WARNING if is_unknown else logging.INFO,
        actor="trader",
        market=trade.market,
        venue=trade.market.rpartition("@")[2],
        trade_id=trade.id,
        state=trade.state,
        reason=step.cause,
    )


def _text(trade: Trade, *, step: TradeEvent) -> str:
    what = f"{trade.mode}, {money(trade.stake)} {trade.currency} {trade.direction}"
    match trade.state:
        case TradeState.OPEN:
            return f"open ({what}) at {price(trade.open_price)}"
        case TradeState.REFUSED | TradeState.UNKNOWN | TradeState.VOID:
            return f"{trade.state} ({what}): {step.detail or step.cause}"
    return f"{trade.state} ({what}), {gain(trade.profit or Decimal(0))} {trade.currency}"
