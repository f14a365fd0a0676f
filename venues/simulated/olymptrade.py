"""Olymp Trade's side of its web socket; see `venues/olymptrade.py` for the client's and the sources.

Served on `/otp`. Unlike the real venue, which lists a hundred markets, only those of the simulator
have prices; the others are listed as locked. Deals are not served.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN
from venues import olymptrade_frames as codes
from venues.simulated.door import Door, Penalty
from venues.simulated.hours import Hours
from venues.simulated.limits import Limit
from venues.simulated.olymptrade_contents import CONTENTS
from venues.simulated.olymptrade_door import expiry_us, refusal, token_of
from venues.simulated.olymptrade_instruments import OUT_OF_ORDER, item, others
from venues.simulated.olymptrade_market import OlympMarket
from venues.simulated.olymptrade_session import OlympSession
from venues.simulated.past import PastCandle
from venues.simulated.prices import PriceSource
from venues.simulated.protocol import Host, HttpAnswer, Request

SECOND_US = codes.SECOND_US
BATCH = 150  # candles in an answer; the real number is not known
COUNT_EVERY_S = 30  # between two pushes of a counter that means nothing to anybody
SURPRISE_EVERY_S = 300  # between two messages of a code that nobody knows
SURPRISE_CODE = 4242

# Attempts, and what follows: no limit is known. Ours, so that somebody who storms the door is found out.
CONNECTS, CONNECTS_WINDOW_S = 30, 300
PENALTIES = (Penalty(429, 300),)

CLOSED_PERCENT = 10  # what the venue says of a market that takes no deals


class SimulatedOlympTrade:
    """The venue: its markets, who watches them, and which tokens are worth something."""

    def __init__(
        self,
        *,
        prices: Mapping[str, PriceSource],
        started_us: int,
        accepts: Callable[[str], bool],
        hours: Hours = Hours.ALWAYS,
    ) -> None:
        """Serve these symbols; `accepts` says which further ones may be subscribed.

        Raises `ConfigError` for what is not a symbol.
        """
        for symbol in prices:
            if not SYMBOL_PATTERN.fullmatch(symbol):
                raise ConfigError(f"market {symbol!r} is not a symbol")
        self.bans = 0
        limit = Limit(most=CONNECTS, window_s=CONNECTS_WINDOW_S)
        self._door = Door(limit=limit, penalties=PENALTIES, on_ban=self.count_ban)
        self._markets = {
            symbol: OlympMarket(symbol=symbol, prices=source, hours=hours, at_us=started_us)
            for symbol, source in prices.items()
        }
        self._order = list(self._markets)
        self._others = others(self._order)
        self._accepts = accepts
        self._watchers: dict[str, dict[OlympSession, None]] = {symbol: {} for symbol in self._order}
        self._sessions: dict[OlympSession, None] = {}
        self._opened = 0  # sessions
        self._revoked: set[str] = set()
        self._at_us = started_us
        self._counted_s = self._surprised_s = started_us // SECOND_US

    def count_ban(self) -> None:
        """Somebody was not polite."""
        self.bans += 1

    # --- what the server asks of any venue ----------------------------------------------------

    @property
    def symbols(self) -> Sequence[str]:
        """The markets that have prices."""
        return self._order

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        """Return how to refuse an upgrade, None to accept it."""
        self._at_us = at_us
        return self._door.knock(at_s=at_us / SECOND_US) or refusal(request)

    def open_session(self, *, request: Request, host: Host, at_us: int) -> OlympSession:
        """Return a new socket's session; one with a bad token is closed at once."""
        self._at_us = at_us
        self._opened += 1
        session = OlympSession(venue=self, host=host, token=token_of(request), seed=self._opened)
        self._sessions[session] = None
        if not self._is_good(session.token):
            host.call_later(0.0, lambda: self._expel(session))
        return session

    def answer(self, request: Request, *, at_us: int) -> HttpAnswer:
        """Answer nothing over plain HTTP."""
        return HttpAnswer(404)

    def is_moving(self, symbol: str) -> bool:
        """Return whether any socket ever subscribed that market."""
        return self._markets[symbol].is_moving

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price and deliver it to whoever watches it, if it is open."""
        self._at_us = at_us
        tick = self._markets[symbol].tick(at_us=at_us)
        if tick is not None:
            for session in self._watchers[symbol]:
                session.deliver(tick)

    def lock(self, symbol: str | None, *, until_us: int | None, at_us: int) -> None:
        """Close a market, None: all of them; and push it."""
        for market in self._concerned(symbol):
            market.lock(until_us=until_us, at_us=at_us)
        self._tell_locks(at_us)

    def unlock(self, symbol: str | None, *, at_us: int) -> None:
        """Open it again, and push it."""
        for market in self._concerned(symbol):
            market.unlock()
        self._tell_locks(at_us)

    def pass_time(self, *, at_us: int) -> None:
        """Push what the clock opens and closes, expel whose token expired, chatter."""
        self._at_us = at_us
        self._tell_locks(at_us)
        for session in list(self._sessions):
            if not self._is_good(session.token):
                self._expel(session)
        self._chatter(at_us // SECOND_US)

    def announce_shutdown(self) -> None:
        """Say nothing: the protocol has no word for it."""

    # --- what only this venue does ------------------------------------------------------------

    def revoke(self, token: str) -> None:
        """Let nobody in with this token any longer, and close whoever is in."""
        self._revoked.add(token)
        for session in list(self._sessions):
            if session.token == token:
                self._expel(session)

    def rename(self, old: str, new: str) -> None:
        """Give a market another id: the old one's ticks stop, the next session's list has the new."""
        market = self._markets.pop(old)
        market.symbol = new
        market.is_moving = False
        self._markets[new] = market
        self._order[self._order.index(old)] = new
        self._watchers[new] = {}
        del self._watchers[old]

    def fall_silent(self, symbol: str) -> None:
        """Forget who watches a market, without a word; a new subscribe mends it."""
        self._watchers[symbol].clear()

    # --- what a session needs -----------------------------------------------------------------

    def has_market(self, symbol: str) -> bool:
        """Return whether it can be subscribed: all that is listed, locked or not."""
        return symbol in self._markets or symbol in self._others or self._accepts(symbol)

    def watch(self, session: OlympSession, symbol: str) -> None:
        """Deliver its ticks to that session, once each; nothing comes of those without prices."""
        if symbol in self._markets and session in self._sessions:
            self._watchers[symbol][session] = None
            self._markets[symbol].is_moving = True

    def unwatch(self, session: OlympSession, symbol: str) -> None:
        """Deliver no more of them."""
        if symbol in self._watchers:
            self._watchers[symbol].pop(session, None)

    def leave(self, session: OlympSession) -> None:
        """Forget a socket that is gone."""
        self._sessions.pop(session, None)

    def content(self, code: int) -> Any:
        """Return the `d` of a push of that code."""
        if code == codes.INSTRUMENTS:
            served = [
                item(symbol, lock=self._markets[symbol].lock_now(self._at_us)) for symbol in self._order
            ]
            return served + [item(symbol, lock=OUT_OF_ORDER) for symbol in self._others]
        return CONTENTS[code]([*self._order, *self._others])

    def payouts(self) -> list[dict[str, Any]]:
        """Return what won deals pay, in percent: 70 to 92 of those that are open."""
        return [
            {
                "pair": symbol,
                "profitability": CLOSED_PERCENT
                if market.lock_now(self._at_us).is_trading_locked
                else 70 + sum(symbol.encode()) % 23,
            }
            for symbol, market in self._markets.items()
        ]

    def candles(self, symbol: str, *, size_s: int, to_s: float) -> list[PastCandle]:
        """Return the newest candles that open before `to_s`, oldest first."""
        market = self._markets.get(symbol)
        if market is None or not 0.0 <= to_s <= 1e12:
            return []
        size_us, to_us = size_s * SECOND_US, int(to_s * SECOND_US)
        found: list[PastCandle] = []
        # Further back only where a closed market left too few.
        for batches in (1, 10, 100, 100_000):
            from_us = to_us - batches * BATCH * size_us
            found = market.past.candles(from_us, to_us - 1, timeframe_us=size_us)
            if len(found) >= BATCH:
                break
        return found[-BATCH:]

    def now_s(self) -> int:
        """Return the venue's clock, as of the last second or tick."""
        return self._at_us // SECOND_US

    # ------------------------------------------------------------------------------------------

    def _is_good(self, token: str) -> bool:
        expires_us = expiry_us(token)
        return token not in self._revoked and (expires_us is None or self._at_us < expires_us)

    def _expel(self, session: OlympSession) -> None:
        self.leave(session)
        session.close()
        session.expel()

    def _concerned(self, symbol: str | None) -> list[OlympMarket]:
        return list(self._markets.values()) if symbol is None else [self._markets[symbol]]

    def _tell_locks(self, at_us: int) -> None:
        """Push the markets whose lock changed, and what they pay. That changes alone come is a guess."""
        self._at_us = at_us
        changed = [market for market in self._markets.values() if market.lock_now(at_us) != market.told]
        if not changed:
            return
        for market in changed:
            market.told = market.lock_now(at_us)
        items = [item(market.symbol, lock=market.told) for market in changed]
        symbols = {market.symbol for market in changed}
        payouts = [each for each in self.payouts() if each["pair"] in symbols]
        for session in self._sessions:
            session.push(codes.INSTRUMENTS, items)
            session.push(codes.PAYOUTS_CHANGED, payouts)

    def _chatter(self, at_s: int) -> None:
        """Say what means nothing to a client, known and unknown."""
        if at_s - self._counted_s >= COUNT_EVERY_S:
            self._counted_s = at_s
            for session in self._sessions:
                session.say([{"d": [{"count": 2_700 + at_s % 100}], "e": 111}])
        if at_s - self._surprised_s >= SURPRISE_EVERY_S:
            self._surprised_s = at_s
            for session in self._sessions:
                session.say([{"d": [{"news": True}], "e": SURPRISE_CODE, "t": 1}, {"d": [], "e": 112}])
