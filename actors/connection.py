"""One venue socket: decodes, checks, stamps and records what comes, for all markets that share it."""

import contextlib
import logging
from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.mailbox import BatchMailbox, Link, Mailbox
from domain.clock import now_us
from domain.errors import ConnectionLost, RemoteProtocolError
from domain.events import Event, emit
from domain.gaps import Cause, GapTracker
from domain.market import PriceUpdate, Tick, check_update
from domain.messages import Close, Request, Resubscribe, Subscribe, Unsubscribe
from domain.stamping import Stamper
from domain.states import ConnectionRow, MarketRow
from venues.protocol import Refused, Subscribed, Unknown, Venue, VenueEvent, VenueSettings
from venues.subscriptions import Subscriptions
from wire.heartbeat import Heartbeat
from wire.recording import Recorder
from wire.websocket import Socket, dial

LEAVE_TIMEOUT_S = 0.5  # before a close the venue has so long to confirm that it sends no more
MAX_UNDECODABLE = 20  # in a row: then the peer speaks another protocol, and the socket is dropped


@attrs.define(kw_only=True, eq=False)
class MarketPort:
    """What the connection knows of one of its markets."""

    row: MarketRow
    mailbox: BatchMailbox[list[Tick]]
    stamper: Stamper
    gaps: GapTracker
    changed: Callable[[], None]


@attrs.define(kw_only=True, eq=False)
class ConnectionPlace:
    """All that outlives a connection's runs. Owned by the tree."""

    row: ConnectionRow
    venue: Venue
    settings: VenueSettings
    link: Link
    requests: Mailbox[Request]
    ports: dict[str, MarketPort]  # by symbol
    ticks: BatchMailbox[list[Tick]]  # the writer's
    wait_turn: Callable[[], Awaitable[None]]
    changed: Callable[[], None]
    recorder: Recorder | None


class Connection:
    """The actor of one session; a new one is made for each.

    Reads: its socket, and its mailbox of requests. Writes: the writer's mailbox, its markets'
    mailboxes, its row, its link. Owns: the session's subscriptions and the requests not yet
    answered. Crashes on: a lost, silent or dead socket, 20 undecodable messages in a row. A
    restart forgets the subscriptions; the markets are told by the link and subscribe again.
    """

    def __init__(self, place: ConnectionPlace) -> None:
        self._place = place
        self._row = place.row
        self._adapter = place.venue.make_adapter(place.settings)
        self._subscriptions = Subscriptions(
            adapter=self._adapter, venue=place.row.venue, session=place.link.session + 1
        )
        self._heartbeat = Heartbeat(last_frame_at=0.0)  # begins to count when the session opens
        self._undecodable_in_a_row = 0
        self._may_send_at = 0.0
        self._is_closing = False
        self._has_left: trio.Event | None = None  # while closing: nothing is under way any more

    async def run(self) -> None:
        """Take a turn at the gate, open the socket, serve it until it is lost or closed."""
        await self._take_turn()
        place = self._place
        async with dial(
            place.venue.address(place.settings.url),
            headers=place.venue.headers,
            timeout_s=place.settings.connect_timeout_s,
            permanent_statuses=place.venue.permanent_statuses,
        ) as socket:
            for frame in self._adapter.opening():
                await self._send(socket, frame)
            try:
                self._open_session()
                socket.start_beside(self._receive, name=f"receive {self._row.name}")
                await self._answer_requests(socket)
            finally:
                self._end_session()

    async def _take_turn(self) -> None:
        self._row.is_in_line = True
        self._place.changed()
        try:
            await self._place.wait_turn()
        finally:
            self._row.is_in_line = False
            self._place.changed()

    def _open_session(self) -> None:
        self._row.data_since = self._row.data_until = self._row.rtt_ms = None
        self._row.is_open = True
        self._heartbeat.beat()
        self._place.link.set_up()
        self._place.changed()

    def _end_session(self) -> None:
        """Tell everybody who waits on this session that it is over."""
        self._is_closing = True  # what the reader meets from now on is not why
        self._row.is_open = False
        self._place.link.set_down()
        for port in self._place.ports.values():
            port.gaps.trouble(Cause.DISCONNECT)
        self._subscriptions.lose()
        self._answer_unread()
        self._place.changed()

    def _answer_unread(self) -> None:
        """Answer what was asked of this session and is not read any more."""
        with contextlib.suppress(trio.WouldBlock):
            while True:
                request = self._place.requests.get_nowait()
                if isinstance(request, Subscribe):
                    request.answer.fail(ConnectionLost("the connection was lost before the venue was asked"))

    async def _receive(self, socket: Socket) -> None:
        """Read until the socket is lost, which is no failure once we are closing it."""
        try:
            while True:
                frames = await socket.receive()
                self._heartbeat.beat()
                for frame in frames:
                    self.handle(frame, received_us=now_us(), at=self._heartbeat.last_frame_at)
        except ConnectionLost:
            if not self._is_closing:
                raise

    def _note_rtt(self, rtt_ms: float) -> None:
        self._row.rtt_ms = rtt_ms

    # --- what comes in ------------------------------------------------------------------------

    def handle(self, frame: str | bytes, *, received_us: int, at: float) -> None:
        """Take one message: record it, decode it, hand its ticks to the writer and the markets.

        `received_us` is the wall clock's time, `at` the monotonic clock's. Awaits nothing.
        """
        self._row.frames += 1
        if self._place.recorder is not None:
            self._place.recorder.record_in(
                frame if isinstance(frame, str) else frame.decode(errors="replace")
            )
        try:
            events = self._adapter.receive(frame)
        except RemoteProtocolError as error:
            self._count_undecodable(error)
            return
        ticks = [
            tick
            for event in events
            if (tick := self._take_event(event, received_us=received_us, at=at)) is not None
        ]
        if ticks:
            self._hand_over(ticks)

    def _take_event(self, event: VenueEvent, *, received_us: int, at: float) -> Tick | None:
        if type(event) is PriceUpdate:
            return self._take_price(event, received_us=received_us, at=at)
        self._undecodable_in_a_row = 0
        match event:
            case Subscribed(symbols):
                self._subscriptions.confirm(symbols)
                if self._has_left is not None and not symbols:
                    self._has_left.set()
            case Refused(symbols, reason):
                for symbol in symbols:
                    if symbol in self._place.ports:
                        self._place.ports[symbol].gaps.trouble(Cause.REFUSED)
                self._subscriptions.refuse(symbols, reason)
            case Unknown():
                self._row.unknown_frames += 1
        return None

    def _take_price(self, update: PriceUpdate, *, received_us: int, at: float) -> Tick | None:
        port = self._place.ports.get(update.symbol)
        if port is None:
            return None  # removed a moment ago; the venue has not stopped sending yet
        try:
            check_update(update)
        except RemoteProtocolError as error:
            self._count_undecodable(error)
            return None
        self._undecodable_in_a_row = 0
        steps = port.stamper.clock_steps
        tick = port.stamper.stamp(update, received_us=received_us)
        if tick is None:
            return None
        if port.stamper.clock_steps != steps:
            port.gaps.clock_stepped_back(ts_us=tick.ts_us)
            emit(
                Event.CLOCK,
                f"the wall clock stepped back; {port.row.name} goes on with the new time",
                level=logging.WARNING,
                actor=f"market/{port.row.name}",
                market=port.row.name,
            )
        port.gaps.tick(tick.ts_us)
        self._show(port.row, tick, at, port.changed)
        return tick

    def _show(self, row: MarketRow, tick: Tick, at: float, changed: Callable[[], None]) -> None:
        """Bring the rows up to date; only a tick that ends a silence changes a state."""
        previous = row.last_tick_at
        row.last_tick_at = self._row.data_until = at
        if self._row.data_since is None:
            self._row.data_since = at
        row.last_tick_us = tick.ts_us
        row.price = tick.price
        row.ticks += 1
        if (
            previous is None
            or row.subscribed_at is None
            or previous < row.subscribed_at
            or at - previous >= row.stale_after_s
        ):
            changed()

    def _hand_over(self, ticks: list[Tick]) -> None:
        """Give the ticks to the writer and, market by market, to the markets."""
        self._place.ticks.put_nowait(ticks)
        if len(ticks) == 1:
            self._deliver(ticks)
            return
        by_market: dict[str, list[Tick]] = {}
        for tick in ticks:
            by_market.setdefault(tick.market, []).append(tick)
        for some in by_market.values():
            self._deliver(some)

    def _deliver(self, ticks: list[Tick]) -> None:
        symbol = ticks[0].market.rpartition("@")[0]
        self._place.ports[symbol].mailbox.put_nowait(ticks)

    def _count_undecodable(self, error: RemoteProtocolError) -> None:
        self._row.unknown_frames += 1
        self._undecodable_in_a_row += 1
        emit(
            Event.FRAME,
            f"{self._row.name}: {error}",
            level=logging.WARNING,
            actor=f"connection/{self._row.name}",
            venue=self._row.venue,
            sample=error.frame,
        )
        if self._undecodable_in_a_row >= MAX_UNDECODABLE:
            raise RemoteProtocolError(
                f"{MAX_UNDECODABLE} undecodable messages in a row, the last: {error}", frame=error.frame
            )

    # --- what goes out ------------------------------------------------------------------------

    async def _answer_requests(self, socket: Socket) -> None:
        """Serve the markets' requests until asked to close, and watch over the socket meanwhile."""
        while True:
            requests: list[Request] = []
            with trio.move_on_at(self._heartbeat.due_at()):
                requests = await self._next_requests()
            if not requests:
                await self._heartbeat.check(socket.ping, self._note_rtt)
                continue
            if any(isinstance(request, Close) for request in requests):
                await self._say_goodbye(socket)
                return
            wanted = [request for request in requests if isinstance(request, Subscribe | Unsubscribe)]
            frames = self._subscriptions.plan(wanted)
            self._note_unsubscribed(wanted)
            for frame in frames:
                await self._send(socket, frame)

    def _note_unsubscribed(self, requests: list[Subscribe | Unsubscribe]) -> None:
        """From here on prices of these markets are missed, also where one came a moment ago."""
        for request in requests:
            port = self._place.ports.get(request.symbol)
            if port is not None and isinstance(request, Unsubscribe | Resubscribe):
                port.gaps.trouble(Cause.DISCONNECT)

    async def _next_requests(self) -> list[Request]:
        """Wait for requests; those that come together are served together."""
        requests = [await self._place.requests.get()]
        # Those let through the gate by the same turn speak in this one too. Shielded: what has been
        # taken out must not be lost to the heartbeat's deadline.
        await trio.lowlevel.cancel_shielded_checkpoint()
        with contextlib.suppress(trio.WouldBlock):
            while True:
                requests.append(self._place.requests.get_nowait())
        return requests

    async def _say_goodbye(self, socket: Socket) -> None:
        """Unsubscribe and close; the reader lives until the close is done.

        What the venue sent before it heard of that is taken too: so we close when it has confirmed,
        since nobody can read any more after our close frame.
        """
        self._is_closing = True
        try:
            frames = self._subscriptions.leave_all()
            has_left = self._has_left = trio.Event()
            for frame in frames:
                await self._send(socket, frame)
            if frames:
                with trio.move_on_after(LEAVE_TIMEOUT_S):
                    await has_left.wait()
            await socket.close()
        except ConnectionLost:
            pass  # it is closed: what was wanted

    async def _send(self, socket: Socket, frame: str) -> None:
        """Send one frame, no sooner after the last than the venue allows."""
        await trio.sleep_until(self._may_send_at)
        self._may_send_at = trio.current_time() + self._place.venue.frame_spacing_s
        if self._place.recorder is not None:
            self._place.recorder.record_out(frame)
        await socket.send(frame)
