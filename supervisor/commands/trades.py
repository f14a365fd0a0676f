"""`marketd trades`: what was traded, with the daemon or without."""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from supervisor.commands.pages import pages
from supervisor.commands.rows import print_pages
from supervisor.commands.times import add_span

# What stands in a line of the table; --json has everything.
SHOWN = (
    "id", "intended_us", "market", "strategy", "mode", "direction", "stake", "currency", "payout_percent",
    "open_price", "close_price", "state", "profit",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd trades`."""
    parser.add_argument(
        "market", nargs="?", metavar="ID", help="SYMBOL@VENUE, or a unique SYMBOL; default: all"
    )
    parser.add_argument("--open", action="store_true", help="only those whose result is still to come")
    parser.add_argument("--json", action="store_true", help="an object a line with everything, for programs")
    add_span(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the trades that were decided in the given time, the newest last."""
    found = pages(arguments, "trades", market=arguments.market, is_open=arguments.open)
    if arguments.json:
        print_pages(found, form="jsonl")
    else:
        print_pages(_shown(found), form="table", nothing="no trades")
    return 0


def _shown(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the pages with the columns of `SHOWN` alone."""
    for page in found:
        places = [page["columns"].index(column) for column in SHOWN]
        rows = [[row[place] for place in places] for row in page["rows"]]
        yield {"columns": SHOWN, "rows": rows}
