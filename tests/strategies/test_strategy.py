import json
import math

import pytest

from domain.errors import BadDecision, MissingHistory, StillWarmingUp, StrategyError
from domain.market import Candle, Tick
from domain.trades import Direction
from strategies.strategy import Decision, SeenCandle, Strategy, View, check_strategy, wants_ticks

PLAIN = Candle(
    market="A@one",
    timeframe_s=60,
    open_us=120_000_000,
    open=1.0,
    high=2.0,
    low=0.5,
    close=1.5,
    ticks=3,
    volume=0.0,
)


class Needs(Strategy):
    def begin(self) -> None:
        self.needed = 3

    @property
    def warm_up_candles(self) -> int:
        return self.needed


class OnTicks(Strategy):
    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        return None


def seen(number: int) -> SeenCandle:
    return SeenCandle.of(PLAIN, has_gap=number % 2 == 1)


def test_a_direction_may_be_said_as_text() -> None:
    assert Decision(direction="up").direction is Direction.UP  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"rsi": math.nan}, "inputs rsi = nan: expected a finite number"),
        ({"rsi": -math.inf}, "inputs rsi = -inf: expected a finite number"),
        ({"rsi": None}, "inputs rsi = None: expected a number, a text, true or false"),
        ({"rsi": [1]}, "inputs rsi = \\[1\\]: expected a number"),
        ({7: 1.0}, "inputs: 7: expected a name"),
        ({"": 1.0}, "inputs: '': expected a name"),
        ({"n" * 41: 1.0}, "expected a name of at most 40"),
        ({f"n{number}": 1 for number in range(21)}, "inputs: 21 names, at most 20"),
        ({"text": "t" * 2_000}, "inputs: 2012 characters as JSON, at most 2000"),
        ([1.0], "inputs \\[1.0\\]: expected names with their values"),
    ],
)
def test_inputs_that_cannot_be_kept_are_refused(inputs: object, complaint: str) -> None:
    with pytest.raises(BadDecision, match=complaint):
        Decision(direction=Direction.UP, inputs=inputs)  # type: ignore[arg-type]


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(BadDecision, match="direction 'sideways'"):
        Decision(direction="sideways")  # type: ignore[arg-type]


def test_inputs_are_kept_as_json() -> None:
    decision = Decision(direction=Direction.DOWN, inputs={"rsi": 71.5, "über": True, "n": 3, "why": "x"})
    assert json.loads(decision.inputs_json) == {"rsi": 71.5, "über": True, "n": 3, "why": "x"}


def test_a_view_keeps_as_many_candles_as_the_strategy_asks_for() -> None:
    view = View.for_strategy(Needs(), market="A@one")
    for number in range(5):
        view.show_candle(seen(number))
    assert [each.has_gap for each in view.candles(3)] == [False, True, False]
    with pytest.raises(MissingHistory, match="asks for 4 candles, and its warm_up_candles keeps 3"):
        view.candles(4)


def test_candles_that_are_still_to_come_are_no_fault() -> None:
    view = View.for_strategy(Needs(), market="A@one")
    view.show_candle(seen(0))
    assert len(view.candles(1)) == 1
    with pytest.raises(StillWarmingUp, match="1 of 2 candles have come"):
        view.candles(2)


@pytest.mark.parametrize("count", [0, -1])
def test_no_candles_cannot_be_asked_for(count: int) -> None:
    view = View.for_strategy(Needs(), market="A@one")
    view.show_candle(seen(0))
    with pytest.raises(MissingHistory):
        view.candles(count)


def test_a_price_has_an_age() -> None:
    view = View.for_strategy(Needs(), market="A@one")
    view.show_tick(Tick("A@one", 1_000_000, 0, 1.5, None, None, None, 1_250_000), now_us=1_250_000)
    assert (view.price, view.age_ms) == (1.5, 250)
    view.show_tick(Tick("A@one", 2_000_000, 0, 1.5, None, None, None, 1_900_000), now_us=1_900_000)
    assert view.age_ms == 0  # the venue's clock is ahead


def test_only_a_strategy_with_an_on_tick_is_asked_on_ticks() -> None:
    assert wants_ticks(OnTicks())
    assert not wants_ticks(Needs())


@pytest.mark.parametrize("needed", [-1, 5_001, "ten", 1.5])
def test_a_warm_up_that_cannot_be_kept_is_refused(needed: object) -> None:
    strategy = Needs()
    strategy.needed = needed  # type: ignore[assignment]
    with pytest.raises(StrategyError, match="expected 0 to 5000"):
        check_strategy(strategy)


def test_a_candle_ends_where_the_next_one_begins() -> None:
    assert seen(0).end_us == 180_000_000
