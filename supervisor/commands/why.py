"""`marketd why MARKET`: what blocks new trades now, and the last signals that were refused."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.clock import as_text
from domain.errors import RejectedError
from supervisor.client import ask
from supervisor.commands.pages import ask_once
from supervisor.commands.tables import as_table
from supervisor.commands.where import state_dir_of
from supervisor.lock import holder

MOST = 10

Row = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd why`."""
    parser.add_argument("market", metavar="MARKET", help="SYMBOL@VENUE, or a unique SYMBOL")


def run(arguments: argparse.Namespace) -> int:
    """Print it; 0 whether anything blocks or not."""
    state_dir = state_dir_of(arguments)
    if holder(state_dir) is None:
        stored = ask_once(arguments, "refused", market=arguments.market, limit=MOST)
        print(f"marketd is not running in {state_dir}: nothing is traded\n")
        print("\n".join(refused_lines(stored["signals"], market=stored["market"])))
        return 0
    answer = ask(state_dir, "why", market=arguments.market)
    print("\n".join(blocks_lines(answer)) + "\n")
    limits = limits_lines(answer.get("limits", {}))  # a daemon of an older version says none
    if limits:
        print("\n".join(limits) + "\n")
    print("\n".join(_refused(arguments, market=answer["market"])))
    return 0


def _refused(arguments: argparse.Namespace, *, market: str) -> list[str]:
    """Return the last refused signals, or why they cannot be told."""
    try:
        answer = ask_once(arguments, "refused", market=market, limit=MOST)
    except RejectedError as exc:  # what blocks now is known all the same
        return [f"what was refused before is not known now: {exc}"]
    return refused_lines(answer["signals"], market=market)


def blocks_lines(answer: Row) -> Iterator[str]:
    """Yield what the daemon says of a market now."""
    market = answer["market"]
    for each in answer["strategies"]:
        if each["state"] == "set_aside":
            yield f"{each['strategy']} is set aside: {each['reason']}"
    blocks = [(each["reason"], each["text"] or None) for each in answer["blocks"]]
    if blocks:
        yield f"no new trades on {market} now:"
        yield from as_table(("BLOCKED BY", "BECAUSE"), blocks)
        return
    running = [each for each in answer["strategies"] if each["state"] == "running"]
    for each in running:
        if each.get("refused"):  # a daemon of an older version does not say
            yield f"{each['strategy']} cannot trade on {market} now: {each['refused']}"
    names = [each["strategy"] for each in running if not each.get("refused")]
    if names:
        yield f"nothing blocks new trades on {market} now: they wait for a signal of {', '.join(names)}"


def limits_lines(limits: Mapping[str, Row]) -> list[str]:
    """Return how far each limit is used that counts something."""
    rows = [(name, each["used"], each["limit"]) for name, each in limits.items() if each["used"] is not None]
    return as_table(("LIMIT", "USED", "OF"), rows) if rows else []


def refused_lines(signals: Sequence[Row], *, market: str) -> list[str]:
    """Return the last refused signals, the newest first."""
    if not signals:
        return [f"no signal on {market} was refused"]
    rows = [
        (as_text(each["ts_us"]), each["strategy"], each["direction"], f"{each['price']:.10g}", each["reason"])
        for each in signals
    ]
    return [
        f"the last signals on {market} that were refused:",
        *as_table(("TIME", "STRATEGY", "DIRECTION", "PRICE", "REFUSED BY"), rows),
    ]
