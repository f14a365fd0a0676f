"""What all drawings share: the frame with its words for those who do not see it, axes, paths."""

import datetime
from collections.abc import Iterable
from xml.etree.ElementTree import Element

import attrs

from supervisor.reports.markup import add
from supervisor.reports.scales import Scale, decimals, round_numbers, round_times

WIDTH = 720.0  # units of a drawing; the page makes them as wide as it is
LEFT, RIGHT, TOP, BOTTOM = 84.0, 12.0, 14.0, 30.0


@attrs.frozen(kw_only=True)
class Plot:
    """The area in which numbers are drawn over time."""

    svg: Element
    x: Scale
    y: Scale

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.x.start

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x.end

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.y.end

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y.start


def drawing(parent: Element, *, name: str, title: str, description: str, height: float) -> Element:
    """Return an empty drawing, `WIDTH` by `height`; `name` is its own on the page."""
    svg = add(
        parent,
        "svg",
        class_="drawing",
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-text",
    )
    add(svg, "title", title, id=f"{name}-title")
    add(svg, "desc", description, id=f"{name}-text")
    return svg


def plot(svg: Element, *, times_us: tuple[int, int], values: tuple[float, float], height: float) -> Plot:
    """Return the area of a drawing for these times and values, the rest being for what is written."""
    return Plot(
        svg=svg,
        x=Scale(low=times_us[0], high=max(times_us[1], times_us[0] + 1), start=LEFT, end=WIDTH - RIGHT),
        y=Scale(low=values[0], high=values[1], start=height - BOTTOM, end=TOP),
    )


def draw_values(svg: Element, y: Scale, *, most: int = 5) -> None:
    """Draw lines at round values, with what they are."""
    numbers = round_numbers(y.low, y.high, most=most)
    digits = decimals(numbers)
    for number in numbers:
        draw_line(svg, "grid", (LEFT, y(number)), (WIDTH - RIGHT, y(number)))
        text = f"{number:,.{digits}f}".replace("-", "−")
        add(svg, "text", text, x=LEFT - 8, y=y(number) + 4, class_="value")


def draw_times(area: Plot, *, zone: datetime.tzinfo, most: int = 7) -> None:
    """Draw lines at round times, with what they are."""
    found = round_times(int(area.x.low), int(area.x.high), most=most, zone=zone)
    for number, (ts_us, text) in enumerate(found):
        x = area.x(ts_us)
        draw_line(area.svg, "grid", (x, area.top), (x, area.bottom))
        if x < area.right - 16:
            every = "time" if number % 2 == 0 else "time minor"
            add(area.svg, "text", text, x=x, y=area.bottom + 20, class_=every)


def draw_line(parent: Element, kind: str, start: tuple[float, float], end: tuple[float, float]) -> Element:
    """Draw a line of a class."""
    return add(parent, "line", class_=kind, x1=start[0], y1=start[1], x2=end[0], y2=end[1])


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """Return the straight lines through these points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
