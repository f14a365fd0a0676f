"""The writer's accepting half: what comes in goes into the journal, every `flush_after_ms`.

The ledger's rows do not wait for that, and take along what else is there: a commit is a commit.
"""

import contextlib
import functools
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from actors.mailbox import Answer, BatchMailbox, Inbox
from actors.offers import Offers
from domain.clock import now_us
from domain.crash_points import crash_point
from domain.errors import JournalFull
from domain.events import Event, emit
from domain.gaps import Cause, Gap, GapRanges
from storage.acceptor import Accepted, Acceptor
from storage.journal import Opened
from storage.payloads import EventNumbers, EventRow, Lane, Money, Rows
from storage.settings import StorageSettings
from storage.shelf import Shelf

Result = TypeVar("Result")
Item = TypeVar("Item")

MOST_EVENTS = 2_000  # that wait for a journal or a database that takes them; 16 MB at the very worst
LESS = 8  # while memory is short, a transaction has so many times fewer rows
SHELF = 4  # transactions' worth of ticks in RAM, while the database keeps up: at most 25 MB
MOST_DIRECT = 100  # lots of rows that wait to be stored without a journal
FIGURES_EVERY_S = 1.0  # how old the journal's size in status may be
# While ticks are lost their gaps grow, and each change of a row costs what there is none of: room.
LOST_TOLD_EVERY_S = 10.0
GOOD_AFTER_S = 60.0  # without trouble: a full journal takes most of what comes, and makes room now and then
MEGABYTE = 1024 * 1024


class Accepting:
    """Drains the mailboxes into the journal and keeps what is new in RAM for storing.

    Owns: the journal, its one thread, the shelves, and what waits to be stored without a journal.
    Never waits for the database.
    """

    def __init__(self, *, folder: Path, settings: StorageSettings, inbox: Inbox) -> None:
        self._settings = settings
        self._inbox = inbox
        self._acceptor = Acceptor(folder, max_bytes=settings.journal_max_mb * MEGABYTE)
        self._thread = trio.CapacityLimiter(1)  # accepting has one thread, never abandoned
        self._numbers = EventNumbers()
        self._kept_events: list[EventRow] = []  # no journal and no database took them yet
        self._offers = Offers(inbox.ledger)
        self._waiting: list[Answer[None]] = []  # for what is in the mailboxes to be accepted
        self._woken = trio.Event()
        inbox.ledger.on_put = self.wake
        self._lost = GapRanges(Cause.JOURNAL_FULL)
        self._lost_untold: dict[str, Gap] = {}  # by market, the latest
        self._lost_told_at = -float("inf")
        self._is_told = False  # that it is in trouble
        self._trouble_at = -float("inf")  # monotonic, the latest
        self._is_refusing = False
        self._figures_at = -float("inf")

        self.rows_at_once = settings.flush_rows
        self.shelves = {lane: Shelf(max_rows=SHELF * self.rows_at_once) for lane in Lane}
        self.accepted_through = dict.fromkeys(Lane, 0)  # positions
        self.direct: deque[tuple[Lane, Rows]] = deque()  # to be stored without a journal
        self.direct_ticks = 0
        self.directed = 0  # of those, how many there ever were
        self.under_way = 0  # ticks in the thread's hands
        self.journal_ids: set[int] = set()  # of this run
        self.accepted = self.dropped = 0  # ticks
        self.batches = self.bytes = 0
        self.opened: Opened | None = None
        self.first_opened = trio.Event()
        # When the accepting task turns next, at the latest; None while the disk has it, or nobody runs it.
        self.due_at: float | None = None
        self.is_database_up = False  # told by the storing half
        self.is_reopened = False  # the storing half is to open its reading end anew

    @property
    def is_journaled(self) -> bool:
        """Whether the journal takes what comes in."""
        return self._acceptor.journal.is_open and not self._is_refusing

    # --- its life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Look over the journal that the last run left, and open it."""
        outcome = await self._in_thread(self._acceptor.open)
        self._take_note(outcome)
        await self.look()

    async def run(self, finishing: trio.Event, accepted: Callable[[], None]) -> None:
        """Accept until `finishing`, and what is there then; call `accepted` each time something was."""
        flush_after_s = self._settings.flush_after_ms / 1_000
        while not finishing.is_set():
            self.due_at = trio.current_time() + flush_after_s
            self._woken = trio.Event()
            if not self._is_wanted_now():
                with trio.move_on_at(self.due_at):
                    await self._woken.wait()
            self.due_at = None  # a disk may take as long as it likes
            if await self.accept():
                accepted()
            if trio.current_time() >= self._figures_at + FIGURES_EVERY_S:
                await self.look()
        self._lost_told_at = -float("inf")
        await self.accept()  # also what came while the last append was under way
        self._offers.refuse("the writer has ended")

    def wake(self) -> None:
        """Accept now what is there, and not when its time has come."""
        self._woken.set()

    def _is_wanted_now(self) -> bool:
        """Whether there is a flood, something for the ledger, or somebody who waits."""
        is_flood = self._inbox.ticks.used >= self.rows_at_once
        return is_flood or self._inbox.ledger.used > 0 or bool(self._waiting)

    async def reopen(self) -> bool:
        """Look the journal over and put it right, for it could not be read; return whether it is open."""
        await self._in_thread(self._acceptor.journal.close)
        self._take_note(await self._in_thread(self._acceptor.open))
        return self._acceptor.journal.is_open

    async def close(self) -> None:
        """Close the journal."""
        await self._in_thread(self._acceptor.journal.close)

    def use_less_memory(self) -> None:
        """Memory is short: keep fewer ticks in RAM. What is let go of is read from the journal."""
        self._keep_in_ram(max(1, self._settings.flush_rows // LESS))

    def use_memory(self) -> None:
        """There is room again."""
        self._keep_in_ram(self._settings.flush_rows)

    def _keep_in_ram(self, rows_at_once: int) -> None:
        self.rows_at_once = rows_at_once
        for shelf in self.shelves.values():
            shelf.bound(max_rows=SHELF * rows_at_once)

    # --- accept -------------------------------------------------------------------------------

    async def accept(self) -> bool:
        """Append what is in the mailboxes; return whether there was anything."""
        waiting, self._waiting = self._waiting, []
        ticks = _drain(self._inbox.ticks)
        ledger = self._offers.take()
        self._tell_lost()
        money = Money(
            gaps=self._inbox.gaps.take(),
            events=self._drain_events(),
            fills=self._inbox.gaps.take_fills(),
            candles=_drain(self._inbox.candles),
            signals=ledger.signals,
            trades=ledger.trades,
            trade_events=ledger.trade_events,
        )
        if not ticks and not len(money):
            self._offers.set_kept()
            for each in waiting:
                each.set(None)
            return False
        crash_point("accept.taken")
        self.under_way = len(ticks)
        self._acceptor.journal.keeps_unstored = self._takes_directly(len(ticks))
        outcome = await self._in_thread(functools.partial(self._acceptor.accept, money=money, ticks=ticks))
        self.under_way = 0
        self.accepted += len(ticks) - len(outcome.refused_ticks)
        for batch in outcome.batches:
            self.shelves[batch.lane].put([batch])
            self.journal_ids.add(batch.journal_id)
            self.accepted_through[batch.lane] = batch.position
        self._take_note(outcome)
        if outcome.refused_money is None:
            self._offers.set_kept()
        else:
            self._offers.refuse(outcome.trouble)
        self._place_refused(outcome)
        for each in waiting:
            if outcome.trouble:
                each.fail(JournalFull(outcome.trouble))
            else:
                each.set(None)
        return True

    async def flushed(self) -> None:
        """Wait until all that is in the mailboxes now is in the journal; raise `JournalFull` if it is not."""
        answer = Answer[None]()
        self._waiting.append(answer)
        self.wake()
        await answer.wait()

    def _drain_events(self) -> list[EventRow]:
        events, self._kept_events = self._kept_events, []
        with contextlib.suppress(trio.WouldBlock):
            while len(events) < MOST_EVENTS:
                events.append(self._numbers.row(self._inbox.events.get_nowait(), at_us=now_us()))
        return events

    def _place_refused(self, outcome: Accepted) -> None:
        """Store without the journal what it did not take; where that cannot be either, ticks are lost.

        The ledger's rows are their owner's again.
        """
        money, ticks = outcome.refused_money, outcome.refused_ticks
        if money is not None:
            self._place_refused_money(money)
        if not ticks:
            return
        if self._takes_directly(len(ticks)):
            self._direct(Lane.TICKS, ticks)
            self.direct_ticks += len(ticks)
            self.accepted += len(ticks)
            return
        self.dropped += len(ticks)
        for gap in self._lost.add(ticks):
            self._keep_lost(gap)

    def _place_refused_money(self, money: Money) -> None:
        rest = Money(gaps=money.gaps, events=money.events, fills=money.fills, candles=money.candles)
        if self._takes_directly(0):
            if len(rest):
                self._direct(Lane.MONEY, rest)
            return
        for gap in rest.gaps:
            self._inbox.gaps.put_back(gap)
        for fill in rest.fills:
            self._inbox.gaps.put_back_fill(fill)
        self._kept_events = rest.events

    def _direct(self, lane: Lane, rows: Rows) -> None:
        self.direct.append((lane, rows))
        self.directed += 1

    def _takes_directly(self, ticks: int) -> bool:
        """Whether so many more ticks can be stored without the journal."""
        has_room = self.direct_ticks + ticks <= 2 * self.rows_at_once
        return self.is_database_up and has_room and len(self.direct) < MOST_DIRECT

    def _keep_lost(self, gap: Gap) -> None:
        """Take note of a gap that is new or longer; it is told at most every so often."""
        before = self._lost_untold.get(gap.market)
        if before is not None and before.from_us != gap.from_us:
            self._inbox.gaps.put(before)
        self._lost_untold[gap.market] = gap

    def _tell_lost(self) -> None:
        """Write down the gaps of lost ticks, now and then; the rest as soon as ticks are accepted again.

        A kill before that loses none: for the next start the time since the last recorded tick is a gap.
        """
        is_due = not self._is_refusing or trio.current_time() >= self._lost_told_at + LOST_TOLD_EVERY_S
        if self._lost_untold and is_due:
            for gap in self._lost_untold.values():
                self._inbox.gaps.put(gap)
            self._lost_untold = {}
            self._lost_told_at = trio.current_time()

    def drop_direct(self) -> None:
        """Forget the oldest rows that were to be stored without a journal: they are."""
        lane, rows = self.direct.popleft()
        if lane is Lane.TICKS:
            self.direct_ticks -= len(rows)

    # --- trim ---------------------------------------------------------------------------------

    def set_stored(self, lane: Lane, position: int) -> None:
        """Take note of how far a lane is in the database."""
        self.shelves[lane].stored(through=position, accepted_through=self.accepted_through[lane])
        self._acceptor.journal.stored_through[lane] = position

    async def trim(self, through: dict[Lane, int]) -> None:
        """Delete what the database has for good, in slices, between appends."""
        for lane, position in through.items():
            slice_ = functools.partial(self._acceptor.trim_slice, lane, through=position)
            while await self._in_thread(slice_):
                pass  # an append comes between any two
        await self._in_thread(self._acceptor.tidy)

    async def look(self) -> None:
        """Bring the journal's size up to date."""
        self.batches, self.bytes = await self._in_thread(self._acceptor.journal.figures)
        self._figures_at = trio.current_time()

    # --- what became of it --------------------------------------------------------------------

    def _take_note(self, outcome: Accepted) -> None:
        if outcome.opened is not None:
            self._say_opened(outcome.opened)
        self.dropped += outcome.shed
        trouble = outcome.trouble or (f"{outcome.shed} of the oldest ticks had to go" if outcome.shed else "")
        if outcome.trouble or outcome.batches:
            self._is_refusing = bool(outcome.trouble)
        if trouble:
            self._trouble_at = trio.current_time()
        if trouble and not self._is_told:
            emit(
                Event.JOURNAL,
                f"journal in trouble: {trouble}; "
                + ("stored directly" if self.is_database_up else "ticks are lost and counted"),
                level=logging.ERROR,
                actor="writer",
                state="full" if outcome.batches else "unjournaled",
                reason=trouble,
            )
            self._is_told = True
        elif self._is_told and outcome.batches and trio.current_time() >= self._trouble_at + GOOD_AFTER_S:
            emit(Event.JOURNAL, "journal takes everything again", actor="writer", state="good")
            self._is_told = False

    def _say_opened(self, opened: Opened) -> None:
        self.is_reopened = True
        found = opened.found
        if self.opened is None:  # by now we may have appended to it already
            self.opened = opened
            self.first_opened.set()
            for lane, position in found.last_position.items():
                self.accepted_through[lane] = max(self.accepted_through[lane], position)
        if opened.set_aside is None:
            return
        emit(
            Event.JOURNAL,
            f"the journal was damaged ({opened.reason}); it is kept as {opened.set_aside}; saved from it: "
            f"{found.rows[Lane.TICKS]} ticks in {found.batches[Lane.TICKS]} batches, "
            f"{found.batches[Lane.MONEY]} batches of money and events",
            level=logging.ERROR,
            actor="writer",
            state="damaged",
            reason=opened.reason,
            file=str(opened.set_aside),
        )

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(work, limiter=self._thread)


def _drain(box: BatchMailbox[list[Item]]) -> list[Item]:
    taken: list[Item] = []
    with contextlib.suppress(trio.WouldBlock):
        while True:
            taken += box.get_nowait()
    return taken
