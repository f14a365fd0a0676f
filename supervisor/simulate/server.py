"""Serves a simulated venue: the door, the ticks, the faults, the replay."""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import attrs
import trio
from wsproto import ConnectionType, WSConnection

from domain.clock import now_us
from domain.errors import ConnectionLost
from domain.events import Event, emit
from supervisor.simulate.handshake import Asked, accept, read_request, say, wait_until_left
from supervisor.simulate.ledger import Ledger
from supervisor.simulate.socket import ServedSocket, reset_on_close
from venues.simulated.faults import DOOR_KINDS, Fault, Kind, Schedule
from venues.simulated.protocol import HttpAnswer, SimulatedVenue
from venues.simulated.turns import Turns

TURN_S = 0.005  # at least so long between two turns of ticks: at most 200 sends a second and socket
PING_EVERY_S = 20.0  # web-socket-streams.md, 2026-07-21
SLOW_EVERY_S = 1.0  # between two ticks of a market while it is slow
REOPEN_EVERY_S = 0.5  # while somebody else has the port
RETRY_AFTER = "2"
PASS_TIME_EVERY_S = 1.0  # what opens, closes or expires by the clock does so within that

CLOSE_CODES = ((1001, "going away"), (1012, "service restart"))  # by turns
NO_FAULTS: frozenset[Kind] = frozenset()


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


@attrs.define(eq=False)
class Server:
    """One simulated venue and everybody who is connected to it."""

    venue: SimulatedVenue
    schedule: Schedule
    ledger: Ledger
    beside: Callable[[ServedSocket], Awaitable[None]]  # run with each socket: the replay
    _sockets: dict[ServedSocket, None] = attrs.field(factory=dict, init=False)
    _subscribed_at: float = attrs.field(default=math.inf, init=False)  # monotonic; the first one
    _subscribed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _door: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _slow_at: dict[str, float] = attrs.field(factory=dict, init=False)  # symbol → its last tick

    async def run(self, *, address: Address, rate: float, task_status: trio.TaskStatus[int]) -> None:
        """Listen and serve for ever; tell the port once it can be connected to.

        `rate` is ticks a second for each market, 0 for none. Raises OSError if the address
        cannot be listened on.
        """
        listeners = await _listen(address)
        port: int = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._make_ticks, rate, name="simulated ticks")
            nursery.start_soon(self._play_faults, name="simulated faults")
            nursery.start_soon(self.ledger.keep, name="simulator's ledger")
            nursery.start_soon(self._ping_all, name="simulated pings")
            nursery.start_soon(self._pass_time, name="simulated time")
            task_status.started(port)
            while True:
                with trio.CancelScope() as self._door:
                    await trio.serve_listeners(self._greet, listeners, handler_nursery=nursery)
                listeners = await self._reopen(Address(address.host, port))

    # --- the door -----------------------------------------------------------------------------

    async def _reopen(self, address: Address) -> list[trio.SocketListener]:
        await trio.sleep_until(self._end_of(Kind.REFUSE))
        while True:
            try:
                listeners = await _listen(address)
            except OSError as exc:
                emit(Event.FAULT, f"cannot listen again yet: {exc}", level=logging.DEBUG)
                await trio.sleep(REOPEN_EVERY_S)
            else:
                return listeners

    async def _greet(self, stream: trio.SocketStream) -> None:
        """Serve one accepted connection from its first byte to its last."""
        try:
            asked = await read_request(stream)
            if not await self._let_in(stream):
                return
            if not asked.is_upgrade:
                await say(stream, self.venue.answer(asked.request, at_us=now_us()))
            elif (refusal := self.venue.knock(asked.request, at_us=now_us())) is not None:
                await say(stream, refusal)
            else:
                await self._serve(stream, asked)
        except ConnectionLost as exc:
            emit(Event.STATE, f"simulated client: {exc}", level=logging.DEBUG)
        finally:
            stream.socket.close()

    async def _let_in(self, stream: trio.SocketStream) -> bool:
        """Return whether no fault of the door is on; else do to the client what the fault says."""
        kinds = self._active(None) & DOOR_KINDS
        if not kinds:
            return True
        if Kind.REFUSE in kinds:
            reset_on_close(stream)
        elif Kind.NO_UPGRADE in kinds:
            await wait_until_left(stream, deadline=self._end_of(Kind.NO_UPGRADE))
            reset_on_close(stream)
        else:
            await say(stream, HttpAnswer(429, {"Retry-After": RETRY_AFTER}))
        return False

    async def _serve(self, stream: trio.SocketStream, asked: Asked) -> None:
        ws = WSConnection(ConnectionType.SERVER)
        await accept(stream, ws=ws, raw=asked.raw)
        served = ServedSocket(
            stream=stream, ws=ws, venue=self.venue, request=asked.request, active=self._active
        )
        self._sockets[served] = None
        try:
            if served.session.subscribes:
                self._on_subscribe(served)
            await served.serve(ledger=self.ledger, on_subscribe=self._on_subscribe, beside=self.beside)
        finally:
            served.session.close()
            del self._sockets[served]

    def _on_subscribe(self, served: ServedSocket) -> None:
        served.subscribed_at = trio.current_time()
        if not self._subscribed.is_set():
            self._subscribed_at = served.subscribed_at
            self._subscribed.set()

    # --- ticks --------------------------------------------------------------------------------

    async def _make_ticks(self, rate: float) -> None:
        if rate == 0.0:
            return
        await self._subscribed.wait()
        turns = Turns(rate=rate, markets=len(self.venue.symbols))
        begun_at = trio.current_time()
        while True:
            now = trio.current_time()
            self._tick_all(turns.due(now - begun_at))
            await trio.sleep_until(max(now + TURN_S, begun_at + turns.next_s()))

    def _tick_all(self, indices: list[int]) -> None:
        symbols, at_us = self.venue.symbols, now_us()
        for index in indices:
            symbol = symbols[index]
            if self.venue.is_moving(symbol) and not self._is_too_slow(symbol):
                self.venue.tick(symbol, at_us=at_us)

    def _is_too_slow(self, symbol: str) -> bool:
        if Kind.SLOW not in self._active(symbol):
            return False
        now = trio.current_time()
        if now - self._slow_at.get(symbol, -math.inf) < SLOW_EVERY_S:
            return True
        self._slow_at[symbol] = now
        return False

    async def _ping_all(self) -> None:
        while True:
            await trio.sleep(PING_EVERY_S)
            for served in self._sockets:
                served.ping()

    async def _pass_time(self) -> None:
        bans = 0
        while True:
            self.venue.pass_time(at_us=now_us())
            if self.venue.bans > bans:
                bans = self.venue.bans
                emit(Event.FAULT, f"clients banned so far: {bans}", level=logging.WARNING, bans=bans)
            await trio.sleep(PASS_TIME_EVERY_S)

    # --- faults -------------------------------------------------------------------------------

    def _active(self, symbol: str | None) -> frozenset[Kind]:
        if not self.schedule.faults:
            return NO_FAULTS
        at_s = trio.current_time() - self._subscribed_at
        return self.schedule.active(at_s=at_s, symbol=symbol)

    def _end_of(self, kind: Kind) -> float:
        """Return when the faults of that kind that are on now are over; monotonic."""
        at_s = trio.current_time() - self._subscribed_at
        return self._subscribed_at + self.schedule.end_of(kind, at_s=at_s)

    async def _play_faults(self) -> None:
        await self._subscribed.wait()
        async with trio.open_nursery() as nursery:
            done_s = -math.inf
            while (next_s := self.schedule.next_after(done_s)) < math.inf:
                await trio.sleep_until(self._subscribed_at + next_s)
                for fault in self.schedule.beginning(after_s=done_s, until_s=next_s):
                    self._begin(fault)
                    if fault.kind is Kind.LOCK:
                        nursery.start_soon(self._lock, fault, name=f"simulated {fault}")
                done_s = next_s

    async def _lock(self, fault: Fault) -> None:
        """Close the market as long as the fault says, and tell everybody as the venue does."""
        until_us = None if fault.duration_s == math.inf else now_us() + round(fault.duration_s * 1_000_000)
        self.venue.lock(fault.symbol, until_us=until_us, at_us=now_us())
        await trio.sleep(fault.duration_s)
        self.venue.unlock(fault.symbol, at_us=now_us())

    def _begin(self, fault: Fault) -> None:
        concerned = [
            served
            for served in self._sockets
            if fault.symbol is None or served.session.has_symbol(fault.symbol)
        ]
        emit(Event.FAULT, f"simulated fault {fault}", reason=str(fault), sockets=len(concerned))
        for number, served in enumerate(concerned):
            if fault.kind is Kind.CLOSE:
                code, reason = CLOSE_CODES[number % len(CLOSE_CODES)]
                served.say_close(code=code, reason=reason)
            elif fault.kind is Kind.RESET or fault.kind in DOOR_KINDS:
                served.reset()
            elif fault.kind is Kind.HALF_OPEN:
                served.freeze(fault.duration_s)
            elif fault.kind is Kind.GARBAGE and fault.duration_s == 0.0:
                served.say_garbage(fault.symbol)
        if fault.kind is Kind.REFUSE:
            self._door.cancel()
        elif fault.kind is Kind.SHUTDOWN:
            self.venue.announce_shutdown()


async def _listen(address: Address) -> list[trio.SocketListener]:
    listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    if address.port == 0:  # a name with two addresses would get two ports
        for other in listeners[1:]:
            await other.aclose()
        del listeners[1:]
    return listeners
