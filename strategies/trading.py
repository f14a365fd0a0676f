"""What becomes of wishes and of trades: positions, limits, ladders and the ledger's rows. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs

from domain.errors import InvariantError
from domain.trades import (
    LedgerRow,
    Mode,
    Order,
    Outcome,
    Position,
    Signal,
    Trade,
    TradeEvent,
    TradeState,
    check_follows,
    stable_id,
)
from strategies import risk
from strategies.desk import Wish
from strategies.figures import used_limits
from strategies.limits import Limits
from strategies.positions import NO_SIGNAL, Positions
from strategies.risk import Approved, Conditions, Reason, Refused, Request
from strategies.stake import Plan, Stake, next_stake, still_committed
from strategies.standing import Purse, Standing, end_us, is_lost
from strategies.steps import step_of

# An intent has a second until it is on disk; a second more is for who waits before it.
SEND_WITHIN_US = 2_000_000

NOTHING: Mapping[int, int] = {}
MOST_SIGNALS = 4_096  # known by their ids: a market's actor that starts over tells its latest again

# How many events a trade has that came so far by the usual way.
USUAL_STEPS = {TradeState.INTENDED: 1, TradeState.SENT: 2, TradeState.OPEN: 3, TradeState.UNKNOWN: 4}


@attrs.frozen(kw_only=True)
class Decided:
    """What became of a wish: rows for the ledger, and an order or why there is none.

    Without rows the signal was known already. The order may go out once the rows are on disk.
    """

    rows: tuple[LedgerRow, ...] = ()
    order: Order | None = None
    refused: Refused | None = None


@attrs.frozen(kw_only=True)
class Account:
    """Whose trades these are, and what is staked by each strategy (by the name of its section)."""

    mode: Mode
    currency: str
    plans: Mapping[str, Plan]


class Trading:
    """Owns all positions of one mode; decides on wishes, and follows trades to their end.

    What it returns is to be kept, in its order. Nothing here reads a clock: `now_us` is our clock's at
    the tick that was decided on.
    """

    def __init__(self, *, account: Account, limits: Limits, balance: Decimal) -> None:
        self.account = account
        self.limits = limits
        self.balance = balance  # stakes under way included
        self.positions = Positions()
        self._steps: dict[int, int] = {}  # of trades under way: how many events they have
        self._signals: dict[int, None] = {}

    def remember(self, positions: Iterable[Position], *, steps: Mapping[int, int] = NOTHING) -> None:
        """Take note of trades from before: those under way, of today and yesterday, since the last win.

        Their profits are in the balance already. `steps` is how many events those under way have, where
        that is not what their states say.
        """
        for position in positions:
            self.positions.put(position)
            self._know(position.trade.signal_id)
            trade_id = position.trade.id
            if self.positions.is_under_way(trade_id):
                self._steps[trade_id] = steps.get(trade_id, USUAL_STEPS.get(position.state, 0))

    # --- wishes ---------------------------------------------------------------------------------

    def decide(self, wish: Wish, conditions: Conditions) -> Decided:
        """Return what becomes of a wish. A signal that is known already is ignored."""
        signal_id = self._take_note(wish)
        if signal_id is None:
            return Decided()
        self.positions.forget_old(now_us=wish.now_us, zone=self.limits.zone)
        if wish.strategy not in self.account.plans:
            return _refuse(wish, signal_id, _not_any_longer(wish.strategy))
        stake = self._next_stake(wish.strategy, wish.market)
        request = Request(strategy=wish.strategy, ts_us=wish.ts_us, expiry_s=wish.expiry_s, stake=stake)
        standing = self._standing(wish.market, now_us=wish.now_us, signal=(wish.strategy, wish.ts_us))
        verdict = risk.decide(self.limits, standing, request, conditions)
        if isinstance(verdict, Refused):
            return _refuse(wish, signal_id, verdict)
        return self._intend(wish, signal_id, verdict)

    def refuse(self, wish: Wish, refused: Refused) -> Decided:
        """Refuse a wish that nobody can look at, for a reason from outside."""
        signal_id = self._take_note(wish)
        return Decided() if signal_id is None else _refuse(wish, signal_id, refused)

    def _intend(self, wish: Wish, signal_id: int, approved: Approved) -> Decided:
        trade = Trade(
            id=stable_id("trade", self.account.mode, wish.strategy, wish.market, wish.ts_us, wish.seq),
            signal_id=signal_id,
            market=wish.market,
            mode=self.account.mode,
            venue_trade_id=None,
            direction=wish.direction,
            stake=approved.stake,
            currency=self.account.currency,
            payout_percent=approved.payout_percent,
            state=TradeState.INTENDED,
            intended_us=wish.now_us,
        )
        position = Position(trade=trade, strategy=wish.strategy, expiry_s=wish.expiry_s, ts_us=wish.ts_us)
        self.positions.put(position)
        self._steps[trade.id] = 0
        event = self._event(trade, at_us=wish.now_us, cause="signal", detail=f"decided at {wish.price!r}")
        return Decided(
            rows=(_signal_row(wish, signal_id, approved), trade, event),
            order=Order(position=position, send_by_us=wish.now_us + SEND_WITHIN_US),
        )

    def _take_note(self, wish: Wish) -> int | None:
        """Return a signal's id, None where it is known already."""
        signal_id = stable_id("signal", wish.strategy, wish.market, wish.ts_us, wish.seq)
        if signal_id in self._signals:
            return None
        self._know(signal_id)
        return signal_id

    def _know(self, signal_id: int) -> None:
        self._signals[signal_id] = None
        if len(self._signals) > MOST_SIGNALS:
            del self._signals[next(iter(self._signals))]

    # --- outcomes -------------------------------------------------------------------------------

    def take(self, outcome: Outcome) -> tuple[LedgerRow, ...]:
        """Return the rows of a trade's next step; raise `InvariantError` for one that cannot follow."""
        position = self.positions.find(outcome.trade_id)
        if position is None:
            raise InvariantError(f"trade {outcome.trade_id} is not known, and yet {outcome}")
        step = step_of(outcome, position.trade)
        check_follows(position.state, step.state)
        trade = position.trade._replace(state=step.state, **step.changes)
        self.positions.put(attrs.evolve(position, trade=trade))
        self.balance += trade.profit or Decimal(0)
        event = self._event(trade, at_us=outcome.at_us, cause=step.cause, detail=step.detail)
        return trade, event

    def _event(self, trade: Trade, *, at_us: int, cause: str, detail: str) -> TradeEvent:
        number = self._steps.pop(trade.id)
        if self.positions.is_under_way(trade.id):
            self._steps[trade.id] = number + 1
        return TradeEvent(
            id=stable_id(trade.id, number),
            trade_id=trade.id,
            ts_us=at_us,
            state=trade.state,
            cause=cause,
            detail=detail,
        )

    # --- how it stands --------------------------------------------------------------------------

    def blocks(self, market: str, *, now_us: int, conditions: Conditions) -> list[Refused]:
        """Return everything that blocks entries on a market now, whichever strategy asks."""
        return list(risk.blocks(self.limits, self._standing(market, now_us=now_us), conditions))

    def pause_begun(self, position: Position) -> int | None:
        """Return until when no trade is opened because of this trade's end, None where it pauses nothing."""
        if is_lost(position) is not True:
            return None
        ended_us = end_us(position)
        standing = self._standing("", now_us=ended_us)
        run, most = standing.losing_run, self.limits.max_losses_in_a_row
        is_last = bool(run) and run[-1] == ended_us and len(run) % most == 0
        return risk.paused_until_us(self.limits, standing) if is_last else None

    def objection(
        self, strategy: str, market: str, *, expiry_s: int, now_us: int, conditions: Conditions
    ) -> Refused | None:
        """Return what would be said if a strategy wished for a trade now, None where it would be made."""
        if strategy not in self.account.plans:
            return _not_any_longer(strategy)
        stake = self._next_stake(strategy, market)
        request = Request(strategy=strategy, ts_us=now_us, expiry_s=expiry_s, stake=stake)
        standing = self._standing(market, now_us=now_us, signal=(strategy, now_us))
        verdict = risk.decide(self.limits, standing, request, conditions)
        return verdict if isinstance(verdict, Refused) else None

    def figures(self, now_us: int) -> dict[str, Any]:
        """Return what status shows of it, as JSON takes it: money as text, times in microseconds."""
        standing = self._standing("", now_us=now_us)
        return {
            "mode": self.account.mode,
            "currency": self.account.currency,
            "balance": str(self.balance),
            "open": standing.open_trades,
            "unknown": sum(each.state is TradeState.UNKNOWN for each in self.positions.under_way),
            "trades_today": standing.trades_today,
            "realised_today": str(standing.realised_today),
            "paused_until_us": risk.paused_until_us(self.limits, standing),
            "limits": used_limits(self.limits, standing, self.positions.under_way),
            "ladders": [self._ladder_figures(*key) for key, _ in self._ladders()],
        }

    def _ladder_figures(self, strategy: str, market: str) -> dict[str, Any]:
        stake = self._next_stake(strategy, market)
        return {
            "strategy": strategy,
            "market": market,
            "step": stake.step,
            "next_stake": str(stake.amount),
            "may_lose": str(stake.amount + stake.ladder_left),
            "waits_for": None if stake.waits_for is None else stake.waits_for.trade.id,
        }

    def _next_stake(self, strategy: str, market: str) -> Stake:
        trades = self.positions.of(strategy, market)
        return next_stake(self.account.plans[strategy], balance=self.balance, trades=trades)

    def _standing(self, market: str, *, now_us: int, signal: tuple[str, int] = NO_SIGNAL) -> Standing:
        return self.positions.stand(
            market,
            now_us=now_us,
            zone=self.limits.zone,
            purse=Purse(balance=self.balance, committed=self._committed(beside=(signal[0], market))),
            signal=signal,
        )

    def _committed(self, *, beside: tuple[str, str]) -> Decimal:
        return sum((amount for key, amount in self._ladders() if key != beside), Decimal(0))

    def _ladders(self) -> Iterator[tuple[tuple[str, str], Decimal]]:
        """Yield what each running ladder may still cost, beside the stake that is under way."""
        for strategy, market in self.positions.ladders():
            plan = self.account.plans.get(strategy)
            if plan is not None and plan.martingale is not None:
                trades = self.positions.of(strategy, market)
                yield (strategy, market), still_committed(plan, balance=self.balance, trades=trades)


def _not_any_longer(strategy: str) -> Refused:
    return Refused(reason=Reason.STOPPED, text=f"{strategy} is not in the settings any longer")


def _refuse(wish: Wish, signal_id: int, refused: Refused) -> Decided:
    return Decided(rows=(_signal_row(wish, signal_id, refused),), refused=refused)


def _signal_row(wish: Wish, signal_id: int, verdict: Approved | Refused) -> Signal:
    return Signal(
        id=signal_id,
        market=wish.market,
        strategy=wish.strategy,
        ts_us=wish.ts_us,
        direction=wish.direction,
        expiry_s=wish.expiry_s,
        price=wish.price,
        price_age_ms=wish.price_age_ms,
        inputs=wish.inputs,
        outcome="approved" if isinstance(verdict, Approved) else "refused",
        reason="" if isinstance(verdict, Approved) else str(verdict),
    )
