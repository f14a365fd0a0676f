"""One of Olymp Trade's markets as the venue sees it: its price, its hours, its locks, its past."""

from venues.simulated.hours import Hours, opening
from venues.simulated.olymptrade_instruments import OPEN, TRADING_PAUSE_S, Lock
from venues.simulated.past import Past, PastTick
from venues.simulated.prices import PriceSource
from venues.simulated.protocol import SimulatedTick

SECOND_US = 1_000_000


class OlympMarket:
    """One market. `told` is the lock that was pushed last."""

    def __init__(self, *, symbol: str, prices: PriceSource, hours: Hours, at_us: int) -> None:
        self.symbol = symbol
        self.past = Past()
        self.is_moving = False
        self._prices = prices
        self._hours = hours
        self._last_us = -1
        self._locked_us: int | None = None  # since when by hand
        self._opens_us: int | None = None
        self.told = self.lock_now(at_us)

    def lock(self, *, until_us: int | None, at_us: int) -> None:
        """Close it by hand."""
        self._locked_us, self._opens_us = at_us, until_us

    def unlock(self) -> None:
        """End what `lock` did."""
        self._locked_us = None

    def lock_now(self, at_us: int) -> Lock:
        """Return whether it is locked, and why: by hand, else by its hours."""
        if self._locked_us is not None:
            opens_s = 0 if self._opens_us is None else self._opens_us // SECOND_US
            return Lock(True, True, "maintenance", self._locked_us // SECOND_US, opens_s)
        is_open, closes_us, opens_us = opening(self._hours, self.symbol, at_us=at_us)
        if closes_us is None or opens_us is None:
            return OPEN
        # Deals stop before prices do, and start after them.
        pause_us = TRADING_PAUSE_S * SECOND_US
        is_early = opening(self._hours, self.symbol, at_us=at_us - pause_us).closes_us != closes_us
        is_trading_locked = not is_open or is_early or at_us >= closes_us - pause_us
        reason = "schedule" if is_trading_locked else ""
        closes_s, opens_s = closes_us // SECOND_US, opens_us // SECOND_US
        return Lock(not is_open, is_trading_locked, reason, closes_s, opens_s)

    def tick(self, *, at_us: int) -> SimulatedTick | None:
        """Move the price and remember it; None while it is locked."""
        if self.lock_now(at_us).is_locked:
            return None
        text = self._prices.next().bid
        # A time of its own for each: its clock does not go back either.
        ts_us = self._last_us = max(at_us, self._last_us + 1)
        price = float(text)
        self.past.add(PastTick(ts_us, 0, price, 1.0))
        seconds, micros = divmod(ts_us, SECOND_US)
        payload = f'{{"p":"{self.symbol}","t":{seconds}.{micros:06d},"q":{text}}}'
        return SimulatedTick(self.symbol, payload, self.symbol, ts_us, None, price)
