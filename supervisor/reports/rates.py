"""Draws win rates with their intervals beside chance and the rate at which nothing is won or lost."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from strategies.statistics import CHANCE, Figures, Side
from supervisor.reports.drawing import BOTTOM, RIGHT, WIDTH, draw_line, drawing
from supervisor.reports.markup import add
from supervisor.reports.scales import Scale
from supervisor.reports.words import percent

ROW = 46.0
TOP = 22.0
SIDE = 12.0
LINES = (0.0, 0.25, 0.5, 0.75, 1.0)


def draw_rates(parent: Element, groups: Mapping[str, Figures], *, name: str, title: str) -> None:
    """Draw a row for each group that won or lost anything; nothing where there is none."""
    rows = {group: each for group, each in groups.items() if each.interval is not None}
    if not rows:
        return
    height = TOP + ROW * len(rows) + BOTTOM
    description = "; ".join(f"{group}: {sentence(each)}" for group, each in rows.items())
    svg = drawing(parent, name=name, title=title, description=description, height=height)
    x = Scale(low=0.0, high=1.0, start=SIDE, end=WIDTH - max(SIDE, RIGHT))
    bottom = height - BOTTOM
    for rate in LINES:
        kind = "chance" if rate == CHANCE else "grid"
        draw_line(svg, kind, (x(rate), TOP - 8), (x(rate), bottom))
        where = {0.0: "first", 1.0: "last"}.get(rate, "time")
        add(svg, "text", f"{rate * 100:.0f} %", x=x(rate), y=bottom + 20, class_=where)
    for number, (group, each) in enumerate(rows.items()):
        _draw_row(svg, x, group, each, top=TOP + ROW * number)


def sentence(each: Figures) -> str:
    """Return a win rate in words."""
    if each.interval is None:
        return "nothing won or lost"
    return (
        f"{each.won} of {each.won + each.lost} won, {percent(each.win_rate)}, "
        f"95 % interval {percent(each.interval.low)} to {percent(each.interval.high)}, "
        f"break-even {percent(each.break_even)}: {each.verdict}"
    )


def _draw_row(svg: Element, x: Scale, group: str, each: Figures, *, top: float) -> None:
    assert each.interval is not None
    assert each.win_rate is not None
    assert each.break_even is not None
    row = add(svg, "g")
    add(row, "title", f"{group}: {sentence(each)}")
    add(row, "text", group, x=SIDE, y=top + 14, class_="name")
    add(row, "text", f"{each.won} of {each.won + each.lost}", x=WIDTH - SIDE, y=top + 14, class_="last")
    middle = top + 28
    low, high = x(each.interval.low), x(each.interval.high)
    kind = {Side.BELOW: "lost", Side.AROUND: "open", Side.ABOVE: "won"}[each.interval.side(each.break_even)]
    add(
        row,
        "rect",
        class_=f"interval {kind}",
        x=low,
        y=middle - 4,
        width=max(high - low, 1.0),
        height=8,
        rx=4,
    )
    add(row, "circle", class_=f"rate {kind}", cx=x(each.win_rate), cy=middle, r=6)
    draw_line(row, "even", (x(each.break_even), middle - 11), (x(each.break_even), middle + 11))
