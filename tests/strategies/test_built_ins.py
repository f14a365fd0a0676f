"""The built-ins' rules, each against the rule spelled out over the whole series."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from strategies.built_in import BuiltIn
from strategies.ema_cross import EmaCross
from strategies.rsi import RsiReversal
from strategies.strategy import SeenCandle, View
from strategies.streak import Streak

MARKET = "EURUSD@one"
MINUTE_US = 60_000_000
CLOSES = st.lists(st.integers(990, 1010).map(float), min_size=1, max_size=120)


def candle(minute: int, *, close: float, opened: float = 1.0, has_gap: bool = False) -> SeenCandle:
    low, high = sorted((opened, close))
    return SeenCandle(
        market=MARKET,
        timeframe_s=60,
        open_us=minute * MINUTE_US,
        open=opened,
        high=high,
        low=low,
        close=close,
        ticks=1,
        volume=0.0,
        has_gap=has_gap,
    )


def decide(strategy: BuiltIn, candles: Sequence[SeenCandle], *, late_us: int = 0) -> list[str | None]:
    """Return what it decides on each candle, called by a tick so late after the candle's end."""
    view = View.for_strategy(strategy, market=MARKET)
    answers: list[str | None] = []
    for each in candles:
        view.show_candle(each)
        view.ts_us = view.now_us = each.end_us + late_us
        decision = strategy.on_candle(each, view)
        answers.append(decision and decision.direction.value)
    return answers


def closing_at(closes: Sequence[float]) -> list[SeenCandle]:
    return [candle(minute, close=close) for minute, close in enumerate(closes)]


@given(CLOSES)
def test_rsi_trades_the_way_back_from_an_extreme(closes: list[float]) -> None:
    index = talib.RSI(np.array(closes), timeperiod=3) if len(closes) > 3 else np.full(len(closes), np.nan)
    index[np.isclose(index, 0.0) & flat(closes)] = 50.0
    found = decide(RsiReversal(period=3, low=35.0, high=65.0), closing_at(closes))
    for (before, now), answer in zip(itertools.pairwise(index), found[1:], strict=True):
        if min(abs(each - bound) for each in (before, now) for bound in (35.0, 65.0)) < 1e-9:
            continue  # where they touch, the last digit decides
        is_up, is_down = before < 35.0 <= now, before > 65.0 >= now
        assert answer == ("up" if is_up else "down" if is_down else None)


def flat(closes: list[float]) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return where no close so far was another than the first."""
    return np.array([len(set(closes[: index + 1])) == 1 for index in range(len(closes))])


@given(CLOSES)
def test_ema_cross_trades_the_way_the_fast_average_goes(closes: list[float]) -> None:
    strategy = EmaCross(fast=2, slow=4)
    fast, slow = (talib.EMA(np.array(closes), timeperiod=period) for period in (2, 4))
    found = decide(strategy, closing_at(closes))
    difference = fast - slow
    for index, answer in enumerate(found):
        before, now = difference[index - 1] if index else np.nan, difference[index]
        if min(abs(before), abs(now)) < 1e-9:
            continue  # where they touch, the last digit decides
        assert answer == ("up" if before < 0.0 < now else "down" if before > 0.0 > now else None)


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60), st.integers(1, 4))
def test_streak_trades_once_against_each_streak(moves: list[int], length: int) -> None:
    candles = [candle(minute, opened=2.0, close=2.0 + move) for minute, move in enumerate(moves)]
    expected: list[str | None] = []
    for index, move in enumerate(moves):
        row = moves[index - length + 1 : index + 1] if index >= length - 1 else []
        begins = index < length or moves[index - length] != move
        is_due = move != 0 and row == [move] * length and begins
        expected.append(("down" if move > 0 else "up") if is_due else None)
    assert decide(Streak(length=length), candles) == expected


def test_streak_may_follow() -> None:
    candles = [candle(minute, opened=1.0, close=2.0) for minute in range(3)]
    assert decide(Streak(length=3, direction="follow"), candles) == [None, None, "up"]


def test_none_decides_on_a_candle_with_a_gap_but_each_takes_it_into_account() -> None:
    whole = [candle(minute, opened=1.0, close=2.0) for minute in range(3)]
    with_gap = [*whole[:2], candle(2, opened=1.0, close=2.0, has_gap=True)]
    assert decide(Streak(length=3), whole)[-1] == "down"
    assert decide(Streak(length=3), with_gap)[-1] is None
    holed = [whole[0], candle(1, opened=1.0, close=2.0, has_gap=True), whole[2]]
    assert decide(Streak(length=3), holed)[-1] == "down"


@pytest.mark.parametrize(("apart", "answer"), [(5, "down"), (6, None)])
def test_it_starts_over_after_more_than_five_timeframes(apart: int, answer: str | None) -> None:
    candles = [
        candle(0, opened=1.0, close=2.0),
        candle(1, opened=1.0, close=2.0),
        candle(1 + apart, opened=1.0, close=2.0),
    ]
    assert decide(Streak(length=3), candles)[-1] == answer


@pytest.mark.parametrize(("late_us", "answer"), [(MINUTE_US, "down"), (MINUTE_US + 1, None)])
def test_a_candle_that_ended_over_a_timeframe_ago_is_not_decided_on(late_us: int, answer: str | None) -> None:
    candles = [candle(minute, opened=1.0, close=2.0) for minute in range(3)]
    assert decide(Streak(length=3), candles, late_us=late_us)[-1] == answer


@pytest.mark.parametrize("strategy", [RsiReversal(), EmaCross(), Streak()])
def test_warmed_up_it_decides_as_one_that_saw_everything(strategy: BuiltIn) -> None:
    noise = np.random.default_rng(5)
    closes = (1.0 + noise.normal(0.0, 1e-4, 4_000).cumsum()).tolist()
    opens = [closes[0], *closes[:-1]]
    candles = [
        candle(minute, opened=opened, close=close)
        for minute, (opened, close) in enumerate(zip(opens, closes, strict=True))
    ]
    late = type(strategy)()
    start = 3_000
    decide(late, candles[start - strategy.warm_up_candles : start])
    expected = decide(strategy, candles)[start:]
    assert decide(late, candles[start:]) == expected
    assert set(expected) == {None, "up", "down"}
