from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from venues.simulated.turns import MOST_AT_ONCE, Turns


def all_due(turns: Turns, at_s: float) -> list[int]:
    indices: list[int] = []
    while more := turns.due(at_s):
        indices += more
    return indices


rates = st.floats(min_value=0.1, max_value=100.0)
sizes = st.integers(min_value=1, max_value=50)
steps = st.lists(st.floats(min_value=0.0, max_value=0.9), min_size=1, max_size=100)


@given(rate=rates, markets=sizes, steps=steps)
def test_every_market_ticks_at_its_rate_whenever_one_looks(
    rate: float, markets: int, steps: list[float]
) -> None:
    turns, at_s = Turns(rate=rate, markets=markets), 0.0
    ticks: Counter[int] = Counter()
    for step in steps:
        at_s += step
        ticks.update(all_due(turns, at_s))
    assert all(abs(ticks[index] - at_s * rate) <= 1.0 + 1e-6 for index in range(markets))


@given(rate=rates, markets=sizes, steps=steps)
def test_markets_take_turns(rate: float, markets: int, steps: list[float]) -> None:
    turns, at_s = Turns(rate=rate, markets=markets), 0.0
    order: list[int] = []
    for step in steps:
        at_s += step
        order += all_due(turns, at_s)
    assert order == [number % markets for number in range(len(order))]


@given(rate=rates, markets=sizes)
def test_nothing_is_due_before_the_next_turn(rate: float, markets: int) -> None:
    turns = Turns(rate=rate, markets=markets)
    assert turns.due(turns.next_s() * 0.999) == []
    assert turns.due(turns.next_s() * 1.001) == [0]


def test_an_hour_of_standstill_is_not_made_up_for() -> None:
    turns = Turns(rate=2.0, markets=3)
    assert len(turns.due(3_600.0)) == 6
    assert turns.due(3_600.0) == []


def test_no_tick_is_lost_to_rounding_after_months() -> None:
    turns = Turns(rate=20.0, markets=27)
    begun_s = 90.0 * 86_400
    turns.due(begun_s)
    ticks = sum(len(turns.due(begun_s + number * 0.005)) for number in range(1, 20_001))
    assert abs(ticks - 100 * 20 * 27) <= 1


def test_a_turn_is_bounded_and_the_rest_is_still_due() -> None:
    turns = Turns(rate=MOST_AT_ONCE * 2.5, markets=1)
    assert [len(turns.due(1.0)) for _ in range(4)] == [MOST_AT_ONCE, MOST_AT_ONCE, MOST_AT_ONCE // 2, 0]
