"""Says what the marks of the drawings mean."""

from xml.etree.ElementTree import Element

from supervisor.reports.markup import add

Shape = tuple[str, dict[str, str]]

RATES: tuple[tuple[str, str, list[Shape]], ...] = (
    ("", "win rate and its 95 % interval", [
        ("rect", {"class_": "interval open", "x": "0", "y": "4", "width": "22", "height": "6", "rx": "3"}),
        ("circle", {"class_": "rate open", "cx": "11", "cy": "7", "r": "5"}),
    ]),
    ("", "break-even", [("line", {"class_": "even", "x1": "11", "y1": "0", "x2": "11", "y2": "14"})]),
    ("", "chance, 50 %", [("line", {"class_": "chance", "x1": "11", "y1": "0", "x2": "11", "y2": "14"})]),
)  # fmt: skip
PRICES: tuple[tuple[str, str, list[Shape]], ...] = (
    ("trade open", "opened, up or down", [
        ("path", {"class_": "entry", "d": "M6 3l-4 8h8Z"}),
        ("path", {"class_": "entry", "d": "M16 11l-4 -8h8Z"}),
    ]),
    ("trade won", "won", [("circle", {"class_": "end", "cx": "11", "cy": "7", "r": "4"})]),
    ("trade lost", "lost", [("path", {"class_": "end", "d": "M8 4l6 6m0 -6l-6 6"})]),
    ("trade tied", "tied", [("circle", {"class_": "end", "cx": "11", "cy": "7", "r": "4"})]),
    ("trade void", "void: expiry in a gap", [
        ("rect", {"class_": "end", "x": "7", "y": "3", "width": "8", "height": "8"}),
    ]),
    ("", "no prices (a gap)", [
        ("rect", {"class_": "gap", "x": "0", "y": "0", "width": "22", "height": "14"}),
    ]),
)  # fmt: skip


def add_rate_key(parent: Element) -> None:
    """Add the key of win rates."""
    _add_key(parent, RATES)


def add_price_key(parent: Element) -> None:
    """Add the key of candles with trades."""
    _add_key(parent, PRICES)


def _add_key(parent: Element, marks: tuple[tuple[str, str, list[Shape]], ...]) -> None:
    key = add(parent, "ul", class_="key")
    for kind, text, shapes in marks:
        item = add(key, "li")
        sample = add(item, "svg", viewBox="0 0 22 14", aria_hidden="true")
        group = add(sample, "g", class_=kind)
        for tag, attributes in shapes:
            add(group, tag, **attributes)
        sample.tail = text
