"""The simulated Kraken's list of markets: its own, and hundreds more, as many as the real one has."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

COINS = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "DOT", "LTC", "LINK", "XMR")
MOST_FILLERS = 600
FILLER_QUOTES = ("USD", "EUR")


def filler_symbols() -> tuple[str, ...]:
    """Return the names of markets that are listed and can be subscribed, and nothing comes of them."""
    invented = (
        f"{first}{second}{third}" for first in "BCDFGHJKLM" for second in "AEIOU" for third in "NPRSTXZ"
    )
    names = [*COINS, *invented]
    return tuple(f"{name}/{quote}" for name in names for quote in FILLER_QUOTES)[:MOST_FILLERS]


def pair(symbol: str, *, status: str) -> Mapping[str, Any]:
    """Return one market as the `instrument` channel tells it."""
    base, _, quote = symbol.partition("/")
    return {
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "status": status,
        "qty_precision": 8,
        "qty_increment": 1e-08,
        "price_precision": 5,
        "cost_precision": 5,
        "marginable": False,
        "has_index": True,
        "cost_min": 0.5,
        "tick_size": 1e-05,
        "price_increment": 1e-05,
        "qty_min": 0.5,
    }


def asset(name: str) -> Mapping[str, Any]:
    """Return one asset as the `instrument` channel tells it."""
    return {"id": name, "status": "enabled", "precision": 10, "precision_display": 5, "borrowable": False}


def message(pairs: Iterable[Mapping[str, Any]], *, kind: str) -> str:
    """Return a message of the `instrument` channel, a snapshot or an update."""
    listed = list(pairs)
    names = dict.fromkeys(name for each in listed for name in (each["base"], each["quote"]) if name)
    data = {"assets": [asset(name) for name in names], "pairs": listed}
    return msgspec.json.encode({"channel": "instrument", "type": kind, "data": data}).decode()
