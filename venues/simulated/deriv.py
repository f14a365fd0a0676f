"""Deriv's side of its web sockets; see `venues/deriv.py` for the client's, and the sources.

Both dialects, told apart by the path: `/websockets/v3?app_id=` and `/trading/v1/options/ws/public`.
All who come are one user.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN
from venues.simulated.deriv_answers import Dialect
from venues.simulated.deriv_limits import MOST_CONNECTIONS, UserLimits
from venues.simulated.deriv_market import DerivMarket
from venues.simulated.deriv_session import DerivSession
from venues.simulated.hours import Hours
from venues.simulated.prices import PriceSource
from venues.simulated.protocol import Host, HttpAnswer, Request

PATHS = {"/websockets/v3": Dialect.LEGACY, "/trading/v1/options/ws/public": Dialect.NEW}
APP_ID_PATTERN = re.compile(r"[A-Za-z0-9]{1,64}")


class SimulatedDeriv:
    """The venue: its markets, its users' budget, and who watches what."""

    def __init__(
        self,
        *,
        prices: Mapping[str, PriceSource],
        started_us: int,
        accepts: Callable[[str], bool] = lambda _: False,
        hours: Hours = Hours.ALWAYS,
    ) -> None:
        """Serve these markets; `accepts` says which further ones may be subscribed, without prices.

        Raises `ConfigError` for what is not a symbol.
        """
        self.markets: dict[str, DerivMarket] = {}  # by the venue's own spelling
        self._by_symbol: dict[str, DerivMarket] = {}
        for symbol, source in prices.items():
            if not SYMBOL_PATTERN.fullmatch(symbol):
                raise ConfigError(f"market {symbol!r} is not a symbol")
            market = DerivMarket(symbol=symbol, prices=source, hours=hours)
            self.markets[market.wire] = self._by_symbol[symbol] = market
        self.symbols = tuple(self._by_symbol)
        self.accepts = accepts
        self.limits = UserLimits()
        self.bans = 0
        self.throttled = 0  # requests that were refused for a limit
        self.now_us = started_us
        self.opened = 0  # sockets ever
        self._moving: set[str] = set()
        self._sessions: dict[DerivSession, None] = {}

    # --- the door -----------------------------------------------------------------------------

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        """Refuse other paths, a legacy client without an `app_id`, and a user's sixth socket."""
        self._pass(at_us)
        parts = urlsplit(request.target)
        dialect = PATHS.get(parts.path)
        if dialect is None:
            return HttpAnswer(404)
        if dialect is Dialect.LEGACY:
            app_id = parse_qs(parts.query).get("app_id", [""])[0]
            if not APP_ID_PATTERN.fullmatch(app_id):
                return HttpAnswer(401)
        if len(self._sessions) >= MOST_CONNECTIONS:
            # Not recorded: the limit is documented, how it is kept is not.
            self.bans += 1
            return HttpAnswer(429, {"Retry-After": "60"})
        return None

    def open_session(self, *, request: Request, host: Host, at_us: int) -> DerivSession:
        """Return a new socket's session."""
        self._pass(at_us)
        self.opened += 1
        dialect = PATHS.get(urlsplit(request.target).path, Dialect.NEW)
        session = DerivSession(venue=self, host=host, dialect=dialect, number=self.opened)
        self._sessions[session] = None
        return session

    def leave(self, session: DerivSession) -> None:
        """A socket is gone."""
        self._sessions.pop(session, None)

    def answer(self, request: Request, *, at_us: int) -> HttpAnswer:
        """Answer plain HTTP: prices and lists come over the socket alone."""
        return HttpAnswer(404)

    # --- markets ------------------------------------------------------------------------------

    def is_moving(self, symbol: str) -> bool:
        """Return whether any socket ever subscribed that market."""
        return symbol in self._moving

    def move(self, market: DerivMarket) -> None:
        """Let a market's price move from now on."""
        self._moving.add(market.symbol)

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price, at most once a second, and deliver it to whoever watches it."""
        self._pass(at_us)
        tick = self._by_symbol[symbol].move(at_us=at_us)
        if tick is None:
            return
        for session in self._sessions:
            if session.is_watching(tick.stream):
                session.host.deliver(tick)

    def lock(self, symbol: str | None, *, until_us: int | None, at_us: int) -> None:
        """Close a market, None: all of them; the venue has no word to say so to those who watch."""
        for market in self._concerned(symbol):
            market.lock(until_us=until_us)

    def unlock(self, symbol: str | None, *, at_us: int) -> None:
        """Let its hours decide again."""
        for market in self._concerned(symbol):
            market.unlock()

    def pass_time(self, *, at_us: int) -> None:
        """Close sockets that have asked for nothing for two minutes."""
        self._pass(at_us)
        for session in list(self._sessions):
            session.pass_time()

    def announce_shutdown(self) -> None:
        """The protocol has no word for it."""

    def _pass(self, at_us: int) -> None:
        self.now_us = max(self.now_us, at_us)

    def _concerned(self, symbol: str | None) -> list[DerivMarket]:
        return list(self.markets.values()) if symbol is None else [self._by_symbol[symbol]]
