"""One open socket: sends what its session wants, watches over it, and hands it what comes."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable

import trio

from actors.ports import ConnectionPlace, Pace
from actors.session import Session
from domain.clock import now_us
from domain.errors import (
    ConnectionClosed,
    ConnectionLost,
    MarketdError,
    PermanentError,
    UpgradeRefused,
    UpgradeThrottled,
    flatten,
)
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
        "_may_rotate_at",
        "_pace",
        "_ping_at",
        "_place",
        "_refresh_at",
        "_rotate_at",
        "_shared",
        "_socket",
        "_unlisted_at",
        "ended",
        "failure",
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
        self._rotate_at = self._ping_at = self._refresh_at = self._unlisted_at = NEVER  # monotonic
        self._may_rotate_at = 0.0  # not before, whatever the venue says
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
        except* (UpgradeRefused, UpgradeThrottled, ConnectionClosed) as group:
            if not self._is_replaced:  # else it is gone, which was wanted
                raise self._judge(group) from group
        except* MarketdError:
            if not self._is_replaced:
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
            self._rotate_at = now + venue.rotate_after_s + random.uniform(-jitter_s, jitter_s)  # noqa: S311

    # --- what comes in ------------------------------------------------------------------------

    async def _receive(self, socket: Socket) -> None:
        """Read until the socket is lost, which is no failure once we are closing it."""
        try:
            while True:
                frames = await socket.receive()
                self._heartbeat.beat()
                for frame in frames:
                    self.take(frame)
        except ConnectionLost:
            if not self._is_closing:
                raise

    def take(self, frame: str | bytes) -> None:
        """Let the session have one message; wake whoever sends what it asks for."""
        session = self.session
        session.handle(frame, received_us=now_us(), at=self._heartbeat.last_frame_at)
        is_leaving, session.is_leaving = session.is_leaving, False
        if is_leaving and self._rotate_at < NEVER:  # else this venue's sockets are not replaced
            self._rotate_at = min(self._rotate_at, self._may_rotate_at)
        if is_leaving or session.has_more:
            self._wake()
        self._note_answers()

    def _wake(self) -> None:
        """Have whoever serves the requests look at what is due; any request does that too."""
        if not self._place.requests.used:
            self._place.requests.put_nowait(Wake())

    def _note_answers(self) -> None:
        """Wake whoever waits for the last word on what was asked."""
        if self._answered is not None and self._is_answered():
            self._answered.set()

    def _is_answered(self) -> bool:
        """Whether the venue confirmed our goodbye, or before that, everything we asked to take over."""
        return self.session.has_left if self._is_closing else self.session.asking.subscriptions.has_all

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
                for request in requests:
                    refuse(request)
                await self._say_goodbye()
                return
            for frame in self.session.plan(requests):
                await self._send(frame)
            if not requests:
                await self._keep_up(rotate)

    def _due_at(self) -> float:
        return min(
            self._heartbeat.due_at(), self._ping_at, self._refresh_at, self._unlisted_at, self._rotate_at
        )

    async def _keep_up(self, rotate: Callable[[], None]) -> None:
        """Do what is due by the clock."""
        now, venue = trio.current_time(), self._shared.venue
        if now >= self._rotate_at:
            self._rotate_at = NEVER
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
            self._wake()
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

        What is asked of the other one meanwhile is taken over too. Raises `ConnectionLost` where it
        takes too long.
        """
        self.session.hold_prices()
        with trio.move_on_after(TAKE_OVER_TIMEOUT_S):
            while frames := self.session.asking.take_over(other.session.asking):
                self._answered = trio.Event()
                for frame in frames:
                    await self._send(frame)
                self._note_answers()
                await self._answered.wait()
            return
        raise ConnectionLost(f"{self._place.row.venue} did not confirm within {TAKE_OVER_TIMEOUT_S:.0f} s")

    def put_off_rotation(self, *, until: float) -> None:
        """Let no other line take this one's place before that time (monotonic); at the latest then try."""
        self._may_rotate_at = until
        self._rotate_at = until if self._rotate_at == NEVER else max(self._rotate_at, until)

    def replace(self) -> None:
        """Let it say goodbye and close: another line has taken its place."""
        self._is_replaced = self._is_closing = True
        self._place.requests.put_nowait(Wake())

    def end(self) -> None:
        """Nobody is to wait on it any longer."""
        self.session.asking.lose()

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
            frames = self.session.asking.subscriptions.leave_all()
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

    def _judge(self, group: BaseExceptionGroup[MarketdError]) -> BaseException:
        """Return the first error, or what it means at this venue: trying again may be no use."""
        judged = verdict(flatten(group)[0], venue=self._shared.venue, name=self._place.row.venue)
        if isinstance(judged, PermanentError):
            self._shared.token_refused(self.session.token)
        return judged


def refuse(request: Request) -> None:
    """Answer what was asked of a session that is over."""
    if isinstance(request, Subscribe | AskHistory):
        request.answer.fail(ConnectionLost("the connection was lost before the venue was asked"))
