"""`marketd simulate`: the venue's side of a protocol, as a process of its own."""

import argparse
import sys
from pathlib import Path

from domain.errors import ConfigError
from supervisor import logs
from supervisor.simulate import words
from supervisor.simulate.options import PROTOCOLS, SimulateOptions
from supervisor.simulate.service import serve_until_signal
from venues.simulated.hours import Hours
from venues.simulated.prices import FX_PAIRS

EXIT_FAILURE = 1
EXIT_USAGE = 2

FAULT_HELP = """
what goes wrong, SECONDS after the first subscribe; can be given more than once.
close, reset, garbage and shutdown are single events (a close frame; a TCP reset; three undecodable
frames; the venue says that it restarts, where its protocol has a word for that),
garbage with a duration spoils every data frame for so long.
silent (no frames but pings and pongs; with a symbol: none of its data),
half-open (sockets that are open then are neither read nor written; new ones are served),
lock (the market is closed, and the venue says so: no data) and
slow (at most one tick a second a market) last to the end unless given a duration.
refuse, http429 and no-upgrade last 10 s unless told; they first reset the open connections,
since nobody else would meet them.
A symbol restricts a fault to that market, faults of a socket to those that subscribed it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every flag of `marketd simulate`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Serve the venue's side of a protocol, with generated or recorded prices."
    parser.epilog = f"faults:{FAULT_HELP}"
    add = parser.add_argument
    add("--protocol", required=True, choices=PROTOCOLS, help="which venue to play")
    add(
        "--listen",
        required=True,
        type=words.listen_at,
        metavar="HOST:PORT",
        help="port 0: any free one",
    )
    add(
        "--markets",
        type=words.symbols,
        default=FX_PAIRS,
        metavar="A,B",
        help="symbols to serve (27 currency pairs)",
    )
    add(
        "--rate",
        type=words.above_zero,
        default=2.0,
        metavar="N",
        help="ticks a second, each market (2)",
    )
    add("--seed", type=int, default=1, metavar="N", help="same seed, same prices (1)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--prices", type=Path, metavar="CSV", help="every market follows this file's bid and ask, in a loop"
    )
    source.add_argument(
        "--replay",
        type=Path,
        metavar="RECORDING",
        help="play its incoming frames once to each connection, 1 s after the latest subscribe (10 s "
        "after connecting where none comes)",
    )
    add("--speed", type=words.above_zero, default=1.0, metavar="N", help="replay N times as fast (1)")
    add(
        "--hours",
        type=Hours,
        choices=tuple(Hours),
        default=Hours.ALWAYS,
        help="week: currency pairs are closed from Friday to Sunday, 21:00 UTC (always open)",
    )
    add("--ledger", type=Path, metavar="FILE", help="append each tick handed to a socket, as JSON lines")
    add(
        "--fault",
        type=words.fault,
        action="append",
        default=[],
        metavar="KIND@SECONDS[+DURATION][:SYMBOL]",
        help="what goes wrong and when, see below",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = SimulateOptions(
        protocol=arguments.protocol,
        host=arguments.listen.host,
        port=arguments.listen.port,
        markets=arguments.markets,
        rate=arguments.rate,
        seed=arguments.seed,
        prices=arguments.prices,
        replay=arguments.replay,
        speed=arguments.speed,
        ledger=arguments.ledger,
        faults=tuple(arguments.fault),
        hours=arguments.hours,
    )
    status = 0
    log = logs.open_log(level="info")  # of it comes what a fault did, and nothing else
    try:
        serve_until_signal(options)
    except* ConfigError as group:
        status = _complain(group, status=EXIT_USAGE)
    except* OSError as group:
        status = _complain(group, status=EXIT_FAILURE)
    finally:
        log.close()
    return status


def _complain(group: BaseExceptionGroup[Exception], *, status: int) -> int:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _complain(error, status=status)
        else:
            sys.stderr.write(f"marketd simulate: {error}\n")
    return status
