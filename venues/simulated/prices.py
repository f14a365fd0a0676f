"""Where simulated prices come from: a walk for each market, or a file replayed in a loop."""

import csv
import math
import re
from collections.abc import Iterable
from random import Random
from typing import NamedTuple, Protocol

from domain.errors import ConfigError

# A step is drawn evenly from ± STEP / 2, relative: 0.3 pips of EURUSD (standard deviation).
STEP = 1e-4
# So much of the way back to the start price each step: the walk stays within a standard deviation
# of 2 % around it, however many months of ticks it makes.
PULL = 1e-6

DECIMAL_PATTERN = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


class Quote(NamedTuple):
    """One bid and ask as decimal text, as a venue's wire carries them; bid ≤ ask, both above 0."""

    bid: str
    ask: str


class PriceSource(Protocol):
    """Endless prices of one market."""

    def next(self) -> Quote:
        """Return the next price."""


class Listing(NamedTuple):
    """How a market is quoted: its start price, decimals, and spread in units of the last one."""

    start: float
    decimals: int
    spread: int


# Start prices and spreads as brokers showed them in mid-2025.
FX_LISTINGS: dict[str, Listing] = {
    "EURUSD": Listing(1.17200, 5, 8),
    "GBPUSD": Listing(1.35600, 5, 11),
    "USDJPY": Listing(147.400, 3, 9),
    "AUDUSD": Listing(0.65300, 5, 9),
    "USDCAD": Listing(1.37100, 5, 12),
    "USDCHF": Listing(0.79800, 5, 11),
    "NZDUSD": Listing(0.59900, 5, 13),
    "EURGBP": Listing(0.86400, 5, 11),
    "EURJPY": Listing(172.700, 3, 14),
    "EURCHF": Listing(0.93500, 5, 15),
    "EURAUD": Listing(1.79400, 5, 19),
    "EURCAD": Listing(1.60700, 5, 20),
    "EURNZD": Listing(1.95600, 5, 28),
    "GBPJPY": Listing(199.800, 3, 21),
    "GBPAUD": Listing(2.07600, 5, 26),
    "GBPCAD": Listing(1.85900, 5, 27),
    "GBPCHF": Listing(1.08200, 5, 23),
    "GBPNZD": Listing(2.26300, 5, 36),
    "AUDJPY": Listing(96.2000, 3, 14),
    "AUDCAD": Listing(0.89500, 5, 16),
    "AUDCHF": Listing(0.52100, 5, 15),
    "AUDNZD": Listing(1.09000, 5, 19),
    "CADJPY": Listing(107.500, 3, 15),
    "CADCHF": Listing(0.58200, 5, 16),
    "CHFJPY": Listing(184.700, 3, 20),
    "NZDJPY": Listing(88.3000, 3, 16),
    "NZDCAD": Listing(0.82100, 5, 18),
}

FX_PAIRS: tuple[str, ...] = tuple(FX_LISTINGS)

COIN_STARTS = {"BTC": 108_000.0, "XBT": 108_000.0, "ETH": 2_550.0, "BNB": 655.0, "SOL": 150.0, "XRP": 2.25}


def listing_of(symbol: str) -> Listing:
    """Return how a symbol is quoted: pairs and coins we know, else something plausible and fixed.

    `EUR/USD`, `EURUSD-OTC` and `EURUSDT` are quoted like EURUSD.
    """
    letters = re.sub(r"[^A-Z0-9]", "", symbol.upper())
    known = FX_LISTINGS.get(letters[:6])
    if known is not None:
        return known
    start = COIN_STARTS.get(letters[:3])
    if start is None:
        # 0.50 to 200, evenly over the orders of magnitude; of the name alone, not of the seed.
        start = 0.5 * 400.0 ** Random(f"start {letters}").random()  # noqa: S311
    decimals = 2 if start >= 1_000 else 3 if start >= 20 else 5
    spread = max(1, round(start * 10**decimals * 1e-4))
    return Listing(start, decimals, spread)


class PricePath:
    """A random walk that is the same for the same seed and symbol, whatever else is served.

    Prices are strictly positive and stay near the market's start price for ever. Crosses are
    walks of their own: EURUSD, USDJPY and EURJPY do not fit each other.
    """

    def __init__(self, *, seed: int, symbol: str) -> None:
        start, decimals, self._spread = listing_of(symbol)
        self._scale = 10**decimals
        self._start = start * self._scale
        self._format = f"%.{decimals}f"
        self._random = Random(f"{seed} {symbol.upper()}").random  # noqa: S311 - no secret, repeatable
        self._deviation = 0.0  # logarithm of price / start

    def next(self) -> Quote:
        """Return the next price."""
        self._deviation += STEP * (self._random() - 0.5) - PULL * self._deviation
        bid = max(1, round(self._start * math.exp(self._deviation)))
        ask = bid + self._spread
        return Quote(self._format % (bid / self._scale), self._format % (ask / self._scale))


class PriceLoop:
    """The prices of a file, from its first row, over and over."""

    def __init__(self, quotes: tuple[Quote, ...]) -> None:
        self._quotes = quotes
        self._index = -1

    def next(self) -> Quote:
        """Return the next price."""
        self._index = (self._index + 1) % len(self._quotes)
        return self._quotes[self._index]


def parse_prices(lines: Iterable[str], *, name: str) -> tuple[Quote, ...]:
    """Return the prices in the lines of a CSV file that has the columns `bid` and `ask`.

    `timestamp,bid,ask` / `2013-01-01 22:00:00.295000+00:00,86.655,86.728`: other columns, times
    among them, are not looked at. Raises `ConfigError` naming the file, the line and what is wrong.
    """
    rows = csv.DictReader(lines)
    try:
        missing = {"bid", "ask"} - set(rows.fieldnames or ())
        if missing:
            columns = ", ".join(sorted(missing))
            raise ConfigError(f"{name}, line 1: no column {columns} in {rows.fieldnames!r}")
        quotes = tuple(_parse_row(row, where=f"{name}, line {rows.line_num}") for row in rows)
    except csv.Error as exc:
        raise ConfigError(f"{name}, line {rows.line_num}: {exc}") from exc
    if not quotes:
        raise ConfigError(f"{name}: no prices below the heading")
    return quotes


def _parse_row(row: dict[str, str | None], *, where: str) -> Quote:
    for side in ("bid", "ask"):
        text = row[side]
        if text is None or not DECIMAL_PATTERN.fullmatch(text) or float(text) == 0.0:
            raise ConfigError(f"{where}: {side} {text!r} is not a decimal number above 0")
    quote = Quote(str(row["bid"]), str(row["ask"]))
    if float(quote.bid) > float(quote.ask):
        raise ConfigError(f"{where}: bid {quote.bid} is above ask {quote.ask}")
    return quote
