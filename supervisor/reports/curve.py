"""Draws the profit of all trades as it grew and fell."""

from collections.abc import Sequence
from decimal import Decimal
from xml.etree.ElementTree import Element

from strategies.statistics import Point, curve
from supervisor.reports.drawing import Plot, draw_line, draw_times, draw_values, drawing, path_of, plot
from supervisor.reports.markup import add
from supervisor.reports.report import Report
from supervisor.reports.scales import widened
from supervisor.reports.words import gain, moment

HEIGHT = 280.0
MOST_POINTS = 1_400  # two for each unit of the drawing's width


def draw_curve(parent: Element, report: Report, *, name: str) -> None:
    """Draw it from the first decision to the last result; there is at least one result."""
    results = sorted(report.results, key=lambda result: (result.settled_us, result.intended_us))
    points, zone = curve(results), report.zone
    from_us = min(points[0].settled_us, *(result.intended_us for result in results))
    profits = [point.profit for point in points]
    description = (
        f"From {moment(points[0].settled_us, zone=zone)} to {moment(points[-1].settled_us, zone=zone)} "
        f"{len(points)} trades brought {gain(profits[-1])} {report.currency}. "
        f"Highest {gain(max(profits))}, lowest {gain(min(profits))}."
    )
    svg = drawing(parent, name=name, title="Profit over time", description=description, height=HEIGHT)
    low, high = widened(float(min(*profits, Decimal(0))), float(max(*profits, Decimal(0))))
    times_us = (from_us, points[-1].settled_us)
    area = plot(svg, times_us=times_us, values=(low, high), height=HEIGHT)
    draw_times(area, zone=zone)
    draw_values(svg, area.y)
    zero = area.y(0.0)
    draw_line(svg, "zero", (area.left, zero), (area.right, zero))
    line = _steps(area, points)
    closed = [(line[0][0], zero), *line, (line[-1][0], zero)]
    add(svg, "path", class_="area", d=path_of(closed) + "Z")
    add(svg, "path", class_="curve", d=path_of(line))
    end = "end won" if profits[-1] > 0 else "end lost" if profits[-1] < 0 else "end"
    add(svg, "circle", class_=end, cx=line[-1][0], cy=line[-1][1], r=4)


def _steps(area: Plot, points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the line: level until a trade settles, then up or down."""
    y = area.y(0.0)
    line = [(area.left, y)]
    for point in thinned(points, most=MOST_POINTS):
        x = area.x(point.settled_us)
        line.append((x, y))
        y = area.y(float(point.profit))
        line.append((x, y))
    return line


def thinned(points: Sequence[Point], *, most: int) -> list[Point]:
    """Return at most about `most` of them in order, the first, the last, every high and low to be seen."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) * 4 // most)
    kept: list[Point] = []
    for begin in range(0, len(points), size):
        part = range(begin, min(begin + size, len(points)))
        low = min(part, key=lambda number: points[number].profit)
        high = max(part, key=lambda number: points[number].profit)
        kept += [points[number] for number in sorted({part[0], low, high, part[-1]})]
    return kept
