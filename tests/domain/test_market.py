import math
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import RemoteProtocolError
from domain.market import (
    MAX_INTEGER,
    SYMBOL_PATTERN,
    Candle,
    CandleBuilder,
    PriceUpdate,
    Tick,
    check_update,
    market_id,
    split_market_id,
)

MARKET = "EURUSD@sim"
MINUTE_US = 60_000_000
MIDNIGHT = 1_700_006_400_000_000  # 2023-11-15, a whole day
assert MIDNIGHT % (86_400 * 1_000_000) == 0


def tick(at_us: int, price: float = 1.0, volume: float | None = None) -> Tick:
    return Tick(MARKET, MIDNIGHT + at_us, 0, price, None, None, volume, MIDNIGHT + at_us)


# --- ids --------------------------------------------------------------------------------------


@given(symbol=st.from_regex(SYMBOL_PATTERN, fullmatch=True), venue=st.sampled_from(["sim", "binance"]))
def test_an_id_splits_into_what_it_was_made_of(symbol: str, venue: str) -> None:
    assert split_market_id(market_id(symbol=symbol, venue=venue)) == (symbol, venue)


# --- what may come in -------------------------------------------------------------------------

GOOD = PriceUpdate("EURUSD", 1, 1, 1.1, bid=1.0, ask=1.2, volume=0.0)


def good_but(**changes: Any) -> PriceUpdate:
    return GOOD._replace(**changes)


def test_a_sound_update_passes() -> None:
    check_update(GOOD)


def test_an_update_that_tells_only_a_price_passes() -> None:
    check_update(PriceUpdate("EURUSD", None, None, 1.1))


@pytest.mark.parametrize("field", ["price", "bid", "ask"])
@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, math.inf, -math.inf, math.nan])
def test_a_price_that_is_no_positive_number_is_refused(field: str, value: float) -> None:
    with pytest.raises(RemoteProtocolError, match=f"EURUSD: {field}"):
        check_update(good_but(**{field: value}))


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_a_volume_that_is_no_number_from_zero_up_is_refused(value: float) -> None:
    with pytest.raises(RemoteProtocolError, match="volume"):
        check_update(good_but(volume=value))


@pytest.mark.parametrize("field", ["ts_us", "seq"])
@pytest.mark.parametrize("value", [-1, MAX_INTEGER + 1, 10**30])
def test_a_number_that_no_column_can_hold_is_refused(field: str, value: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"EURUSD: {field}"):
        check_update(good_but(**{field: value}))


@pytest.mark.parametrize("field", ["ts_us", "seq"])
@pytest.mark.parametrize("value", [0, MAX_INTEGER])
def test_the_largest_and_the_smallest_number_pass(field: str, value: int) -> None:
    check_update(good_but(**{field: value}))


# --- candles ----------------------------------------------------------------------------------


def closed_by(ticks: list[Tick], *, timeframe_s: int = 60) -> list[Candle]:
    builder = CandleBuilder(market=MARKET, timeframe_s=timeframe_s)
    return [candle for each in ticks if (candle := builder.add(each)) is not None]


def test_there_is_no_candle_before_the_first_tick() -> None:
    assert CandleBuilder(market=MARKET, timeframe_s=60).current() is None


def test_the_first_candle_is_never_handed_out() -> None:
    assert closed_by([tick(0), tick(MINUTE_US)]) == []


def test_a_whole_candle_is_handed_out_by_the_first_tick_after_it() -> None:
    ticks = [
        tick(0),
        tick(MINUTE_US, 2.0, 10.0),
        tick(MINUTE_US + 1, 5.0),
        tick(2 * MINUTE_US - 2, 1.0, 0.5),
        tick(2 * MINUTE_US - 1, 3.0),
    ]
    assert closed_by(ticks) == []
    assert closed_by([*ticks, tick(2 * MINUTE_US, 9.0)]) == [
        Candle(
            market=MARKET,
            timeframe_s=60,
            open_us=MIDNIGHT + MINUTE_US,
            open=2.0,
            high=5.0,
            low=1.0,
            close=3.0,
            ticks=4,
            volume=10.5,
        )
    ]


def test_an_interval_without_ticks_has_no_candle() -> None:
    opens = [candle.open_us - MIDNIGHT for candle in closed_by([tick(n * MINUTE_US) for n in (0, 1, 5, 6)])]
    assert opens == [MINUTE_US, 5 * MINUTE_US]


def test_a_tick_older_than_the_open_candle_changes_nothing() -> None:
    builder = CandleBuilder(market=MARKET, timeframe_s=60)
    builder.add(tick(MINUTE_US, 2.0))
    before = builder.current()
    assert builder.add(tick(MINUTE_US - 1, 9.0)) is None
    assert builder.current() == before


def naive_candles(ticks: list[Tick], *, timeframe_s: int) -> list[Candle]:
    """What a spreadsheet would say of ticks in order: group, first, highest, lowest, last."""
    span_us = timeframe_s * 1_000_000
    candles = []
    for number, members in groupby(ticks, key=lambda each: each.ts_us // span_us):
        group = list(members)
        prices = [each.price for each in group]
        candles.append(
            Candle(
                market=MARKET,
                timeframe_s=timeframe_s,
                open_us=number * span_us,
                open=prices[0],
                high=max(prices),
                low=min(prices),
                close=prices[-1],
                ticks=len(group),
                volume=math.fsum(each.volume or 0.0 for each in group),
            )
        )
    return candles


PRICES = st.floats(min_value=0.5, max_value=2.0)
# Halves add up exactly in any order.
VOLUMES = st.none() | st.integers(min_value=0, max_value=100).map(lambda halves: halves / 2)
STREAMS = st.lists(st.builds(tick, st.integers(min_value=0, max_value=10 * MINUTE_US), PRICES, VOLUMES)).map(
    lambda ticks: sorted(ticks, key=lambda each: each.ts_us)
)
TIMEFRAMES_S = st.sampled_from([1, 7, 60, 300])


@given(ticks=STREAMS, timeframe_s=TIMEFRAMES_S)
def test_candles_are_what_a_naive_count_says_without_the_first_and_the_open_one(
    ticks: list[Tick], timeframe_s: int
) -> None:
    assert closed_by(ticks, timeframe_s=timeframe_s) == naive_candles(ticks, timeframe_s=timeframe_s)[1:-1]


@given(ticks=STREAMS.filter(bool), timeframe_s=TIMEFRAMES_S)
def test_the_open_candle_is_what_a_naive_count_says_of_the_last_interval(
    ticks: list[Tick], timeframe_s: int
) -> None:
    builder = CandleBuilder(market=MARKET, timeframe_s=timeframe_s)
    for each in ticks:
        builder.add(each)
    assert builder.current() == naive_candles(ticks, timeframe_s=timeframe_s)[-1]


@given(ticks=STREAMS, late=STREAMS, timeframe_s=TIMEFRAMES_S)
def test_candles_come_in_order_and_never_twice_whatever_the_order_of_ticks(
    ticks: list[Tick], late: list[Tick], timeframe_s: int
) -> None:
    opens = [candle.open_us for candle in closed_by(ticks + late, timeframe_s=timeframe_s)]
    assert opens == sorted(set(opens))
