"""A market traded as the daemon does it, tick by tick in messages, and replayed from what was stored."""

import argparse
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from databases import AnyDatabase, Batch, MariadbDatabase, open_store
from dealing import MARKET, RULES, no_fence, us

from domain.contracts import ContractRules, OpensAt, Tie
from domain.gaps import Gap
from domain.market import CandleBuilder, Tick
from domain.trades import Direction, LedgerRow, Mode, Order, OrderSent, Outcome, Signal, Trade
from strategies.desk import Desk, Seat, Wish
from strategies.limits import Limits
from strategies.paper import Offer, PaperBook
from strategies.replay import Assumed, Replay
from strategies.risk import Conditions
from strategies.stake import Martingale, Plan
from strategies.strategy import Decision, SeenCandle, Strategy, View
from strategies.trading import Account, Trading
from supervisor.commands.recorded import Recorded

FIRST_S = 1_790_000_000
VENUES = (
    RULES,
    attrs.evolve(RULES, opens_at=OpensAt.FIRST_AFTER, tie=Tie.LOST, latency_us=1_000_000),
    attrs.evolve(RULES, latency_us=0),
)


@attrs.define(kw_only=True, eq=False)
class Averages(Strategy):
    """Follows the average of the stored candles it was warmed up with, and of those that came since."""

    timeframe_s: int = 10
    mean: float = 0.0

    @property
    def warm_up_candles(self) -> int:
        return 3

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        self.mean = 0.7 * (self.mean or candle.close) + 0.3 * candle.close
        if len(view.candles(3)) < 3 or candle.has_gap:
            return None
        direction = Direction.UP if candle.close > self.mean else Direction.DOWN
        return Decision(direction=direction, inputs={"mean": self.mean})


@attrs.define(kw_only=True, eq=False)
class Jumps(Strategy):
    """Wishes at ticks that jump."""

    last: float = 0.0

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        jump, self.last = tick.price - self.last, tick.price
        if abs(jump) < 2e-4 or view.has_gap:
            return None
        return Decision(direction=Direction.UP if jump < 0 else Direction.DOWN, inputs={"jump": jump})


STRATEGIES: dict[str, tuple[type[Strategy], int]] = {"averages": (Averages, 15), "jumps": (Jumps, 7)}


def trading() -> Trading:
    ladder = Plan(fixed=Decimal(5), martingale=Martingale(factor=2.0, max_steps=3))
    plans = {"averages": ladder, "jumps": Plan(percent=1.0)}
    limits = Limits(max_open_per_market=2, cooldown_s=3, max_losses_in_a_row=3, pause_min=1.0)
    account = Account(mode=Mode.PAPER, currency="USD", plans=plans)
    return Trading(account=account, limits=limits, balance=Decimal(1_000))


def desk_with(rules: ContractRules) -> Desk:
    seats = [
        Seat(name=name, market=MARKET, expiry_s=expiry_s, make=kind)
        for name, (kind, expiry_s) in STRATEGIES.items()
    ]
    return Desk(market=MARKET, seats=seats, book=PaperBook(market=MARKET, rules=rules), fence=no_fence)


def assumed(rules: ContractRules) -> Assumed:
    conditions = Conditions(rules=rules, payout_percent=80.0, price_age_ms=0, stale_after_ms=60_000)
    return Assumed(conditions=conditions, offer=Offer(payout_percent=80.0))


# --- a market -------------------------------------------------------------------------------------


@attrs.frozen
class Feed:
    """Messages of ticks as they came, and the gaps between some of them."""

    messages: list[list[Tick]]
    gaps: list[Gap]

    @property
    def ticks(self) -> list[Tick]:
        return [tick for message in self.messages for tick in message]


def make_feed(seed: int, *, messages: int) -> Feed:
    """Prices with equal times, silences, and gaps of several causes."""
    chance, at_us, price, received_us = random.Random(seed), us(FIRST_S), 1.1, 0
    made, gaps, seq = list[list[Tick]](), list[Gap](), 0
    for _ in range(messages):
        last_us, lasts_us = at_us, 0
        if made and chance.random() < 0.02:
            lasts_us = us(chance.choice((3, 9, 25, 70)))
        at_us += lasts_us + chance.choice((10_000, 150_000, 600_000, 1_400_000))
        message = []
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            at_us += chance.choice((0, 0, 90_000))
            seq += 1
            price = round(price + chance.choice((-3, -1, 0, 0, 1, 3)) * 1e-4, 5)
            message.append(Tick(MARKET, at_us, seq, price, None, None, None, 0))
        received_us = max(received_us, at_us + chance.randrange(20_000, 60_000))
        made.append([tick._replace(received_us=received_us) for tick in message])
        if lasts_us:
            cause = chance.choice(("disconnect", "stale", "closed", "downtime", "stopped"))
            gaps.append(Gap(MARKET, last_us, made[-1][0].ts_us, cause))
    return Feed(made, gaps)


def with_late_ones(feed: Feed, *, seed: int) -> Feed:
    """Return the feed with some ticks more that come after later ones, with prices of their own."""
    chance, made = random.Random(seed), list[list[Tick]]()
    for number, message in enumerate(feed.messages):
        made.append(message)
        last = message[-1]
        if chance.random() < 0.1:
            late = last._replace(ts_us=last.ts_us - 5_000, seq=10**6 + number, price=last.price + 0.01)
            made.append([late._replace(received_us=last.received_us + 1)])
    received_us = 0
    for number, message in enumerate(made):
        received_us = max(received_us + 1, message[0].received_us)
        made[number] = [tick._replace(received_us=received_us) for tick in message]
    return Feed(made, feed.gaps)


def fill(database: AnyDatabase, feed: Feed) -> None:
    """Store it, with the candles that the writer makes, and what a venue told of a gap afterwards."""
    after = [
        Tick(MARKET, gap.from_us + 1_000, 10**9 + n, 9.9, None, None, None, 10**15, "backfill")
        for n, gap in enumerate(feed.gaps)
    ]
    with open_store(database.target) as store:
        batch = Batch(ticks=[*feed.ticks, *after])
        store.pool.run(lambda session: store.batches.store(session, batch))
    [(market_id,)] = database.query("SELECT id FROM market")
    for gap in feed.gaps:
        database.query(
            "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES "
            f"({market_id}, {gap.from_us}, {gap.to_us}, '{gap.cause}', 'full', '')"
        )
    builder = CandleBuilder(market=MARKET, timeframe_s=10)
    for candle in (builder.add(tick) for tick in feed.ticks):
        if candle is not None:
            prices = f"{candle.open!r}, {candle.high!r}, {candle.low!r}, {candle.close!r}"
            database.query(
                f"INSERT INTO candle VALUES ({market_id}, 10, {candle.open_us}, {prices}, "
                f"{candle.ticks}, 0, 1, 'ticks')"
            )


# --- as the daemon does it ------------------------------------------------------------------------


class Live:
    """Messages in, and everything else some time later: the trader lags, and orders take their time."""

    def __init__(self, *, rules: ContractRules, recorded: Recorded, seed: int) -> None:
        self.rows: list[LedgerRow] = []
        self._trading = trading()
        self._desk = desk_with(rules)
        self._assumed = assumed(rules)
        self._recorded = recorded
        self._chance = random.Random(seed)
        self._told: deque[tuple[int, Outcome | Wish]] = deque()  # when the trader comes to it
        self._orders: deque[tuple[int, Order]] = deque()  # when they are placed
        self._last_us = -1

    def follow(self, feed: Feed) -> list[LedgerRow]:
        gaps = deque(feed.gaps)
        for message in feed.messages:
            self._pass_time(message[0].received_us)
            while gaps and (gaps[0].to_us or 0) <= message[0].ts_us:
                self._take_gap(gaps.popleft())
            if self._last_us < 0:
                self._warm_up(message[0].ts_us)
            for tick in message:
                self._tell(self._desk.take(tick), at_us=tick.received_us)
                self._last_us = tick.ts_us
        self._pass_time(10**18)
        return self.rows

    def _take_gap(self, gap: Gap) -> None:
        if gap.cause in ("downtime", "stopped"):
            self._desk.restart()
            self._warm_up(gap.from_us)
        self._tell(self._desk.gap(gap), at_us=gap.from_us)

    def _warm_up(self, ends_us: int) -> None:
        for seat in self._desk.seats:
            self._desk.warm_up(seat, self._recorded.before(seat, ends_us))

    def _tell(self, items: Sequence[Outcome | Wish], *, at_us: int) -> None:
        for item in items:
            lag_us = self._chance.choice((0, 0, 30_000, 400_000))
            latest_us = self._told[-1][0] if self._told else 0
            self._told.append((max(latest_us, at_us + lag_us), item))

    def _pass_time(self, now_us: int) -> None:
        """Let happen what is due by then, in its order."""
        while self._told or self._orders:
            trader_us = self._told[0][0] if self._told else 10**19
            broker_us = self._orders[0][0] if self._orders else 10**19
            if min(trader_us, broker_us) > now_us:
                return
            if broker_us <= trader_us:
                self._place(*self._orders.popleft())
            else:
                self._decide(*self._told.popleft())

    def _decide(self, at_us: int, item: Outcome | Wish) -> None:
        if not isinstance(item, Wish):
            self.rows += self._trading.take(item)
            return
        conditions = attrs.evolve(self._assumed.conditions, price_age_ms=item.price_age_ms)
        decided = self._trading.decide(item, conditions)
        self.rows += decided.rows
        if decided.order is not None:
            takes_us = self._chance.choice((5_000, 80_000, 500_000))
            self._orders.append((at_us + takes_us, decided.order))

    def _place(self, at_us: int, order: Order) -> None:
        trade_id = order.position.trade.id
        self.rows += self._trading.take(OrderSent(trade_id=trade_id, at_us=at_us))
        self._tell(self._desk.book.place(order.position), at_us=at_us)


def signals(rows: Sequence[LedgerRow]) -> set[Signal]:
    return {row for row in rows if isinstance(row, Signal)}


def trades(rows: Sequence[LedgerRow]) -> dict[int, Trade]:
    """Each trade as it was last; when an order was sent is the daemon's own business."""
    return {row.id: row._replace(sent_us=None) for row in rows if isinstance(row, Trade)}


@pytest.fixture
def recorded(database: AnyDatabase, tmp_path: Path) -> Callable[[], Recorded]:
    """What `marketd backtest` reads, where no daemon runs."""
    password = ""
    if isinstance(database, MariadbDatabase):
        password = f'password_file = "{database.server.password_file}"'
    config = tmp_path / "marketd.toml"
    config.write_text(f'[storage]\nurl = "{database.url}"\ntimeframes_s = [10]\n{password}\n')
    arguments = argparse.Namespace(config=config, state_dir=tmp_path, from_us=None, to_us=None)
    return lambda: Recorded(arguments=arguments, market=MARKET, is_filled=False)


def replayed(rules: ContractRules, recorded: Recorded) -> Iterator[LedgerRow]:
    rows: list[LedgerRow] = []
    replay = Replay(
        desk=desk_with(rules), trading=trading(), assumed=assumed(rules), stored=recorded, on_rows=rows.extend
    )
    replay.expect(recorded.gaps())
    for page in recorded.ticks():
        replay.run(page)
    return iter(rows)


def test_what_was_traded_live_is_traded_again_in_a_backtest(
    database: AnyDatabase, recorded: Callable[[], Recorded]
) -> None:
    feed = make_feed(7, messages=3_000)
    fill(database, feed)
    for seed, rules in enumerate(VENUES):
        live = Live(rules=rules, recorded=recorded(), seed=seed).follow(feed)
        again = list(replayed(rules, recorded()))
        states = [trade.state for trade in trades(live).values()]
        assert {"won", "lost", "tied", "void"} - {"tied" if rules.tie is Tie.LOST else ""} <= {*states}
        assert len(states) > 100
        assert trades(again) == trades(live)
        assert signals(again) == signals(live)


def test_ticks_that_came_after_later_ones_are_ignored_in_a_backtest_too(
    database: AnyDatabase, recorded: Callable[[], Recorded]
) -> None:
    feed = with_late_ones(make_feed(5, messages=800), seed=5)
    fill(database, feed)
    live = Live(rules=RULES, recorded=recorded(), seed=1).follow(feed)
    again = list(replayed(RULES, recorded()))
    assert len(trades(live)) > 30
    assert trades(again) == trades(live)
    assert signals(again) == signals(live)


def test_a_strategy_begins_with_what_was_stored(
    database: AnyDatabase, recorded: Callable[[], Recorded]
) -> None:
    feed = make_feed(3, messages=100)
    fill(database, feed)
    ends_us = feed.ticks[-1].ts_us
    [seat, _] = desk_with(RULES).seats
    builder = CandleBuilder(market=MARKET, timeframe_s=10)
    whole = [candle for tick in feed.ticks if (candle := builder.add(tick)) is not None]
    found = recorded().before(seat, ends_us)
    assert [candle.close for candle in found] == [candle.close for candle in whole[-3:]]
    assert found[-1].end_us <= ends_us
