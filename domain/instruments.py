"""What a venue lists, and which of it a name in the settings means."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeVar

import attrs

from domain.errors import UnknownSymbol

Told = TypeVar("Told")

MOST_TOLD = 20_000  # names of one kind; the largest list known has 3,500
MOST_NEAREST = 3  # names that a message offers in the place of an unknown one


class Instrument(NamedTuple):
    """One market as its venue lists it; times are UTC. A NamedTuple, because a file holds it.

    `symbol` is the venue's own spelling, `title` for people. `is_open` is whether prices come by the
    venue's word, `is_tradable` whether deals can be opened. `closes_us` and `opens_us` are the next
    (or, of a closed market, the last) close and the opening after it, None where the venue does not
    say. `aliases` are other names that mean it beside its title.
    """

    symbol: str
    title: str = ""
    group: str = ""
    is_open: bool = True
    is_tradable: bool = True
    closes_us: int | None = None
    opens_us: int | None = None
    aliases: tuple[str, ...] = ()


class Listing(NamedTuple):
    """A venue's list of its markets; one that is not whole only tells what is new or changed."""

    instruments: tuple[Instrument, ...]
    is_whole: bool


class StakeLimit(NamedTuple):
    """The least and the greatest stake of one deal, in one currency."""

    least: Decimal
    most: Decimal


@attrs.define(kw_only=True, eq=False)
class Catalog:
    """What one venue lists. Owned by the tree; written by the venue's connections.

    `payouts` are in percent of the stake, by the venue's symbol; `stake_limits` by currency, in upper
    case. `listed_us` is the wall clock's time of the latest listing, None before the first.
    """

    venue: str
    instruments: dict[str, Instrument] = attrs.field(factory=dict)
    payouts: dict[str, float] = attrs.field(factory=dict)
    stake_limits: dict[str, StakeLimit] = attrs.field(factory=dict)
    listed_us: int | None = None
    # The symbols that names of the settings meant, or why they meant none, while that holds.
    _meant: dict[str, str | UnknownSymbol] = attrs.field(factory=dict)

    def take(self, listing: Listing, *, at_us: int) -> None:
        """Take note of a listing; an empty one tells nothing."""
        if not listing.instruments:
            return
        told = {instrument.symbol: instrument for instrument in listing.instruments}
        before = self.instruments
        self.instruments = told if listing.is_whole else latest(before | told)
        if before.keys() != self.instruments.keys() or any(
            _names(each) != _names(before[symbol]) for symbol, each in told.items()
        ):
            self._meant.clear()
        self.listed_us = at_us

    def take_payouts(self, percents: Mapping[str, float]) -> None:
        """Take note of payouts."""
        self.payouts = latest(self.payouts | dict(percents))

    def take_stake_limits(self, limits: Mapping[str, StakeLimit]) -> None:
        """Take note of stake limits."""
        self.stake_limits = latest(self.stake_limits | dict(limits))

    def find(self, name: str) -> Instrument:
        """Return what a name in the settings means; raise `UnknownSymbol` with the nearest names."""
        if name not in self._meant:
            try:
                self._meant[name] = find_instrument(name, self.instruments, venue=self.venue).symbol
            except UnknownSymbol as error:  # to find the nearest of thousands of names takes 50 ms
                self._meant[name] = UnknownSymbol(str(error))
        meant = self._meant[name]
        if isinstance(meant, UnknownSymbol):
            raise UnknownSymbol(str(meant))
        return self.instruments[meant]

    def symbol_of(self, name: str) -> str:
        """Return the venue's symbol of a market; the name itself while nothing is listed in this run.

        Raises `UnknownSymbol` where the venue lists no such market.
        """
        try:
            return self.find(name).symbol
        except UnknownSymbol:
            if self.listed_us is None:
                return name  # what is remembered of an earlier run proves nothing
            raise


def latest(told: dict[str, Told]) -> dict[str, Told]:
    """Return what a venue told, without the oldest where it makes up new names for ever."""
    return told if len(told) <= MOST_TOLD else dict(list(told.items())[-MOST_TOLD:])


def find_instrument(name: str, instruments: Mapping[str, Instrument], *, venue: str) -> Instrument:
    """Return the instrument that `name` means: the venue's own spelling, else one that is like it.

    `EURUSD`, `eurusd`, `EUR/USD` and `EUR-USD` mean whatever the venue calls EUR/USD. Raises
    `UnknownSymbol` where nothing is like it, or several are.
    """
    if name in instruments:
        return instruments[name]
    wanted = plain(name)
    for spellings in (_own_spelling, _other_spellings):
        found = [each for each in instruments.values() if wanted in map(plain, spellings(each))]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(sorted(each.symbol for each in found))
            raise UnknownSymbol(f"{name!r} may mean several markets of {venue}: {several}; write one of them")
    near = nearest_symbols(name, instruments.values())
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise UnknownSymbol(f"{venue} lists no market {name!r}{hint}; correct the symbol in the settings")


def plain(name: str) -> str:
    """Return a name without case and punctuation; XBT is BTC."""
    letters = re.sub(r"[^A-Z0-9]", "", name.upper())
    return "BTC" + letters[3:] if letters.startswith("XBT") else letters


def nearest_symbols(name: str, instruments: Iterable[Instrument]) -> Sequence[str]:
    """Return the venue's symbols that are most like a name, the nearest first."""
    import difflib  # by the message of a mistake only

    by_spelling: dict[str, str] = {}
    for each in instruments:
        for spelling in (each.symbol, *_other_spellings(each)):
            by_spelling.setdefault(plain(spelling), each.symbol)
    near = difflib.get_close_matches(plain(name), by_spelling, n=2 * MOST_NEAREST)
    return list(dict.fromkeys(by_spelling[spelling] for spelling in near))[:MOST_NEAREST]


def _names(instrument: Instrument) -> tuple[str, ...]:
    return instrument.title, *instrument.aliases


def _own_spelling(instrument: Instrument) -> tuple[str, ...]:
    return (instrument.symbol,)


def _other_spellings(instrument: Instrument) -> tuple[str, ...]:
    return (*instrument.aliases, instrument.title) if instrument.title else instrument.aliases
