"""Rows in columns, for people."""

from collections.abc import Sequence


def as_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the rows in columns; what is not known is a dash, an empty last column is left out."""
    cells = [tuple(head), *(tuple("-" if value is None else str(value) for value in row) for row in rows)]
    if all(row[-1] == "-" for row in cells[1:]):
        cells = [row[:-1] for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
