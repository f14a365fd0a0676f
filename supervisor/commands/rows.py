"""Prints pages of rows as CSV, JSON lines or a table, each page as it comes."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from domain.clock import as_text

Row = Sequence[Any]

HEADS = {
    "ts_us": "TIME", "open_us": "TIME", "complete": "WHOLE", "payout_percent": "PAYOUT %",
    "open_price": "OPENED AT", "close_price": "CLOSED AT",
}  # fmt: skip


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add `--format`."""
    parser.add_argument(
        "--format",
        choices=tuple(PRINTERS),
        default="table",
        help="csv and jsonl hold every digit, and times in microseconds; default: table",
    )


def print_pages(
    pages: Iterable[dict[str, Any]], *, form: str, nothing: str = "nothing is stored there"
) -> None:
    """Print all pages; nothing is kept but the page at hand, and no page waits for the next.

    `nothing` is said instead of an empty table.
    """
    printer, printed = None, 0
    for page in pages:
        if printer is None:
            printer = PRINTERS[form](page["columns"])
        printer(page["rows"])
        sys.stdout.flush()
        printed += len(page["rows"])
    if printed == 0 and form == "table":
        print(nothing, file=sys.stderr)


def csv_printer(columns: Sequence[str]) -> Callable[[list[Row]], None]:
    """Print the columns' names; return what prints rows. A value that is not there is an empty field."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    return writer.writerows


def jsonl_printer(columns: Sequence[str]) -> Callable[[list[Row]], None]:
    """Return what prints each row as an object in a line, numbers in the shortest text that reads back."""
    encode = msgspec.json.Encoder().encode

    def print_rows(rows: list[Row]) -> None:
        for row in rows:
            sys.stdout.write(encode(dict(zip(columns, row, strict=True))).decode() + "\n")

    return print_rows


def table_printer(columns: Sequence[str]) -> Callable[[list[Row]], None]:
    """Return what prints rows for people, as wide as the widest cell so far, below one line of heads."""
    heads = tuple(HEADS.get(column, column.removesuffix("_us").upper()) for column in columns)
    widths = [0] * len(columns)
    waiting = [heads]

    def print_rows(rows: list[Row]) -> None:
        if not rows:
            return  # the heads wait for the width of what is below them
        cells = [tuple(_cell(*each) for each in zip(columns, row, strict=True)) for row in rows]
        for row in waiting + cells:
            widths[:] = [max(width, len(text)) for width, text in zip(widths, row, strict=True)]
        for row in waiting + cells:
            line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            print(line.rstrip())
        waiting.clear()

    return print_rows


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if column == "length_us":
        return f"{value / 1e6:.3f} s"
    if column == "complete":
        return "yes" if value else "no"
    if column.endswith("_us"):
        return as_text(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


PRINTERS: dict[str, Callable[[Sequence[str]], Callable[[list[Row]], None]]] = {
    "csv": csv_printer,
    "jsonl": jsonl_printer,
    "table": table_printer,
}
