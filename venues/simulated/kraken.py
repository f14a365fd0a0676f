"""Kraken's side of its public market data, WebSocket v2; see `venues/kraken.py` for the client's.

Markets are listed by the `instrument` channel, with as many more as the real one has. `trade` messages
hold one trade or several; `ticker` begins with a snapshot. On the wire EURUSD is EUR/USD.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN
from venues.simulated import kraken_listing
from venues.simulated.door import Door, Penalty
from venues.simulated.hours import Hours, opening
from venues.simulated.kraken_market import KrakenMarket
from venues.simulated.kraken_rest import KrakenRest, too_many
from venues.simulated.kraken_session import KrakenSession
from venues.simulated.limits import Limit
from venues.simulated.prices import PriceSource
from venues.simulated.protocol import Host, HttpAnswer, Request, SimulatedTick

PATH = "/v2"
# Attempts, an address; then ten minutes for everybody there (quoted by clients from spot-ws-intro).
CONNECTS, CONNECTS_WINDOW_S = 150, 600
PENALTIES = (Penalty(403, 600),)
REQUESTS, REQUESTS_WINDOW_S = 15, 15  # over HTTP: one a second, and some at once
CONNECTION_IDS = 2**63 + 2**62  # they are beyond 63 bits


class SimulatedKraken:
    """The venue: its markets, and who watches which channel of them."""

    def __init__(
        self,
        *,
        prices: Mapping[str, PriceSource],
        started_us: int,
        accepts: Callable[[str], bool],
        hours: Hours = Hours.ALWAYS,
    ) -> None:
        """Serve these symbols; `accepts` says which further markets may be subscribed.

        Raises `ConfigError` for what is not a symbol.
        """
        self._markets: dict[str, KrakenMarket] = {}
        for symbol, source in prices.items():
            if not SYMBOL_PATTERN.fullmatch(symbol):
                raise ConfigError(f"market {symbol!r} is not a symbol")
            self._markets[symbol] = KrakenMarket(symbol=symbol, prices=source, started_us=started_us)
        self.symbols = tuple(self._markets)
        self.bans = 0
        self._hours = hours
        self._accepts = accepts
        self._by_wire = {market.wire: market for market in self._markets.values()}
        self._fillers = dict.fromkeys(
            name for name in kraken_listing.filler_symbols() if name not in self._by_wire
        )
        self._watchers: dict[tuple[str, str], dict[KrakenSession, None]] = {}  # (channel, wire)
        self._sessions: dict[KrakenSession, None] = {}
        self._opened = 0
        self._moving: set[str] = set()
        self._locked: set[str] = set()
        self._closed: set[str] = set()  # as everybody was told
        self._is_maintained = False
        limit = Limit(most=CONNECTS, window_s=CONNECTS_WINDOW_S)
        self._door = Door(limit=limit, penalties=PENALTIES, on_ban=self.count_ban)
        self._requests = Limit(most=REQUESTS, window_s=REQUESTS_WINDOW_S)
        self._rest = KrakenRest(self._by_wire)

    # --- the door -----------------------------------------------------------------------------

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        """Refuse who comes too often, and paths that are not served."""
        refusal = self._door.knock(at_s=at_us / 1_000_000)
        if refusal is not None:
            return refusal
        return None if urlsplit(request.target).path == PATH else HttpAnswer(404)

    def open_session(self, *, request: Request, host: Host, at_us: int) -> KrakenSession:
        """Return a new socket's session; it is told at once how the venue is."""
        self._opened += 1
        session = KrakenSession(venue=self, host=host, number=self._opened)
        self._sessions[session] = None
        session.say(self._status(CONNECTION_IDS + self._opened))
        return session

    def answer(self, request: Request, *, at_us: int) -> HttpAnswer:
        """Answer over HTTP: history."""
        if self._requests.exceeds(at_us / 1_000_000):
            self.count_ban()
            return too_many()
        return self._rest.answer(request)

    def count_ban(self) -> None:
        """Somebody went over a limit."""
        self.bans += 1

    # --- time ---------------------------------------------------------------------------------

    def is_moving(self, symbol: str) -> bool:
        """Return whether any socket ever subscribed that market."""
        return symbol in self._moving

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price and deliver it to whoever watches it, trades before quotes."""
        if symbol in self._closed or self._is_maintained:
            return
        market = self._markets[symbol]
        trades = market.trades(at_us=at_us)
        for session in self._watchers.get(("trade", market.wire), ()):
            session.deliver(trades)
        quote = market.quote()
        for session in self._watchers.get(("ticker", market.wire), ()):
            if quote is not None:
                session.deliver(quote)

    def lock(self, symbol: str | None, *, until_us: int | None, at_us: int) -> None:
        """Close a market, and say so; None: the venue is in maintenance. It never tells until when."""
        if symbol is None:
            self._is_maintained = True
            self._say_all(self._status(CONNECTION_IDS))
        else:
            self._locked.add(symbol)
            self.pass_time(at_us=at_us)

    def unlock(self, symbol: str | None, *, at_us: int) -> None:
        """Open it again, and say so."""
        if symbol is None:
            self._is_maintained = False
            self._say_all(self._status(CONNECTION_IDS))
        else:
            self._locked.discard(symbol)
            self.pass_time(at_us=at_us)

    def pass_time(self, *, at_us: int) -> None:
        """Tell of the markets that open or close."""
        closed = {symbol for symbol in self.symbols if not self._is_open(symbol, at_us=at_us)}
        changed = sorted(closed ^ self._closed)
        self._closed = closed
        if changed:
            pairs = (self._pair(self._markets[symbol].wire) for symbol in changed)
            update = kraken_listing.message(pairs, kind="update")
            for session in self._sessions:
                if session.is_listing:
                    session.say(update)

    def announce_shutdown(self) -> None:
        """Say nothing: what the venue announces are windows of maintenance, days before."""

    def _is_open(self, symbol: str, *, at_us: int) -> bool:
        return symbol not in self._locked and opening(self._hours, symbol, at_us=at_us).is_open

    # --- what sessions see --------------------------------------------------------------------

    def is_served(self, wire: str) -> bool:
        """Return whether the venue lists a market of that name."""
        return wire in self._by_wire or wire in self._fillers or self._accepts(wire)

    def told_symbol(self, wire: str) -> str:
        """Return what the ledger calls a market."""
        market = self._by_wire.get(wire)
        return wire if market is None else market.symbol

    def watch(self, session: KrakenSession, *, channel: str, wire: str) -> SimulatedTick | None:
        """Deliver a market's ticks to this session from now on; return the latest quote, if it has one."""
        self._watchers.setdefault((channel, wire), {})[session] = None
        market = self._by_wire.get(wire)
        if market is None:
            return None
        self._moving.add(market.symbol)
        return market.quote()

    def unwatch(self, session: KrakenSession, *, channel: str, wire: str) -> None:
        """Deliver them no more."""
        self._watchers.get((channel, wire), {}).pop(session, None)

    def snapshot(self) -> str:
        """Return the list of markets."""
        return kraken_listing.message(map(self._pair, (*self._by_wire, *self._fillers)), kind="snapshot")

    def forget(self, session: KrakenSession) -> None:
        """The session is over."""
        self._sessions.pop(session, None)

    def _pair(self, wire: str) -> Mapping[str, object]:
        is_closed = self.told_symbol(wire) in self._closed
        return kraken_listing.pair(wire, status="cancel_only" if is_closed else "online")

    def _status(self, connection_id: int) -> str:
        system: dict[str, object] = {
            "version": "2.0.10",
            "system": "maintenance" if self._is_maintained else "online",
            "api_version": "v2",
            "connection_id": connection_id,
            "upcoming_maintenance": [],
            "emergency": [],
        }
        return msgspec.json.encode({"channel": "status", "type": "update", "data": [system]}).decode()

    def _say_all(self, text: str) -> None:
        for session in self._sessions:
            session.say(text)
