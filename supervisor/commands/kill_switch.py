"""`marketd kill-switch on|off --reason TEXT`: all trading off, until a command releases it."""

import argparse

from supervisor.client import ask
from supervisor.commands.market import say_whether_remembered
from supervisor.commands.where import state_dir_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd kill-switch`."""
    parser.add_argument("switch", choices=("on", "off"))
    parser.add_argument(
        "--reason", required=True, metavar="TEXT", help="why; kept with who and when, for releasing it too"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon."""
    result = ask(state_dir_of(arguments), "kill_switch", on=arguments.switch == "on", reason=arguments.reason)
    print(f"kill switch {arguments.switch}")
    return say_whether_remembered(result)
