"""`marketd why MARKET`: what blocks new trades now, and the last signals that were refused."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.clock import as_text
from supervisor.client import ask
from supervisor.commands.pages import ask_once
from supervisor.commands.tables import as_table
from supervisor.commands.where import state_dir_of
from supervisor.lock import holder

MOST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd why`."""
    parser.add_argument("market", metavar="MARKET", help="SYMBOL@VENUE, or a unique SYMBOL")


def run(arguments: argparse.Namespace) -> int:
    """Print it; 0 whether anything blocks or not."""
    refused = ask_once(arguments, "refused", market=arguments.market, limit=MOST)
    state_dir = state_dir_of(arguments)
    if holder(state_dir) is None:
        print(f"marketd is not running in {state_dir}: nothing is traded")
    else:
        print("\n".join(blocks_lines(ask(state_dir, "why", market=refused["market"]))))
    print()
    print("\n".join(refused_lines(refused["signals"], market=refused["market"])))
    return 0


def blocks_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the daemon says of a market now."""
    yield from ()


def refused_lines(signals: Sequence[Mapping[str, Any]], *, market: str) -> list[str]:
    """Return the last refused signals, the newest first."""
    if not signals:
        return [f"no signal on {market} was ever refused"]
    rows = [
        (as_text(each["ts_us"]), each["strategy"], each["direction"], f"{each['price']:.10g}", each["reason"])
        for each in signals
    ]
    return [
        f"the last signals on {market} that were refused:",
        *as_table(("TIME", "STRATEGY", "DIRECTION", "PRICE", "REFUSED BY"), rows),
    ]
