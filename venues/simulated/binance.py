"""Binance's side of its public streams; see `venues/binance.py` for the client's and the source.

Served on `/stream` (combined frames) and `/ws` (bare payloads), with streams in the address too
(`/stream?streams=eurusd@aggTrade/gbpusd@aggTrade`, `/ws/eurusd@aggTrade`). Two streams a market:
`aggTrade` and `bookTicker`. Unlike the real venue, which confirms streams that do not exist and
never sends them, this one refuses them.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

import attrs

from domain.errors import ConfigError, RejectedError
from domain.market import SYMBOL_PATTERN
from venues.simulated.binance_market import BinanceMarket
from venues.simulated.binance_rest import BinanceRest
from venues.simulated.binance_session import BinanceSession, bare_frame, combined_frame, symbol_of
from venues.simulated.door import Door, Penalty
from venues.simulated.hours import Hours
from venues.simulated.limits import Limit
from venues.simulated.prices import PriceSource
from venues.simulated.protocol import Host, HttpAnswer, Request

CONNECTS, CONNECTS_WINDOW_S = 300, 300  # attempts, an address; web-socket-streams.md, 2026-07-21
# Bans last 2 minutes to 3 days; rest-api.md, 2026-07-21.
PENALTIES = (Penalty(429, 60), Penalty(418, 120), Penalty(418, 3 * 24 * 3600))
REQUESTS_A_MINUTE = 1_500  # over HTTP: a weight of 6,000, at 4 each
LIFETIME_US = 24 * 3_600_000_000  # of a connection; web-socket-streams.md, 2026-07-21
LIFETIME_CODE = 1008  # not documented which
STREAM_PATTERN = re.compile(r"[^@\s\"\\]{1,32}@[A-Za-z0-9_@]{1,32}")


@attrs.frozen
class _Address:
    """What a client upgrades: whether frames are combined, and the streams it begins with."""

    is_combined: bool
    streams: tuple[str, ...]


class SimulatedBinance:
    """The venue: its markets, and who watches which stream. Its markets are open at all hours."""

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
        self._markets: dict[str, BinanceMarket] = {}
        for symbol, source in prices.items():
            if not SYMBOL_PATTERN.fullmatch(symbol):
                raise ConfigError(f"market {symbol!r} is not a symbol")
            market = BinanceMarket(symbol=symbol, prices=source, started_us=started_us)
            self._markets[market.symbol] = market
        self.symbols = tuple(self._markets)
        self._accepts = accepts
        self._watchers: dict[str, dict[BinanceSession, Host]] = {
            stream: {}
            for market in self._markets.values()
            for stream in (market.trade_stream, market.quote_stream)
        }
        self._moving: set[str] = set()
        self._locked: set[str] = set()
        self._sessions: dict[BinanceSession, int] = {}  # when each began, wall clock
        self._rest = BinanceRest(self._markets)
        self._door, self._counter = (
            Door(limit=limit, penalties=PENALTIES, on_ban=self.count_ban)
            for limit in (
                Limit(most=CONNECTS, window_s=CONNECTS_WINDOW_S),
                Limit(most=REQUESTS_A_MINUTE, window_s=60),
            )
        )
        self.bans = 0
        self._now_us = started_us

    def count_ban(self) -> None:
        """Somebody went over a limit."""
        self.bans += 1

    # --- the door -----------------------------------------------------------------------------

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        """Refuse who comes too often, paths that are not served, and streams that do not exist."""
        refusal = self._door.knock(at_s=at_us / 1_000_000)
        if refusal is not None:
            return refusal
        address = _read_address(request.target)
        is_served = address is not None and all(map(self.is_served, address.streams))
        return None if is_served else HttpAnswer(404)

    def open_session(self, *, request: Request, host: Host, at_us: int) -> BinanceSession:
        """Return a new socket's session; only who knocked and was let in may ask."""
        address = _read_address(request.target)
        if address is None:
            raise RejectedError(f"{request.target!r} is not served; served: /stream, /ws")
        make_frame = combined_frame if address.is_combined else bare_frame
        session = BinanceSession(venue=self, host=host, make_frame=make_frame)
        self._sessions[session] = at_us
        if address.streams:
            session.subscribe(address.streams)
        return session

    def answer(self, request: Request, *, at_us: int) -> HttpAnswer:
        """Answer over HTTP: history and lists."""
        refusal = self._counter.knock(at_s=at_us / 1_000_000)
        return self._rest.answer(request) if refusal is None else refusal

    # --- time ---------------------------------------------------------------------------------

    def is_moving(self, symbol: str) -> bool:
        """Return whether any socket ever subscribed that market."""
        return symbol in self._moving

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price and deliver it to whoever watches it, trades before quotes."""
        if symbol in self._locked:
            return
        self._now_us = at_us
        market = self._markets[symbol]
        trade = market.trade(at_us=at_us)
        for host in self._watchers[market.trade_stream].values():
            host.deliver(trade)
        if watchers := self._watchers[market.quote_stream]:
            quote = market.quote()
            for host in watchers.values():
                host.deliver(quote)

    def lock(self, symbol: str | None, *, until_us: int | None, at_us: int) -> None:
        """Send nothing of a market; the venue has no word for it."""
        self._locked.update(self.symbols if symbol is None else (symbol,))

    def unlock(self, symbol: str | None, *, at_us: int) -> None:
        """Go on."""
        self._locked.difference_update(self.symbols if symbol is None else (symbol,))

    def pass_time(self, *, at_us: int) -> None:
        """Disconnect who has been here for 24 h."""
        self._now_us = at_us
        for session, since_us in list(self._sessions.items()):
            if at_us - since_us >= LIFETIME_US:
                session.host.close(LIFETIME_CODE, "24 hours are over")
                del self._sessions[session]

    def announce_shutdown(self) -> None:
        """Say to everybody that this server is about to shut down."""
        for session in self._sessions:
            session.announce_shutdown(at_ms=self._now_us // 1_000)

    def forget(self, session: BinanceSession) -> None:
        """The session is over."""
        self._sessions.pop(session, None)

    # --- who watches what ---------------------------------------------------------------------

    def is_served(self, stream: str) -> bool:
        """Return whether a stream of that name can be subscribed."""
        if stream in self._watchers:
            return True
        return STREAM_PATTERN.fullmatch(stream) is not None and self._accepts(symbol_of(stream))

    def watch(self, session: BinanceSession, *, stream: str) -> None:
        """Deliver a stream's ticks to this session from now on, once each."""
        if stream in self._watchers:
            self._watchers[stream][session] = session.host
            self._moving.add(symbol_of(stream))

    def unwatch(self, session: BinanceSession, *, stream: str) -> None:
        """Deliver no more of a stream's ticks to this session."""
        if stream in self._watchers:
            self._watchers[stream].pop(session, None)


def _read_address(target: str) -> _Address | None:
    """Return what a path and query ask for, None where it is not served."""
    parts = urlsplit(target)
    if parts.path == "/stream":
        streams = parse_qs(parts.query).get("streams", [""])[0]
    elif parts.path == "/ws" or parts.path.startswith("/ws/"):
        streams = parts.path[4:]
    else:
        return None
    return _Address(parts.path == "/stream", tuple(streams.split("/")) if streams else ())
