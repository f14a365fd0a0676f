import random

import pytest
from dealing import MARKET, tick_at

from domain.market import Candle, CandleBuilder, Tick
from supervisor import chart_candles
from supervisor.chart_candles import ChartCandles

Prices = tuple[int, float, float, float, float]


def walk(ticks: int) -> list[Tick]:
    chance, at_s, price, made = random.Random(3), 20.0, 1.0, []
    for _ in range(ticks):
        at_s += chance.choice((1, 7, 7, 300))
        price = round(price + chance.choice((-1, 1)) * 1e-3, 3)
        made.append(tick_at(at_s, price))
    return made


def prices(candle: Candle) -> Prices:
    return candle.open_us, candle.open, candle.high, candle.low, candle.close


def built(ticks: list[Tick], *, timeframe_s: int) -> list[Prices]:
    """All whole candles but the first, by the candle builder."""
    builder = CandleBuilder(market=MARKET, timeframe_s=timeframe_s)
    return [prices(candle) for tick in ticks if (candle := builder.add(tick)) is not None]


def test_they_are_those_of_the_candle_builder() -> None:
    ticks, chart = walk(3_000), ChartCandles(market=MARKET)
    for tick in ticks:
        chart.add(tick)
    assert chart.timeframe_s == 60
    assert [prices(candle) for candle in chart.candles][1:-1] == built(ticks, timeframe_s=60)


def test_too_many_become_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_candles, "MOST_CANDLES", 50)
    ticks, chart = walk(3_000), ChartCandles(market=MARKET)
    for tick in ticks:
        chart.add(tick)
        assert len(chart.candles) <= 51
    assert chart.timeframe_s > 1_000
    assert [prices(each) for each in chart.candles][1:-1] == built(ticks, timeframe_s=chart.timeframe_s)
