"""One client's web socket, served by hand: wsproto reads, we write, trio moves the bytes.

By hand because a simulated venue must be able to misbehave below the protocol: stop reading and
answering on an open socket, reset it, send what is no JSON.
"""

import contextlib
import math
import socket
import struct
from collections.abc import Awaitable, Callable

import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError

from domain.clock import now_us
from supervisor.simulate.ledger import Ledger
from supervisor.simulate.outbox import Outbox
from venues.simulated.faults import Kind
from venues.simulated.protocol import Request, SimulatedTick, SimulatedVenue

SEND_DEADLINE_S = 10.0  # a client that does not read for so long is dropped
CLOSE_DEADLINE_S = 2.0  # for the client's answer to a close frame
MAX_MESSAGE_BYTES = 256 * 2**10  # of a request: 1,024 long stream names fit
RECEIVE_BYTES = 2**16
MUTE = frozenset({Kind.SILENT, Kind.LOCK})

Active = Callable[[str | None], frozenset[Kind]]  # the faults that are on now for a symbol


class ServedSocket:
    """One client after the upgrade; `serve()` returns when it is over, whatever the client does.

    It is the host of its session.
    """

    def __init__(
        self,
        *,
        stream: trio.SocketStream,
        ws: WSConnection,
        venue: SimulatedVenue,
        request: Request,
        active: Active,
    ) -> None:
        """Open the venue's session; the upgrade has been answered."""
        self.subscribed_at = -math.inf  # monotonic; the latest subscribe
        self.outbox = Outbox()
        self._stream = stream
        self._ws = ws
        self._active = active
        self._message = bytearray()  # the fragments of a message so far
        self._scope = trio.CancelScope()
        self._frozen_until = -math.inf  # monotonic
        self._later: list[tuple[float, Callable[[], None]]] = []  # until it is served
        self._nursery: trio.Nursery | None = None
        self._on_subscribe: Callable[[ServedSocket], None] | None = None
        self.session = venue.open_session(request=request, host=self, at_us=now_us())
        self._subscribes = self.session.subscribes  # those that were told

    # --- what is sent -------------------------------------------------------------------------

    def deliver(self, tick: SimulatedTick) -> None:
        """Send a tick, as far as the faults that are on let it through."""
        self._put_data(self.session.frame(tick), symbol=tick.symbol, ticks=(tick, *tick.more))

    def send(self, text: str) -> None:
        """Send a text frame, unless the venue is silent or the socket frozen."""
        if Kind.SILENT not in self._active(None) and not self._is_frozen():
            self.outbox.put_text(text)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame as the last one."""
        self.say_close(code=code, reason=reason)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call it after so long, unless the socket is gone by then."""
        if self._nursery is None:
            self._later.append((delay_s, call))
        else:
            self._nursery.start_soon(self._call_later, delay_s, call)

    def now_us(self) -> int:
        """Return the wall clock."""
        return now_us()

    def play(self, frame: str) -> None:
        """Send a recorded frame as it is; its tick counts as handed over if it was subscribed."""
        tick = self.session.read_recorded(frame)
        if tick is None:
            self._put_data(frame, symbol=None, ticks=())
        else:
            self._put_data(frame, symbol=tick.symbol, ticks=(tick, *tick.more))

    def ping(self) -> None:
        """Send a ping, unless the socket is frozen or closing."""
        if not self._is_frozen() and self._ws.state is ConnectionState.OPEN:
            self.outbox.put(self._ws.send(Ping()))

    def _put_data(self, text: str, *, symbol: str | None, ticks: tuple[SimulatedTick, ...]) -> None:
        kinds = self._active(symbol)
        if kinds & MUTE or self._is_frozen():
            return
        if Kind.GARBAGE in kinds:
            pieces = self.session.garbage(symbol)
            self.outbox.put_text(pieces[len(text) % len(pieces)])
        else:
            self.outbox.put_text(text, ticks=ticks)
        if self.outbox.is_too_full():
            self.reset()

    def _is_frozen(self) -> bool:
        return trio.current_time() < self._frozen_until

    async def _thaw(self) -> None:
        if self._is_frozen():
            await trio.sleep_until(self._frozen_until)

    # --- what faults do to it -----------------------------------------------------------------

    def reset(self) -> None:
        """End it at once with a TCP reset; what the kernel had not sent yet is lost."""
        reset_on_close(self._stream)
        self.outbox.discard()
        self._scope.cancel()

    def freeze(self, duration_s: float) -> None:
        """Neither read nor write for so long, and keep TCP open; ticks of that time are not sent."""
        self._frozen_until = max(self._frozen_until, trio.current_time() + duration_s)

    def say_close(self, *, code: int, reason: str) -> None:
        """Send a close frame as the last one; the client has 2 s to answer it."""
        if self._ws.state is ConnectionState.OPEN:
            self.outbox.put(self._ws.send(CloseConnection(code=code, reason=reason)))
            self.outbox.close()
            self._scope.deadline = trio.current_time() + CLOSE_DEADLINE_S

    def say_garbage(self, symbol: str | None) -> None:
        """Send undecodable frames."""
        for text in self.session.garbage(symbol):
            self.outbox.put_text(text)

    # --- its life -----------------------------------------------------------------------------

    async def serve(
        self,
        *,
        ledger: Ledger,
        on_subscribe: Callable[["ServedSocket"], None],
        beside: Callable[["ServedSocket"], Awaitable[None]],
    ) -> None:
        """Serve the client until it has gone, was closed, dropped or reset; run `beside` meanwhile."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery, self._on_subscribe = nursery, on_subscribe
                    for delay_s, call in self._later:
                        nursery.start_soon(self._call_later, delay_s, call)
                    nursery.start_soon(self._write, ledger, name="simulated socket's writer")
                    nursery.start_soon(beside, self)
                    await self._read(on_subscribe)
                    self.outbox.close()
        finally:
            self.session.close()

    async def _write(self, ledger: Ledger) -> None:
        """Send what is put into the outbox until it is closed and empty; then end the rest."""
        parcel = await self.outbox.take()
        while parcel.data:
            await self._thaw()
            sent_us = now_us()
            with trio.move_on_after(SEND_DEADLINE_S) as deadline:
                if not await self._send(parcel.data):
                    break
            if deadline.cancelled_caught:
                self.reset()
                return
            ledger.add(parcel.ticks, sent_us=sent_us)
            parcel = await self.outbox.take()
        if self._ws.state is not ConnectionState.LOCAL_CLOSING:  # else the answer is waited for
            self._scope.cancel()

    async def _send(self, data: bytes) -> bool:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def _read(self, on_subscribe: Callable[["ServedSocket"], None]) -> None:
        """Take in what the client sends until it closes, leaves or breaks the protocol."""
        while self._ws.state is not ConnectionState.CLOSED:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            await self._thaw()
            if not data:
                self._scope.cancel()
                return
            try:
                self._ws.receive_data(data)
                for event in self._ws.events():
                    self._take_event(event, on_subscribe=on_subscribe)
            except ProtocolError:
                self._scope.cancel()
                return

    def _take_event(self, event: Event, *, on_subscribe: Callable[["ServedSocket"], None]) -> None:
        match event:
            case CloseConnection():
                self._answer_close(event)
            case Ping():
                self._count_frame()
                if self._ws.state is ConnectionState.OPEN:
                    self.outbox.put(self._ws.send(event.response()))
            case Pong():
                self._count_frame()
            case TextMessage() | BytesMessage():
                self._take_message(event, on_subscribe=on_subscribe)

    def _answer_close(self, event: CloseConnection) -> None:
        if self._ws.state is ConnectionState.OPEN:  # wsproto's way to say: the client broke the protocol
            self.say_close(code=event.code, reason=event.reason or "")
        elif self._ws.state is ConnectionState.REMOTE_CLOSING:
            self.outbox.put(self._ws.send(event.response()))
            self.outbox.close()
        elif self._ws.state is ConnectionState.CLOSED:  # the answer to our close frame
            self._scope.cancel()

    def _take_message(
        self, event: TextMessage | BytesMessage, *, on_subscribe: Callable[["ServedSocket"], None]
    ) -> None:
        self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
        if len(self._message) > MAX_MESSAGE_BYTES:
            self.say_close(code=CloseReason.MESSAGE_TOO_BIG, reason="request too long")
        if not event.message_finished or self._ws.state is not ConnectionState.OPEN:
            return
        self._count_frame()
        text = self._message.decode(errors="replace")
        self._message.clear()
        answers = self.session.receive(text)
        if Kind.SILENT not in self._active(None):
            for answer in answers:
                self.outbox.put_text(answer)
        self._look_for_subscribes(on_subscribe)

    def _look_for_subscribes(self, on_subscribe: Callable[["ServedSocket"], None]) -> None:
        if self.session.subscribes > self._subscribes:
            self._subscribes = self.session.subscribes
            on_subscribe(self)

    async def _call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        await trio.sleep(delay_s)
        call()
        assert self._on_subscribe is not None, "it is served by now"
        self._look_for_subscribes(self._on_subscribe)

    def _count_frame(self) -> None:
        reason = self.session.take_frame(at_s=trio.current_time())
        if reason:
            self.say_close(code=CloseReason.POLICY_VIOLATION, reason=reason)


def reset_on_close(stream: trio.SocketStream) -> None:
    """Make closing the stream send a TCP reset instead of an orderly end."""
    with contextlib.suppress(OSError):  # closed already
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
