"""One socket's side of Olymp Trade, as the venue keeps it; see `olymptrade.py` beside it."""

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Protocol

import msgspec

from venues import olymptrade_frames as codes
from venues.olymptrade_envelope import read_frame
from venues.simulated.limits import Limit
from venues.simulated.olymptrade_messages import (
    OlympRequest,
    candles,
    decode_requests,
    pairs,
    push,
    rejection,
    reply,
)
from venues.simulated.past import PastCandle
from venues.simulated.protocol import Host, SimulatedTick

# Answers and pushes come so much later, drawn evenly: so they overtake each other, as recorded.
ANSWER_S = (0.005, 0.06)
START_UP_S = 0.1  # the first lists, in one batch after the answers
DOUBLED = 50  # one answer in so many comes a second time, and late
COMPANY = 40  # one tick in so many comes with another message in its frame

# Incoming, a second: no limit is known. Ours: one in 100 ms, and pings and pongs.
FRAMES_A_SECOND = 15

# Which codes are pushed at once to whoever subscribes them, in the recorded order.
AT_ONCE = (codes.BALANCES,)
AT_START = (110, 2223, 2301, codes.STAKE_LIMITS, 1055, codes.INSTRUMENTS, 602, 1301, 1097)
TOO_FAST = rejection("invalid_request", "Invalid request")
UNAVAILABLE = rejection("pair_unavailable", "Pair is unavailable")
OPEN_DEALS = 31
SUBSCRIBES = (codes.SUBSCRIBE, codes.SUBSCRIBE_COMPANION)


class OlympVenue(Protocol):
    """What a session needs of its venue."""

    bans: int

    def has_market(self, symbol: str) -> bool:
        """Return whether it can be subscribed."""

    def watch(self, session: "OlympSession", symbol: str) -> None:
        """Deliver its ticks to that session, once each."""

    def unwatch(self, session: "OlympSession", symbol: str) -> None:
        """Deliver no more of them."""

    def leave(self, session: "OlympSession") -> None:
        """Forget a socket that is gone."""

    def content(self, code: int) -> Any:
        """Return the `d` of a push of that code."""

    def payouts(self) -> list[dict[str, Any]]:
        """Return what won deals pay, in percent."""

    def candles(self, symbol: str, *, size_s: int, to_s: float) -> list[PastCandle]:
        """Return a batch of candles, the newest that open before `to_s`, oldest first."""

    def now_s(self) -> int:
        """Return the venue's clock, in whole seconds."""


class OlympSession:
    """One socket: which codes and which markets it is told of."""

    def __init__(self, *, venue: OlympVenue, host: Host, token: str, seed: int) -> None:
        self.subscribes = 0
        self.token = token
        self.codes: set[int] = set()
        self._venue = venue
        self._host = host
        self._symbols: dict[str, None] = {}  # an ordered set
        self._pending = 0  # subscribes, unanswered: there must not be two
        self._random = Random(seed)  # noqa: S311 - no secret, repeatable
        self._frames = 0  # that told of a tick
        self._frames_in = Limit(most=FRAMES_A_SECOND, window_s=1.0)

    # --- what the server asks of any session --------------------------------------------------

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame: at most 15 a second."""
        if not self._frames_in.exceeds(at_s):
            return ""
        self._venue.bans += 1
        return f"more than {FRAMES_A_SECOND} frames in a second"

    def receive(self, text: str) -> list[str]:
        """Answer later, by the host; what is no request is not answered at all."""
        try:
            requests = decode_requests(text)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return []
        for request in requests:
            self._take(request)
        return []

    def frame(self, tick: SimulatedTick) -> str:
        """Return the frame that tells of a tick; now and then with another message in it."""
        self._frames += 1
        more = ""
        if self._frames % COMPANY == 0:
            at_s = self._venue.now_s()
            more = f',{{"d":[{{"pair":"{tick.symbol}","sentiment":50}}],"e":1097,"t":1,"ts":{at_s}}}'
        return f'[{{"d":[{tick.payload}],"e":1,"t":1}}{more}]'

    def garbage(self, symbol: str | None) -> list[str]:
        """Return broken JSON, a root of the wrong type, and a price that is not a number."""
        found = symbol or next(iter(self._symbols), "EURUSD")
        bad = f'[{{"d":[{{"p":"{found}","t":1.5,"q":"not a price"}}],"e":1,"t":1}}]'
        return [bad[:-9], '{"e":1}', bad]

    def read_recorded(self, frame: str) -> SimulatedTick | None:
        """Return the first tick in a frame that this socket subscribed, None if there is none."""
        try:
            messages = [each for each in read_frame(frame) if each is not None]
            ticks = [tick for each in messages if each.e == codes.TICK for tick in codes.decode_ticks(each.d)]
            for symbol, at_s, price in ((tick.p, tick.t, tick.q) for tick in ticks):
                if symbol in self._symbols and 0.0 < price < math.inf:
                    return SimulatedTick(symbol, "", symbol, round(at_s * codes.SECOND_US), None, price)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            pass  # recordings hold garbage too
        return None

    def has_symbol(self, symbol: str) -> bool:
        """Return whether this socket subscribed that market."""
        return symbol in self._symbols

    def close(self) -> None:
        """End every subscription."""
        for symbol in self._symbols:
            self._venue.unwatch(self, symbol)
        self._symbols.clear()
        self._venue.leave(self)

    # --- what the venue tells it --------------------------------------------------------------

    def deliver(self, tick: SimulatedTick) -> None:
        """Hand a tick to the socket."""
        self._host.deliver(tick)

    def push(self, code: int, d: Any) -> None:
        """Send a push, if the socket asked to be told of that code."""
        if code in self.codes:
            self._send([push(code, d, at_s=self._venue.now_s())])

    def say(self, messages: list[dict[str, Any]]) -> None:
        """Send messages that nobody asked for."""
        self._send(messages)

    def expel(self) -> None:
        """Close it because its token is worth nothing (any longer)."""
        self._host.close(1008, "invalid_token")

    # --- requests -----------------------------------------------------------------------------

    def _take(self, request: OlympRequest) -> None:
        if request.e == codes.EVENTS:
            self._subscribe_codes(request)
        elif request.e in codes.LINE_CODES:
            self._take_in_line(request)
        elif request.e == codes.PING:
            self._answer(request, lambda: {"ts": self._host.now_us() // codes.SECOND_US})
        elif request.e == codes.CANDLES:
            self._answer(request, lambda: self._candles(request.d))
        elif request.e == codes.PAYOUTS:
            self._answer(request, lambda: {"d": self._venue.payouts()})
        elif request.e == OPEN_DEALS:
            self._answer(request, lambda: {"d": []})
        # Everything else, 1068 and 1043 among it, is never answered.

    def _subscribe_codes(self, request: OlympRequest) -> None:
        """Confirm the codes that are new, and push what comes with them."""
        if not isinstance(request.d, list) or not all(type(code) is int for code in request.d):
            return  # as recorded: a nested list got no answer
        new = [code for code in dict.fromkeys(request.d) if code not in self.codes]
        self.codes.update(new)
        ack = reply(request, {"d": new})
        first = [push(code, self._venue.content(code)) for code in AT_ONCE if code in new]
        self._later(lambda: self._send([*first, ack]))
        start = [code for code in AT_START if code in new]
        if start:
            self._host.call_later(START_UP_S, lambda: self._start_up(start))

    def _start_up(self, start: Iterable[int]) -> None:
        at_s = self._venue.now_s()
        self._send([push(code, self._venue.content(code), at_s=at_s) for code in start])

    def _take_in_line(self, request: OlympRequest) -> None:
        """Confirm a subscribe or unsubscribe; no subscribe while another one is unanswered."""
        symbols = pairs(request.d)
        is_subscribe = request.e in SUBSCRIBES
        if is_subscribe and self._pending:
            self._venue.bans += 1
            self._answer(request, lambda: TOO_FAST)
            return
        if not symbols or not all(map(self._venue.has_market, symbols)):
            self._answer(request, lambda: UNAVAILABLE)
            return
        self._pending += is_subscribe
        self.subscribes += request.e == codes.SUBSCRIBE
        self._answer(request, lambda: self._confirm(request.e, symbols))

    def _confirm(self, code: int, symbols: Iterable[str]) -> Mapping[str, Any]:
        self._pending -= code in SUBSCRIBES
        for symbol in symbols:
            if code == codes.SUBSCRIBE:
                self._symbols[symbol] = None
                self._venue.watch(self, symbol)
            elif code == codes.UNSUBSCRIBE:
                self._symbols.pop(symbol, None)
                self._venue.unwatch(self, symbol)
        return {}

    def _candles(self, d: Any) -> Mapping[str, Any]:
        symbols = pairs(d)
        if len(symbols) != 1 or len(d) != 1 or not self._venue.has_market(symbols[0]):
            return UNAVAILABLE
        size_s, to_s = d[0].get("size"), d[0].get("to")
        if type(size_s) is not int or not 0 < size_s <= 86_400 or not isinstance(to_s, int | float):
            return TOO_FAST
        return candles(symbols[0], self._venue.candles(symbols[0], size_s=size_s, to_s=to_s))

    # --- answers ------------------------------------------------------------------------------

    def _answer(self, request: OlympRequest, make: Callable[[], Mapping[str, Any]]) -> None:
        def answer() -> None:
            message = reply(request, make())
            self._send([message])
            if self._random.randrange(DOUBLED) == 0:
                self._later(lambda: self._send([message]))

        self._later(answer)

    def _later(self, call: Callable[[], None]) -> None:
        self._host.call_later(self._random.uniform(*ANSWER_S), call)

    def _send(self, messages: list[dict[str, Any]]) -> None:
        self._host.send(msgspec.json.encode(messages).decode())
