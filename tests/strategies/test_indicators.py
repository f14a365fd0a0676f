from collections.abc import Callable, Iterable

import numpy as np
import pytest
import talib
from hypothesis import example, given
from hypothesis import strategies as st

from strategies.indicators import Ema, Rsi

CLOSE = 1e-9
TALIB_TAKES_FOR_ZERO = 1e-14  # its RSI is 0 where gain and loss together are below

STEPS = st.lists(
    st.one_of(st.just(0.0), st.floats(-1.0, 1.0), st.floats(-1e-6, 1e-6), st.floats(-1e3, 1e3)),
    min_size=1,
    max_size=80,
)
RAW = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=80)
PERIODS = st.integers(2, 20)


def walk(steps: Iterable[float]) -> list[float]:
    """Return prices that change by these steps and stay positive."""
    prices = [5_000.0]
    for step in steps:
        prices.append(max(prices[-1] + step, 1e-3))
    return prices


PRICES = st.one_of(RAW, STEPS.map(walk))


def ours(add: Callable[[float], float | None], prices: Iterable[float]) -> list[float]:
    """Return an indicator's values, NaN where it has none, as the other library has them."""
    return [np.nan if (value := add(price)) is None else value for price in prices]


def wilder(prices: list[float], *, period: int) -> list[float]:
    """Return average gain and loss together after each price, the plain way."""
    changes = np.diff(prices)
    gains, losses = np.maximum(changes, 0.0), np.maximum(-changes, 0.0)
    sums, gain, loss = [np.nan] * period, gains[:period].mean(), losses[:period].mean()
    for index in range(period - 1, len(changes)):
        if index >= period:
            gain, loss = (
                (each * (period - 1) + new) / period
                for each, new in ((gain, gains[index]), (loss, losses[index]))
            )
        sums.append(gain + loss)
    return sums


@given(PRICES, PERIODS)
@example([1.5] * 60, 14)
@example(walk([1.0] * 60), 14)
@example(walk([-1.0] * 60), 14)
@example([1e300, 1e-300] * 30, 5)
@example(np.random.default_rng(1).uniform(1.0, 2.0, 5_000).tolist(), 21)
def test_ema_is_talibs(prices: list[float], period: int) -> None:
    expected = talib.EMA(np.array(prices), timeperiod=period)
    np.testing.assert_allclose(ours(Ema(period=period).add, prices), expected, rtol=CLOSE, atol=0.0)


@given(PRICES, PERIODS)
@example(walk([1.0] * 60), 14)
@example(walk([-1.0] * 60), 14)
@example(walk([0.5, -0.5] * 40), 2)
@example([2.0**60, 2.0**-60] * 30, 5)
@example((1.0 + np.random.default_rng(2).normal(0.0, 1e-4, 5_000).cumsum()).tolist(), 14)
def test_rsi_is_talibs(prices: list[float], period: int) -> None:
    if len(prices) <= period:
        assert np.isnan(ours(Rsi(period=period).add, prices)).all()
        return
    expected = talib.RSI(np.array(prices), timeperiod=period)
    found = np.array(ours(Rsi(period=period).add, prices))
    moved = np.array(wilder(prices, period=period))
    has_word = ~(moved < 2 * TALIB_TAKES_FOR_ZERO)  # NaN before the first value, in both
    np.testing.assert_allclose(found[has_word], expected[has_word], rtol=0.0, atol=CLOSE)


@given(STEPS, PERIODS, st.integers(-200, 200))
def test_rsi_does_not_depend_on_the_unit_of_the_price(steps: list[float], period: int, power: int) -> None:
    # Powers of two change no digit, and prices may be smaller than what another library takes for zero.
    prices = walk(steps)
    scaled = [price * 2.0**power for price in prices]
    assert ours(Rsi(period=period).add, scaled) == pytest.approx(
        ours(Rsi(period=period).add, prices), abs=CLOSE, nan_ok=True
    )


@given(STEPS, PERIODS)
def test_rsi_is_always_from_0_to_100(steps: list[float], period: int) -> None:
    values = [value for value in ours(Rsi(period=period).add, walk(steps)) if not np.isnan(value)]
    assert all(0.0 <= value <= 100.0 for value in values)


def test_rsi_of_a_price_that_never_moved_is_in_the_middle() -> None:
    assert ours(Rsi(period=2).add, [7.0] * 5)[2:] == [50.0] * 3
