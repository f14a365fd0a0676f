"""Draws what each hour of the day brought."""

from collections.abc import Mapping
from decimal import Decimal
from xml.etree.ElementTree import Element

from strategies.statistics import Figures
from supervisor.reports.drawing import BOTTOM, LEFT, RIGHT, TOP, WIDTH, draw_line, draw_values, drawing
from supervisor.reports.markup import add
from supervisor.reports.scales import Scale, widened
from supervisor.reports.words import gain

HEIGHT = 220.0
HOURS = 24


def draw_hours(parent: Element, hours: Mapping[int, Figures], *, name: str, currency: str) -> None:
    """Draw a bar for each hour in which trades were decided; there is at least one."""
    description = "; ".join(f"{_hour(hour)} {gain(each.profit)}" for hour, each in hours.items())
    svg = drawing(
        parent, name=name, title=f"Profit by hour, in {currency}", description=description, height=HEIGHT
    )
    profits = [float(each.profit) for each in hours.values()]
    low, high = widened(min(*profits, 0.0), max(*profits, 0.0))
    y = Scale(low=low, high=high, start=HEIGHT - BOTTOM, end=TOP)
    draw_values(svg, y, most=4)
    width = (WIDTH - LEFT - RIGHT) / HOURS
    for hour in range(HOURS):
        left = LEFT + width * hour
        if hour in hours:
            _draw_bar(svg, y, hours[hour], hour=hour, left=left + 3, width=width - 6)
        if hour % 3 == 0:
            kind = "time" if hour % 6 == 0 else "time minor"
            add(svg, "text", _hour(hour), x=left + width / 2, y=HEIGHT - BOTTOM + 20, class_=kind)
    draw_line(svg, "zero", (LEFT, y(0.0)), (WIDTH - RIGHT, y(0.0)))


def _draw_bar(svg: Element, y: Scale, each: Figures, *, hour: int, left: float, width: float) -> None:
    zero, tip = y(0.0), y(float(each.profit))
    kind = "bar won" if each.profit > Decimal(0) else "bar lost"
    bar = add(
        svg,
        "rect",
        class_=kind,
        x=left,
        y=min(zero, tip),
        width=width,
        height=max(abs(tip - zero), 1.5),
        rx=2,
    )
    add(bar, "title", f"{_hour(hour)}: {each.trades} trades, {each.won} won, {gain(each.profit)}")


def _hour(hour: int) -> str:
    return f"{hour:02d}:00"
