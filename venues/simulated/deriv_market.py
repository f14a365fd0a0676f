"""One Deriv market as the venue sees it: its names, its price, its past, and whether it is open."""

import re
from decimal import Decimal

import msgspec

from venues.simulated.hours import Hours, Opening, opening
from venues.simulated.past import Past, PastTick
from venues.simulated.prices import FX_LISTINGS, PriceSource
from venues.simulated.protocol import SimulatedTick

SECOND_US = 1_000_000
COINS = ("BTC", "ETH", "LTC", "XRP", "SOL")


class _Tick(msgspec.Struct, gc=False):
    symbol: str
    epoch: int
    quote: float | str


class _Frame(msgspec.Struct, gc=False):
    tick: _Tick


_decode_frame = msgspec.json.Decoder(_Frame).decode


def wire_symbol(symbol: str) -> str:
    """Return what the venue calls a market: `frxEURUSD`, `cryBTCUSD`; indices keep their name."""
    letters = re.sub(r"\W", "", symbol)
    if letters.upper() in FX_LISTINGS:
        return f"frx{letters.upper()}"
    return f"cry{letters.upper()}" if letters.upper().startswith(COINS) else letters


class DerivMarket:
    """One market. Its times are whole seconds, and no two prices share one, as in the venue's history."""

    def __init__(self, *, symbol: str, prices: PriceSource, hours: Hours) -> None:
        self.symbol = symbol
        self.wire = wire_symbol(symbol)
        letters = self.wire[3:]
        is_pair = self.wire[:3] in ("frx", "cry") and len(letters) == 6
        self.title = f"{letters[:3]}/{letters[3:]}" if is_pair else symbol
        self.group = {"frx": "forex", "cry": "cryptocurrency"}.get(self.wire[:3], "synthetic_index")
        self.past = Past()
        self.latest: SimulatedTick | None = None
        self.pip_size = 0  # decimals of its prices, once there is one
        self._prices = prices
        self._hours = hours
        self._is_locked = False
        self._locked_until_us: int | None = None
        self._epoch = -1

    def lock(self, *, until_us: int | None) -> None:
        """Close it until then, None: until it is unlocked; whatever its hours say."""
        self._is_locked, self._locked_until_us = True, until_us

    def unlock(self) -> None:
        """Let its hours decide again."""
        self._is_locked = False

    def opening(self, *, at_us: int) -> Opening:
        """Return whether it is open, and when that changes."""
        until_us = self._locked_until_us
        if self._is_locked and (until_us is None or at_us < until_us):
            return Opening(False, None, until_us)
        return opening(self._hours, self.symbol, at_us=at_us)

    def move(self, *, at_us: int) -> SimulatedTick | None:
        """Return the next price, None in a second that has one and while it is closed."""
        epoch = at_us // SECOND_US
        if epoch <= self._epoch or not self.opening(at_us=at_us).is_open:
            return None
        return self._move(epoch)

    def last(self, *, at_us: int) -> SimulatedTick:
        """Return the last price there was; of a market that never had one, its first."""
        return self.latest or self._move(at_us // SECOND_US)

    def _move(self, epoch: int) -> SimulatedTick:
        bid, ask = self._prices.next()
        middle = (Decimal(bid) + Decimal(ask)) / 2
        quote = f"{middle.quantize(Decimal(bid)):f}"
        self.pip_size = len(bid.partition(".")[2])
        payload = (
            f'{{"ask":{ask},"bid":{bid},"epoch":{epoch},"pip_size":{self.pip_size},'
            f'"quote":{quote},"symbol":"{self.wire}"}}'
        )
        price = float(quote)
        self._epoch = epoch
        self.past.add(PastTick(epoch * SECOND_US, 0, price, 0.0))
        self.latest = SimulatedTick(self.wire, payload, self.symbol, epoch * SECOND_US, None, price)
        return self.latest


def read_tick(frame: str) -> SimulatedTick | None:
    """Return the tick of a recorded frame, None where it holds none; its symbol is the venue's."""
    try:
        tick = _decode_frame(frame).tick
        price, ts_us = float(tick.quote), tick.epoch * SECOND_US
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError):
        return None  # recordings hold other frames, and garbage
    if not 0.0 < price < float("inf"):
        return None  # no client takes it for a price
    return SimulatedTick(tick.symbol, frame, tick.symbol, ts_us, None, price)
