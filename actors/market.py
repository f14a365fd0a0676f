"""One market: keeps it subscribed, and puts its prices before its strategies. State in RAM only."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from actors.mailbox import Answer, BatchMailbox, Link, Mailbox
from domain.clock import now_us
from domain.errors import ConnectionLost, MarketClosed, VenueSilent
from domain.events import Event, emit
from domain.gaps import Cause, GapTracker
from domain.market import Tick
from domain.messages import Request, Resubscribe, Subscribe
from domain.states import MarketRow
from wire.backoff import delay_s

if TYPE_CHECKING:
    from actors.desks import DeskPlace

LOOK_AGAIN_S = 600.0  # a closed market's hours, at least so often
ANSWER_WITHIN_S = 10.0  # a venue that has not confirmed a subscribe by then will not


@attrs.define(kw_only=True, eq=False)
class MarketPlace:
    """All that outlives a market actor's runs. Owned by the tree.

    `desk` is None where nothing is traded.
    """

    row: MarketRow
    mailbox: BatchMailbox[list[Tick]]
    link: Link
    requests: Mailbox[Request]
    wait_turn: Callable[[], Awaitable[None]]
    changed: Callable[[], None]
    gaps: GapTracker
    resubscribe_max_s: float  # a stale market is subscribed again at least this often
    desk: "DeskPlace | None" = None


class Market:
    """The actor of one market; a new one is made for each run.

    Reads: its mailbox of ticks, its connection's link. Writes: its connection's mailbox of
    requests, its row; through its desk, to the trader. Owns: nothing; desk and book are its place's.
    Crashes on: a bug, a refused symbol, a venue that does not confirm. A restart forgets: nothing that
    is traded; a desk that crashed starts its strategies and candles over.
    """

    __slots__ = ("_place", "_row")

    def __init__(self, place: MarketPlace) -> None:
        self._place = place
        self._row = place.row

    async def run(self) -> None:
        """Keep subscribed, and follow the prices."""
        if self._place.desk is not None:
            self._place.desk.pick_up()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, name=f"follow {self._row.name}")
                await self._stay_subscribed()
        finally:
            self._row.subscribed_at = None
            self._row.is_in_line = False
            self._place.changed()

    # --- prices -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            ticks, desk = await self._place.mailbox.get(), self._place.desk
            if desk is not None:
                await desk.begin_with(desk.arrive(ticks))  # where this run ends meanwhile, the next has them
            self.handle(ticks)

    def handle(self, ticks: Sequence[Tick]) -> None:
        """Put a message that has arrived before the strategies, and what arrived before it."""
        if ticks and self._place.desk is not None:
            self._place.desk.follow(())

    # --- staying subscribed -------------------------------------------------------------------

    async def _stay_subscribed(self) -> None:
        """Subscribe in each session of the connection anew, each time through the gate."""
        while True:
            session = await self._place.link.wait_up()
            try:
                await self._subscribe(session)
                self._row.subscribed_at = trio.current_time()
                self._place.changed()
                await self._watch(session)
            except MarketClosed:
                self._row.subscribed_at = None
                await self._wait_open(session)
                continue
            except ConnectionLost:
                pass  # the link says so too, and with it we start over
            self._row.subscribed_at = None
            self._row.restarts += 1
            self._place.changed()

    async def _wait_open(self, session: int) -> None:
        """The venue takes no subscription while it is closed: wait until it opens, or the session is lost."""
        self._place.changed()
        while self._place.link.has(session) and self._row.hours.is_closed:
            with trio.move_on_at(self._opens_at()):
                await self._place.link.wait_news(session)
            if self._row.hours.pass_time(at_us=now_us()):
                self._place.changed()
        if not self._row.hours.is_closed:
            self._place.gaps.trouble(Cause.DISCONNECT)  # until it is subscribed

    async def _subscribe(self, session: int) -> None:
        """Take a turn at the gate and ask for the subscription; return when it is confirmed.

        Raises ConnectionLost, PermanentError for a refused symbol, VenueSilent.
        """
        self._row.is_in_line = True
        self._place.changed()
        try:
            await self._take_turn(session)
        finally:
            self._row.is_in_line = False
            self._place.changed()
        answer = Answer[None]()
        await self._ask(Subscribe(symbol=self._row.symbol, session=session, answer=answer), answer)

    async def _take_turn(self, session: int) -> None:
        await self._place.wait_turn()
        if not self._place.link.has(session):
            raise ConnectionLost("the connection was lost while waiting at the gate")

    async def _ask(self, request: Subscribe, answer: Answer[None]) -> None:
        with trio.move_on_after(ANSWER_WITHIN_S):
            await self._place.requests.put(request)
            await answer.wait()
            return
        raise VenueSilent(
            f"{self._row.venue} did not confirm {self._row.symbol} within {ANSWER_WITHIN_S:.0f} s"
        )

    async def _watch(self, session: int) -> None:
        """Subscribe again whenever the market is stale; return when the session is lost.

        A market that is closed is left in peace until it opens, or a tick says that it has.
        """
        attempt = 0
        at = trio.current_time() + self._row.stale_after_s
        hours = self._row.hours
        while True:
            was_closed = hours.is_closed
            with trio.move_on_at(at):
                await self._place.link.wait_news(session)
            if not self._place.link.has(session):
                return
            now = trio.current_time()
            hours.pass_time(at_us=now_us())
            if was_closed and not hours.is_closed:
                if self._row.is_stale(now):
                    self._row.subscribed_at = now  # its silence begins now
                self._place.changed()
            if self._row.is_stale(now) and hours.silent(at_us=now_us()):
                self._place.changed()
            if hours.is_closed:
                at = self._opens_at()
            elif not self._row.is_stale(now):
                attempt = 0
                at = (self._row.silent_since() or 0.0) + self._row.stale_after_s
            elif now >= at:
                await self._resubscribe(session)
                at = trio.current_time() + delay_s(
                    attempt=attempt,
                    min_s=min(self._row.stale_after_s, self._place.resubscribe_max_s),
                    max_s=self._place.resubscribe_max_s,
                )
                attempt += 1

    def _opens_at(self) -> float:
        """Return when to look whether a closed market is open, monotonic: the wall clock may be set."""
        opens_us = self._row.hours.opens_us
        now_s = trio.current_time()
        if opens_us is None or opens_us <= now_us():
            return now_s + LOOK_AGAIN_S
        return now_s + min(LOOK_AGAIN_S, (opens_us - now_us()) / 1_000_000)

    async def _resubscribe(self, session: int) -> None:
        """A stale market is no crash: ask again, and carry on whatever the answer.

        It is shown as stale all the while, in line at the gate too: it is still subscribed.
        """
        self._place.gaps.trouble(Cause.STALE)
        self._place.changed()
        emit(
            Event.RESTART,
            f"{self._row.name} silent for {self._row.stale_after_s:g} s: subscribing again",
            actor=f"market/{self._row.name}",
        )
        await self._take_turn(session)
        if not self._row.is_stale(trio.current_time()) or self._row.hours.is_closed:
            return  # a datum came while it stood in line, or word that it is closed
        self._row.restarts += 1
        answer = Answer[None]()
        try:
            await self._ask(Resubscribe(symbol=self._row.symbol, session=session, answer=answer), answer)
        except VenueSilent as error:
            emit(Event.RESTART, str(error), actor=f"market/{self._row.name}")
