"""`marketd market start|stop|restart`: what is wanted of a market, kept across restarts."""

import argparse

from supervisor.client import ask
from supervisor.commands.where import state_dir_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd market`."""
    parser.add_argument("action", choices=("start", "stop", "restart"))
    parser.add_argument("markets", nargs="+", metavar="ID", help="all, SYMBOL@VENUE, or a unique SYMBOL")


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon; say which markets it concerned."""
    result = ask(
        state_dir_of(arguments),
        "market",
        action=arguments.action,
        markets=list(dict.fromkeys(arguments.markets)),
    )
    print(f"{arguments.action}: {', '.join(result['markets'])}")
    return say_whether_remembered(result)


def say_whether_remembered(result: dict[str, object]) -> int:
    """Return 0, or say that it will not outlast a restart and return 1."""
    if result["remembered"]:
        return 0
    print("done, but control.json could not be written: it will not outlast a restart")
    return 1
