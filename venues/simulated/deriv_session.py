"""One socket of the simulated Deriv: its subscriptions, its log-in, and its answers."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from venues.simulated import deriv_answers, deriv_limits
from venues.simulated.deriv_account import DerivAccount
from venues.simulated.deriv_answers import LEGACY_ONLY, Dialect, Failed, check_fields, invalid
from venues.simulated.deriv_market import DerivMarket, read_tick
from venues.simulated.limits import Limit
from venues.simulated.protocol import Host, SimulatedTick

if TYPE_CHECKING:
    from venues.simulated.deriv import SimulatedDeriv

LATE_S = 0.4  # longer than a client waits between two requests: answers overtake each other
LATE_EVERY = 4  # requests
SOMETIMES_LATE = frozenset({"ticks", "ticks_history", "forget", "contracts_for", "active_symbols"})
STREAMS = frozenset({"balance", "candles", "proposal", "proposal_open_contract", "ticks", "transaction"})
PRICES = re.compile(r'"(ask|bid|quote)":([0-9.]+)')

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode

Reply = Mapping[str, object]


class _Subscription(NamedTuple):
    """One market's prices on one socket, and the request whose echo each message carries."""

    id: str
    request: Mapping[str, Any]


class DerivSession:
    """One socket. Subscriptions' ids are its own; some answers come late, and so out of order."""

    def __init__(self, *, venue: "SimulatedDeriv", host: Host, dialect: Dialect, number: int) -> None:
        self.subscribes = 0
        self.host = host
        self._venue = venue
        self._dialect = dialect
        self._number = number
        self._watched: dict[str, _Subscription] = {}  # by the venue's symbol
        self._account = DerivAccount()
        self._is_over = False
        self._heard_us = venue.now_us
        self._at_s = 0.0  # monotonic; the latest frame
        self._requests = self._ids = self._refused = 0
        self._a_second = Limit(most=deriv_limits.MOST_A_SECOND, window_s=1.0)
        self._pings = Limit(most=deriv_limits.MOST_PINGS_A_SECOND, window_s=1.0)
        self._handlers: dict[str, Callable[[Mapping[str, Any]], Sequence[Reply]]] = {
            "active_symbols": self._list,
            "authorize": self._account.log_in,
            "balance": lambda fields: self._account.tell_balance(fields, next_id=self._next_id),
            "contracts_for": self._tell_contracts,
            "forget": self._forget,
            "forget_all": self._forget_all,
            "ping": lambda _: [{"ping": "pong"}],
            "ticks_history": self._tell_history,
            "ticks": self._subscribe,
            "time": lambda _: [{"time": host.now_us() // 1_000_000}],
        }

    # --- the contract -------------------------------------------------------------------------

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame: at most 100 a second."""
        self._at_s = at_s
        if not self._a_second.exceeds(at_s):
            return ""
        self._venue.bans += 1
        return f"more than {deriv_limits.MOST_A_SECOND} frames in a second"

    def receive(self, text: str) -> list[str]:
        """Return the answers to a request, the error, or nothing where the answer comes late."""
        self._heard_us = self._venue.now_us
        try:
            fields = _decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return [self._failure("error", {}, Failed("InputValidationFailed", "Not a JSON object."))]
        call = next((name for name in self._handlers if name in fields), "")
        if not call or (self._dialect is Dialect.NEW and call in LEGACY_ONLY):
            return [self._failure("error", fields, Failed("UnrecognisedRequest", "Unrecognised request."))]
        if self._exceeds(call):
            return [self._throttle(call, fields)]
        self._requests += 1
        if self._is_late(call):
            self.host.call_later(LATE_S, lambda: self._send_late(call, fields))
            return []
        return self._answer(call, fields)

    def frame(self, tick: SimulatedTick) -> str:
        """Return the frame that tells this socket of a tick."""
        subscription = self._watched[tick.stream]
        return self._envelope("tick", subscription.request, self._tick(tick, subscription))

    def garbage(self, symbol: str | None) -> list[str]:
        """Return broken JSON, a root of the wrong type, and a price that is not a number."""
        wires = (wire for wire in self._watched if symbol is None or self._symbol_of(wire) == symbol)
        wire = next(wires, "frxEURUSD")
        tick = f'{{"epoch":1,"pip_size":5,"quote":"not a price","symbol":"{wire}"}}'
        frame = f'{{"msg_type":"tick","tick":{tick}}}'
        return [frame[:-9], "[1,2,3]", frame]

    def read_recorded(self, frame: str) -> SimulatedTick | None:
        """Return the tick in a recorded frame, None if it holds none that this socket subscribed."""
        tick = read_tick(frame)
        if tick is None or tick.stream not in self._watched:
            return None
        return tick._replace(symbol=self._symbol_of(tick.stream))

    def has_symbol(self, symbol: str) -> bool:
        """Return whether this socket subscribed that market."""
        return any(self._symbol_of(wire) == symbol for wire in self._watched)

    def is_watching(self, wire: str) -> bool:
        """Return whether this socket subscribed what the venue calls so."""
        return wire in self._watched

    def close(self) -> None:
        """End every subscription, and make room for another socket."""
        self._is_over = True
        self._watched.clear()
        self._account.forget()
        self._venue.leave(self)

    def pass_time(self) -> None:
        """Close a socket that has asked for nothing for two minutes."""
        idle_us = self._venue.now_us - self._heard_us
        if idle_us >= deriv_limits.IDLE_S * 1e6:
            # Not recorded: that it is closed is documented, the code is not.
            self._end(1001, "no request for two minutes")

    # --- answering ----------------------------------------------------------------------------

    def _is_late(self, call: str) -> bool:
        if call == "ticks" and not self.subscribes:
            return False  # faults count from the first subscribe: it is to be plain when that was
        return call in SOMETIMES_LATE and self._requests % LATE_EVERY == 0

    def _send_late(self, call: str, fields: Mapping[str, Any]) -> None:
        if not self._is_over:
            for text in self._answer(call, fields):
                self.host.send(text)

    def _answer(self, call: str, fields: Mapping[str, Any]) -> list[str]:
        kind = "tick" if call == "ticks" else "history" if call == "ticks_history" else call
        try:
            check_fields(call, fields)
            replies = self._handlers[call](fields)
        except Failed as error:
            return [self._failure(kind, fields, error)]
        return [self._envelope("candles" if "candles" in reply else kind, fields, reply) for reply in replies]

    def _envelope(self, kind: str, request: Mapping[str, Any], reply: Reply) -> str:
        told: dict[str, object] = {}
        # The new dialect's echo may be missing: here it is, with every other request.
        if self._dialect is Dialect.LEGACY or self._requests % 2 == 0:
            is_secret = "authorize" in request
            told["echo_req"] = {**request, "authorize": "<not shown>"} if is_secret else request
        if isinstance(request.get("req_id"), int):
            told["req_id"] = request["req_id"]
        return _encode({**told, "msg_type": kind, **reply}).decode()

    def _failure(self, kind: str, request: Mapping[str, Any], error: Failed) -> str:
        return self._envelope(kind, request, {"error": {"code": error.code, "message": str(error)}})

    def _exceeds(self, call: str) -> bool:
        if call == "ping":
            return self._pings.exceeds(self._at_s)
        return self._venue.limits.exceeds(call, at_s=self._at_s)

    def _throttle(self, call: str, fields: Mapping[str, Any]) -> str:
        """Refuse a request that is one too many; who goes on all the same is thrown out."""
        self._venue.throttled += 1
        self._refused += 1
        if self._refused > deriv_limits.MOST_REFUSED and not self._is_over:
            self._venue.bans += 1
            self._end(1008, "rate limit")
        return self._failure(
            "tick" if call == "ticks" else call,
            fields,
            Failed("RateLimit", f"You have reached the rate limit for {call}."),
        )

    def _end(self, code: int, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self.host.close(code, reason)
            self._venue.leave(self)  # a client that is gone without a word counts no longer

    # --- each call ----------------------------------------------------------------------------

    def _subscribe(self, fields: Mapping[str, Any]) -> list[Reply]:
        told = fields["ticks"]
        names = told if isinstance(told, list) else [told]
        if not all(isinstance(name, str) and deriv_answers.SYMBOL_PATTERN.fullmatch(name) for name in names):
            raise invalid("ticks")
        is_stream = fields.get("subscribe", 0)
        if is_stream not in (0, 1):
            raise invalid("subscribe")
        for name in names:
            self._check_open(name)
            if is_stream:
                self._check_room(name)
        return [self._start(name, fields) if is_stream else self._last(name) for name in names]

    def _check_open(self, name: str) -> None:
        market = self._venue.markets.get(name)
        if market is None and not self._venue.accepts(name):
            raise Failed("InvalidSymbol", f"Symbol {name} invalid.")
        if market is not None and not market.opening(at_us=self._venue.now_us).is_open:
            raise Failed("MarketIsClosed", "This market is presently closed.")

    def _check_room(self, name: str) -> None:
        if name in self._watched:
            raise Failed("AlreadySubscribed", f"You are already subscribed to {name}.")
        if len(self._watched) + self._account.subscriptions >= deriv_limits.MOST_SUBSCRIPTIONS:
            self._venue.bans += 1
            raise Failed("RateLimit", "Too many subscriptions on this connection.")

    def _start(self, name: str, fields: Mapping[str, Any]) -> Reply:
        subscription = self._watched[name] = _Subscription(self._next_id(), fields)
        self.subscribes += 1
        market = self._venue.markets.get(name)
        if market is None:
            return {"subscription": {"id": subscription.id}}
        self._venue.move(market)
        return self._tick(market.last(at_us=self._venue.now_us), subscription)

    def _last(self, name: str) -> Reply:
        market = self._venue.markets.get(name)
        return {} if market is None else self._tick(market.last(at_us=self._venue.now_us), None)

    def _tick(self, tick: SimulatedTick, subscription: _Subscription | None) -> Reply:
        payload = tick.payload
        if self._dialect is Dialect.NEW and (tick.ts_us or 0) // 1_000_000 % 2:
            payload = PRICES.sub(r'"\1":"\2"', payload)  # a number or a string: both are documented
        if subscription is None:
            return {"tick": msgspec.Raw(payload.encode())}
        told = f'{payload[:-1]},"id":"{subscription.id}"}}'
        return {"subscription": {"id": subscription.id}, "tick": msgspec.Raw(told.encode())}

    def _forget(self, fields: Mapping[str, Any]) -> list[Reply]:
        wanted = fields["forget"]
        found = [wire for wire, subscription in self._watched.items() if subscription.id == wanted]
        for wire in found:
            del self._watched[wire]
        if wanted == self._account.subscription:
            found += self._account.forget()
        return [{"forget": int(bool(found))}]

    def _forget_all(self, fields: Mapping[str, Any]) -> list[Reply]:
        told = fields["forget_all"]
        streams = told if isinstance(told, list) else [told]
        if not all(isinstance(stream, str) and stream in STREAMS for stream in streams):
            raise invalid("forget_all")
        ids: list[str] = []
        if "ticks" in streams:
            ids += [subscription.id for subscription in self._watched.values()]
            self._watched.clear()
        if "balance" in streams:
            ids += self._account.forget()
        return [{"forget_all": ids}]

    def _list(self, fields: Mapping[str, Any]) -> list[Reply]:
        if fields["active_symbols"] not in ("brief", "full"):
            raise invalid("active_symbols")
        markets = self._venue.markets.values()
        listed = deriv_answers.active_symbols(markets, dialect=self._dialect, at_us=self._venue.now_us)
        return [{"active_symbols": listed}]

    def _tell_contracts(self, fields: Mapping[str, Any]) -> list[Reply]:
        market = self._market(fields["contracts_for"])
        return [{"contracts_for": deriv_answers.contracts_for(market, at_us=self._venue.now_us)}]

    def _tell_history(self, fields: Mapping[str, Any]) -> list[Reply]:
        market = self._market(fields["ticks_history"])
        return [deriv_answers.history(market, fields, at_us=self._venue.now_us)]

    def _market(self, name: object) -> DerivMarket:
        market = self._venue.markets.get(name) if isinstance(name, str) else None
        if market is None:
            raise Failed("InvalidSymbol", f"Symbol {name} invalid.")
        return market

    def _next_id(self) -> str:
        self._ids += 1
        return str(uuid.UUID(int=(self._number << 64) + self._ids))

    def _symbol_of(self, wire: str) -> str:
        market = self._venue.markets.get(wire)
        return wire if market is None else market.symbol
