"""`marketd probe VENUE`: does this version understand what the venue sends to this account? Never orders."""

import argparse
import math
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from domain.errors import ConfigError, InvariantError, MarketdError
from domain.instruments import Catalog
from supervisor import lock
from supervisor.commands.tables import as_table
from supervisor.policy import worst
from supervisor.probe import Probe
from supervisor.probe_findings import Findings
from supervisor.sections import Settings
from supervisor.settings import find_config, load, state_dir
from wire.recording import Recorder

HEADS = ("KIND OF FRAME", "UNDERSTOOD", "UNKNOWN", "DIFFERENT")
MOST_SHOWN = 10  # of a list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd probe`."""
    parser.add_argument("venue", metavar="VENUE", help="NAME of a [venues.NAME] section")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write every frame to this file, secrets blanked"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, metavar="S", help="how long to listen to a market (60)"
    )


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0 < seconds <= 3600 or not math.isfinite(seconds):
        raise argparse.ArgumentTypeError("expected a number above 0, at most 3600")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Probe, print what was found; return 0 where everything needed was understood."""
    settings = load(find_config(arguments.config))
    directory = state_dir(arguments.state_dir, settings)
    probe = _probe(arguments, settings, directory)
    _say_what_runs(directory, probe.name)
    findings, catalog = Findings(), Catalog(venue=probe.name)
    trouble = _run(probe, findings, catalog)
    _print_account(findings)
    _print_markets(catalog, findings)
    _print_frames(findings)
    missing = [*([trouble] if trouble else []), *findings.missing(probe.venue, catalog=catalog)]
    print()
    for each in missing:
        print(f"missing: {each}")
    if not missing:
        print("all that is needed was understood; no order was made")
    return 1 if missing else 0


def _probe(arguments: argparse.Namespace, settings: Settings, directory: Path) -> Probe:
    name = arguments.venue
    if name not in settings.venues:
        known = ", ".join(sorted(settings.venues)) or "none"
        raise ConfigError(f"venue {name!r} is not in the settings; those there are: {known}")
    wanted = [symbol for markets in settings.markets if markets.venue == name for symbol in markets.symbols]
    return Probe(
        name=name,
        settings=settings.venues[name],
        state_dir=directory,
        wanted=wanted,
        seconds=arguments.seconds,
        recorder=None if arguments.record is None else Recorder(arguments.record),
    )


def _say_what_runs(directory: Path, name: str) -> None:
    if lock.holder(directory) is not None:
        print(f"note: marketd runs; a second log-in may disturb its connection to {name}\n")


def _run(probe: Probe, findings: Findings, catalog: Catalog) -> str:
    """Return what ended the session early, if anything did; what was found until then counts."""
    try:
        if not trio.run(_run_until_ctrl_c, partial(probe.run, findings, catalog)):
            return "the rest: stopped by Ctrl-C"
    except (MarketdError, BaseExceptionGroup) as group:
        error = worst(group)
        if not isinstance(error, MarketdError) or isinstance(error, ConfigError | InvariantError):
            raise
        return str(error)
    finally:
        if probe.recorder is not None:
            probe.recorder.close()
    return ""


async def _run_until_ctrl_c(run: Callable[[], Awaitable[None]]) -> bool:
    """Run it to its end; return False where Ctrl-C ended it before."""
    has_ended = False
    with trio.open_signal_receiver(signal.SIGINT) as presses:
        async with trio.open_nursery() as nursery:

            async def run_and_end() -> None:
                nonlocal has_ended
                await run()
                has_ended = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(run_and_end)
            async for _ in presses:
                nursery.cancel_scope.cancel()
                break
    return has_ended


# --- what is printed --------------------------------------------------------------------------


def _print_account(findings: Findings) -> None:
    for each in findings.balances.values():
        print(f"account {each.account} ({each.group}): {each.amount:f} {each.currency}".rstrip())
    for currency, limit in sorted(findings.stake_limits.items())[:MOST_SHOWN]:
        print(f"stake of one deal in {currency}: {limit.least:f} to {limit.most:f}")


def _print_markets(catalog: Catalog, findings: Findings) -> None:
    instruments = list(catalog.instruments.values())
    if instruments:
        groups = Counter(each.group or "other" for each in instruments)
        print(f"{len(instruments)} markets: {', '.join(f'{n} {group}' for group, n in groups.most_common())}")
        closed = [each.symbol for each in instruments if not each.is_open]
        locked = [each.symbol for each in instruments if each.is_open and not each.is_tradable]
        print(f"closed: {_some(closed)}")
        print(f"prices but no deals: {_some(locked)}")
    if findings.payouts:
        print(f"payouts of {len(findings.payouts)} markets, {_range(list(findings.payouts.values()))} %")
    if findings.market:
        print(f"subscribed {findings.market}: {findings.prices} prices")
    else:
        print("no market is open: nothing was subscribed")


def _some(names: list[str]) -> str:
    more = len(names) - MOST_SHOWN
    shown = ", ".join(names[:MOST_SHOWN]) or "none"
    return f"{shown} and {more} more" if more > 0 else shown


def _range(numbers: list[float]) -> str:
    return f"{min(numbers):g} to {max(numbers):g}"


def _print_frames(findings: Findings) -> None:
    print()
    for line in as_table(HEADS, list(findings.rows())):
        print(line)
    for sample in findings.samples:
        print(f"  {sample}")
    print()
    if findings.skew.skew_ms is not None:
        print(
            f"our clock is {findings.skew.skew_ms:+.0f} ms ahead, give or take {findings.skew.error_ms:.0f}"
        )
    if findings.rtt_ms is not None:
        print(f"a ping took {findings.rtt_ms:.0f} ms")
