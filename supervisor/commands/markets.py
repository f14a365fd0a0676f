"""`marketd markets`: what a venue lists: from the daemon, else from the venue itself, else as remembered."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from domain.clock import as_text
from domain.errors import ConfigError, MarketdError
from domain.instruments import Catalog, Instrument
from supervisor.client import NoAnswer, NotRunning, ask
from supervisor.commands.tables import as_table
from supervisor.commands.where import settings_of, state_dir_of
from supervisor.listings import CatalogFile, catalog_in, read_catalog
from supervisor.reference import as_toml

HEADS = ("SYMBOL", "TITLE", "GROUP", "NOW", "HOURS", "PAYOUT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd markets`."""
    parser.add_argument("--venue", metavar="V", help="NAME of a [venues.NAME] section; default: the only one")
    parser.add_argument("--open", action="store_true", help="only what is open now")
    parser.add_argument("--toml", action="store_true", help="as a [[markets]] section for the settings file")


def run(arguments: argparse.Namespace) -> int:
    """Print the list; return 1 where nothing is known of it."""
    catalog = _find_catalog(arguments, venue=_venue_name(arguments))
    chosen = [each for each in catalog.instruments.values() if each.is_open or not arguments.open]
    chosen.sort(key=lambda each: (each.group, each.symbol))
    if not chosen:
        what = "has no open market now" if catalog.instruments else "told no list of markets"
        print(f"{catalog.venue} {what}", file=sys.stderr)
        return 1
    if arguments.toml:
        print(f"[[markets]]\nvenue = {as_toml(catalog.venue)}")
        print("symbols = [\n" + "".join(f"  {as_toml(each.symbol)},\n" for each in chosen) + "]")
        return 0
    for line in as_table(HEADS, [_cells(each, catalog) for each in chosen]):
        print(line)
    _print_rest(catalog)
    return 0


def _venue_name(arguments: argparse.Namespace) -> str:
    venues = settings_of(arguments).venues
    if arguments.venue is not None:
        return str(arguments.venue)
    if len(venues) != 1:
        raise ConfigError(f"markets: name one with --venue; there are: {', '.join(venues) or 'none'}")
    return next(iter(venues))


def _find_catalog(arguments: argparse.Namespace, *, venue: str) -> Catalog:
    """Return what the daemon knows; where none runs, what the venue says now, else what is remembered.

    A daemon that does not answer is logged in all the same: some venues take one log-in at a time.
    """
    state_dir = state_dir_of(arguments)
    try:
        told: Any = ask(state_dir, "markets", venue=venue)
        return catalog_in(msgspec.convert(told, CatalogFile))
    except NoAnswer as exc:
        return _remembered(state_dir, venue=venue, because=exc)
    except NotRunning:
        pass
    settings = settings_of(arguments).venues.get(venue)
    try:
        if settings is None:
            raise ConfigError(f"venue {venue!r} is not in the settings")
        from supervisor.visit import visit  # noqa: PLC0415 - sockets, for nobody else

        return visit(venue, settings, state_dir=state_dir)
    except MarketdError as exc:
        return _remembered(state_dir, venue=venue, because=exc)


def _remembered(state_dir: Path, *, venue: str, because: MarketdError) -> Catalog:
    catalog = read_catalog(state_dir, venue)
    if not catalog.instruments:
        raise because
    print(f"{because}; this is how it was at {as_text(catalog.listed_us or 0)}", file=sys.stderr)
    return catalog


def _cells(instrument: Instrument, catalog: Catalog) -> Sequence[str | None]:
    payout = catalog.payouts.get(instrument.symbol)
    return (
        instrument.symbol,
        instrument.title or None,
        instrument.group or None,
        ("open" if instrument.is_tradable else "prices only") if instrument.is_open else "closed",
        _hours(instrument),
        None if payout is None else f"{payout:g} %",
    )


def _hours(instrument: Instrument) -> str | None:
    at_us = instrument.closes_us if instrument.is_open else instrument.opens_us
    if at_us is None:
        return None
    return f"{'closes' if instrument.is_open else 'opens'} {as_text(at_us)[:16].replace('T', ' ')} UTC"


def _print_rest(catalog: Catalog) -> None:
    limits = [
        f"{currency} {limit.least:f} to {limit.most:f}"
        for currency, limit in sorted(catalog.stake_limits.items())
    ]
    if limits:
        print(f"\nstake of one deal: {', '.join(limits)}")
    is_open = sum(each.is_open for each in catalog.instruments.values())
    print(f"\n{len(catalog.instruments)} markets, {is_open} open", end="")
    print(f", as of {as_text(catalog.listed_us)}" if catalog.listed_us else "")
