"""`marketd shutdown`: an ordered stop, waited for."""

import argparse
import sys

from supervisor.client import ask, wait_gone
from supervisor.commands.where import state_dir_of

USAGE = 2
STOP_WITHIN_S = 15.0  # the longest ordered stop, with a database that hangs, takes 8 s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `marketd shutdown`."""
    parser.add_argument(
        "--after-trades", action="store_true", help="open no more trades, and stop when none is under way"
    )
    parser.add_argument(
        "--max-wait",
        type=_seconds,
        metavar="S",
        help="of --after-trades: but no longer than this many seconds",
    )


def _seconds(text: str) -> float:
    """Return a time to wait."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 up")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon to stop; return 0 once it is gone, 1 where it still runs at the deadline."""
    if arguments.max_wait is not None and not arguments.after_trades:
        # Without it the daemon would stop at once, with trades open.
        print("marketd shutdown: error: --max-wait goes with --after-trades only", file=sys.stderr)
        return USAGE
    state_dir = state_dir_of(arguments)
    result = ask(state_dir, "shutdown", after_trades=arguments.after_trades, max_wait_s=arguments.max_wait)
    within_s = STOP_WITHIN_S
    if arguments.after_trades:
        print(f"no new trades; {result['open']} are under way, and it stops once they have ended", flush=True)
        within_s += float("inf") if arguments.max_wait is None else arguments.max_wait
    if wait_gone(state_dir, within_s=within_s):
        print("stopped")
        return 0
    print(f"still running {within_s:.0f} s after it was asked to stop")
    return 1
