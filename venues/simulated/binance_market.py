"""One Binance market as the venue sees it: its price, its numbers, and its two streams' frames."""

import math

import msgspec

from venues.simulated.past import Past, PastTick
from venues.simulated.prices import PriceSource, Quote
from venues.simulated.protocol import SimulatedTick


class _Frame(msgspec.Struct, gc=False):
    """A recorded frame of a combined stream, either kind; in an answer there is no stream."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Trade(msgspec.Struct, gc=False):
    a: int
    p: str
    T: int


class _Quote(msgspec.Struct, gc=False):
    u: int
    b: str
    a: str


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_quote = msgspec.json.Decoder(_Quote).decode


class BinanceMarket:
    """One market: its price now, and the numbers its streams count with.

    Trade ids and update ids go up by one a tick from `started_us`, so that a simulator started
    again never repeats the numbers of the one before it.
    """

    def __init__(self, *, symbol: str, prices: PriceSource, started_us: int) -> None:
        self.symbol = symbol.upper()
        self.trade_stream = f"{symbol.lower()}@aggTrade"
        self.quote_stream = f"{symbol.lower()}@bookTicker"
        self.past = Past()
        self._prices = prices
        self._started_us = started_us
        self._ticks = 0
        self._quote = Quote("", "")

    @property
    def last_price(self) -> str:
        """The bid now, 0 before the first."""
        return self._quote.bid or "0.00000000"

    def trade(self, *, at_us: int) -> SimulatedTick:
        """Take the next price, and return and remember it as an aggregated trade.

        It is at the bid or at the ask, by turns.
        """
        self._quote = self._prices.next()
        self._ticks += 1
        at_ms = at_us // 1_000
        number = self._started_us + self._ticks
        lot = self._ticks * 7_919 % 9_973 + 1
        if lot & 1:
            price, is_buyer_maker = self._quote.bid, "true"
        else:
            price, is_buyer_maker = self._quote.ask, "false"
        payload = (
            f'{{"e":"aggTrade","E":{at_ms},"s":"{self.symbol}","a":{number},"p":"{price}",'
            f'"q":"{lot}.00000000","f":{number},"l":{number},"T":{at_ms},"m":{is_buyer_maker},"M":true}}'
        )
        self.past.add(PastTick(at_ms * 1_000, number, float(price), float(lot)))
        return SimulatedTick(self.trade_stream, payload, self.symbol, at_ms * 1_000, number, float(price))

    def quote(self) -> SimulatedTick:
        """Return the price of the last trade as best bid and ask; it has no time."""
        bid, ask = self._quote
        number = self._started_us + self._ticks
        payload = (
            f'{{"u":{number},"s":"{self.symbol}","b":"{bid}","B":"31.21000000",'
            f'"a":"{ask}","A":"40.66000000"}}'
        )
        price = (float(bid) + float(ask)) / 2
        return SimulatedTick(self.quote_stream, payload, self.symbol, None, number, price)


def read_tick(frame: str) -> SimulatedTick | None:
    """Return the tick that a combined frame holds, None where it holds none.

    `{"stream":"eurusd@bookTicker","data":{"u":1,"s":"EURUSD","b":"1.1","B":"3","a":"1.2","A":"4"}}`
    """
    try:
        message = _decode_frame(frame)
        symbol, _, kind = message.stream.partition("@")
        if kind == "aggTrade":
            trade = _decode_trade(message.data)
            ts_us, seq, price = trade.T * 1_000, trade.a, float(trade.p)
        elif kind == "bookTicker":
            quote = _decode_quote(message.data)
            ts_us, seq, price = None, quote.u, (float(quote.b) + float(quote.a)) / 2
        else:
            return None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None  # recordings hold garbage too
    if not 0.0 < price < math.inf:
        return None  # no client takes it for a price
    payload = bytes(message.data).decode()
    return SimulatedTick(message.stream, payload, symbol.upper(), ts_us, seq, price)
