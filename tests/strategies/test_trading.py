from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest
from dealing import MARKET, RULES, UNDER_WAY_US, us

from domain.errors import InvariantError
from domain.trades import (
    Direction,
    Mode,
    Order,
    OrderRefused,
    OrderSent,
    Signal,
    Trade,
    TradeEvent,
    TradeOpened,
    TradeSettled,
    TradeState,
    TradeUnknown,
    stable_id,
)
from strategies.desk import Wish
from strategies.limits import Limits
from strategies.risk import Conditions, Reason
from strategies.stake import Martingale, Plan
from strategies.trading import Account, Trading

GOOD = Conditions(rules=RULES, payout_percent=80.0, price_age_ms=40, stale_after_ms=60_000)
FIXED = Plan(fixed=Decimal(10))
LADDER = Plan(fixed=Decimal(10), martingale=Martingale(factor=2.0, max_steps=3))
DAY_S = 86_400


def trading_of(plan: Plan = FIXED, **limits: Any) -> Trading:
    account = Account(mode=Mode.PAPER, currency="USD", plans={"test": plan, "other": FIXED})
    return Trading(account=account, limits=attrs.evolve(Limits(), **limits), balance=Decimal(1_000))


def wish_at(at_s: float, *, strategy: str = "test", market: str = MARKET, seq: int = 0) -> Wish:
    return Wish(
        strategy=strategy,
        market=market,
        ts_us=us(at_s),
        seq=seq,
        direction=Direction.UP,
        expiry_s=60,
        price=1.25,
        price_age_ms=40,
        inputs='{"rsi": 28.4}',
        now_us=us(at_s) + UNDER_WAY_US,
    )


def enter(trading: Trading, at_s: float, **about: Any) -> Order:
    """Have a wish approved."""
    order = trading.decide(wish_at(at_s, **about), GOOD).order
    assert order is not None
    return order


def settle(trading: Trading, order: Order, state: TradeState, *, at_s: float) -> Trade:
    """Bring a trade to its end."""
    trade_id = order.position.trade.id
    trading.take(OrderSent(trade_id=trade_id, at_us=order.send_by_us))
    opened_us = order.position.ts_us + RULES.latency_us
    trading.take(
        TradeOpened(
            trade_id=trade_id,
            at_us=opened_us,
            opened_us=opened_us,
            open_price=1.25,
            expires_us=opened_us + us(60),
        )
    )
    trade, _ = trading.take(
        TradeSettled(trade_id=trade_id, at_us=us(at_s), state=state, close_price=1.3, close_source="ticks")
    )
    assert isinstance(trade, Trade)
    return trade


def refused(trading: Trading, at_s: float, conditions: Conditions = GOOD, **about: Any) -> Reason | None:
    decided = trading.decide(wish_at(at_s, **about), conditions)
    return decided.refused and decided.refused.reason


def test_an_approved_wish_makes_a_signal_a_trade_and_its_first_event() -> None:
    decided = trading_of().decide(wish_at(5, seq=3), GOOD)
    trade_id = stable_id("trade", "paper", "test", MARKET, us(5), 3)
    signal_id = stable_id("signal", "test", MARKET, us(5), 3)
    signal, trade, event = decided.rows
    assert signal == Signal(
        signal_id, MARKET, "test", us(5), "up", 60, 1.25, 40, '{"rsi": 28.4}', "approved", ""
    )
    assert isinstance(trade, Trade)
    assert trade[:11] == (
        *(trade_id, signal_id, MARKET, "paper", None, "up", Decimal(10), "USD", 80.0, "intended"),
        us(5) + UNDER_WAY_US,
    )
    assert isinstance(event, TradeEvent)
    assert event[:4] == (stable_id(trade_id, 0), trade_id, us(5) + UNDER_WAY_US, "intended")
    assert decided.order is not None
    assert decided.order.position.trade == trade


def test_a_refused_wish_makes_a_signal_with_the_reason() -> None:
    [signal] = trading_of().decide(wish_at(5), attrs.evolve(GOOD, is_draining=True)).rows
    assert isinstance(signal, Signal)
    assert (signal.outcome, signal.reason.partition(":")[0]) == ("refused", "drain")


def test_a_signal_that_is_known_is_ignored() -> None:
    trading = trading_of(max_open_per_market=9)
    enter(trading, 5)
    again = trading.decide(wish_at(5), GOOD)
    assert (again.rows, again.order, again.refused) == ((), None, None)


def test_a_signal_known_from_before_a_restart_is_ignored() -> None:
    before, after = trading_of(), trading_of(max_open_per_market=9)
    enter(before, 5)
    after.remember(before.positions)
    assert after.decide(wish_at(5), GOOD).rows == ()


def test_each_step_is_a_row_and_an_event_with_its_number() -> None:
    trading = trading_of()
    order = enter(trading, 5)
    trade_id = order.position.trade.id
    steps = [
        OrderSent(trade_id=trade_id, at_us=us(5.1)),
        TradeOpened(trade_id=trade_id, at_us=us(6), opened_us=us(5.5), open_price=1.2, expires_us=us(65.5)),
        TradeSettled(
            trade_id=trade_id, at_us=us(66), state=TradeState.WON, close_price=1.3, close_source="ticks"
        ),
    ]
    rows = [row for step in steps for row in trading.take(step)]
    trades, events = rows[::2], rows[1::2]
    assert [row.id for row in events] == [stable_id(trade_id, number) for number in (1, 2, 3)]
    assert [row.state for row in events if isinstance(row, TradeEvent)] == ["sent", "open", "won"]
    last = trades[-1]
    assert isinstance(last, Trade)
    assert last[10:] == (
        *(us(5) + UNDER_WAY_US, us(5.1), us(5.5), 1.2, us(65.5), us(66), 1.3, "ticks", Decimal("8.00")),
    )
    assert trading.balance == Decimal("1008.00")
    assert trading.positions.under_way == ()


def test_a_step_that_cannot_follow_is_our_bug() -> None:
    trading = trading_of()
    order = enter(trading, 5)
    settle(trading, order, TradeState.LOST, at_s=70)
    with pytest.raises(InvariantError):
        trading.take(OrderSent(trade_id=order.position.trade.id, at_us=us(80)))
    with pytest.raises(InvariantError):
        trading.take(OrderRefused(trade_id=4711, at_us=us(80), cause="not_sent"))


def test_an_unknown_trade_counts_until_it_is_known() -> None:
    trading = trading_of(max_daily_loss=Decimal(10))
    order = enter(trading, 5)
    trade_id = order.position.trade.id
    trading.take(OrderSent(trade_id=trade_id, at_us=us(5.1)))
    trading.take(TradeUnknown(trade_id=trade_id, at_us=us(9), cause="no_answer"))
    assert trading.figures(us(10))["unknown"] == 1
    assert refused(trading, 100, market="GBPUSD@sim") is Reason.DAILY_LOSS
    trading.take(OrderRefused(trade_id=trade_id, at_us=us(110), cause="not_found"))
    assert refused(trading, 120, market="GBPUSD@sim") is None


def test_a_new_day_begins_at_midnight_and_not_a_second_before() -> None:
    trading = trading_of(max_trades_per_day=1)
    settle(trading, enter(trading, DAY_S - 900), TradeState.WON, at_s=DAY_S - 830)
    assert refused(trading, DAY_S - 1) is Reason.TRADES_PER_DAY
    after = trading_of(max_trades_per_day=1)
    after.remember(trading.positions)
    assert refused(after, DAY_S - 0.5) is Reason.TRADES_PER_DAY
    assert refused(after, DAY_S + 1) is None


def test_a_ladder_goes_on_after_a_restart() -> None:
    trading = trading_of(LADDER)
    settle(trading, enter(trading, 5), TradeState.LOST, at_s=70)
    second = enter(trading, 100)
    assert second.position.trade.stake == Decimal(20)
    after = trading_of(LADDER, max_open_per_market=5)
    after.remember(trading.positions)
    assert refused(after, 110) is Reason.LADDER_OPEN
    settle(after, second, TradeState.LOST, at_s=170)
    assert enter(after, 200).position.trade.stake == Decimal(40)


def test_what_a_running_ladder_may_lose_counts_against_the_others() -> None:
    trading = trading_of(LADDER, max_daily_loss=Decimal(75), max_open_per_market=5)
    settle(trading, enter(trading, 5), TradeState.LOST, at_s=70)  # 10 lost, 20 and 40 to come
    assert refused(trading, 100, strategy="other") is Reason.DAILY_LOSS
    assert enter(trading, 110).position.trade.stake == Decimal(20)


def test_a_wish_of_a_strategy_that_is_gone_is_refused() -> None:
    assert refused(trading_of(), 5, strategy="gone") is Reason.STOPPED


def test_every_reason_that_holds_is_told() -> None:
    trading = trading_of(max_open_trades=1)
    enter(trading, 5)
    conditions = attrs.evolve(GOOD, is_draining=True, payout_percent=None)
    reasons = [each.reason for each in trading.blocks(MARKET, now_us=us(9), conditions=conditions)]
    assert reasons == [Reason.DRAIN, Reason.PAYOUT_UNKNOWN, Reason.OPEN_TRADES, Reason.OPEN_PER_MARKET]


def test_what_a_wish_of_now_would_be_refused_for_is_known_before_it_comes() -> None:
    trading = trading_of(LADDER, max_daily_loss=Decimal(75))

    def said(strategy: str) -> Reason | None:
        refused = trading.objection(strategy, MARKET, expiry_s=60, now_us=us(200), conditions=GOOD)
        return None if refused is None else refused.reason

    assert (said("test"), said("other"), said("gone")) == (None, None, Reason.STOPPED)
    settle(trading, enter(trading, 0, strategy="other"), TradeState.LOST, at_s=70)
    assert (said("test"), said("other")) == (Reason.LADDER, None)
    assert trading.decide(wish_at(200), GOOD).refused is not None  # asking has taken no note of it


def test_the_figures_say_how_far_limits_are_used() -> None:
    trading = trading_of(LADDER, max_losses_in_a_row=1, max_open_per_market=2)
    settle(trading, enter(trading, 5), TradeState.LOST, at_s=70)
    enter(trading, 2_000)
    figures = trading.figures(us(2_001))
    limits = figures.pop("limits")
    assert figures == {
        "mode": "paper",
        "currency": "USD",
        "balance": "990",
        "open": 1,
        "unknown": 0,
        "trades_today": 2,
        "realised_today": "-10",
        "paused_until_us": None,
        "ladders": [
            {
                "strategy": "test",
                "market": MARKET,
                "step": 2,
                "next_stake": "20.00",
                "may_lose": "60.00",
                "waits_for": stable_id("trade", "paper", "test", MARKET, us(2_000), 0),
            }
        ],
    }
    assert limits["max_trades_per_day"] == {"limit": 200, "used": 2}
    assert limits["max_daily_loss"] == {"limit": "500", "used": "70.00"}
    assert limits["max_losses_in_a_row"] == {"limit": 1, "used": 1}
    assert trading.figures(us(71))["paused_until_us"] == us(70 + 1_800)


def _days_of_trades(trading: Trading) -> Mapping[int, str]:
    return {each.trade.id: each.state for each in trading.positions}


def test_trades_that_nothing_depends_on_are_forgotten() -> None:
    trading = trading_of(max_losses_in_a_row=3)
    orders = []
    for day in range(6):
        state = TradeState.WON if day == 3 else TradeState.LOST
        orders.append(enter(trading, day * DAY_S + 10))
        settle(trading, orders[-1], state, at_s=day * DAY_S + 80)
    unknown = enter(trading, 5 * DAY_S + 200)
    trading.take(OrderSent(trade_id=unknown.position.trade.id, at_us=us(5 * DAY_S + 201)))
    trading.take(TradeUnknown(trade_id=unknown.position.trade.id, at_us=us(5 * DAY_S + 300), cause="lost"))
    assert refused(trading, 30 * DAY_S) is Reason.OPEN_PER_MARKET
    kept = {order.position.trade.id for order in (*orders[4:], unknown)}
    assert kept <= _days_of_trades(trading).keys()
    assert orders[0].position.trade.id not in _days_of_trades(trading)
