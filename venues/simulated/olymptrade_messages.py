"""The messages that Olymp Trade's side reads and writes. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from venues.olymptrade_frames import BALANCES, INSTRUMENTS, SECOND_US
from venues.simulated.past import PastCandle

WITHOUT_T = frozenset({110, 111, 112})
WITHOUT_TS = frozenset({BALANCES, INSTRUMENTS, 602})


class OlympRequest(msgspec.Struct, gc=False):
    """`[{"t":2,"e":12,"d":[{"pair":"EURUSD"}],"uuid":"WKAJ-is"}]` (recorded 2025-07-04)."""

    e: int
    d: Any = None
    uuid: str | None = None


decode_requests = msgspec.json.Decoder(list[OlympRequest]).decode


def push(code: int, d: Any, *, at_s: int | None = None) -> dict[str, Any]:
    """Return a push; some have no `t`, and some no `ts` (recorded 2025-07-04)."""
    message = {"d": d, "e": code}
    if code not in WITHOUT_T:
        message["t"] = 1
    if at_s is not None and code not in WITHOUT_TS:
        message["ts"] = at_s
    return message


def reply(request: OlympRequest, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer, with the request's id if it had one."""
    message = {**more, "e": request.e, "t": 3}
    if request.uuid is not None:
        message["uuid"] = request.uuid
    return message


def rejection(code: str, text: str) -> Mapping[str, Any]:
    """Return what an answer says that rejects its request."""
    return {"d": [], "err": [{"code": code, "mess": text}]}


def candles(symbol: str, found: Iterable[PastCandle]) -> Mapping[str, Any]:
    """Return what an answer says that holds candles."""
    items = [
        {
            "t": candle.open_us // SECOND_US,
            "open": candle.open,
            "high": candle.high,
            "low": candle.low,
            "close": candle.close,
            "volume": candle.volume,
        }
        for candle in found
    ]
    return {"d": [{"p": symbol, "candles": items}]}


def pairs(d: Any) -> list[str]:
    """Return the markets that a request is about."""
    items = d if isinstance(d, list) else []
    found = [item.get("pair") for item in items if isinstance(item, dict)]
    return [pair for pair in found if isinstance(pair, str)]
