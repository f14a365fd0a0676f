"""`marketd drain on|off`: no new trades, while open ones are seen to their end."""

import argparse

from supervisor.client import ask
from supervisor.commands.market import say_whether_remembered
from supervisor.commands.where import state_dir_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd drain`."""
    parser.add_argument("switch", choices=("on", "off"))


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon."""
    result = ask(state_dir_of(arguments), "drain", on=arguments.switch == "on")
    print(f"drain {arguments.switch}")
    return say_whether_remembered(result)
