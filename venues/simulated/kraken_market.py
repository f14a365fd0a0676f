"""One Kraken market as the venue sees it: its price, its numbers, and its two channels' messages."""

import math
from datetime import UTC, datetime, timedelta

import msgspec

from venues.kraken_wire import read_time
from venues.simulated.past import Past, PastTick
from venues.simulated.prices import PriceSource, Quote
from venues.simulated.protocol import SimulatedTick

SWEEP_EVERY, SWEEP_TRADES = 5, 3  # one order in so many meets so many others: one message
QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "BTC", "ETH")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Recorded(msgspec.Struct, gc=False):
    """A recorded frame of either channel."""

    channel: str = ""
    data: list["_RecordedPrice"] = []


class _RecordedPrice(msgspec.Struct, gc=False):
    symbol: str
    timestamp: str
    price: float | None = None
    trade_id: int | None = None
    bid: float | None = None
    ask: float | None = None


_decode_recorded = msgspec.json.Decoder(_Recorded).decode


def wire_symbol(symbol: str) -> str:
    """Return how the venue spells a market: EUR/USD for EURUSD; what has a slash stays as it is."""
    for quote in QUOTES:
        if "/" not in symbol and symbol.endswith(quote) and symbol != quote:
            return f"{symbol.removesuffix(quote)}/{quote}"
    return symbol


def as_time(at_us: int) -> str:
    """Return a time as the venue writes it."""
    return f"{_EPOCH + timedelta(microseconds=at_us):%Y-%m-%dT%H:%M:%S.%fZ}"


class KrakenMarket:
    """One market: its price now, and the number its trades count with.

    Trade ids go up by one from `started_us`, so that a simulator started again never repeats the
    numbers of the one before it.
    """

    def __init__(self, *, symbol: str, prices: PriceSource, started_us: int) -> None:
        self.symbol = symbol
        self.wire = wire_symbol(symbol)
        self.past = Past()
        self._prices = prices
        self._last_id = started_us
        self._moves = 0
        self._quote = Quote("", "")
        self._at_us = 0

    def trades(self, *, at_us: int) -> SimulatedTick:
        """Take the next price; return and remember its trades: one, or those of one message."""
        self._quote, self._at_us = self._prices.next(), at_us
        self._moves += 1
        count = SWEEP_TRADES if self._moves % SWEEP_EVERY == 0 else 1
        time = as_time(at_us)
        payloads, ticks = [], []
        for _ in range(count):
            self._last_id += 1
            lot = self._last_id * 7_919 % 9_973 + 1
            side, price = ("sell", self._quote.bid) if lot & 1 else ("buy", self._quote.ask)
            payloads.append(
                f'{{"symbol":"{self.wire}","side":"{side}","price":{price},"qty":{lot}.00000000,'
                f'"ord_type":"limit","trade_id":{self._last_id},"timestamp":"{time}"}}'
            )
            ticks.append((self.symbol, at_us, self._last_id, float(price)))
            self.past.add(PastTick(at_us, self._last_id, float(price), float(lot)))
        more = tuple(SimulatedTick("trade", "", *tick) for tick in ticks[1:])
        return SimulatedTick("trade", ",".join(payloads), *ticks[0], more)

    def quote(self) -> SimulatedTick | None:
        """Return the price of the last trade as best bid and ask, None before the first."""
        bid, ask = self._quote
        if not bid:
            return None
        price = (float(bid) + float(ask)) / 2
        payload = (
            f'{{"symbol":"{self.wire}","bid":{bid},"bid_qty":0.56251979,"ask":{ask},"ask_qty":0.0004478,'
            f'"last":{bid},"volume":3156.8478211,"vwap":{bid},"low":{bid},"high":{ask},"change":0.0,'
            f'"change_pct":0.0,"trades":{self._moves},"timestamp":"{as_time(self._at_us)}"}}'
        )
        return SimulatedTick("ticker", payload, self.symbol, self._at_us, None, price)


def read_recorded(frame: str) -> SimulatedTick | None:
    """Return the ticks that a recorded frame holds, None where it holds none.

    Only of frames that tell of one market; `stream` is the channel, `symbol` the venue's spelling.
    """
    try:
        message = _decode_recorded(frame)
        ticks = [tick for each in message.data if (tick := _read_price(message.channel, each)) is not None]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None  # recordings hold garbage too
    if not ticks or len({tick.symbol for tick in ticks}) > 1:
        return None
    return ticks[0]._replace(more=tuple(ticks[1:]))


def _read_price(channel: str, each: _RecordedPrice) -> SimulatedTick | None:
    if channel == "trade" and each.price is not None:
        price, number = each.price, each.trade_id
    elif channel == "ticker" and each.bid and each.ask:
        price, number = (each.bid + each.ask) / 2, None
    else:
        return None
    if not 0.0 < price < math.inf:
        return None  # no client takes it for a price
    return SimulatedTick(channel, "", each.symbol, read_time(each.timestamp), number, price)
