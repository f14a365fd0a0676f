"""Kraken's side of its history over HTTP; the client's is `venues/kraken_rest.py`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from venues.simulated.kraken_market import KrakenMarket
from venues.simulated.past import PastTick
from venues.simulated.protocol import HttpAnswer, Request

MOST_TRADES = 1_000  # a page; get-recent-trades, 2026-11
FOREVER_US = 2**62


class KrakenRest:
    """Answers for these markets, by their names on the wire."""

    def __init__(self, markets: Mapping[str, KrakenMarket]) -> None:
        self._markets = {name.replace("/", ""): market for name, market in markets.items()}

    def answer(self, request: Request) -> HttpAnswer:
        """Return the answer; errors are told in one of status 200, as the real venue does."""
        parts = urlsplit(request.target)
        if parts.path != "/0/public/Trades" or request.method != "GET":
            return _said({"error": ["EGeneral:Unknown method"]})
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        market = self._markets.get(query.get("pair", "").replace("/", "").upper())
        if market is None:
            return _said({"error": ["EQuery:Unknown asset pair"]})
        since, count = query.get("since", "0"), query.get("count", str(MOST_TRADES))
        if not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in (since, count)):
            return _said({"error": ["EGeneral:Invalid arguments"]})
        most = min(max(int(count), 1), MOST_TRADES)
        if "since" in query:
            ticks = market.past.between(int(since) // 1_000 + 1, FOREVER_US)[:most]
        else:
            ticks = market.past.between(0, FOREVER_US)[-most:]
        last = str(ticks[-1].ts_us * 1_000) if ticks else since
        rows = [_row(tick) for tick in ticks]
        return _said({"error": [], "result": {_third_spelling(market.wire): rows, "last": last}})


def too_many() -> HttpAnswer:
    """Return what is said to who asks too often."""
    return _said({"error": ["EGeneral:Too many requests"]})


def _said(answer: Mapping[str, Any]) -> HttpAnswer:
    return HttpAnswer(200, body=msgspec.json.encode(answer))


def _row(tick: PastTick) -> list[Any]:
    price, volume = (format(Decimal(repr(number)), "f") for number in (tick.price, tick.volume))
    return [price, volume, tick.ts_us / 1_000_000, "b", "l", "", tick.seq]


def _third_spelling(symbol: str) -> str:
    """Return a pair as answers name it: ZEURZUSD."""
    return "".join(f"Z{name}" for name in symbol.split("/"))
