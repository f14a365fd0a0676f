"""Builds HTML and SVG as a tree, so that whatever text a name holds, it stays text."""

from xml.etree.ElementTree import Element, SubElement, tostring

Value = str | int | float


def add(parent: Element, tag: str, text: str | None = None, **attributes: Value) -> Element:
    """Return a new last child. `class_` is `class`, a `_` within a name is `-`; floats get one decimal."""
    child = SubElement(parent, tag, {_name(name): _value(value) for name, value in attributes.items()})
    child.text = text
    return child


def document(*, title: str, style: str) -> tuple[Element, Element]:
    """Return an empty HTML page and its body. It may load nothing, from nowhere."""
    html = Element("html", {"lang": "en"})
    head = add(html, "head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "meta", name="color-scheme", content="light dark")
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    add(head, "title", title)
    add(head, "style", style)
    return html, add(html, "body")


def as_text(html: Element) -> str:
    """Return the page as a browser reads it."""
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-") if name != "viewBox" else name


def _value(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
