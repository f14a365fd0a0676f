"""The writer: the one actor that owns the database."""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from actors.mailbox import Answer, BatchMailbox, Mailbox
from domain.database import Contact, DatabaseState, Finished, WriterStatistics
from domain.errors import InvariantError, SchemaNewer, StorageBusy, StorageRefused
from domain.events import Event, emit
from domain.market import Tick
from domain.messages import ActorEvent
from storage.backlog import Backlog
from storage.batches import Batch, BatchStore
from storage.drivers import make_driver
from storage.migrations import Migrated, bring_up_to_date
from storage.pool import Pool
from storage.session import Session
from storage.settings import StorageSettings
from storage.target import Target
from wire.backoff import delay_s

Result = TypeVar("Result")


@attrs.frozen(kw_only=True)
class Patience:
    """How long the writer waits for a database in trouble, in seconds."""

    retry_min_s: float = 0.2
    retry_max_s: float = 10.0
    refused_min_s: float = 10.0  # what a person must mend need not be asked for often
    refused_max_s: float = 60.0
    finish_s: float = 3.0  # storing goes on for so long after finish() …
    cut_s: float = 1.0  # … and after the cut the thread has so long to come back

    def pause_s(self, failure: StorageBusy | SchemaNewer, *, attempt: int) -> float:
        """Return how long to wait after the given failed attempt (0 is the first)."""
        if isinstance(failure, StorageRefused | SchemaNewer):
            return delay_s(attempt=attempt, min_s=self.refused_min_s, max_s=self.refused_max_s)
        return delay_s(attempt=attempt, min_s=self.retry_min_s, max_s=self.retry_max_s)


class Writer:
    """Takes what is to be kept and brings it into the database, for as long as that takes.

    Reads: its two mailboxes. Writes: the database, and in the log when that goes away, comes back
    or is migrated. Owns: the pool, its one thread, the backlog. Crashes on: an exception that is no
    driver's, our bug. A restart forgets: the backlog and the batch under way, which is why the tree
    does not restart it. `run()` may be called once.
    """

    def __init__(
        self,
        *,
        settings: StorageSettings,
        target: Target,
        ticks: BatchMailbox[list[Tick]],
        events: Mailbox[ActorEvent],
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._target = target
        self._ticks = ticks
        self._events = events
        self._patience = patience or Patience()

        self._driver = make_driver(target, settings=settings)
        self._pool = Pool(driver=self._driver, prepare=self._prepare)
        self._batches = BatchStore()
        self._thread = trio.CapacityLimiter(1)  # storing has one thread, never abandoned
        # Reading has a connection and a thread of its own: a long read delays no storing.
        self._reading_driver = make_driver(target, settings=settings)
        self._reading_pool = Pool(driver=self._reading_driver, prepare=_greet)
        self._reading_thread = trio.CapacityLimiter(1)
        self._migrated: Migrated | None = None  # set in the thread, taken when it is back

        self._backlog = Backlog(flush_rows=settings.flush_rows)
        self._batch = Batch()  # under way
        self._accepted = self._stored = 0
        self._db = DatabaseState.DOWN
        self._db_reason = "not reached yet"
        self._is_told = False  # that it is away

        self._contact: Answer[Contact] = Answer()
        self._due = trio.Event()  # a transaction's worth waits
        self._finishing = trio.Event()
        self._is_running = self._is_cut = False
        self._done = trio.Event()

    # --- for the tree -------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and store until `finish()`."""
        if self._is_running or self._done.is_set():
            raise InvariantError("the writer runs once")
        self._is_running = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, name="writer/accept")
                task_status.started()
                await self._store()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._pool.close, limiter=self._thread)
                await trio.to_thread.run_sync(self._reading_pool.close, limiter=self._reading_thread)
            self._is_running = False
            self._done.set()

    async def first_contact(self, *, deadline_s: float) -> Contact:
        """Return what the first attempt to reach the database found; `run()` makes it.

        Raises `SchemaNewer` where that is what it found.
        """
        with trio.move_on_after(deadline_s):
            return await self._contact.wait()
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

    async def finish(self) -> Finished:
        """Take and store what is in the mailboxes, for a time; then cut the database off."""
        self._finishing.set()
        self._due.set()
        if self._is_running:
            with trio.move_on_after(self._patience.finish_s):
                await self._done.wait()
            if not self._done.is_set():
                self._is_cut = True
                self._pool.cut()
                self._reading_pool.cut()
                with trio.move_on_after(self._patience.cut_s):
                    await self._done.wait()
        return Finished(unstored=self._unstored(), is_stuck=self._is_running)

    def statistics(self) -> WriterStatistics:
        """Return the figures for status."""
        return WriterStatistics(
            accepted=self._accepted,
            stored=self._stored,
            dropped=self._ticks.dropped,
            waiting=self._backlog.ticks + len(self._batch.ticks),
            db=self._db,
            db_reason=self._db_reason,
            statements=self._driver.counts.statements + self._reading_driver.counts.statements,
            connects=self._driver.counts.connects + self._reading_driver.counts.connects,
        )

    # --- accept -------------------------------------------------------------------------------

    async def _accept(self) -> None:
        while not self._finishing.is_set():
            with trio.move_on_after(self._settings.flush_after_ms / 1_000):
                await self._finishing.wait()
            self._accept_nowait()

    def _accept_nowait(self) -> None:
        """Drain the mailboxes into the backlog. What has no room stays: the mailbox drops the oldest."""
        with contextlib.suppress(trio.WouldBlock):
            while self._backlog.has_room_for_ticks:
                ticks = self._ticks.get_nowait()
                self._backlog.add_ticks(ticks)
                self._accepted += len(ticks)
        with contextlib.suppress(trio.WouldBlock):
            while self._backlog.has_room_for_event:
                self._backlog.add_event(self._events.get_nowait())
        if self._backlog.is_due:
            self._due.set()

    # --- store --------------------------------------------------------------------------------

    async def _store(self) -> None:
        await self._succeeds(_greet)
        next_at = trio.current_time()
        while not self._is_cut:
            with trio.move_on_at(next_at):
                await self._due.wait()
            next_at = trio.current_time() + self._settings.store_every_ms / 1_000
            self._batch = self._take()
            if self._batch.rows > 0:
                await self._store_batch()
            elif self._finishing.is_set():
                return

    def _take(self) -> Batch:
        if self._finishing.is_set():
            self._accept_nowait()  # the last ones; the accepting task may be gone
        batch = self._backlog.take()
        if not (self._backlog.is_due or self._finishing.is_set()):
            self._due = trio.Event()
        return batch

    async def _store_batch(self) -> None:
        if await self._succeeds(functools.partial(self._batches.store, batch=self._batch)):
            self._stored += len(self._batch.ticks)
            self._batch = Batch()

    async def _succeeds(self, work: Callable[[Session], None]) -> bool:
        """Run `work` in the thread until it succeeds; return False where finishing ended the attempts."""
        attempt = 0
        while True:
            try:
                await trio.to_thread.run_sync(self._pool.run, work, limiter=self._thread)
            except (StorageBusy, SchemaNewer) as exc:
                self._went_away(exc)
                if self._is_cut or (self._finishing.is_set() and self._unstored() == 0):
                    return False
                await self._pause(self._patience.pause_s(exc, attempt=attempt))
                attempt += 1
            else:
                self._is_there()
                return True

    async def _pause(self, seconds: float) -> None:
        if self._finishing.is_set():
            await trio.sleep(min(seconds, self._patience.retry_min_s))
            return
        with trio.move_on_after(seconds):
            await self._finishing.wait()

    def _prepare(self, session: Session) -> None:
        """In the thread, with each new connection: behind it may stand another database."""
        self._batches.forget()
        self._migrated = bring_up_to_date(session, patient_session=self._pool.patient_session)

    # --- what became of it --------------------------------------------------------------------

    def _is_there(self) -> None:
        migrated, self._migrated = self._migrated, None
        if migrated is not None:
            self._contact.set(Contact.FRESH if migrated.was_fresh else Contact.EXISTING)
            if migrated.applied:
                self._tell_migrated(migrated)
        if self._is_told:
            emit(Event.DATABASE, f"database is back: {self._target}", actor="writer", state="up")
        self._db, self._db_reason, self._is_told = DatabaseState.UP, "", False

    def _went_away(self, failure: StorageBusy | SchemaNewer) -> None:
        if isinstance(failure, SchemaNewer):
            self._contact.fail(failure)
        else:
            self._contact.set(Contact.UNREACHABLE)
        self._db, self._db_reason = DatabaseState.DOWN, str(failure)
        if not self._is_told and not self._is_cut:
            self._is_told = True
            emit(
                Event.DATABASE,
                f"database is away, ticks wait in memory: {failure}",
                level=logging.WARNING,
                actor="writer",
                state="down",
                reason=str(failure),
            )

    def _tell_migrated(self, migrated: Migrated) -> None:
        versions = ", ".join(str(version) for version in migrated.applied)
        emit(
            Event.MIGRATION,
            f"schema brought up to date: version {versions} applied to {self._target}",
            actor="writer",
            state="fresh" if migrated.was_fresh else "existing",
        )

    def _unstored(self) -> int:
        return self._batch.rows + self._backlog.rows + self._ticks.used + self._events.used


def _greet(session: Session) -> None:
    """Do nothing with it: to have a session at all, it was connected and its schema checked."""
