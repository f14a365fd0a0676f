"""One socket of the simulated Kraken: its requests, and an answer for each symbol in any order."""

from collections.abc import Mapping
from random import Random
from typing import Any, Protocol

import msgspec

from venues.simulated.kraken_market import as_time, read_recorded
from venues.simulated.limits import Limit
from venues.simulated.protocol import Host, SimulatedTick

FRAMES_A_SECOND = 10  # incoming; the real bound is not documented and varies
SLOWEST_ANSWER_S = 0.05
HEARTBEAT_S = 1.0  # while nothing else is sent
IDLE_S = 60.0  # without a subscription and a request; spot-ws-intro, 2026-11
IDLE_CODE = 1001  # not documented which
CHANNELS = ("trade", "ticker", "instrument")

_encode = msgspec.json.encode


class _Params(msgspec.Struct, frozen=True, gc=False):
    channel: str = ""
    symbol: tuple[str, ...] = ()
    snapshot: bool | None = None


class _Request(msgspec.Struct, gc=False):
    """`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]},"req_id":1}`."""

    method: str
    params: _Params = _Params()
    req_id: int | None = None


_decode_request = msgspec.json.Decoder(_Request).decode


class Markets(Protocol):
    """The venue, as a session sees it."""

    def is_served(self, wire: str) -> bool:
        """Return whether the venue lists a market of that name."""

    def told_symbol(self, wire: str) -> str:
        """Return what the ledger calls a market."""

    def watch(self, session: "KrakenSession", *, channel: str, wire: str) -> SimulatedTick | None:
        """Deliver a market's ticks to this session from now on; return the latest where it is told."""

    def unwatch(self, session: "KrakenSession", *, channel: str, wire: str) -> None:
        """Deliver them no more."""

    def snapshot(self) -> str:
        """Return the list of markets."""

    def forget(self, session: "KrakenSession") -> None:
        """The session is over."""

    def count_ban(self) -> None:
        """Somebody went over a limit."""


class KrakenSession:
    """One socket's subscriptions and its answers."""

    def __init__(self, *, venue: Markets, host: Host, number: int) -> None:
        self.subscribes = 0
        self.is_listing = False  # whether it subscribed the list of markets
        self._venue = venue
        self._host = host
        self._random = Random(number)  # noqa: S311 - no secret, repeatable
        self._subscribed: dict[tuple[str, str], None] = {}  # (channel, symbol), in order
        self._frames = Limit(most=FRAMES_A_SECOND, window_s=1.0)
        self._is_over = self._is_one_too_many = False
        self._was_quiet = True
        self._idle_s = 0.0
        host.call_later(HEARTBEAT_S, self._beat)

    # --- what is sent -------------------------------------------------------------------------

    def deliver(self, tick: SimulatedTick) -> None:
        """Send a tick."""
        self._was_quiet = False
        self._host.deliver(tick)

    def say(self, text: str) -> None:
        """Send any other frame."""
        self._was_quiet = False
        self._host.send(text)

    def frame(self, tick: SimulatedTick) -> str:
        """Return the message that tells this socket of a tick, and of those that come with it."""
        channel, _, kind = tick.stream.partition(" ")
        return f'{{"channel":"{channel}","type":"{kind or "update"}","data":[{tick.payload}]}}'

    def garbage(self, symbol: str | None) -> list[str]:
        """Return broken JSON, a root of the wrong type, and a price that is not a number."""
        wanted = (each for each in self._subscribed if symbol in (None, self._venue.told_symbol(each[1])))
        channel, wire = next(wanted, ("trade", "EUR/USD"))
        price = '"price":"none","qty":1.0,"trade_id":1' if channel == "trade" else '"bid":"none","ask":"none"'
        data = f'{{"symbol":"{wire}",{price},"timestamp":"2026-01-01T00:00:00.000000Z"}}'
        frame = f'{{"channel":"{channel}","type":"update","data":[{data}]}}'
        return [frame[:-9], "[1,2,3]", frame]

    def read_recorded(self, frame: str) -> SimulatedTick | None:
        """Return the ticks in a recorded frame, None if it holds none that this socket subscribed."""
        tick = read_recorded(frame)
        if tick is None or (tick.stream, tick.symbol) not in self._subscribed:
            return None
        return tick

    def _beat(self) -> None:
        """Say that it is alive where nothing else did; leave who does not need it."""
        if self._is_over:
            return
        if not self._subscribed:
            self._idle_s += HEARTBEAT_S
        if self._idle_s >= IDLE_S:
            self._host.close(IDLE_CODE, "idle")
            return
        if self._was_quiet and (self._subscribed or self.is_listing):
            self._host.send('{"channel":"heartbeat"}')
        self._was_quiet = True
        self._host.call_later(HEARTBEAT_S, self._beat)

    # --- what comes ---------------------------------------------------------------------------

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame; one too many is answered with an error and nothing else."""
        self._is_one_too_many = self._frames.exceeds(at_s)
        if self._is_one_too_many:
            self._venue.count_ban()
        return ""

    def receive(self, text: str) -> list[str]:
        """Answer a request: at once what is wrong with it, a little later each symbol's answer."""
        self._idle_s = 0.0
        if self._is_one_too_many:
            return ['{"Error":"Exceeded msg rate"}']
        try:
            request = _decode_request(text)
        except (msgspec.DecodeError, RecursionError):
            return ['{"error":"Malformed request"}']
        if request.method == "ping":
            return [self._answer(request, method="pong")]
        if request.method not in ("subscribe", "unsubscribe") or request.params.channel not in CHANNELS:
            return [self._answer(request, success=False, error="Unsupported field or channel")]
        if request.params.channel == "instrument":
            return self._list(request)
        act = self._subscribe if request.method == "subscribe" else self._unsubscribe
        self.subscribes += request.method == "subscribe"
        for wire in request.params.symbol:
            self._say_later(act(request, wire))
        return []

    def _say_later(self, answer: str) -> None:
        """Send it a little later, so that answers come in any order, and after the first prices."""

        def call() -> None:
            if not self._is_over:
                self.say(answer)

        self._host.call_later(self._random.uniform(0.0, SLOWEST_ANSWER_S), call)

    def has_symbol(self, symbol: str) -> bool:
        """Return whether this socket subscribed that market."""
        return any(self._venue.told_symbol(wire) == symbol for _, wire in self._subscribed)

    def close(self) -> None:
        """End every subscription."""
        for channel, wire in self._subscribed:
            self._venue.unwatch(self, channel=channel, wire=wire)
        self._subscribed.clear()
        self._is_over = True
        self._venue.forget(self)

    def _list(self, request: _Request) -> list[str]:
        is_listing = request.method == "subscribe"
        if is_listing and self.is_listing:
            return [self._answer(request, success=False, error="Already subscribed")]
        self.is_listing = is_listing
        answer = self._answer(request, success=True, result={"channel": "instrument"})
        return [answer, self._venue.snapshot()] if is_listing else [answer]

    def _subscribe(self, request: _Request, wire: str) -> str:
        channel = request.params.channel
        error = ""
        if not self._venue.is_served(wire):
            error = f"Currency pair not supported {wire}"
        elif (channel, wire) in self._subscribed:
            error = "Already subscribed"
        if error:
            return self._answer(request, success=False, error=error, symbol=wire)
        self._subscribed[channel, wire] = None
        wants_snapshot = request.params.snapshot is not False
        result = {"channel": channel, "snapshot": wants_snapshot, "symbol": wire}
        latest = self._venue.watch(self, channel=channel, wire=wire)
        if latest is not None and channel == "ticker" and wants_snapshot:
            self.deliver(latest._replace(stream="ticker snapshot"))
        return self._answer(request, success=True, result=result)

    def _unsubscribe(self, request: _Request, wire: str) -> str:
        channel = request.params.channel
        if (channel, wire) not in self._subscribed:
            return self._answer(request, success=False, error="Subscription Not Found", symbol=wire)
        del self._subscribed[channel, wire]
        self._venue.unwatch(self, channel=channel, wire=wire)
        return self._answer(request, success=True, result={"channel": channel, "symbol": wire})

    def _answer(self, request: _Request, *, method: str = "", **fields: Any) -> str:
        time = as_time(self._host.now_us())
        answer: Mapping[str, Any] = {"method": method or request.method, **fields}
        more = {} if request.req_id is None else {"req_id": request.req_id}
        return _encode({**answer, "time_in": time, "time_out": time, **more}).decode()
