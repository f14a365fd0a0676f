"""Limits a second before and after a day boundary, with and without a restart in between."""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from dealing import RULES

from domain.trades import (
    Direction,
    LedgerRow,
    Mode,
    OrderSent,
    Position,
    Signal,
    Trade,
    TradeSettled,
    TradeState,
    TradeUnknown,
)
from strategies.desk import Wish
from strategies.limits import InForce, Limits, in_force
from strategies.risk import Conditions, Reason
from strategies.stake import Martingale, Plan
from strategies.trading import Account, Trading

SECOND_US = 1_000_000
ZONE = "America/New_York"
MIDNIGHT = int(datetime(2026, 8, 12, tzinfo=ZoneInfo(ZONE)).timestamp()) * SECOND_US
EVENING = MIDNIGHT - 3_600 * SECOND_US
PLANS = {
    "flat": Plan(fixed=Decimal(10)),
    "ladder": Plan(fixed=Decimal(10), martingale=Martingale(max_steps=3)),
}
GOOD = Conditions(rules=RULES, payout_percent=80.0, price_age_ms=40, stale_after_ms=60_000)


class Runs:
    """One run after the other, with what each leaves on disk: the ledger's rows and the limits of the day."""

    def __init__(self, **limits: Any) -> None:
        self.wanted = attrs.evolve(Limits(zone=ZONE, max_open_per_market=9), **limits)
        self.rows: list[LedgerRow] = []
        self.kept: str | None = None
        self.begin()

    def begin(self) -> None:
        account = Account(mode=Mode.PAPER, currency="USD", plans=PLANS)
        trades = {row.id: row for row in self.rows if isinstance(row, Trade)}
        signals = {row.id: row for row in self.rows if isinstance(row, Signal)}
        balance = Decimal(10_000) + sum((trade.profit or Decimal(0) for trade in trades.values()), Decimal(0))
        self.trading = Trading(account=account, limits=self.wanted, balance=balance)
        self.trading.remember(
            Position(
                trade=trade,
                strategy=signals[trade.signal_id].strategy,
                expiry_s=60,
                ts_us=signals[trade.signal_id].ts_us,
            )
            for trade in trades.values()
        )

    def limits_at(self, now_us: int) -> Limits:
        before = None
        if self.kept is not None:
            kept = json.loads(self.kept)
            before = InForce(day=date.fromisoformat(kept["day"]), limits=Limits.from_table(kept["limits"]))
        held = in_force(settings=self.wanted, before=before, now_us=now_us)
        self.kept = json.dumps({"day": held.day.isoformat(), "limits": held.limits.as_table()})
        return held.limits

    def ask(self, now_us: int, *, strategy: str = "flat") -> Reason | None:
        """Return why a wish of that moment is refused, None where it is not."""
        self.trading.limits = self.limits_at(now_us)
        wish = Wish(
            strategy=strategy, market="A@one", ts_us=now_us - 40_000, seq=0, direction=Direction.UP,
            expiry_s=60, price=1.25, price_age_ms=40, inputs="{}", now_us=now_us,
        )  # fmt: skip
        decided = self.trading.decide(wish, GOOD)
        self.rows += decided.rows
        return decided.refused and decided.refused.reason

    def trade(self, now_us: int, state: TradeState, *, strategy: str = "flat") -> None:
        """Make a trade that ends at once like this."""
        assert self.ask(now_us, strategy=strategy) is None
        *_, trade = (row for row in self.rows if isinstance(row, Trade))
        self.rows += self.trading.take(OrderSent(trade_id=trade.id, at_us=now_us))
        about: dict[str, Any] = {"trade_id": trade.id, "at_us": now_us}
        if state is TradeState.UNKNOWN:
            self.rows += self.trading.take(TradeUnknown(**about, cause="no_answer"))
        else:
            ended = TradeSettled(**about, state=state, close_price=1.2, close_source="ticks")
            self.rows += self.trading.take(ended)


def go_on(_: Runs) -> None:
    """No restart."""


Restart = Callable[[Runs], None]
both_ways = pytest.mark.parametrize("between", [go_on, Runs.begin])


@both_ways
@pytest.mark.parametrize("state", [TradeState.WON, TradeState.LOST, TradeState.TIED, TradeState.UNKNOWN])
def test_trades_a_day(between: Restart, state: TradeState) -> None:
    runs = Runs(max_trades_per_day=2)
    runs.trade(EVENING, state)
    runs.trade(EVENING + SECOND_US, state)
    between(runs)
    assert runs.ask(MIDNIGHT - SECOND_US) is Reason.TRADES_PER_DAY
    between(runs)
    assert runs.ask(MIDNIGHT) is None


@both_ways
def test_daily_loss(between: Restart) -> None:
    runs = Runs(max_daily_loss=Decimal(25))
    runs.trade(EVENING, TradeState.LOST)
    runs.trade(EVENING + SECOND_US, TradeState.LOST)
    between(runs)
    assert runs.ask(MIDNIGHT - SECOND_US) is Reason.DAILY_LOSS
    between(runs)
    assert runs.ask(MIDNIGHT) is None


@both_ways
def test_an_unknown_trade_may_be_lost_on_any_day(between: Restart) -> None:
    runs = Runs(max_daily_loss=Decimal(25), max_losses_in_a_row=9)
    runs.trade(EVENING, TradeState.UNKNOWN)
    runs.trade(EVENING + SECOND_US, TradeState.UNKNOWN)
    between(runs)
    assert runs.ask(MIDNIGHT + 3 * 24 * 3_600 * SECOND_US) is Reason.DAILY_LOSS


@both_ways
def test_a_pause_of_losses_in_a_row(between: Restart) -> None:
    runs = Runs(max_losses_in_a_row=2, pause_min=10.0)
    runs.trade(MIDNIGHT - 2 * SECOND_US, TradeState.LOST)
    runs.trade(MIDNIGHT - SECOND_US, TradeState.LOST)
    between(runs)
    assert runs.ask(MIDNIGHT + 598 * SECOND_US) is Reason.LOSSES_IN_A_ROW
    between(runs)
    assert runs.ask(MIDNIGHT + 599 * SECOND_US) is None


@both_ways
def test_cooldown(between: Restart) -> None:
    runs = Runs(cooldown_s=60.0)
    runs.trade(MIDNIGHT - SECOND_US, TradeState.TIED)
    between(runs)
    assert runs.ask(MIDNIGHT + 58 * SECOND_US) is Reason.COOLDOWN
    between(runs)
    assert runs.ask(MIDNIGHT + 59 * SECOND_US) is None


@both_ways
def test_what_is_open(between: Restart) -> None:
    runs = Runs(max_open_trades=1)
    assert runs.ask(EVENING) is None
    between(runs)
    assert runs.ask(MIDNIGHT - SECOND_US) is Reason.OPEN_TRADES
    between(runs)
    assert runs.ask(MIDNIGHT) is Reason.OPEN_TRADES


@both_ways
def test_a_ladder_goes_on(between: Restart) -> None:
    runs = Runs(max_daily_loss=Decimal(75), max_losses_in_a_row=9)
    runs.trade(MIDNIGHT - 2 * SECOND_US, TradeState.LOST, strategy="ladder")
    between(runs)
    # 10 are lost today and the ladder may need 60 more; tomorrow nothing is lost, and it still may.
    assert runs.ask(MIDNIGHT - SECOND_US) is Reason.DAILY_LOSS
    between(runs)
    assert runs.ask(MIDNIGHT) is None
    assert runs.ask(MIDNIGHT + SECOND_US) is Reason.DAILY_LOSS
    runs.trade(MIDNIGHT + 2 * SECOND_US, TradeState.TIED, strategy="ladder")
    *_, trade = (row for row in runs.rows if isinstance(row, Trade))
    assert trade.stake == Decimal(20)


@both_ways
@pytest.mark.parametrize(("name", "low", "high"), [("max_stake", 5, 50), ("max_daily_loss", 5, 50)])
def test_a_raised_limit_waits_for_midnight_and_a_lowered_one_does_not(
    between: Restart, name: str, low: int, high: int
) -> None:
    runs = Runs(**{name: Decimal(high)})
    assert runs.ask(EVENING) is None
    runs.wanted = attrs.evolve(runs.wanted, **{name: Decimal(low)})
    between(runs)
    refused = runs.ask(EVENING + SECOND_US)
    assert refused in (Reason.STAKE_LIMIT, Reason.DAILY_LOSS)
    runs.wanted = attrs.evolve(runs.wanted, **{name: Decimal(high)})
    between(runs)
    assert runs.ask(MIDNIGHT - SECOND_US) is refused
    between(runs)
    assert runs.ask(MIDNIGHT) is None
