"""Binance's side of its public streams; see `venues/binance.py` for the client's and the source.

Served on `/stream` (combined frames) and `/ws` (bare payloads), with streams in the address too
(`/stream?streams=eurusd@aggTrade/gbpusd@aggTrade`, `/ws/eurusd@aggTrade`). Two streams a market:
`aggTrade` and `bookTicker`. Unlike the real venue, which confirms streams that do not exist and
never sends them, this one refuses them.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from domain.errors import ConfigError, RejectedError
from domain.market import SYMBOL_PATTERN
from venues.simulated.binance_market import BinanceMarket, read_tick
from venues.simulated.prices import PriceSource
from venues.simulated.protocol import Deliver, SimulatedTick

MAX_STREAMS = 1024  # a connection; web-socket-streams.md, 2026-07-21
FRAMES_A_SECOND = 5  # incoming, a connection; ping, pong and JSON count alike; same source
STREAM_PATTERN = re.compile(r"[^@\s\"\\]{1,32}@[A-Za-z0-9_@]{1,32}")

INVALID_REQUEST = 2  # error codes; same source
INVALID_JSON = 3


class _Request(msgspec.Struct, gc=False):
    """`{"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1}`; UNSUBSCRIBE is alike."""

    method: str
    params: Any = None
    id: int | str | None = None


_decode_request = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.encode


class SimulatedBinance:
    """The venue: its markets, and who watches which stream.

    A market's price moves while somebody watches it.
    """

    def __init__(
        self, *, prices: Mapping[str, PriceSource], started_us: int, accepts: Callable[[str], bool]
    ) -> None:
        """Serve these symbols; `accepts` says which further streams may be subscribed.

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
        self._watchers: dict[str, dict[BinanceSession, Deliver]] = {
            stream: {}
            for market in self._markets.values()
            for stream in (market.trade_stream, market.quote_stream)
        }

    def open_session(self, *, target: str, deliver: Deliver) -> "BinanceSession":
        """Return a new socket's session; raise `RejectedError` for a path that is not served."""
        parts = urlsplit(target)
        if parts.path == "/stream":
            streams = parse_qs(parts.query).get("streams", [""])[0]
            session = BinanceSession(venue=self, deliver=deliver, make_frame=_combined)
        elif parts.path == "/ws" or parts.path.startswith("/ws/"):
            streams = parts.path[4:]
            session = BinanceSession(venue=self, deliver=deliver, make_frame=_bare)
        else:
            raise RejectedError(f"path {parts.path!r} is not served; served: /stream, /ws")
        if streams:
            session.subscribe(streams.split("/"))
        return session

    def has_watchers(self, symbol: str) -> bool:
        """Return whether any socket subscribed that market."""
        market = self._markets[symbol]
        return bool(self._watchers[market.trade_stream] or self._watchers[market.quote_stream])

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price and deliver it to whoever watches it, trades before quotes."""
        market = self._markets[symbol]
        market.move()
        if watchers := self._watchers[market.trade_stream]:
            trade = market.trade(at_us=at_us)
            for deliver in watchers.values():
                deliver(trade)
        if watchers := self._watchers[market.quote_stream]:
            quote = market.quote()
            for deliver in watchers.values():
                deliver(quote)

    def is_served(self, stream: str) -> bool:
        """Return whether a stream of that name can be subscribed."""
        return stream in self._watchers or self._accepts(stream)

    def watch(self, session: "BinanceSession", *, stream: str, deliver: Deliver) -> None:
        """Deliver a stream's ticks to this session from now on, once each."""
        if stream in self._watchers:
            self._watchers[stream][session] = deliver

    def unwatch(self, session: "BinanceSession", *, stream: str) -> None:
        """Deliver no more of a stream's ticks to this session."""
        if stream in self._watchers:
            self._watchers[stream].pop(session, None)


class BinanceSession:
    """One socket's subscriptions, its answers, and its budget of frames."""

    def __init__(
        self,
        *,
        venue: SimulatedBinance,
        deliver: Deliver,
        make_frame: Callable[[SimulatedTick], str],
    ) -> None:
        self.subscribes = 0
        self._make_frame = make_frame
        self._venue = venue
        self._deliver = deliver
        self._streams: dict[str, None] = {}  # an ordered set
        self._frames: deque[float] = deque(maxlen=FRAMES_A_SECOND)  # when the latest came

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame; return why to disconnect, "" if it is within the budget."""
        oldest = self._frames[0] if len(self._frames) == FRAMES_A_SECOND else None
        self._frames.append(at_s)
        if oldest is not None and at_s - oldest < 1.0:
            return f"more than {FRAMES_A_SECOND} frames in a second"
        return ""

    def receive(self, text: str) -> list[str]:
        """Return the answer to a request, or the error, as the real venue words them."""
        try:
            request = _decode_request(text)
        except msgspec.ValidationError as exc:
            return [_bare_error(code=INVALID_REQUEST, reason=f"Invalid request: {exc}")]
        except (msgspec.DecodeError, RecursionError) as exc:
            return [_bare_error(code=INVALID_JSON, reason=f"Invalid JSON: {exc}")]
        try:
            result = self._answer(request)
        except RejectedError as exc:
            error = {"code": INVALID_REQUEST, "msg": f"Invalid request: {exc}"}
            return [_encode({"error": error, "id": request.id}).decode()]
        return [_encode({"result": result, "id": request.id}).decode()]

    def frame(self, tick: SimulatedTick) -> str:
        """Return the frame that tells this socket of a tick: combined, or the payload alone."""
        return self._make_frame(tick)

    def garbage(self, symbol: str | None) -> list[str]:
        """Return broken JSON, a root of the wrong type, and a price that is not a number."""
        streams = (stream for stream in self._streams if symbol is None or _symbol_of(stream) == symbol)
        stream = next(streams, "eurusd@aggTrade")
        if stream.endswith("@bookTicker"):
            payload = '{"u":1,"s":"X","b":"not a price","B":"1","a":"not a price","A":"1"}'
        else:
            payload = '{"e":"aggTrade","E":1,"s":"X","a":1,"p":"not a price","q":"1","T":1}'
        tick = SimulatedTick(stream, payload, "", None, None, 0.0)
        return [self.frame(tick)[:-9], "[1,2,3]", self.frame(tick)]

    def read_recorded(self, frame: str) -> SimulatedTick | None:
        """Return the tick in a combined frame, None if it holds none that this socket subscribed."""
        tick = read_tick(frame)
        return tick if tick is not None and tick.stream in self._streams else None

    def has_symbol(self, symbol: str) -> bool:
        """Return whether this socket subscribed either stream of that market."""
        return any(_symbol_of(stream) == symbol for stream in self._streams)

    def subscribe(self, streams: Iterable[str]) -> None:
        """Add streams, all or none of them; raise `RejectedError` where one is not served."""
        wanted = {**self._streams, **dict.fromkeys(streams)}
        unknown = [stream for stream in wanted if not self._venue.is_served(stream)]
        if unknown:
            raise RejectedError(f"unknown stream {', '.join(unknown)}")
        if len(wanted) > MAX_STREAMS:
            raise RejectedError(f"more than {MAX_STREAMS} streams on a connection")
        self._streams = wanted
        self.subscribes += 1
        for stream in wanted:
            self._venue.watch(self, stream=stream, deliver=self._deliver)

    def close(self) -> None:
        """End every subscription."""
        self._unsubscribe(list(self._streams))

    def _unsubscribe(self, streams: Iterable[str]) -> None:
        for stream in streams:
            self._streams.pop(stream, None)
            self._venue.unwatch(self, stream=stream)

    def _answer(self, request: _Request) -> list[str] | None:
        if request.method == "LIST_SUBSCRIPTIONS":
            return list(self._streams)
        if request.method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            known = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
            raise RejectedError(f"unknown variant `{request.method}`, expected one of {known}")
        if not isinstance(request.params, list) or not all(isinstance(name, str) for name in request.params):
            raise RejectedError("params must be an array of strings")
        if request.method == "SUBSCRIBE":
            self.subscribe(request.params)
        else:
            self._unsubscribe(request.params)
        return None


def is_stream_name(text: str) -> bool:
    """Return whether this could be a stream of the real venue."""
    return STREAM_PATTERN.fullmatch(text) is not None


def _combined(tick: SimulatedTick) -> str:
    return f'{{"stream":"{tick.stream}","data":{tick.payload}}}'


def _bare(tick: SimulatedTick) -> str:
    return tick.payload


def _bare_error(*, code: int, reason: str) -> str:
    return _encode({"code": code, "msg": reason}).decode()


def _symbol_of(stream: str) -> str:
    return stream.partition("@")[0].upper()
