import random

from hypothesis import given
from hypothesis import strategies as st

from wire.backoff import bound_s, delay_s

ATTEMPTS = st.integers(min_value=0, max_value=100_000)
SECONDS = st.floats(min_value=0.01, max_value=1e6)


def highest(_low: float, high: float) -> float:
    return high


def test_the_bound_doubles_until_it_reaches_the_longest() -> None:
    bounds = [bound_s(attempt=attempt, min_s=1.0, max_s=60.0) for attempt in range(8)]
    assert bounds == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@given(attempt=ATTEMPTS, min_s=SECONDS, max_s=SECONDS)
def test_no_attempt_however_late_waits_longer_than_the_longest(
    attempt: int, min_s: float, max_s: float
) -> None:
    assert 0.0 < bound_s(attempt=attempt, min_s=min_s, max_s=max_s) <= max_s


@given(attempt=ATTEMPTS, min_s=SECONDS, more_s=SECONDS, seed=st.integers())
def test_a_delay_lies_between_the_shortest_and_the_bound(
    attempt: int, min_s: float, more_s: float, seed: int
) -> None:
    max_s = min_s + more_s
    delay = delay_s(attempt=attempt, min_s=min_s, max_s=max_s, uniform=random.Random(seed).uniform)
    assert min_s <= delay <= bound_s(attempt=attempt, min_s=min_s, max_s=max_s) * (1 + 1e-9)


@given(attempt=ATTEMPTS, min_s=SECONDS, more_s=SECONDS)
def test_the_whole_range_up_to_the_bound_is_drawn_from(attempt: int, min_s: float, more_s: float) -> None:
    asked: list[tuple[float, float]] = []

    def note(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    max_s = min_s + more_s
    delay_s(attempt=attempt, min_s=min_s, max_s=max_s, uniform=note)
    assert asked == [(min_s, bound_s(attempt=attempt, min_s=min_s, max_s=max_s))]


def test_a_longest_below_the_shortest_yields_to_it() -> None:
    assert delay_s(attempt=3, min_s=10.0, max_s=5.0, uniform=highest) == 10.0


def test_two_clients_that_fail_together_come_back_apart() -> None:
    delays = {delay_s(attempt=20, min_s=1.0, max_s=60.0) for _ in range(100)}
    assert len(delays) > 90
