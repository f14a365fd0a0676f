"""The writer: the one actor that owns the journal and the database."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from actors.accepting import Accepting
from actors.mailbox import Inbox
from actors.storing import Patience, Storing, greet
from domain.database import Contact, Finished, WriterStatistics
from domain.errors import InvariantError, JournalFull, StorageBusy
from storage.drivers import make_driver
from storage.payloads import Lane
from storage.pool import Pool
from storage.session import Session
from storage.settings import StorageSettings
from storage.survey import Survey
from storage.target import Target

Result = TypeVar("Result")


class Writer:
    """Takes what is to be kept, journals it, and brings it into the database, for as long as that takes.

    Reads: its mailboxes, the gap ledger. Writes: the journal, the database, the answers to those who
    keep the ledger, and in the log when one of them is in trouble or well again. Owns: the journal, the
    pools, three threads (accepting, storing, reading), none of which waits for another. Crashes on: an
    exception that is no driver's, our bug. A restart forgets nothing that was accepted: it is in the
    journal. `run()`
    may be called once.
    """

    def __init__(
        self,
        *,
        folder: Path,
        settings: StorageSettings,
        target: Target,
        inbox: Inbox,
        patience: Patience | None = None,
    ) -> None:
        self._inbox = inbox
        self._patience = patience or Patience()
        self._accepting = Accepting(folder=folder, settings=settings, inbox=inbox)
        self._storing = Storing(
            folder=folder,
            settings=settings,
            target=target,
            accepting=self._accepting,
            patience=self._patience,
        )
        # Reading has a connection and a thread of its own: a long read delays no storing.
        self._reading_driver = make_driver(target, settings=settings)
        self._reading_pool = Pool(driver=self._reading_driver, prepare=greet)
        self._reading_thread = trio.CapacityLimiter(1)
        self._opened = trio.Event()
        self._finishing = trio.Event()
        self._is_running = False
        self._done = trio.Event()

    # --- for the tree -------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and store until `finish()`; reports started when the journal is open."""
        if self._is_running or self._done.is_set():
            raise InvariantError("the writer runs once")
        self._is_running = True
        try:
            await self._accepting.open()
            self._opened.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, name="writer/accept")
                nursery.start_soon(self._trim, name="writer/trim")
                task_status.started()
                await self._storing.run()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._storing.close()
                await trio.to_thread.run_sync(self._reading_pool.close, limiter=self._reading_thread)
                await self._accepting.close()
            self._is_running = False
            self._done.set()

    async def opened(self) -> None:
        """Wait until the journal is open, or cannot be opened for now."""
        await self._opened.wait()

    async def wait_found(self) -> None:
        """Wait until the journal was opened for the first time, which a full disk may delay."""
        await self._accepting.first_opened.wait()

    @property
    def found(self) -> Survey | None:
        """What the journal held when it was opened first; None until then."""
        opened = self._accepting.opened
        return None if opened is None else opened.found

    async def first_contact(self, *, deadline_s: float) -> Contact:
        """Return what the first attempt to reach the database found; `run()` makes it.

        Raises `SchemaNewer` where that is what it found.
        """
        with trio.move_on_after(deadline_s):
            return await self._storing.contact.wait()
        return Contact.UNREACHABLE

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Return what `work` reads, in the reading thread, each call in a transaction of its own.

        Raises `StorageBusy`. A kept connection may have been closed by the server long ago, so a
        failure is tried once more.
        """
        try:
            return await self._read_once(work)
        except StorageBusy:
            return await self._read_once(work)

    async def _read_once(self, work: Callable[[Session], Result]) -> Result:
        def read_and_end(session: Session) -> Result:
            result = work(session)
            session.commit()  # MySQL opened a transaction at the first SELECT
            return result

        return await trio.to_thread.run_sync(
            self._reading_pool.run, read_and_end, limiter=self._reading_thread
        )

    def use_less_memory(self) -> None:
        """Memory is short: keep less of what the journal has in RAM, and store smaller pieces."""
        self._accepting.use_less_memory()

    def use_memory(self) -> None:
        """There is room again."""
        self._accepting.use_memory()

    @property
    def is_journaled(self) -> bool:
        """Whether the journal takes what comes in."""
        return self._accepting.is_journaled

    @property
    def accepting_due_at(self) -> float | None:
        """When the accepting task turns next, at the latest; None while it waits for the disk."""
        return self._accepting.due_at

    async def flushed(self) -> None:
        """Wait until all that is in the mailboxes now is journalled; raise `JournalFull` if it cannot be."""
        await self._accepting.flushed()

    async def recovered(self) -> None:
        """Wait until all that earlier runs left in the journal is stored, however long that takes."""
        await self.wait_found()
        if self.found is not None:
            await self._storing.wait_stored(through=self.found.last_position)

    async def stored_now(self) -> None:
        """Wait until all that is in the mailboxes now is stored. The deadline is the caller's.

        Ticks for which there was no room are not: they have gap rows.
        """
        with contextlib.suppress(JournalFull):
            await self._accepting.flushed()
        accepting = self._accepting
        await self._storing.wait_stored(through=dict(accepting.accepted_through), directed=accepting.directed)

    async def finish(self) -> Finished:
        """Take what is in the mailboxes and store it, for a time; then cut the database off."""
        self._finishing.set()
        self._accepting.wake()
        self._storing.finish()
        if self._is_running:
            with trio.move_on_after(self._patience.finish_s):
                await self._done.wait()
            if not self._done.is_set():
                self._storing.cut()
                self._reading_pool.cut()
                with trio.move_on_after(self._patience.cut_s):
                    await self._done.wait()
        return Finished(lost=self._unaccepted(), is_stuck=self._is_running)

    def statistics(self) -> WriterStatistics:
        """Return the figures for status."""
        accepting, storing = self._accepting, self._storing
        drivers = storing.counts, self._reading_driver.counts
        return WriterStatistics(
            accepted=accepting.accepted,
            stored=storing.stored,
            dropped=accepting.dropped + self._inbox.ticks.dropped,
            waiting=max(0, accepting.accepted - storing.stored_own) if storing.has_ticks else 0,
            unaccepted=self._unaccepted(),
            journal_batches=accepting.batches,
            journal_bytes=accepting.bytes,
            unjournaled=not accepting.is_journaled,
            days_until_full=storing.upkeep.days_until_full,
            db=storing.db,
            db_reason=storing.db_reason,
            statements=sum(each.statements for each in drivers),
            connects=sum(each.connects for each in drivers),
            recovered=storing.recovered,
        )

    def _unaccepted(self) -> int:
        """Return how many ticks are neither in the journal nor in the database."""
        return self._inbox.ticks.used + self._accepting.under_way + self._accepting.direct_ticks

    # --- its tasks ----------------------------------------------------------------------------

    async def _accept(self) -> None:
        await self._accepting.run(self._finishing, self._storing.look)
        self._storing.all_accepted()

    async def _trim(self) -> None:
        """Trim the journal, each time up to what was confirmed the time before, and still is."""
        while True:
            before = dict(self._storing.confirmed)
            await trio.sleep(self._patience.trim_every_s)
            now = self._storing.confirmed
            await self._accepting.trim({lane: min(before[lane], now[lane]) for lane in Lane})
