"""The list of markets as Olymp Trade pushes it (1054): as long and as wide as the recorded one. Pure.

Items as recorded 2025-07-04; `venues/olymptrade_instruments.py` shows one.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from venues.simulated.prices import FX_PAIRS, listing_of

ICONS = "https://cfcdn.olymptrade.com/assets1/instrument"
ICON_SIZES = ("24x24", "36x36", "48x48", "72x72", "96x96", "384x384")

# What the venue lists beside currency pairs. Here they are locked for good.
OTHERS = {
    "crypto": "Bitcoin ETHUSD LTCUSD XRPUSD BNBUSD SOLUSD ADAUSD DOTUSD UNIUSD TONUSD POLUSD DOGUSD AUSD "
    "TRUMPUSD BCHUSD LNKUSD XTZUSD KSMUSD AVXUSD XLMUSD GLMUSD",
    "stock": "FB EBAY MA BIDU KO IBM AMZN MSFT AMD JNJ NFLX CSCO XOM BA JPM PG DIS TSLA MS GS ORCL AAPL "
    "GOOGL NVDA MCD V SBUX NOVN CVX CAT MMM NKE BABA INTC PYPL UBER PFE PEP ABNB CRM ADBE QCOM TXN "
    "AVGO COST WMT HD UNH LLY ABBV MRK TMO CMCSA VZ T F GM GE DAL UAL BAC C WFC",
    "index": "ES NQ YM FCE Z FDAX FESX NKD HSI",
    "etf": "SPY IYR UVXY IBIT QID BRZU",
    "crashboom": "CRASH_300_X CRASH_150_X BOOM_300_X BOOM_150_X",
    "composite": "EUROPE_X CMDTY_X ASIA_X",
    "goods": "_BRN WTI",
    "metal": "XAGUSD XAUUSD",
}
TITLES = {
    "Bitcoin": "Bitcoin",
    "ETHUSD": "Ethereum",
    "XAUUSD": "Gold",
    "XAGUSD": "Silver",
    "_BRN": "BRENT",
    "WTI": "WTI Crude Oil",
    "ES": "S&P 500",
    "AAPL": "Apple",
    "ASIA_X": "Asia Composite Index",
}


class Lock(NamedTuple):
    """Whether prices and deals stop, why, and the session's ends in UTC seconds, 0 where unknown."""

    is_locked: bool = False
    is_trading_locked: bool = False
    reason: str = ""
    closes_s: int = 0
    opens_s: int = 0


OPEN = Lock()
OUT_OF_ORDER = Lock(is_locked=True, is_trading_locked=True, reason="maintenance")
TRADING_PAUSE_S = 300  # deals stop so long before the close and start so long after the opening


def item(symbol: str, *, lock: Lock) -> dict[str, Any]:
    """Return one market of the list."""
    group = group_of(symbol)
    return {
        "id": symbol,
        "title": title_of(symbol),
        "aliases": [group.title()] if group in ("crypto", "index") else [],
        "group": group,
        "group_view": [group],
        "precision": listing_of(symbol).decimals,
        "time_close": lock.closes_s,
        "time_open": lock.opens_s,
        "locked_reason": lock.reason,
        "time_close_trading": lock.closes_s and lock.closes_s - TRADING_PAUSE_S,
        "time_open_trading": lock.opens_s and lock.opens_s + TRADING_PAUSE_S,
        "locked_trading_reason": lock.reason,
        "allowed_multiplicators": [10, 20, 33, 50],
        "multiplicator_suggestions": [50, 100, 500],
        "default_multiplicator": 100,
        "min_multiplicator": 50,
        "max_multiplicator": 500,
        "swap_commission_buy": 0.000157,
        "swap_commission_sell": 0.000157,
        "stop_out_rate": 0,
        "margin_call2_rate": 0,
        "stop_loss_rate": 0.05,
        "take_profit_rate": 0.05,
        "swap_commission_max": 0.15,
        "open_commission_max": 0.9,
        "min_commission": 4e-05,
        "icon": {size: _icon(symbol, size=size, kind="png") for size in ICON_SIZES},
        "icon_vector": _icon(symbol, size="vector", kind="svg"),
        "locked": lock.is_locked,
        "locked_trading": lock.is_trading_locked,
        "locked_buy": False,
        "locked_sell": False,
        "is_endless": False,
        "rank": 101,
        "volatility": 0.3,
    }


def others(served: Iterable[str]) -> list[str]:
    """Return the markets that are listed beside those that are served."""
    taken = {symbol.upper() for symbol in served}
    listed = [symbol for names in OTHERS.values() for symbol in names.split()]
    return [symbol for symbol in listed if symbol.upper() not in taken]


def group_of(symbol: str) -> str:
    """Return the group that the venue puts a market into."""
    for group, names in OTHERS.items():
        if symbol in names.split():
            return group
    return "currency" if symbol.upper() in FX_PAIRS else "crypto"


def title_of(symbol: str) -> str:
    """Return what people read: EUR/USD for a currency pair."""
    if symbol.upper() in FX_PAIRS:
        return f"{symbol[:3]}/{symbol[3:]}"
    return TITLES.get(symbol, symbol.replace("_", " "))


def _icon(symbol: str, *, size: str, kind: str) -> str:
    digest = hashlib.md5(f"{symbol} {size}".encode(), usedforsecurity=False).hexdigest()
    return f"{ICONS}/{size}/{symbol}.{digest}.{kind}"
