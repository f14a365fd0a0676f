"""Draws a market's candles, what is missing in them, and the trades on them, in panels below each other."""

import datetime
import math
from collections.abc import Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

import attrs

from domain.trades import Direction, Position, TradeState
from supervisor.reports.drawing import Plot, draw_line, draw_times, draw_values, drawing, plot
from supervisor.reports.markup import add
from supervisor.reports.report import AnyCandle, PriceChart
from supervisor.reports.scales import widened
from supervisor.reports.words import gain, moment, price

HEIGHT = 300.0
IN_PANEL = 160  # candles 4 units wide
LEAST_IN_PANEL = 30  # 20 units wide, where there are so few
MOST_PANELS = 12
LONGER = (1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440, 2880, 10080, 40320)
RESULTS = (TradeState.WON, TradeState.LOST, TradeState.TIED, TradeState.VOID)


@attrs.frozen(kw_only=True)
class Bar:
    """A candle of whatever length it is drawn with."""

    open_us: int
    open: float
    high: float
    low: float
    close: float


@attrs.frozen(kw_only=True)
class Prices:
    """What all panels of a market share."""

    chart: PriceChart
    opened: Sequence[Position]
    span_us: int  # of a candle as it is drawn
    width_us: int  # of a panel
    zone: datetime.tzinfo


def draw_prices(
    parent: Element, chart: PriceChart, trades: Iterable[Position], *, name: str, zone: datetime.tzinfo
) -> None:
    """Draw a market's panels; there is at least one candle."""
    opened = [
        each for each in trades if each.trade.market == chart.market and each.trade.opened_us is not None
    ]
    span_us = drawn_span_us(chart)
    parts = list(panels(longer(chart.candles, span_us=span_us), span_us=span_us))
    most = IN_PANEL if len(parts) > 1 else max(LEAST_IN_PANEL, len(parts[0]))
    prices = Prices(chart=chart, opened=opened, span_us=span_us, width_us=span_us * most, zone=zone)
    add(parent, "p", f"{chart.market}, candles of {span_us / 60_000_000:g} min", class_="caption")
    for number, bars in enumerate(parts):
        _draw_panel(parent, prices, bars, name=f"{name}-{number}")


def longer(candles: Iterable[AnyCandle], *, span_us: int) -> Iterator[Bar]:
    """Yield candles of `span_us` made of shorter ones in their order; where there are none there is none."""
    bar: Bar | None = None
    for candle in candles:
        open_us = candle.open_us - candle.open_us % span_us
        if bar is not None and bar.open_us == open_us:
            bar = attrs.evolve(
                bar,
                high=max(bar.high, candle.high),
                low=min(bar.low, candle.low),
                close=candle.close,
            )
            continue
        if bar is not None:
            yield bar
        bar = Bar(open_us=open_us, open=candle.open, high=candle.high, low=candle.low, close=candle.close)
    if bar is not None:
        yield bar


def panels(bars: Iterable[Bar], *, span_us: int) -> Iterator[list[Bar]]:
    """Yield the candles of each panel; one panel spans `IN_PANEL` of them, and none is empty."""
    width_us = span_us * IN_PANEL
    panel: list[Bar] = []
    for bar in bars:
        if panel and bar.open_us >= panel[0].open_us + width_us:
            yield panel
            panel = []
        panel.append(bar)
    if panel:
        yield panel


def drawn_span_us(chart: PriceChart) -> int:
    """Return how long the candles are drawn, so that `MOST_PANELS` panels have room for them."""
    rough = len(chart.candles) / (IN_PANEL * MOST_PANELS)
    factor = next((each for each in LONGER if each >= rough), math.ceil(rough))
    return chart.timeframe_s * factor * 1_000_000


def _draw_panel(parent: Element, prices: Prices, bars: Sequence[Bar], *, name: str) -> None:
    from_us, ends_us = bars[0].open_us, bars[-1].open_us + prices.span_us
    to_us = max(from_us + prices.width_us, ends_us)
    inside = [each for each in prices.opened if from_us <= (each.trade.opened_us or 0) < to_us]
    svg = drawing(
        parent,
        name=name,
        title=f"{prices.chart.market} from {moment(from_us, zone=prices.zone)}",
        description=f"{len(bars)} candles to {moment(ends_us, zone=prices.zone)}, {_tally(inside)}",
        height=HEIGHT,
    )
    values = [bar.low for bar in bars] + [bar.high for bar in bars]
    values += [value for each in inside for value in (each.trade.open_price, each.trade.close_price) if value]
    area = plot(svg, times_us=(from_us, to_us), values=widened(min(values), max(values)), height=HEIGHT)
    _draw_gaps(area, prices.chart, last_us=ends_us)
    draw_times(area, zone=prices.zone)
    draw_values(svg, area.y)
    for bar in bars:
        _draw_bar(area, bar, span_us=prices.span_us)
    for each in inside:
        draw_trade(area, each, zone=prices.zone)


def _tally(trades: Sequence[Position]) -> str:
    counts = [f"{sum(each.state is state for each in trades)} {state}" for state in RESULTS]
    return f"{len(trades)} trades opened: {', '.join(counts)}"


def _draw_gaps(area: Plot, chart: PriceChart, *, last_us: int) -> None:
    for gap in chart.gaps:
        to_us = last_us if gap.to_us is None else gap.to_us
        if to_us <= area.x.low or gap.from_us >= area.x.high:
            continue
        left, right = area.x(gap.from_us), area.x(to_us)
        shade = add(
            area.svg,
            "rect",
            class_="gap",
            x=left,
            y=area.top,
            width=max(right - left, 1.0),
            height=area.bottom - area.top,
        )
        add(shade, "title", f"no prices for {(to_us - gap.from_us) / 1e6:.1f} s: {gap.cause}")


def _draw_bar(area: Plot, bar: Bar, *, span_us: int) -> None:
    kind = "rise" if bar.close >= bar.open else "fall"
    left, right = area.x(bar.open_us), area.x(bar.open_us + span_us)
    middle, air = (left + right) / 2, (right - left) * 0.15
    draw_line(area.svg, kind, (middle, area.y(bar.high)), (middle, area.y(bar.low)))
    top = area.y(max(bar.open, bar.close))
    height = max(area.y(min(bar.open, bar.close)) - top, 0.8)
    add(area.svg, "rect", class_=kind, x=left + air, y=top, width=right - left - 2 * air, height=height)


def draw_trade(area: Plot, position: Position, *, zone: datetime.tzinfo) -> None:
    """Draw an arrow where a trade opened, its line, and how it ended: each result has its own shape."""
    trade = position.trade
    if trade.opened_us is None or trade.open_price is None:
        return
    kind = trade.state if position.state in RESULTS else "open"
    mark = add(area.svg, "g", class_=f"trade {kind}")
    add(mark, "title", _words(position, zone=zone))
    x, y = area.x(trade.opened_us), area.y(trade.open_price)
    if trade.expires_us is not None:
        end = (area.x(trade.expires_us), area.y(trade.close_price or trade.open_price))
        draw_line(mark, "path", (x, y), end)
        _draw_end(mark, kind, *end)
    tip = -1 if trade.direction == Direction.UP else 1
    add(mark, "path", class_="entry", d=f"M{x:.1f} {y:.1f}l-4 {-tip * 8}h8Z")


def _draw_end(mark: Element, kind: str, x: float, y: float) -> None:
    if kind == TradeState.LOST:
        add(mark, "path", class_="end", d=f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6")
    elif kind == TradeState.VOID:
        add(mark, "rect", class_="end", x=x - 3, y=y - 3, width=6, height=6)
    else:
        add(mark, "circle", class_="end", cx=x, cy=y, r=3)


def _words(position: Position, *, zone: datetime.tzinfo) -> str:
    trade = position.trade
    result = "" if trade.profit is None else f" {gain(trade.profit)}"
    return (
        f"{position.strategy} {trade.direction} at {moment(trade.opened_us, zone=zone)}: "
        f"{price(trade.open_price)} → {price(trade.close_price)}, {trade.state}{result}"
    )
