"""`marketd history`: a market's candles or ticks, with the daemon or without."""

import argparse

from supervisor.commands.pages import pages
from supervisor.commands.rows import add_format, print_pages
from supervisor.commands.times import add_span


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd history`."""
    parser.add_argument("market", metavar="ID", help="SYMBOL@VENUE, or a unique SYMBOL")
    add_span(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ticks", action="store_true", help="every price instead of candles")
    what.add_argument(
        "--timeframe",
        type=int,
        metavar="S",
        help="candles of S seconds; default: the shortest of [storage] timeframes_s",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is stored, the oldest first."""
    kind = "ticks" if arguments.ticks else "candles"
    request = {} if arguments.timeframe is None else {"timeframe_s": arguments.timeframe}
    print_pages(
        pages(arguments, "history", market=arguments.market, kind=kind, **request), form=arguments.format
    )
    return 0
