import random
from collections.abc import Iterable, Sequence
from decimal import Decimal

import attrs
import pytest
from dealing import MARKET, RULES, EveryCandle, gap_of, no_fence, tick_at, us

from domain.contracts import ContractRules
from domain.gaps import Gap
from domain.market import Candle, CandleBuilder, Tick
from domain.trades import Direction, LedgerRow, Mode, Position, Trade, TradeState
from strategies.candle_prices import gap_for_candles, prices_of, rules_for_candles
from strategies.desk import Desk, Seat
from strategies.limits import Limits
from strategies.paper import Offer, PaperBook
from strategies.replay import Assumed, Replay, StoredCandles
from strategies.risk import Conditions
from strategies.stake import Plan
from strategies.strategy import Decision, SeenCandle, Strategy, View
from strategies.trading import Account, Trading

MINUTE_US = 60_000_000


def replay_of(
    kind: type[Strategy] = EveryCandle,
    *,
    rules: ContractRules = RULES,
    expiry_s: int = 20,
    stored: StoredCandles | None = None,
) -> Replay:
    account = Account(mode=Mode.PAPER, currency="USD", plans={"test": Plan(fixed=Decimal(10))})
    limits = Limits(max_losses_in_a_row=1_000)
    seat = Seat(name="test", market=MARKET, expiry_s=expiry_s, make=kind)
    return Replay(
        desk=Desk(market=MARKET, seats=[seat], book=PaperBook(market=MARKET, rules=rules), fence=no_fence),
        trading=Trading(account=account, limits=limits, balance=Decimal(1_000)),
        assumed=Assumed(
            conditions=Conditions(rules=rules, payout_percent=80.0, price_age_ms=0, stale_after_ms=60_000),
            offer=Offer(payout_percent=80.0),
        ),
        stored=stored or StoredCandles(),
    )


def walk(seconds: int, *, seed: int = 1) -> list[Tick]:
    numbers, price, ticks = random.Random(seed), 1.0, []
    for n in range(seconds * 2):
        price = round(price + numbers.choice((-1, 0, 1)) * 1e-4, 4)
        ticks.append(tick_at(n / 2, price))
    return ticks


def run(replay: Replay, ticks: Iterable[Tick], gaps: Sequence[Gap] = ()) -> Sequence[Position]:
    replay.expect(gaps)
    replay.run(ticks)
    return replay.ended


def test_the_same_prices_make_the_same_rows() -> None:
    found: list[list[LedgerRow]] = [[], []]
    for rows in found:
        replay = replay_of()
        replay.on_rows = rows.extend
        assert len(run(replay, walk(600))) > 10
    assert found[0] == found[1]


def test_a_result_can_be_worked_out_by_hand() -> None:
    ticks = walk(600)
    for position in run(replay_of(), ticks):
        trade = position.trade
        assert trade.opened_us == position.ts_us + 500_000
        assert trade.expires_us == trade.opened_us + us(20)
        [*_, entry] = (tick for tick in ticks if tick.ts_us <= trade.opened_us)
        [*_, last] = (tick for tick in ticks if tick.ts_us <= trade.expires_us)
        assert (trade.open_price, trade.close_price) == (entry.price, last.price)
        move = (last.price - entry.price) * (1 if trade.direction == Direction.UP else -1)
        won, lost = (TradeState.WON, Decimal("8.00")), (TradeState.LOST, Decimal(-10))
        assert (trade.state, trade.profit) == (
            won if move > 0 else lost if move < 0 else (TradeState.TIED, Decimal(0))
        )


def test_money_adds_up() -> None:
    replay = replay_of()
    ended = run(replay, walk(600))
    profits = [each.trade.profit for each in ended if each.trade.profit is not None]
    assert replay.trading.balance == Decimal(1_000) + sum(profits)


def test_what_ends_in_a_gap_is_void_and_what_opens_in_one_is_refused() -> None:
    ticks = [tick for tick in walk(600) if not us(100) < tick.ts_us < us(117.5)]
    states = {each.state: each for each in run(replay_of(), ticks, [gap_of(100, 117.5)])}
    void = states[TradeState.VOID].trade
    assert void.expires_us is not None
    assert us(100) < void.expires_us < us(117.5)
    assert void.settled_us == void.expires_us
    assert void.profit == Decimal(0)


def test_what_was_told_twice_is_left_out() -> None:
    ticks = walk(300)
    replay = replay_of()
    run(replay, ticks, [gap_of(100, 150, "clock")])
    assert replay.ticks == len(ticks) - 99  # every half second between, without the ends


@attrs.define(kw_only=True, eq=False)
class Warm(EveryCandle):
    """Tells what it is warmed up with."""

    seen: list[int] = attrs.field(factory=list)

    @property
    def warm_up_candles(self) -> int:
        return 2

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        self.seen.append(candle.open_us // us(1))
        return None


class TwoBefore(StoredCandles):
    """Has the last two candles that end by a time."""

    def before(self, seat: Seat, ends_us: int) -> Sequence[SeenCandle]:
        last = ends_us // us(10)
        prices = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 0.0, "ticks": 1}
        return [
            SeenCandle(market=MARKET, timeframe_s=10, open_us=n * us(10), **prices)
            for n in (last - 2, last - 1)
        ]


def test_after_a_pause_strategies_are_warmed_up_as_a_live_start_does() -> None:
    replay = replay_of(Warm, stored=TwoBefore())
    ticks = [tick_at(at_s, 1.0) for at_s in (105, 111, 121, 125, 155, 161, 172)]
    replay.expect([gap_of(125, 155, "downtime")])
    replay.run(ticks[:4])
    [seat] = replay.desk.seats
    before = seat.strategy
    replay.run(ticks[4:])
    assert isinstance(before, Warm)
    assert before.seen == [80, 90, 110]
    assert isinstance(seat.strategy, Warm)
    assert seat.strategy.seen == [100, 110, 160]  # stored ones end by 125, the one of 155 is partial


# --- candles --------------------------------------------------------------------------------------


def candles_of(ticks: Iterable[Tick], *, timeframe_s: int = 60) -> list[Candle]:
    builder = CandleBuilder(market=MARKET, timeframe_s=timeframe_s)
    return [candle for tick in ticks if (candle := builder.add(tick)) is not None]


def test_candles_come_back_from_their_prices() -> None:
    candles = candles_of(walk(3_600, seed=3))
    again = candles_of(price for candle in candles for price in prices_of(candle))
    fields = attrs.asdict
    assert [fields(each) | {"ticks": 0} for each in again] == [
        fields(each) | {"ticks": 0} for each in candles[1:-1]
    ]


def test_with_candles_trades_open_and_end_with_them() -> None:
    candles = candles_of(walk(7_200, seed=5))
    by_open = {candle.open_us: candle for candle in candles}
    replay = replay_of(MinuteCandles, rules=rules_for_candles(RULES), expiry_s=120)
    replay.expect([])
    replay.run_candles(prices_of(candle) for candle in candles)
    assert replay.ticks == len(candles)
    opened = [each.trade for each in replay.ended]
    assert len(opened) > 20
    for trade in opened:
        assert trade.opened_us is not None
        assert trade.open_price == by_open[trade.opened_us].open
        assert trade.expires_us == trade.opened_us + 2 * MINUTE_US
        assert trade.close_price == by_open[trade.opened_us + MINUTE_US].close


@attrs.define(kw_only=True, eq=False)
class MinuteCandles(EveryCandle):
    """Every candle of a minute."""

    timeframe_s: int = 60


@attrs.define(kw_only=True, eq=False)
class Prices(Strategy):
    """Takes note of the ticks it sees."""

    seen: list[float] = attrs.field(factory=list)

    def on_tick(self, tick: Tick, view: View) -> None:
        self.seen.append(tick.price)


def test_of_a_candle_only_its_open_is_shown_as_a_tick() -> None:
    candles = candles_of(walk(600, seed=5))
    replay = replay_of(Prices, rules=rules_for_candles(RULES))
    replay.expect([])
    replay.run_candles(prices_of(candle) for candle in candles)
    strategy = replay.desk.seats[0].strategy
    assert isinstance(strategy, Prices)
    assert strategy.seen == [candle.open for candle in candles]


@pytest.mark.parametrize(("to_s", "state"), [(245, TradeState.VOID), (235, None)])
def test_with_candles_what_ends_between_two_in_a_gap_is_void(to_s: int, state: TradeState | None) -> None:
    candles = candles_of(walk(600, seed=5))
    gap = gap_for_candles(gap_of(230, to_s), timeframe_s=60)
    replay = replay_of(MinuteCandles, rules=rules_for_candles(RULES), expiry_s=60)
    replay.expect([gap])
    replay.run_candles(prices_of(candle) for candle in candles)
    [trade] = [each.trade for each in replay.ended if each.trade.expires_us == us(240)]
    assert isinstance(trade, Trade)
    assert (trade.state == TradeState.VOID) == (state is TradeState.VOID)
