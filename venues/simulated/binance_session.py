"""One socket of the simulated Binance: its requests and their answers."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from domain.errors import RejectedError
from venues.simulated.binance_market import read_tick
from venues.simulated.limits import Limit
from venues.simulated.protocol import Host, SimulatedTick

MAX_STREAMS = 1024  # a connection; web-socket-streams.md, 2026-07-21
FRAMES_A_SECOND = 5  # incoming, a connection; ping, pong and JSON count alike; same source

INVALID_REQUEST = 2  # error codes; same source
INVALID_JSON = 3


class _Request(msgspec.Struct, gc=False):
    """`{"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1}`; UNSUBSCRIBE is alike."""

    method: str
    params: Any = None
    id: int | str | None = None


_decode_request = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.encode


class Streams(Protocol):
    """The venue's streams, as a session sees them."""

    def is_served(self, stream: str) -> bool:
        """Return whether a stream of that name can be subscribed."""

    def watch(self, session: "BinanceSession", *, stream: str) -> None:
        """Deliver a stream's ticks to this session from now on, once each."""

    def unwatch(self, session: "BinanceSession", *, stream: str) -> None:
        """Deliver no more of a stream's ticks to this session."""

    def forget(self, session: "BinanceSession") -> None:
        """The session is over."""

    def count_ban(self) -> None:
        """Somebody went over a limit."""


class BinanceSession:
    """One socket's subscriptions, its answers, and its budget of frames."""

    def __init__(
        self,
        *,
        venue: Streams,
        host: Host,
        make_frame: Callable[[SimulatedTick], str],
    ) -> None:
        self.subscribes = 0
        self.host = host
        self._make_frame = make_frame
        self._venue = venue
        self._streams: dict[str, None] = {}  # an ordered set
        self._frames = Limit(most=FRAMES_A_SECOND, window_s=1.0)

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame; return why to disconnect, "" if it is within the budget."""
        if not self._frames.exceeds(at_s):
            return ""
        self._venue.count_ban()
        return f"more than {FRAMES_A_SECOND} frames in a second"

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
        streams = (stream for stream in self._streams if symbol is None or symbol_of(stream) == symbol)
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
        return any(symbol_of(stream) == symbol for stream in self._streams)

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
            self._venue.watch(self, stream=stream)

    def announce_shutdown(self, *, at_ms: int) -> None:
        """Say that this server is about to shut down."""
        payload = f'{{"e":"serverShutdown","E":{at_ms}}}'
        self.host.send(self.frame(SimulatedTick("!serverShutdown", payload, "", None, None, 0.0)))

    def close(self) -> None:
        """End every subscription."""
        self._unsubscribe(list(self._streams))
        self._venue.forget(self)

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


def combined_frame(tick: SimulatedTick) -> str:
    """Return a tick's frame on `/stream`."""
    return f'{{"stream":"{tick.stream}","data":{tick.payload}}}'


def bare_frame(tick: SimulatedTick) -> str:
    """Return a tick's frame on `/ws`."""
    return tick.payload


def _bare_error(*, code: int, reason: str) -> str:
    return _encode({"code": code, "msg": reason}).decode()


def symbol_of(stream: str) -> str:
    """Return the market of a stream."""
    return stream.partition("@")[0].upper()
