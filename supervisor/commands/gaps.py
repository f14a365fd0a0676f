"""`marketd gaps`: the times in which ticks are missing, with the daemon or without."""

import argparse

from supervisor.commands.pages import pages
from supervisor.commands.rows import add_format, print_pages
from supervisor.commands.times import add_span


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd gaps`."""
    parser.add_argument(
        "market", nargs="?", metavar="ID", help="SYMBOL@VENUE, or a unique SYMBOL; default: all"
    )
    add_span(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the gaps that overlap the given time, the newest last; an open one has no end yet."""
    print_pages(pages(arguments, "gaps", market=arguments.market), form=arguments.format)
    return 0
