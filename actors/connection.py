"""One venue connection, for all markets that share it: one socket, or two while one replaces the other."""

import contextlib
import logging
from functools import partial

import attrs
import trio

from actors.line import Line, refuse
from actors.ports import ConnectionPlace
from domain.errors import PermanentError, VenueThrottled, flatten
from domain.events import Event, emit
from domain.gaps import Cause
from wire.backoff import bound_s

ROTATE_AGAIN_S = 60.0  # after another socket could not take over, at least
ROTATE_SOON_S = 1.0  # after one that could: twice as long each time in a row


class Connection:
    """The actor of one session; a new one is made for each.

    Reads: its socket, and its mailbox of requests. Writes: the writer's mailbox, its markets'
    mailboxes, its row, its link, its venue's catalog and clock. Owns: the session's subscriptions and
    the requests not yet answered. Crashes on: a lost, silent or dead socket, 20 undecodable messages
    in a row, a venue that does not let us in. A restart forgets the subscriptions; the markets are
    told by the link and subscribe again. Where the venue ends sockets by a plan, another one takes
    over before, and nobody notices.
    """

    __slots__ = ("_beside", "_in_a_row", "_line", "_place", "_row", "_took_over_at")

    def __init__(self, place: ConnectionPlace) -> None:
        self._place = place
        self._row = place.row
        self._line: Line | None = None  # the one that serves
        self._beside: set[_Beside] = set()  # those that took over, and the one that is to
        self._took_over_at, self._in_a_row = -float("inf"), 0

    async def run(self) -> None:
        """Take a turn at the gate, open the socket, serve it until it is lost or closed."""
        if self._place.shared.list_markets is not None:
            await self._place.shared.list_markets()
        await self._take_turn()
        line = self._line = Line(self._place, number=self._place.link.session + 1)
        try:
            async with line.open():
                self._open_session()
                await line.serve(self._rotate)
            while self._line is not line:
                line.end()
                line = self._line
                # Only now: a number of the new socket would make the old one's last prices old ones.
                line.session.release_prices()
                assert line.ended is not None, "a line that took over has an end"
                await line.ended.wait()
                if line.failure is not None:
                    raise line.failure
        finally:
            self._end_session()

    async def _take_turn(self) -> None:
        self._row.is_in_line = True
        self._place.changed()
        try:
            await self._place.shared.wait_turn()
        finally:
            self._row.is_in_line = False
            self._place.changed()

    def _open_session(self) -> None:
        self._row.data_since = self._row.data_until = self._row.rtt_ms = None
        self._row.is_open = True
        self._place.link.set_up()
        self._place.changed()

    def _end_session(self) -> None:
        """Tell everybody who waits on this session that it is over."""
        for beside in self._beside:
            beside.scope.cancel()
        if self._line is not None:
            self._line.end()
        self._row.is_open = False
        self._place.wired.clear()
        self._place.link.set_down()
        for port in self._place.ports.values():
            port.gaps.trouble(Cause.DISCONNECT)
        with contextlib.suppress(trio.WouldBlock):
            while True:
                refuse(self._place.requests.get_nowait())
        self._place.changed()

    # --- one socket after the other -----------------------------------------------------------

    def _rotate(self) -> None:
        """Let another socket take over, beside this one: what goes wrong there does no harm here."""
        beside = _Beside()
        self._beside.add(beside)
        self._place.spawn(
            partial(self._succeed, beside), partial(self._note_end, beside), f"rotate {self._row.name}"
        )

    async def _succeed(self, beside: "_Beside") -> None:
        """Open another line, let it take over, and serve it; the old one closes then."""
        with beside.scope:
            await self._place.shared.wait_turn()
            old, line = self._line, Line(self._place, number=self._place.link.session)
            assert old is not None, "there is one to take over from"
            async with line.open():
                await line.take_over(old)
                line.ended = trio.Event()
                line.put_off_rotation(until=trio.current_time() + self._pause_s())
                self._line = beside.line = line
                old.replace()
                self._say("another socket has taken over, without a gap", level=logging.INFO)
                await line.serve(self._rotate)

    def _pause_s(self) -> float:
        """Return how long the line that takes over now is to serve, though the venue warns again.

        A venue that goes down altogether warns each new socket, and nobody knows how long before.
        """
        now = trio.current_time()
        is_calm = now - self._took_over_at > ROTATE_AGAIN_S
        self._in_a_row = 0 if is_calm else self._in_a_row + 1
        self._took_over_at = now
        return bound_s(attempt=self._in_a_row, min_s=ROTATE_SOON_S, max_s=ROTATE_AGAIN_S)

    def _note_end(self, beside: "_Beside", error: Exception | None) -> None:
        """A line beside has ended: after it took over, or before it could."""
        self._beside.discard(beside)
        if beside.line is not None:
            assert beside.line.ended is not None, "a line that took over has an end"
            beside.line.failure = error
            beside.line.ended.set()
        elif error is not None and self._line is not None:
            failure = max(flatten(error), key=_severity)
            pause_s = max(ROTATE_AGAIN_S, *_severity(failure))
            self._line.put_off_rotation(until=trio.current_time() + pause_s)
            self._say(f"another socket could not take over: {failure}", level=logging.WARNING)

    def _say(self, what: str, *, level: int) -> None:
        emit(
            Event.STATE,
            f"{self._row.name}: {what}",
            level=level,
            actor=f"connection/{self._row.name}",
        )


@attrs.define(eq=False)
class _Beside:
    """A line that is to take over, in a task of its own; `line` is set once it has."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    line: Line | None = None


def _severity(error: BaseException) -> tuple[float, float]:
    """Return what tells the graver of two, and at the same time for how long another try is no use."""
    return (
        float("inf") if isinstance(error, PermanentError) else 0.0,
        error.retry_after_s if isinstance(error, VenueThrottled) else 0.0,
    )
