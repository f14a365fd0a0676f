"""What the marks of the drawings say, read off the tree before it is text."""

import datetime
import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from xml.etree.ElementTree import Element

import pytest
from traded import FIRST_US, MINUTE_US, a_trade, some_candles

from domain.gaps import Gap
from domain.trades import Position, TradeState, profit_of
from strategies.statistics import Result, by_hour, figures, results_of
from supervisor.reports.candles import draw_prices
from supervisor.reports.curve import draw_curve
from supervisor.reports.drawing import LEFT, RIGHT, WIDTH
from supervisor.reports.hours import draw_hours
from supervisor.reports.rates import draw_rates
from supervisor.reports.report import PriceChart, Report

EURUSD = "EURUSD@sim"


def result(state: str, *, minute: int, payout: float = 80.0) -> Result:
    profit = profit_of(TradeState(state), stake=Decimal(10), payout_percent=payout)
    at_us = FIRST_US + minute * MINUTE_US
    return Result(EURUSD, "rsi", state, Decimal(10), payout, profit, at_us, at_us + MINUTE_US)


def results(*, won: int, lost: int) -> list[Result]:
    states = ["won"] * won + ["lost"] * lost
    return [result(state, minute=number) for number, state in enumerate(states)]


def of_class(root: Element, kind: str) -> list[Element]:
    return [each for each in root.iter() if kind in each.get("class", "").split()]


def number(element: Element, name: str) -> float:
    return float(element.get(name, "nan"))


# --- win rates --------------------------------------------------------------------------------


@pytest.mark.parametrize(("won", "lost", "kind"), [(900, 100, "won"), (100, 900, "lost"), (56, 44, "open")])
def test_interval_and_rate_lie_where_they_are_and_show_on_which_side_of_break_even(
    won: int, lost: int, kind: str
) -> None:
    root, found = Element("div"), figures(results(won=won, lost=lost))
    draw_rates(root, {"all": found}, name="rates", title="")
    at_0, at_1 = (number(line, "x1") for line in (of_class(root, "grid")[0], of_class(root, "grid")[-1]))

    def rate(x: float) -> float:
        return (x - at_0) / (at_1 - at_0)

    [interval], [dot], [even] = (of_class(root, each) for each in ("interval", "rate", "even"))
    assert interval.get("class") == f"interval {kind}"
    assert dot.get("class") == f"rate {kind}"
    assert found.interval is not None
    assert rate(number(interval, "x")) == pytest.approx(found.interval.low, abs=1e-3)
    ends = number(interval, "x") + number(interval, "width")
    assert rate(ends) == pytest.approx(found.interval.high, abs=1e-3)
    assert rate(number(dot, "cx")) == pytest.approx(found.win_rate, abs=1e-3)
    assert rate(number(even, "x1")) == pytest.approx(found.break_even, abs=1e-3)
    [chance] = of_class(root, "chance")
    assert rate(number(chance, "x1")) == pytest.approx(0.5, abs=1e-3)


# --- hours and the curve ----------------------------------------------------------------------


def test_hours_that_won_rise_above_the_line_and_those_that_lost_hang_below_it() -> None:
    root = Element("div")
    some = [result("won", minute=0), result("lost", minute=60), result("lost", minute=61)]
    draw_hours(root, by_hour(some, zone=datetime.UTC), name="hours", currency="USD")
    [zero] = of_class(root, "zero")
    [won, lost] = of_class(root, "bar")
    assert (won.get("class"), lost.get("class")) == ("bar won", "bar lost")
    assert number(won, "y") + number(won, "height") == pytest.approx(number(zero, "y1"), abs=0.2)
    assert number(lost, "y") == pytest.approx(number(zero, "y1"), abs=0.2)
    assert number(lost, "height") / number(won, "height") == pytest.approx(20 / 8, rel=0.01)
    assert number(won, "x") < number(lost, "x")


def places(path: Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path.get("d", ""))]


def test_curve_goes_from_nothing_step_by_step_to_the_profit_of_all() -> None:
    root = Element("div")
    some = [result("won", minute=0), result("lost", minute=5), result("tied", minute=9)]
    draw_curve(root, Report(title="", currency="USD", zone=datetime.UTC, results=some), name="curve")
    [line], [zero], [end] = (of_class(root, each) for each in ("curve", "zero", "end"))
    steps, level = places(line), number(zero, "y1")
    assert steps[0] == pytest.approx((LEFT, level), abs=0.1)
    assert steps[-1] == pytest.approx((number(end, "cx"), number(end, "cy")), abs=0.1)
    assert number(end, "cx") == pytest.approx(WIDTH - RIGHT)
    heights = [level - y for _, y in steps[::2]]  # after each result
    assert heights[1] / -heights[3] == pytest.approx(8 / 2, rel=0.02)
    assert heights[3] == pytest.approx(heights[2], abs=0.1)
    assert end.get("class") == "end lost"
    [area] = of_class(root, "area")
    assert set(steps) <= set(places(area))


# --- candles ----------------------------------------------------------------------------------


def drawn(trades: Sequence[Position], *, gaps: Sequence[Gap] = ()) -> Element:
    root = Element("div")
    chart = PriceChart(market=EURUSD, timeframe_s=60, candles=some_candles(EURUSD, count=30), gaps=gaps)
    draw_prices(root, chart, trades, name="prices", zone=datetime.UTC)
    return root


def test_every_candle_stands_at_its_time_and_reaches_from_its_low_to_its_high() -> None:
    root = drawn([])
    candles = some_candles(EURUSD, count=30)
    wicks = [each for kind in ("rise", "fall") for each in of_class(root, kind) if each.tag == "line"]
    wicks.sort(key=lambda each: number(each, "x1"))
    assert len(wicks) == 30
    assert [each.get("class") for each in wicks] == [
        "rise" if candle.close >= candle.open else "fall" for candle in candles
    ]
    highest = max(range(30), key=lambda at: candles[at].high)
    assert min(range(30), key=lambda at: number(wicks[at], "y1")) == highest
    lowest = min(range(30), key=lambda at: candles[at].low)
    assert max(range(30), key=lambda at: number(wicks[at], "y2")) == lowest
    apart = [number(b, "x1") - number(a, "x1") for a, b in itertools.pairwise(wicks)]
    assert max(apart) - min(apart) < 0.3


def test_arrow_points_up_or_down_and_each_result_has_its_own_shape() -> None:
    shapes = {"won": "circle", "lost": "path", "tied": "circle", "void": "rect"}
    for at, (state, shape) in enumerate(shapes.items()):
        position = a_trade(state, number=at + 2)
        root = drawn([position])
        [mark] = of_class(root, "trade")
        assert mark.get("class") == f"trade {state}"
        [entry], [end] = of_class(root, "entry"), of_class(root, "end")
        way = "8" if position.trade.direction == "up" else "-8"  # the tip first, then to its feet
        assert re.search(rf"l-4 {way}h8Z$", entry.get("d", ""))
        assert end.tag == shape


def test_gap_is_shaded_from_its_beginning_to_its_end() -> None:
    gap = Gap(EURUSD, FIRST_US + 10 * MINUTE_US, FIRST_US + 20 * MINUTE_US, "stale")
    [shade] = of_class(drawn([], gaps=[gap]), "gap")
    whole = WIDTH - RIGHT - LEFT
    assert number(shade, "x") - LEFT == pytest.approx(whole / 3, abs=0.2)
    assert number(shade, "width") == pytest.approx(whole / 3, abs=0.2)
    still_open = Gap(EURUSD, FIRST_US + 10 * MINUTE_US, None, "stale")
    [shade] = of_class(drawn([], gaps=[still_open]), "gap")
    assert number(shade, "width") == pytest.approx(whole * 2 / 3, abs=0.2)


def test_trades_of_other_markets_and_those_never_opened_are_not_marked() -> None:
    others = [a_trade("won", number=3, market="GBPUSD@sim"), a_trade("refused", number=4)]
    assert of_class(drawn(others), "trade") == []
    assert len(results_of(others)) == 1
