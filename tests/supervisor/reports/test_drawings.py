import datetime
import zoneinfo
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traded import FIRST_US, MINUTE_US, some_candles

from strategies.statistics import Point
from supervisor.reports.candles import IN_PANEL, MOST_PANELS, Bar, drawn_span_us, longer, panels
from supervisor.reports.curve import thinned
from supervisor.reports.report import PriceChart
from supervisor.reports.scales import Scale, decimals, round_numbers, round_times, widened

YEAR_US = 365 * 86_400_000_000
ZONES = st.sampled_from(
    [datetime.UTC, *map(zoneinfo.ZoneInfo, ("Asia/Jakarta", "Europe/Berlin", "Asia/Kolkata"))]
)


@given(
    count=st.integers(0, 200), minutes=st.sampled_from([1, 2, 5, 60]), missing=st.sets(st.integers(0, 199))
)
def test_longer_candles_are_those_of_all_the_prices_in_them(
    count: int, minutes: int, missing: set[int]
) -> None:
    every = some_candles("A@sim", count=count)
    candles = [candle for number, candle in enumerate(every) if number not in missing]
    span_us = minutes * MINUTE_US
    groups: dict[int, list[Bar]] = {}
    for each in candles:
        bar = Bar(open_us=each.open_us, open=each.open, high=each.high, low=each.low, close=each.close)
        groups.setdefault(each.open_us // span_us * span_us, []).append(bar)
    assert list(longer(candles, span_us=span_us)) == [
        Bar(
            open_us=open_us, open=bars[0].open, high=max(bar.high for bar in bars),
            low=min(bar.low for bar in bars), close=bars[-1].close,
        )
        for open_us, bars in groups.items()
    ]  # fmt: skip


@given(count=st.integers(1, 200_000), timeframe_s=st.sampled_from([5, 60, 300]))
def test_however_many_candles_there_are_few_panels_hold_them(count: int, timeframe_s: int) -> None:
    chart = PriceChart(market="A@sim", timeframe_s=timeframe_s, candles=range(count))  # type: ignore[arg-type]
    span_us = drawn_span_us(chart)
    drawn = count * timeframe_s * 1_000_000 / span_us
    assert drawn <= IN_PANEL * MOST_PANELS
    assert count <= IN_PANEL * MOST_PANELS or drawn > IN_PANEL * MOST_PANELS / 4


@given(missing=st.sets(st.integers(0, 999)))
def test_panels_hold_every_candle_once_and_none_spans_more_than_it_has_room_for(missing: set[int]) -> None:
    bars = [
        Bar(open_us=FIRST_US + number * MINUTE_US, open=1.0, high=1.0, low=1.0, close=1.0)
        for number in range(1_000)
        if number not in missing
    ]
    found = list(panels(bars, span_us=MINUTE_US))
    assert [bar for panel in found for bar in panel] == bars
    assert all(panel[-1].open_us - panel[0].open_us < IN_PANEL * MINUTE_US for panel in found)


@given(profits=st.lists(st.integers(-50, 50), min_size=1, max_size=600), most=st.integers(8, 100))
def test_thinned_curve_keeps_its_ends_and_its_highest_and_lowest(profits: list[int], most: int) -> None:
    points = [Point(number, Decimal(profit)) for number, profit in enumerate(profits)]
    kept = thinned(points, most=most)
    assert len(kept) <= most + 4
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    for choose in (min, max):
        assert choose(point.profit for point in kept) == choose(point.profit for point in points)


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-5, 1e6), most=st.integers(2, 9))
def test_round_numbers_are_few_apart_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    found = round_numbers(low, high, most=most)
    assert len(found) <= most + 1
    most_off = span * 1e-6 + abs(low) * 1e-15  # a float knows no more of it
    assert all(low - most_off <= number <= high + most_off for number in found)
    texts = [f"{number:.{decimals(found)}f}" for number in found]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("low", "high", "numbers"), [(0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]), (-70.0, 52.0, [-50.0, 0.0, 50.0])]
)
def test_round_numbers_are_those_that_people_write(low: float, high: float, numbers: list[float]) -> None:
    assert round_numbers(low, high, most=4) == numbers


@given(
    from_us=st.integers(FIRST_US, FIRST_US + YEAR_US),
    span_us=st.integers(1_000_000, 12 * YEAR_US),
    zone=ZONES,
)
def test_round_times_are_few_and_round_in_their_zone(
    from_us: int, span_us: int, zone: datetime.tzinfo
) -> None:
    found = round_times(from_us, from_us + span_us, most=7, zone=zone)
    assert len(found) <= 9
    assert [ts_us for ts_us, _ in found] == sorted(ts_us for ts_us, _ in found)
    for ts_us, text in found:
        assert from_us <= ts_us <= from_us + span_us
        when = datetime.datetime.fromtimestamp(ts_us // 1_000_000, tz=zone)
        assert text in {when.strftime(form) for form in ("%H:%M:%S", "%H:%M", "%b %-d", "%Y-%m-%d")}


@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6), value=st.floats(-1e7, 1e7))
def test_place_of_any_number_lies_between_the_ends(low: float, high: float, value: float) -> None:
    low, high = widened(min(low, high), max(low, high))
    assert low < high
    place = Scale(low=low, high=high, start=300.0, end=10.0)
    assert 10.0 <= place(value) <= 300.0
    assert (place(low), place(high)) == (300.0, 10.0)
