"""No sequence of signals, results, restarts, settings changes and days exceeds a limit in force.

Beside the real thing runs a model that counts everything anew from a plain list of trades, ladders step
by step, and the settings of each day. A wish must be approved exactly where the model finds no limit in
the way, and after every step no limit may be exceeded that was in force when its trades were entered.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from limits_model import (
    BALANCE,
    BERLIN,
    LIMITS,
    LOST,
    MARKETS,
    PLANS,
    REFUSED,
    SECOND_US,
    START,
    UNKNOWN,
    WON,
    ZONE,
    Entry,
    Model,
    day_at,
    down_to_cent,
)

from domain.contracts import ContractRules, OpensAt, Tie
from domain.trades import (
    FINAL,
    MAY_FOLLOW,
    SETTLED,
    Direction,
    LedgerRow,
    Mode,
    OrderRefused,
    OrderSent,
    Outcome,
    Position,
    Signal,
    Trade,
    TradeOpened,
    TradeSettled,
    TradeState,
    TradeUnknown,
)
from strategies.desk import Wish
from strategies.limits import InForce, Limits, in_force
from strategies.risk import Conditions
from strategies.trading import Account, Decided, Trading

PAYOUT = 80.0
RESULTS = (LOST, LOST, LOST, WON, UNKNOWN, TradeState.TIED, TradeState.VOID)

RULES = ContractRules(
    opens_at=OpensAt.LAST_BEFORE,
    tie=Tie.REFUNDED,
    latency_us=500_000,
    least_expiry_s=60,
    most_expiry_s=60,
    payout_percent=None,
)
Wishes = list[tuple[str, str]]  # of these strategies on these markets
WISHES = st.lists(st.tuples(st.sampled_from(sorted(PLANS)), st.sampled_from(MARKETS)), max_size=4)

WIDE = Limits(zone=ZONE, **{name: values[-1] for name, values in LIMITS.items()})


class Days(RuleBasedStateMachine):
    """Days of trading by four strategies on three markets."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = self.tick_us = START
        self.wanted = WIDE
        self.held = in_force(settings=self.wanted, before=None, now_us=self.now_us)
        self.model = Model(self.wanted)
        self.trading = self.new_trading()
        self.trades: dict[int, Trade] = {}
        self.signals: dict[int, Signal] = {}
        self.approved: list[Wish] = []
        self.numbers = count()

    def next_tick_us(self) -> int:
        """Return the venue's time, which does not step back."""
        self.tick_us += SECOND_US
        return self.tick_us

    def new_trading(self, *, balance: Decimal = BALANCE) -> Trading:
        account = Account(mode=Mode.PAPER, currency="USD", plans=PLANS)
        return Trading(account=account, limits=self.held.limits, balance=balance)

    def keep(self, rows: Iterable[LedgerRow]) -> None:
        for row in rows:
            if isinstance(row, Signal):
                self.signals[row.id] = row
            elif isinstance(row, Trade):
                self.trades[row.id] = row

    def look_at_the_clock(self) -> None:
        self.held = in_force(settings=self.wanted, before=self.held, now_us=self.now_us)
        self.trading.limits = self.held.limits
        self.model.now_is(self.now_us)

    def decide(self, wish: Wish, *, payout: float) -> Decided:
        self.look_at_the_clock()
        conditions = Conditions(rules=RULES, payout_percent=payout, price_age_ms=40, stale_after_ms=60_000)
        decided = self.trading.decide(wish, conditions)
        self.keep(decided.rows)
        if decided.order is None:
            return decided
        trade = decided.order.position.trade
        self.model.entries.append(
            Entry(
                trade_id=trade.id,
                strategy=wish.strategy,
                market=wish.market,
                stake=trade.stake,
                intended_us=trade.intended_us,
                ts_us=wish.ts_us,
                payout=payout,
                limits=self.model.limits(),
            )
        )
        self.approved.append(wish)
        return decided

    # signals

    @rule(
        wishes=WISHES,
        payout=st.sampled_from([PAYOUT] * 9 + [75.0]),
    )
    def signals_come(self, wishes: Wishes, payout: float) -> None:
        for strategy, market in wishes:
            self.wish(strategy, market, payout=payout, ts_us=self.next_tick_us())

    @rule(
        strategy=st.sampled_from(["doubling", "rising"]),
        market=st.sampled_from(MARKETS),
        count=st.integers(1, 4),
    )
    def a_row_of_losses(self, strategy: str, market: str, count: int) -> None:
        for _ in range(count):
            self.now_us += 100 * SECOND_US
            self.wish(strategy, market, payout=PAYOUT, ts_us=self.next_tick_us())
            for entry in self.model.under_way(strategy=strategy, market=market):
                if entry.state is TradeState.INTENDED:
                    self.bring(entry, TradeState.SENT)
                self.bring(entry, LOST)

    def wish(self, strategy: str, market: str, *, payout: float, ts_us: int) -> None:
        wish = Wish(
            strategy=strategy,
            market=market,
            ts_us=ts_us,
            seq=next(self.numbers),
            direction=Direction.UP,
            expiry_s=60,
            price=1.25,
            price_age_ms=40,
            inputs="{}",
            now_us=self.now_us,
        )
        self.model.now_is(self.now_us)
        against, (stake, _) = self.model.against(wish, payout=payout), self.model.stake(strategy, market)
        decided = self.decide(wish, payout=payout)
        refused = decided.refused
        assert (refused is None) == (not against), (wish, refused, against)
        if refused is None:
            assert self.model.entries[-1].stake == stake
        else:
            assert refused.reason in against, (wish, refused, against)

    @precondition(lambda self: self.approved)
    @rule(data=st.data())
    def the_same_signal_again(self, data: st.DataObject) -> None:
        wish = data.draw(st.sampled_from(self.approved[-5:]))
        assert self.decide(attrs.evolve(wish, now_us=self.now_us), payout=PAYOUT).order is None

    @precondition(lambda self: self.approved and day_at(self.approved[-1].now_us) == day_at(self.now_us))
    @rule()
    def another_signal_of_the_same_tick(self) -> None:
        wish = self.approved[-1]
        self.wish(wish.strategy, wish.market, payout=PAYOUT, ts_us=wish.ts_us)

    # results

    @precondition(lambda self: self.model.under_way())
    @rule(data=st.data())
    def a_step_of_a_trade(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model.under_way()))
        state = data.draw(st.sampled_from(sorted(MAY_FOLLOW[entry.state])))
        self.bring(entry, state)

    @precondition(lambda self: self.model.under_way())
    @rule(states=st.lists(st.sampled_from(RESULTS), max_size=4))
    def results_come(self, states: list[TradeState]) -> None:
        for entry, state in zip(self.model.under_way(), states, strict=False):
            if entry.state is TradeState.INTENDED:
                self.bring(entry, TradeState.SENT)
            if state in MAY_FOLLOW[entry.state]:
                self.bring(entry, state)

    def bring(self, entry: Entry, state: TradeState) -> None:
        """Bring a trade into its next state, in both."""
        entry.state = state
        if state is TradeState.OPEN:
            entry.expires_us = self.now_us + 60 * SECOND_US
        if state in SETTLED:
            entry.settled_us = self.now_us
            won = down_to_cent(entry.stake * Decimal(str(entry.payout)) / 100)
            entry.profit = {WON: won, LOST: -entry.stake}.get(state, Decimal(0))
        if state in FINAL and (entry.strategy, entry.market) in self.model.ladders:
            self.model.ladders[entry.strategy, entry.market].ended(entry)
        self.keep(self.trading.take(self.outcome(entry, state)))

    def outcome(self, entry: Entry, state: TradeState) -> Outcome:
        about = {"trade_id": entry.trade_id, "at_us": self.now_us}
        match state:
            case TradeState.SENT:
                return OrderSent(**about)
            case TradeState.REFUSED:
                return OrderRefused(**about, cause="no_price")
            case TradeState.UNKNOWN:
                return TradeUnknown(**about, cause="no_answer")
            case TradeState.OPEN:
                expires_us = entry.expires_us or 0
                return TradeOpened(**about, opened_us=self.now_us, open_price=1.25, expires_us=expires_us)
        return TradeSettled(**about, state=state, close_price=1.3, close_source="ticks")

    # time

    @rule(passed_s=st.sampled_from([1, 30, 61, 91, 600, 2_800, 9_000]))
    def time_passes(self, passed_s: int) -> None:
        self.now_us += passed_s * SECOND_US

    @rule(beside_s=st.sampled_from([-1, 0, 1]))
    def midnight_comes(self, beside_s: int) -> None:
        tomorrow = day_at(self.now_us) + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=BERLIN)
        self.now_us = max(self.now_us, (int(midnight.timestamp()) + beside_s) * SECOND_US)

    @rule(back_s=st.sampled_from([1, 2, 60, 3_000]))
    def the_clock_steps_back(self, back_s: int) -> None:
        back_us = self.now_us - back_s * SECOND_US
        if self.model.day - day_at(back_us) <= timedelta(days=1):
            self.now_us = back_us

    @rule(before=WISHES, between=WISHES, after=WISHES, states=st.lists(st.sampled_from(RESULTS), max_size=4))
    def midnight_comes_twice(
        self, before: Wishes, between: Wishes, after: Wishes, states: list[TradeState]
    ) -> None:
        self.midnight_comes(beside_s=1)
        self.signals_come(before, PAYOUT)
        self.results_come(states)
        self.the_clock_steps_back(back_s=2)
        self.signals_come(between, PAYOUT)
        self.midnight_comes(beside_s=1)
        self.results_come(states)
        self.signals_come(after, PAYOUT)

    # settings and restarts

    @rule(name=st.sampled_from(sorted(LIMITS)), data=st.data())
    def a_limit_is_set(self, name: str, data: st.DataObject) -> None:
        self.look_at_the_clock()
        self.wanted = attrs.evolve(self.wanted, **{name: data.draw(st.sampled_from(LIMITS[name]))})
        self.model.wants(self.wanted)
        self.look_at_the_clock()

    @rule()
    def restart(self) -> None:
        kept = json.loads(
            json.dumps({"day": self.held.day.isoformat(), "limits": self.held.limits.as_table()})
        )
        self.held = InForce(day=date.fromisoformat(kept["day"]), limits=Limits.from_table(kept["limits"]))
        profit = sum((trade.profit or Decimal(0) for trade in self.trades.values()), Decimal(0))
        self.trading = self.new_trading(balance=BALANCE + profit)
        self.trading.remember([self.position(trade) for trade in self.trades.values()])

    def position(self, trade: Trade) -> Position:
        signal = self.signals[trade.signal_id]
        return Position(trade=trade, strategy=signal.strategy, expiry_s=signal.expiry_s, ts_us=signal.ts_us)

    # what always holds

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        under_way = self.model.under_way()
        within(len(under_way), under_way, lambda limits: limits.max_open_trades)
        for market in MARKETS:
            there = self.model.under_way(market=market)
            within(len(there), there, lambda limits: limits.max_open_per_market)
        opened = [entry for entry in self.model.entries if entry.state is not REFUSED]
        for day in {day_at(entry.intended_us) for entry in opened}:
            of_day = [entry for entry in opened if day_at(entry.intended_us) == day]
            within(len(of_day), of_day, lambda limits: limits.max_trades_per_day)
        for entry in opened:
            assert entry.stake <= entry.limits.max_stake

    @invariant()
    def no_day_loses_more_than_it_may(self) -> None:
        lost = [entry for entry in self.model.entries if entry.state is LOST]
        for day in {entry.day for entry in lost}:
            of_day = [entry for entry in lost if entry.day == day]
            within(-self.model.realised(day), of_day, lambda limits: limits.max_daily_loss)

    @invariant()
    def the_money_adds_up(self) -> None:
        assert self.trading.balance == self.model.balance()
        assert {key: trade.state for key, trade in self.trades.items()} == {
            entry.trade_id: entry.state for entry in self.model.entries
        }


def within(used: int | Decimal, entries: Sequence[Entry], of: Callable[[Limits], int | Decimal]) -> None:
    """Check that no more is used than was allowed when the last of these trades was entered."""
    assert not entries or used <= max(of(entry.limits) for entry in entries), (used, entries)


def test_the_first_hour_of_a_day_of_25_counts_where_the_clock_steps_back_to_it() -> None:
    days = Days()
    before = [("doubling", "B@one"), ("flat", "A@one"), ("flat", "A@one"), ("flat", "B@one")]
    states = [LOST, WON, TradeState.TIED]
    days.midnight_comes_twice(before=before, between=[("flat", "A@one")], after=[], states=states)
    days.midnight_comes_twice(
        before=[("doubling", "A@one")], between=[("flat", "A@one")], after=[], states=[]
    )


def test_no_sequence_of_events_exceeds_a_limit() -> None:
    """The same sequences each time; the soak finds new ones."""
    run_state_machine_as_test(
        Days,
        settings=settings(max_examples=200, stateful_step_count=50, deadline=None, derandomize=True),
    )


@pytest.mark.soak
def test_no_sequence_of_events_exceeds_a_limit_for_long() -> None:
    run_state_machine_as_test(
        Days,
        settings=settings(
            max_examples=3_000,
            stateful_step_count=100,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
