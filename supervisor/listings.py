"""What becomes of a venue's list of markets: remembered on disk, and told to whom it concerns.

`markets-NAME.json` in the state directory, so that hours are known from the first moment of the next
start on, and `marketd markets` answers without a daemon too.
"""

import logging
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from domain.errors import UnknownSymbol
from domain.events import Event, emit
from domain.hours import MarketHours
from domain.instruments import Catalog, Instrument, StakeLimit
from domain.states import Desired, State
from supervisor.board import opens_text
from supervisor.branches import MarketBranch
from supervisor.market_specs import MarketSpec
from supervisor.small_files import Keep

WRITE_EVERY_S = 60.0  # at most; a list that changes often is not worth a write each time
MOST_NAMED = 8  # open markets in one line of the log


class CatalogFile(msgspec.Struct):
    """The file's content, and the answer to a client that asks for the list."""

    venue: str
    listed_us: int | None
    instruments: list[Instrument] = []
    payouts: dict[str, float] = {}
    stake_limits: dict[str, StakeLimit] = {}


class Listings:
    """Keeps every venue's list over restarts, says once what is closed, and brings markets back."""

    def __init__(self, *, state_dir: Path, markets: Mapping[str, MarketBranch], keep: Keep) -> None:
        self._state_dir = state_dir
        self._keep = keep
        self._markets = markets  # the tree's own, by id
        # When each venue's file was written, monotonic, and whether payouts and stake limits were in it.
        self._written: dict[str, tuple[float, tuple[bool, bool]]] = {}
        self._said: set[str] = set()

    def remembered(self, venue: str) -> Catalog:
        """Return what was known of a venue at the last run; the list itself is to come anew."""
        catalog = read_catalog(self._state_dir, venue)
        catalog.listed_us = None
        return catalog

    def recall_hours(self, spec: MarketSpec, hours: MarketHours, catalog: Catalog) -> None:
        """Tell a market's hours as they were known at the last run."""
        try:
            instrument = catalog.find(spec.symbol)
        except UnknownSymbol:
            return
        hours.closes_us, hours.opens_us = instrument.closes_us, instrument.opens_us

    def listed(self, catalog: Catalog) -> None:
        """Take note of a listing."""
        self._remember(catalog)
        branches = [each for each in self._markets.values() if each.spec.venue == catalog.venue]
        for branch in branches:
            self._look_again(branch, catalog)
        if catalog.venue not in self._said:
            self._said.add(catalog.venue)
            self._say_closed(branches, catalog)

    def terms_told(self, catalog: Catalog) -> None:
        """Take note of payouts or stake limits: a backtest without a daemon asks for them."""
        self._remember(catalog)

    def _remember(self, catalog: Catalog) -> None:
        now, has_terms = time.monotonic(), (bool(catalog.payouts), bool(catalog.stake_limits))
        written_at, had_terms = self._written.get(catalog.venue, (-WRITE_EVERY_S, (False, False)))
        if now - written_at < WRITE_EVERY_S and has_terms == had_terms:
            return
        self._written[catalog.venue] = now, has_terms
        # encoded here: the list changes while the disk takes its time
        path, content = path_of(self._state_dir, catalog.venue), msgspec.json.encode(content_of(catalog))
        self._keep(path, partial(_write, path, content))

    def _look_again(self, branch: MarketBranch, catalog: Catalog) -> None:
        """Start a market over that failed because it was not listed, now that it is.

        One that the venue refused and does not list any longer shows what it may be called now.
        """
        row = branch.port.row
        if row.hold is not State.FAILED:
            return
        try:
            catalog.find(branch.spec.symbol)
        except UnknownSymbol as error:
            if not branch.port.is_unknown or row.reason != str(error):
                branch.port.is_unknown, row.reason = True, str(error)
                emit(
                    Event.STATE,
                    f"{row.name} {State.FAILED}: {error}",
                    level=logging.WARNING,
                    actor=f"market/{row.name}",
                )
            return
        if branch.port.is_unknown:
            branch.port.is_unknown = False
            branch.child.start()

    def _say_closed(self, branches: list[MarketBranch], catalog: Catalog) -> None:
        rows = [each.port.row for each in branches if each.port.row.desired is Desired.RUNNING]
        closed = [row.hours.opens_us for row in rows if row.hours.is_closed]
        if not closed:
            return
        first = min((at for at in closed if at is not None), default=None)
        is_open = sorted(each.symbol for each in catalog.instruments.values() if each.is_open)
        emit(
            Event.HOURS,
            f"{catalog.venue}: {len(closed)} of {len(rows)} markets are closed now"
            f"{', the first ' + opens_text(first) if first is not None else ''}; they start by themselves. "
            f"{_open_text(is_open, venue=catalog.venue)}",
            actor="tree",
            venue=catalog.venue,
            closed=len(closed),
            open=len(is_open),
        )


def _open_text(names: list[str], *, venue: str) -> str:
    if not names:
        return f"Nothing at {venue} is open"
    more = len(names) - MOST_NAMED
    return f"Open now: {', '.join(names[:MOST_NAMED])}" + (
        f" and {more} more (marketd markets --venue {venue} --open)" if more > 0 else ""
    )


# --- the file ---------------------------------------------------------------------------------


def path_of(state_dir: Path, venue: str) -> Path:
    """Return where a venue's list is kept."""
    return state_dir / f"markets-{venue}.json"


def read_catalog(state_dir: Path, venue: str) -> Catalog:
    """Return what is remembered of a venue; nothing where the file is missing or not ours."""
    try:
        content = msgspec.json.decode(path_of(state_dir, venue).read_bytes(), type=CatalogFile)
    except (OSError, ValueError, RecursionError):
        return Catalog(venue=venue)
    return catalog_in(content)


def _write(path: Path, content: bytes) -> None:
    """Write it to a new file and rename it; not synced: the venue tells it again."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.rename(path)


def content_of(catalog: Catalog) -> CatalogFile:
    """Return what is to be kept, or told, of a venue's list."""
    return CatalogFile(
        venue=catalog.venue,
        listed_us=catalog.listed_us,
        instruments=list(catalog.instruments.values()),
        payouts=catalog.payouts,
        stake_limits=catalog.stake_limits,
    )


def catalog_in(content: CatalogFile) -> Catalog:
    """Return the list that was kept, or told."""
    return Catalog(
        venue=content.venue,
        instruments={each.symbol: each for each in content.instruments},
        payouts=content.payouts,
        stake_limits=content.stake_limits,
        listed_us=content.listed_us,
    )
