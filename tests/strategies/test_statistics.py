import datetime
import itertools
import random
import zoneinfo
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from domain.errors import InvariantError
from domain.trades import Position, Trade, TradeState, profit_of
from strategies.statistics import (
    CHANCE,
    LEAST_TRADES,
    Interval,
    Result,
    Side,
    break_even_rate,
    by_hour,
    by_market,
    by_strategy,
    curve,
    drawdown,
    figures,
    longest_losing_run,
    results_of,
    verdict,
    wilson,
)

HOUR_US = 3_600_000_000
SETTLED = ("won", "lost", "tied", "void")
LETTER = {"won": "W", "lost": "L", "tied": "", "void": ""}


def result(
    state: str, *, number: int = 0, stake: str = "10", payout: float = 80.0, market: str = "A@sim"
) -> Result:
    stake_ = Decimal(stake)
    profit = profit_of(TradeState(state), stake=stake_, payout_percent=payout)
    return Result(market, "rsi", state, stake_, payout, profit, number * 10, number * 10 + 5)


@st.composite
def some_results(draw: st.DrawFn) -> list[Result]:
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(SETTLED),
                st.decimals("1", "100", places=2),
                st.floats(1.0, 120.0),
                st.sampled_from(("A@sim", "B@sim")),
            ),
            max_size=40,
        )
    )
    return [
        result(state, number=number, stake=str(stake), payout=payout, market=market)
        for number, (state, stake, payout, market) in enumerate(drawn)
    ]


# --- the interval, beside an independent library ----------------------------------------------


@given(decided=st.integers(1, 100_000), share=st.floats(0.0, 1.0))
def test_interval_is_scipy_s(decided: int, share: float) -> None:
    won = round(decided * share)
    ours = wilson(won=won, decided=decided)
    theirs = binomtest(won, decided).proportion_ci(confidence_level=0.95, method="wilson")
    assert ours is not None
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)


def test_interval_is_scipy_s_for_each_count_of_few_trades() -> None:
    for decided in range(1, 21):
        for won in range(decided + 1):
            ours = wilson(won=won, decided=decided)
            theirs = binomtest(won, decided).proportion_ci(confidence_level=0.95, method="wilson")
            assert ours is not None
            assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
            assert 0.0 <= ours.low <= won / decided <= ours.high <= 1.0


def test_without_a_won_or_lost_trade_there_is_no_rate() -> None:
    found = figures([result("tied"), result("void", number=1)])
    assert (found.trades, found.tied, found.void) == (2, 1, 1)
    assert (found.win_rate, found.interval, found.break_even) == (None, None, None)
    assert found.verdict == "too few trades: 0 of at least 30"


# --- against the slow way ---------------------------------------------------------------------


def slow_drawdown(profits: Sequence[Decimal]) -> Decimal:
    every = [Decimal(0), *profits]
    return max(before - after for i, before in enumerate(every) for after in every[i:])


def slow_losing_run(states: Sequence[str]) -> int:
    text = "".join(LETTER[state] for state in states)
    return max(length for length in range(len(text) + 1) if "L" * length in text)


@given(results=some_results(), shuffle=st.randoms(use_true_random=False))
def test_figures_are_those_of_the_slow_way_in_whatever_order(
    results: list[Result], shuffle: random.Random
) -> None:
    mixed = list(results)
    shuffle.shuffle(mixed)
    found = figures(mixed)
    count = {state: sum(each.state == state for each in results) for state in SETTLED}
    assert (found.won, found.lost, found.tied, found.void) == tuple(count[state] for state in SETTLED)
    assert found.trades == sum(count.values())
    assert found.profit == sum(each.profit for each in results)
    assert found.staked == sum(each.stake for each in results)
    sums = list(itertools.accumulate(each.profit for each in results))
    assert [point.profit for point in curve(results)] == sums
    assert found.drawdown == slow_drawdown(sums)
    assert found.losing_run == slow_losing_run([each.state for each in results])


@given(results=some_results())
def test_groups_are_the_figures_of_their_own_trades(results: list[Result]) -> None:
    markets = by_market(results)
    assert list(markets) == sorted({each.market for each in results})
    for market, found in markets.items():
        assert found == figures([each for each in results if each.market == market])
    assert by_strategy(results) == ({"rsi": figures(results)} if results else {})


@given(profits=st.lists(st.decimals("-100", "100", places=2), max_size=30))
def test_drawdown_is_at_least_how_far_the_end_lies_below_the_beginning(profits: list[Decimal]) -> None:
    sums = list(itertools.accumulate(profits))
    assert drawdown(sums) == slow_drawdown(sums)
    assert drawdown(sums) >= max(Decimal(0), -(sums[-1] if sums else Decimal(0)))


def test_ties_and_void_trades_neither_count_in_a_losing_run_nor_end_it() -> None:
    assert longest_losing_run(["lost", "tied", "lost", "void", "lost", "won", "lost"]) == 3
    assert longest_losing_run([]) == 0


# --- break-even -------------------------------------------------------------------------------


@given(payout=st.floats(1.0, 200.0), stake=st.decimals("1", "100", places=2), count=st.integers(1, 5))
def test_break_even_of_one_payout_needs_no_stakes(payout: float, stake: Decimal, count: int) -> None:
    results = [result("lost", stake=str(stake), payout=payout)] * count
    assert break_even_rate(results) == pytest.approx(1 / (1 + payout / 100))


@given(results=some_results())
def test_at_break_even_nothing_would_have_been_won_or_lost(results: list[Result]) -> None:
    decided = [each for each in results if each.state in ("won", "lost")]
    rate = break_even_rate(results)
    assert (rate is None) == (not decided)
    if rate is not None:
        won = sum(rate * float(each.stake) * each.payout_percent / 100 for each in decided)
        assert won == pytest.approx(sum((1 - rate) * float(each.stake) for each in decided))


def test_higher_stakes_weigh_more() -> None:
    small, large = result("won", stake="1", payout=50.0), result("lost", stake="99", payout=100.0)
    assert break_even_rate([small, large]) == pytest.approx(100 / (1 * 1.5 + 99 * 2.0))


# --- the verdict ------------------------------------------------------------------------------

EVEN = 1 / 1.8


def verdict_of(won: int, decided: int, *, break_even: float = EVEN) -> str:
    return verdict(wilson(won=won, decided=decided), break_even=break_even, decided=decided)


@pytest.mark.parametrize(
    ("won", "decided", "says"),
    [
        (29, 29, "too few trades: 29 of at least 30"),
        (15, 30, "not distinguishable from chance"),
        (520, 1000, "not distinguishable from chance, below break-even"),
        (540, 1000, "better than chance, not distinguishable from break-even"),
        (5200, 10000, "better than chance, below break-even"),
        (600, 1000, "better than chance, above break-even"),
        (400, 1000, "worse than chance, below break-even"),
    ],
)
def test_verdict_says_what_the_interval_allows(won: int, decided: int, says: str) -> None:
    assert verdict_of(won, decided) == says


def test_of_the_least_trades_three_in_four_must_be_won_to_be_above_break_even() -> None:
    praised = [won for won in range(LEAST_TRADES + 1) if "above break-even" in verdict_of(won, LEAST_TRADES)]
    assert praised == list(range(23, LEAST_TRADES + 1))


def test_payout_above_the_stake_makes_break_even_easier_than_chance() -> None:
    says = verdict_of(500, 1000, break_even=0.4)
    assert says == "not distinguishable from chance, above break-even"


@given(ends=st.tuples(st.floats(0, 1), st.floats(0, 1)), rate=st.floats(0, 1))
def test_interval_that_contains_a_rate_lies_around_it(ends: tuple[float, float], rate: float) -> None:
    side = Interval(low=min(ends), high=max(ends)).side(rate)
    assert (side is Side.AROUND) == (min(ends) <= rate <= max(ends))
    assert (side is Side.ABOVE) == (rate < min(ends))


@given(decided=st.integers(LEAST_TRADES, 5_000), share=st.floats(0.0, 1.0))
def test_chance_is_named_exactly_where_the_interval_contains_it(decided: int, share: float) -> None:
    won = round(decided * share)
    interval = wilson(won=won, decided=decided)
    assert interval is not None
    contains = interval.low <= CHANCE <= interval.high
    assert ("not distinguishable from chance" in verdict_of(won, decided)) == contains


# --- which trades, which hour -----------------------------------------------------------------


def position(state: str, *, settled_us: int | None = None, profit: str | None = None) -> Position:
    trade = Trade(
        1, 2, "A@sim", "paper", None, "up", Decimal(10), "USD", 80.0, state, 7,
        settled_us=settled_us, profit=None if profit is None else Decimal(profit),
    )  # fmt: skip
    return Position(trade=trade, strategy="rsi", expiry_s=60, ts_us=6)


def test_only_settled_trades_are_results_in_the_order_in_which_they_settled() -> None:
    positions = [
        position("won", settled_us=9, profit="8.00"),
        position("open"),
        position("lost", settled_us=8, profit="-10.00"),
        position("refused", settled_us=7, profit="0"),
        position("unknown"),
    ]
    assert [each.state for each in results_of(positions)] == ["lost", "won"]


def test_settled_trade_without_a_profit_is_our_fault() -> None:
    with pytest.raises(InvariantError, match="trade 1 is won"):
        results_of([position("won", settled_us=9)])


def test_hour_is_that_of_the_zone_in_which_a_trade_was_decided() -> None:
    midnight_us = int(datetime.datetime(2026, 11, 27, tzinfo=datetime.UTC).timestamp()) * 1_000_000
    late = result("won")._replace(intended_us=midnight_us - 1, settled_us=midnight_us + HOUR_US)
    early = result("lost")._replace(intended_us=midnight_us, settled_us=midnight_us + HOUR_US)
    in_utc = by_hour([late, early], zone=datetime.UTC)
    assert {hour: each.won for hour, each in in_utc.items()} == {0: 0, 23: 1}
    assert list(by_hour([late, early], zone=zoneinfo.ZoneInfo("Asia/Jakarta"))) == [6, 7]


def test_a_hundred_small_profits_add_up_to_the_cent() -> None:
    won = figures([result("won", stake="1.01", payout=82.5, number=number) for number in range(100)])
    assert won.profit == Decimal("83.00")
