"""What the log says of trading: each trade's opening and end, each pause, and what limits refuse."""

import logging

import attrs
import trio

from domain.events import Event, emit
from domain.trades import OrderRefused, Outcome, Position, TradeOpened, TradeSettled, TradeUnknown
from strategies.days import clock_text
from strategies.desk import Wish
from strategies.risk import Refused
from strategies.trading import Trading

FOLD_S = 600.0  # that a limit refuses a strategy's signals on a market is said at most this often

Refusal = tuple[str, str, str]  # market, strategy, reason


@attrs.define
class _Said:
    """When it was said last, monotonic, and how often it was not said since."""

    at: float
    more: int = 0


class TradeTalk:
    """Says what becomes of signals and trades, once each; knows which refusals it has said.

    These are as many as there are strategies on markets, times reasons.
    """

    def __init__(self, trading: Trading) -> None:
        self._trading = trading
        self._said: dict[Refusal, _Said] = {}

    def refused(self, wish: Wish, refused: Refused) -> None:
        """Say that a limit refused a signal; the same again is counted, and said every ten minutes."""
        now, key = trio.current_time(), (wish.market, wish.strategy, refused.reason.value)
        said = self._said.get(key)
        if said is not None and now < said.at + FOLD_S:
            said.more += 1
            return
        more = 0 if said is None else said.more
        self._said[key] = _Said(now)
        # Without `reason` as a field: the log would fold those of two strategies into one.
        emit(
            Event.SIGNAL,
            f"{wish.strategy} {wish.direction} on {wish.market} is refused: {refused}"
            + (f" ({more} more since it was last said)" if more else ""),
            actor=f"market/{wish.market}",
            strategy=wish.strategy,
            limit=refused.reason.value,
            more=more,
        )

    def happened(self, outcome: Outcome) -> None:
        """Say what became of a trade, after `Trading` has taken note of it."""
        position = self._trading.positions.find(outcome.trade_id)
        if position is None:
            return
        match outcome:
            case TradeOpened():
                self._say(position, f"open at {outcome.open_price!r}, pays {_percent(position)}")
            case TradeSettled():
                self._say_settled(position, outcome)
            case OrderRefused(cause=cause, detail=detail):
                self._say(position, f"not opened, {cause}: {detail}", level=logging.WARNING, cause=cause)
            case TradeUnknown(cause=cause, detail=detail):
                self._say(
                    position, f"nobody knows its result, {cause}: {detail}", level=logging.ERROR, cause=cause
                )

    def _say_settled(self, position: Position, outcome: TradeSettled) -> None:
        trade, balance = position.trade, self._trading.balance
        self._say(
            position,
            f"{trade.state}, {trade.profit:+} {trade.currency}, balance {balance}: {outcome.detail}",
            profit=str(trade.profit),
            balance=str(balance),
        )
        until_us = self._trading.pause_begun(position)
        if until_us is not None:
            limits = self._trading.limits
            emit(
                Event.TRADER,
                f"{limits.max_losses_in_a_row} losses in a row: no new trades until "
                f"{clock_text(until_us, zone=limits.zone)} ({limits.zone})",
                level=logging.WARNING,
                actor="trader",
                limit="losses_in_a_row",
                trade=trade.id,
            )

    @staticmethod
    def _say(position: Position, what: str, *, level: int = logging.INFO, **more: str) -> None:
        trade = position.trade
        emit(
            Event.TRADE,
            f"trade {trade.id}, {position.strategy} {trade.direction} with {trade.stake} {trade.currency} "
            f"on {trade.market}: {what}",
            level=level,
            actor=f"market/{trade.market}",
            trade=trade.id,
            strategy=position.strategy,
            result=trade.state,
            stake=str(trade.stake),
            **more,
        )


def _percent(position: Position) -> str:
    return f"{position.trade.payout_percent:g} %"
