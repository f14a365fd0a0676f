"""One open socket: sends what its session wants, watches over it, and hands it what comes."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable

import trio

from actors.ports import ConnectionPlace, Pace
from actors.session import Session
from domain.clock import now_us
from domain.errors import ConnectionLost, MarketdError, PermanentError, UpgradeRefused, UpgradeThrottled
from domain.messages import AskHistory, Close, Request, Subscribe, Wake
from venues.protocol import SessionContext
from venues.verdict import verdict
from wire.heartbeat import Heartbeat
from wire.websocket import Socket, dial

LIST_WITHIN_S = 20.0  # a venue that has not listed its markets by then will not
LEAVE_TIMEOUT_S = 0.5  # before a close the venue has so long to confirm that it sends no more
TAKE_OVER_TIMEOUT_S = 20.0  # a socket that is to replace another one has so long to be subscribed
ROTATE_JITTER_S = 300.0  # so that sockets of one age are not all replaced together
NEVER = float("inf")


class Line:
    """One socket and its session, for as long as it is open."""

    __slots__ = (
        "_answered",
        "_heartbeat",
        "_is_closing",
        "_is_replaced",
        "_pace",
        "_ping_at",
        "_place",
        "_refresh_at",
        "_shared",
        "_socket",
        "_unlisted_at",
        "ended",
        "failure",
        "rotate_at",
        "session",
    )

    def __init__(self, place: ConnectionPlace, *, number: int) -> None:
        """Make the line of session `number`; raises `PermanentError` where it has no token for it."""
        self._place = place
        self._shared = shared = place.shared
        token = shared.read_token()
        if token is not None and shared.recorder is not None:
            shared.recorder.keep_secret(token)
        context = SessionContext(settings=shared.settings, token=token, started_us=now_us())
        adapter = shared.venue.make_adapter(context)
        self.session = Session(place, adapter=adapter, number=number, token=token)
        self.ended: trio.Event | None = None  # set where somebody waits for its end
        self.failure: Exception | None = None
        self.rotate_at = NEVER  # monotonic, as all of these
        self._ping_at = self._refresh_at = self._unlisted_at = NEVER
        self._pace = Pace()
        self._heartbeat = Heartbeat(last_frame_at=0.0)  # begins to count when it is open
        self._socket: Socket | None = None
        self._answered: trio.Event | None = None  # while somebody waits for the venue's answers
        self._is_closing = self._is_replaced = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the socket for the length of the block, say the opening words, and begin to receive."""
        shared = self._shared
        upgrade = shared.venue.upgrade(shared.settings, self.session.token)
        try:
            async with dial(
                upgrade.url, headers=upgrade.headers, timeout_s=shared.settings.connect_timeout_s
            ) as socket:
                self._socket = socket
                for frame in self.session.adapter.opening():
                    await self._send(frame)
                self._heartbeat.beat()
                self._begin_timers()
                socket.start_beside(self._receive, name=f"receive {self._place.row.name}")
                try:
                    yield
                finally:
                    self._is_closing = True  # what the reader meets from now on is not why
        except* (UpgradeRefused, UpgradeThrottled) as group:
            raise self._judge(group.exceptions[0]) from group
        except* MarketdError:
            if not self._is_replaced:  # else it is gone, which was wanted
                raise

    def _begin_timers(self) -> None:
        now, venue = trio.current_time(), self._shared.venue
        if venue.ping_every_s is not None:
            self._ping_at = now  # the venue's clock is wanted at once
        if venue.lists_markets:
            self._unlisted_at = now + LIST_WITHIN_S
        if venue.refresh_every_s is not None:
            self._refresh_at = now + venue.refresh_every_s
        if venue.rotate_after_s is not None:
            jitter_s = min(ROTATE_JITTER_S, venue.rotate_after_s / 10)
            self.rotate_at = now + venue.rotate_after_s + random.uniform(-jitter_s, jitter_s)  # noqa: S311

    # --- what comes in ------------------------------------------------------------------------

    async def _receive(self, socket: Socket) -> None:
        """Read until the socket is lost, which is no failure once we are closing it."""
        try:
            while True:
                frames = await socket.receive()
                self._heartbeat.beat()
                for frame in frames:
                    self.take(frame)
        except ConnectionLost as error:
            if not self._is_closing:
                raise self._judge(error) from None

    def take(self, frame: str | bytes) -> None:
        """Let the session have one message; wake whoever sends what it asks for."""
        session = self.session
        session.handle(frame, received_us=now_us(), at=self._heartbeat.last_frame_at)
        if session.is_leaving:
            session.is_leaving = False
            if self.rotate_at < NEVER:  # else this venue's sockets are not replaced
                self.rotate_at = 0.0
        if session.outgoing or session.is_released or self.rotate_at == 0.0:
            self._place.requests.put_nowait(Wake())
        self._note_answers()

    def _note_answers(self) -> None:
        """Wake whoever waits for the last word on what was asked."""
        if self._answered is not None and self._is_answered():
            self._answered.set()

    def _is_answered(self) -> bool:
        """Whether the venue confirmed our goodbye, or before that, everything we asked to take over."""
        return self.session.has_left if self._is_closing else self.session.subscriptions.has_all

    # --- what goes out ------------------------------------------------------------------------

    async def serve(self, rotate: Callable[[], None]) -> None:
        """Serve the markets' requests until asked to close or replaced, and watch over the socket.

        `rotate` is called when it is time for another socket to take this one's place.
        """
        while True:
            requests: list[Request] = []
            with trio.move_on_at(self._due_at()):
                requests = await self._next_requests()
            if self._is_replaced:
                self._give_back(requests)
                await self._say_goodbye()
                return
            if any(isinstance(request, Close) for request in requests):
                await self._say_goodbye()
                return
            for frame in self.session.plan(requests):
                await self._send(frame)
            if not requests:
                await self._keep_up(rotate)

    def _due_at(self) -> float:
        return min(
            self._heartbeat.due_at(), self._ping_at, self._refresh_at, self._unlisted_at, self.rotate_at
        )

    async def _keep_up(self, rotate: Callable[[], None]) -> None:
        """Do what is due by the clock."""
        now, venue = trio.current_time(), self._shared.venue
        if now >= self.rotate_at:
            self.rotate_at = NEVER
            rotate()
        if now >= self._ping_at:
            self._ping_at = now + (venue.ping_every_s or NEVER)
            for number, frame in enumerate(self.session.adapter.ping()):
                await self._send(frame)
                if number == 0:
                    self.session.pinged_us = now_us()  # after the wait for its turn
        if now >= self._unlisted_at:
            self._unlisted_at = NEVER
            self.session.go_on_unlisted()
            self._place.requests.put_nowait(Wake())
        if now >= self._refresh_at:
            self._refresh_at = now + (venue.refresh_every_s or NEVER)
            if any(port.hours.is_closed for port in self._place.ports.values()):
                for frame in self.session.adapter.refresh():
                    await self._send(frame)
        assert self._socket is not None
        await self._heartbeat.check(self._socket.ping, self._note_rtt)

    def _note_rtt(self, rtt_ms: float) -> None:
        self._place.row.rtt_ms = rtt_ms

    async def _next_requests(self) -> list[Request]:
        """Wait for requests; those that come together are served together."""
        requests = [await self._place.requests.get()]
        # Those let through the gate by the same turn speak in this one too. Shielded: what has been
        # taken out must not be lost to the deadline.
        await trio.lowlevel.cancel_shielded_checkpoint()
        with contextlib.suppress(trio.WouldBlock):
            while True:
                requests.append(self._place.requests.get_nowait())
        return requests

    async def _send(self, frame: str) -> None:
        """Send one frame, no sooner after the last than the venue allows."""
        venue = self._shared.venue
        pace = self._shared.pace if venue.is_spacing_shared else self._pace
        await trio.sleep_until(pace.take_turn(at=trio.current_time(), spacing_s=venue.frame_spacing_s))
        if self._shared.recorder is not None:
            self._shared.recorder.record_out(frame)
        assert self._socket is not None
        await self._socket.send(frame)

    # --- its end ------------------------------------------------------------------------------

    async def take_over(self, other: "Line") -> None:
        """Subscribe what the other line has; return when the venue confirmed, then it can go.

        Raises `ConnectionLost` where that takes too long.
        """
        self._answered = trio.Event()
        self.session.hold_prices()
        for frame in self.session.take_over(other.session):
            await self._send(frame)
        self._note_answers()
        with trio.move_on_after(TAKE_OVER_TIMEOUT_S):
            await self._answered.wait()
            return
        raise ConnectionLost(f"{self._place.row.venue} did not confirm within {TAKE_OVER_TIMEOUT_S:.0f} s")

    def replace(self) -> None:
        """Let it say goodbye and close: another line has taken its place."""
        self._is_replaced = self._is_closing = True
        self._place.requests.put_nowait(Wake())

    def end(self) -> None:
        """Nobody is to wait on it any longer."""
        self.session.lose()

    def _give_back(self, requests: list[Request]) -> None:
        for request in requests:
            if not isinstance(request, Wake) and not self._place.requests.put_nowait(request):
                refuse(request)

    async def _say_goodbye(self) -> None:
        """Unsubscribe and close; the reader lives until the close is done.

        What the venue sent before it heard of that is taken too: so we close when it has confirmed,
        since nobody can read any more after our close frame.
        """
        self._is_closing = True
        assert self._socket is not None
        try:
            frames = self.session.subscriptions.leave_all()
            self._answered = trio.Event()
            self.session.has_left = False
            for frame in frames:
                await self._send(frame)
            if frames:
                with trio.move_on_after(LEAVE_TIMEOUT_S):
                    await self._answered.wait()
            await self._socket.close()
        except ConnectionLost:
            pass  # it is closed: what was wanted

    def _judge(self, error: Exception) -> Exception:
        """Return the error, or what it means at this venue: trying again may be no use."""
        judged = verdict(error, venue=self._shared.venue, name=self._place.row.venue)
        if isinstance(judged, PermanentError):
            self._shared.token_refused(self.session.token)
        return judged


def refuse(request: Request) -> None:
    """Answer what was asked of a session that is over."""
    if isinstance(request, Subscribe | AskHistory):
        request.answer.fail(ConnectionLost("the connection was lost before the venue was asked"))
