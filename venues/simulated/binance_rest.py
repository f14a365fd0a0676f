"""Binance's side of its REST interface: history and lists; the client's is `venues/binance_rest.py`."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from domain.errors import RejectedError
from venues.simulated.binance_market import BinanceMarket
from venues.simulated.past import PastTick
from venues.simulated.protocol import HttpAnswer, Request

DEFAULT_TRADES, MOST_TRADES = 500, 1_000  # a page; rest-api.md, 2026-07-21
ILLEGAL, MANDATORY, BAD_SYMBOL = -1100, -1102, -1121  # errors.md, 2026-07-21


class _Refusal(RejectedError):
    """Why a request is answered 400, as the venue numbers and words it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class BinanceRest:
    """Answers for these markets."""

    def __init__(self, markets: Mapping[str, BinanceMarket]) -> None:
        self._markets = markets
        self._paths: Mapping[str, Callable[[Request, Mapping[str, str]], Any]] = {
            "/api/v3/aggTrades": self._trades,
            "/api/v3/exchangeInfo": self._markets_whole,
            "/api/v3/ticker/price": self._prices,
        }

    def answer(self, request: Request) -> HttpAnswer:
        """Return the answer, a refusal where the request is bad, 404 for other paths."""
        parts = urlsplit(request.target)
        answer = self._paths.get(parts.path)
        if answer is None or request.method != "GET":
            return HttpAnswer(404)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            return HttpAnswer(200, body=msgspec.json.encode(answer(request, query)))
        except _Refusal as refusal:
            return HttpAnswer(400, body=msgspec.json.encode({"code": refusal.code, "msg": str(refusal)}))

    def _trades(self, request: Request, query: Mapping[str, str]) -> list[dict[str, Any]]:
        past = self._market(query).past
        most = min(_number(query, "limit") or DEFAULT_TRADES, MOST_TRADES)
        first_id, start_ms, end_ms = (_number(query, name) for name in ("fromId", "startTime", "endTime"))
        if first_id is not None:
            ticks = past.after_number(first_id, most=most)
        elif start_ms is None and end_ms is None:
            ticks = past.between(0, 2**63)[-most:]
        else:
            end_us = 2**63 if end_ms is None else end_ms * 1_000 + 999
            ticks = past.between((start_ms or 0) * 1_000, end_us)[:most]
        is_fine = request.headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND"
        return [_trade(tick, unit_us=1 if is_fine else 1_000) for tick in ticks]

    def _markets_whole(self, _: Request, query: Mapping[str, str]) -> dict[str, Any]:
        if "symbols" in query:
            try:
                names = msgspec.json.decode(query["symbols"], type=list[str])
            except msgspec.DecodeError as exc:
                raise _Refusal(ILLEGAL, "Illegal characters found in parameter 'symbols'.") from exc
            wanted = [self._market({"symbol": name}) for name in names]
        elif "symbol" in query:
            wanted = [self._market(query)]
        else:
            wanted = list(self._markets.values())
        symbols = [{"symbol": market.symbol, "status": "TRADING", "permissions": []} for market in wanted]
        return {"timezone": "UTC", "rateLimits": [], "exchangeFilters": [], "symbols": symbols}

    def _prices(self, _: Request, query: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"symbol": market.symbol, "price": market.last_price} for market in self._markets.values()]

    def _market(self, query: Mapping[str, str]) -> BinanceMarket:
        if "symbol" not in query:
            message = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            raise _Refusal(MANDATORY, message)
        market = self._markets.get(query["symbol"])
        if market is None:
            raise _Refusal(BAD_SYMBOL, "Invalid symbol.")
        return market


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _Refusal(ILLEGAL, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]*$'.")
    return int(text)


def _trade(tick: PastTick, *, unit_us: int) -> dict[str, Any]:
    price, quantity = (format(Decimal(repr(number)), "f") for number in (tick.price, tick.volume))
    number = tick.seq
    head = {"a": number, "p": price, "q": quantity, "f": number, "l": number}
    return {**head, "T": tick.ts_us // unit_us, "m": True, "M": True}
