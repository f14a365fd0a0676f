"""What an adapter's look at a price costs, beside msgspec's own decoding of the same frame.

    python -m benchmarks.decoding

Each protocol's most common frame, the fields numbered on where the venue counts; rounds of the two
take turns, and the quickest of each counts, since a machine is only ever slower than it can be.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from domain.market import PriceUpdate
from venues import find_venue
from venues.protocol import Adapter, SessionContext
from venues.settings import VenueSettings

FRAMES, ROUNDS = 2_000, 30


def made(protocol: str, *, source: str) -> Adapter:
    settings = VenueSettings(protocol=protocol, source=source)
    return find_venue(protocol).make_adapter(SessionContext(settings=settings))


def binance(source: str) -> tuple[Adapter, list[str]]:
    adapter = made("binance", source=source)
    adapter.subscribe(["EURUSDT"])
    quote = {"s": "EURUSDT", "b": "1.17190000", "B": "1000000.0", "a": "1.17198000", "A": "1000000.0"}
    trade = {
        "e": "aggTrade", "E": 1672515782136, "s": "EURUSDT", "p": "1.1719", "q": "100", "f": 100,
        "l": 105, "T": 1672515782136, "m": True, "M": True,
    }  # fmt: skip
    stream, data, count = ("bookTicker", quote, "u") if source == "quotes" else ("aggTrade", trade, "a")
    stream = f"eurusdt@{stream}"
    return adapter, [text({"stream": stream, "data": {count: n, **data}}) for n in range(FRAMES)]


def olymptrade() -> tuple[Adapter, list[str]]:
    adapter = made("olymptrade", source="quotes")
    adapter.subscribe(["EURUSD"])
    ticks = ({"p": "EURUSD", "t": 1751668293.5 + n, "q": 1.17781} for n in range(FRAMES))
    return adapter, [text([{"e": 1, "t": 1, "d": [tick]}]) for tick in ticks]


def deriv() -> tuple[Adapter, list[str]]:
    adapter = made("deriv", source="quotes")
    [asked] = [json.loads(frame) for frame in adapter.subscribe(["R_50"])]
    tick = {
        "ask": 218.1006,
        "bid": 218.0806,
        "id": "b4d4",
        "pip_size": 4,
        "quote": 218.0906,
        "symbol": "R_50",
    }
    answer = {
        "echo_req": asked, "msg_type": "tick", "req_id": asked["req_id"], "subscription": {"id": "b4d4"},
    }  # fmt: skip
    confirmation, *frames = [
        text({**answer, "tick": {**tick, "epoch": 1587547608 + n}}) for n in range(FRAMES + 1)
    ]
    adapter.receive(confirmation)
    return adapter, frames


def kraken(source: str) -> tuple[Adapter, list[str]]:
    adapter = made("kraken", source=source)
    adapter.subscribe(["BTC/USD"])
    at = "2026-09-25T17:08:24.123456Z"
    quote = {
        "symbol": "BTC/USD", "bid": 109123.4, "bid_qty": 1.5, "ask": 109123.5, "ask_qty": 0.25,
        "last": 109123.4, "volume": 1234.5, "vwap": 109000.1, "low": 108000.0, "high": 110000.0,
        "change": -12.3, "change_pct": -0.01, "timestamp": at,
    }  # fmt: skip
    trade = {
        "symbol": "BTC/USD", "side": "buy", "price": 109123.4, "qty": 0.001, "ord_type": "market",
        "timestamp": at,
    }  # fmt: skip
    if source == "quotes":
        return adapter, [text({"channel": "ticker", "type": "update", "data": [quote]})] * FRAMES
    trades = ({**trade, "trade_id": n} for n in range(FRAMES))
    return adapter, [text({"channel": "trade", "type": "update", "data": [each]}) for each in trades]


def text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def quickest_us(rounds: Sequence[Callable[[str], object]], frames: Sequence[str]) -> list[float]:
    """Return each one's time a frame, in its quickest round."""
    best = [float("inf")] * len(rounds)
    for _ in range(ROUNDS):
        for number, decode in enumerate(rounds):
            began = time.perf_counter()
            for frame in frames:
                decode(frame)
            best[number] = min(best[number], (time.perf_counter() - began) / len(frames) * 1e6)
    return best


def main() -> None:
    print(f"{'µs a frame':24}{'msgspec':>9}{'adapter':>9}{'ratio':>7}")
    for name, (adapter, frames) in (
        ("binance quotes", binance("quotes")),
        ("binance trades", binance("trades")),
        ("olymptrade", olymptrade()),
        ("deriv", deriv()),
        ("kraken quotes", kraken("quotes")),
        ("kraken trades", kraken("trades")),
    ):
        told = [event for frame in frames for event in adapter.receive(frame)]
        prices = sum(isinstance(event, PriceUpdate) for event in told)
        if prices < FRAMES:
            raise SystemExit(f"{name}: only {prices} prices in {FRAMES} frames: {told[:3]}")
        bare, ours = quickest_us((msgspec.json.decode, adapter.receive), frames)
        print(f"{name:24}{bare:9.2f}{ours:9.2f}{ours / bare:7.2f}", flush=True)


if __name__ == "__main__":
    main()
