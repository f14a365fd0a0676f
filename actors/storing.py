"""The writer's storing half: what is accepted goes into the database, for as long as that takes."""

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from actors.accepting import Accepting
from actors.mailbox import Answer
from domain.clock import now_us
from domain.database import Contact, DatabaseState, Recovered
from domain.errors import JournalBroken, SchemaNewer, StorageBusy, StorageRefused
from domain.events import Event, emit
from storage.drivers import make_driver
from storage.journal_reader import JournalReader
from storage.migrations import Migrated, bring_up_to_date
from storage.payloads import Lane
from storage.pool import Pool
from storage.retention import Notice
from storage.session import Session
from storage.settings import StorageSettings
from storage.store import Done, Store, Work
from storage.target import Target
from storage.upkeep import Upkeep
from wire.backoff import delay_s

Result = TypeVar("Result")

Failure = StorageBusy | SchemaNewer | JournalBroken


@attrs.frozen(kw_only=True)
class Patience:
    """How long the writer waits for a database in trouble, and other times, in seconds."""

    retry_min_s: float = 0.2
    retry_max_s: float = 10.0
    refused_min_s: float = 10.0  # what a person must mend need not be asked for often
    refused_max_s: float = 60.0
    finish_s: float = 3.0  # storing goes on for so long after finish() …
    cut_s: float = 1.0  # … and after the cut the thread has so long to come back
    # A server may lose what it committed in its last second: the journal keeps it for longer than that.
    trim_every_s: float = 60.0

    def pause_s(self, failure: Failure, *, attempt: int) -> float:
        """Return how long to wait after the given failed attempt (0 is the first)."""
        if isinstance(failure, StorageRefused | SchemaNewer):
            return delay_s(attempt=attempt, min_s=self.refused_min_s, max_s=self.refused_max_s)
        return delay_s(attempt=attempt, min_s=self.retry_min_s, max_s=self.retry_max_s)


@attrs.frozen(kw_only=True, eq=False)
class Wanted:
    """What somebody waits for to be stored: lanes up to positions, and so many lots without a journal."""

    through: Mapping[Lane, int]
    directed: int
    is_stored: trio.Event = attrs.field(factory=trio.Event)


class Storing:
    """Brings batches from RAM or from the journal into the database, and keeps that in order.

    Owns: the storing connection, its one thread, its place in each lane. Never holds accepting up.
    """

    def __init__(
        self,
        *,
        folder: Path,
        settings: StorageSettings,
        target: Target,
        accepting: Accepting,
        patience: Patience,
    ) -> None:
        self._settings = settings
        self._target = target
        self._accepting = accepting
        self._patience = patience

        self._driver = make_driver(target, settings=settings)
        self.counts = self._driver.counts
        self._pool = Pool(driver=self._driver, prepare=self._prepare)
        self._store = Store(reader=JournalReader(folder), timeframes_s=settings.timeframes_s)
        self.upkeep = Upkeep(
            settings=settings,
            target=target,
            patient_session=self._pool.patient_session,
            tell=_say_notice_from_thread,
        )
        self._upkeep_at = -float("inf")
        self._thread = trio.CapacityLimiter(1)  # storing has one thread, never abandoned
        self._migrated: Migrated | None = None  # set in the thread, taken when it is back

        self._stored_through = dict.fromkeys(Lane, 0)  # positions
        self.confirmed = dict.fromkeys(Lane, 0)
        self.stored = self.stored_own = 0  # ticks; those that this run accepted
        self.recovered = Recovered()
        self._is_recovered = False
        self.db = DatabaseState.DOWN
        self.db_reason = "not reached yet"
        self._is_told = False  # that it is away

        self.contact: Answer[Contact] = Answer()
        self._due = trio.Event()  # a transaction's worth waits, or somebody for less
        self._wanted: list[Wanted] = []
        self._finishing = trio.Event()
        self._all_accepted = trio.Event()
        self._is_cut = False

    # --- for the writer -----------------------------------------------------------------------

    async def run(self) -> None:
        """Store until everything is, or until `cut()`; return after `all_accepted()`."""
        await self._succeeds(lambda: greet)
        next_at = trio.current_time()
        while not self._is_cut:
            with trio.move_on_at(next_at):
                await self._due.wait()
            next_at = trio.current_time() + self._settings.store_every_ms / 1_000
            for lane in Lane:  # money first
                if self._has_work(lane) and not self._is_held(lane):
                    await self._store_lane(lane)
            await self._store_direct()
            self._answer()
            await self._keep_up()
            if self._finishing.is_set():
                if self._all_accepted.is_set() and not self._is_work_left():
                    break
                await self._all_accepted.wait()
            elif not self._is_due():
                self._due = trio.Event()
        await self._all_accepted.wait()  # also what is cut off from the database is to be accepted

    async def wait_stored(self, *, through: Mapping[Lane, int], directed: int = 0) -> None:
        """Wait until the lanes are stored up to these positions, and so many lots without a journal.

        The database may be away for as long as it likes; while it is there it happens at once.
        """
        wanted = Wanted(through=through, directed=directed)
        if self._is_stored(wanted):
            return
        self._wanted.append(wanted)
        self._due.set()
        try:
            await wanted.is_stored.wait()
        finally:
            self._wanted.remove(wanted)

    def look(self) -> None:
        """Something was accepted: store it now, if it is a transaction's worth."""
        if self._is_due():
            self._due.set()

    def finish(self) -> None:
        """Store what is left; without pauses from now on."""
        self._finishing.set()
        self._due.set()

    def all_accepted(self) -> None:
        """Nothing more will be accepted: return when what there is is stored."""
        self._all_accepted.set()
        self._due.set()

    def cut(self) -> None:
        """End what is under way with an error, and begin nothing any more."""
        self._is_cut = True
        self._pool.cut()

    async def close(self) -> None:
        """Close the connection and the journal's reading end."""
        await trio.to_thread.run_sync(self._close_in_thread, limiter=self._thread)

    @property
    def has_ticks(self) -> bool:
        """Whether accepted ticks are not in the database yet."""
        return self._has_work(Lane.TICKS) or self._accepting.direct_ticks > 0

    # --- when ---------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        """Whether a transaction's worth of ticks waits, in RAM or behind it in the journal; or somebody."""
        if self._wanted and self._is_work_left():
            return True
        if self._is_held(Lane.TICKS):
            return False
        rows = self._accepting.shelves[Lane.TICKS].rows
        return rows >= self._accepting.rows_at_once or self._is_behind(Lane.TICKS)

    def _answer(self) -> None:
        """Tell those who waited for what is stored now."""
        for wanted in self._wanted:
            if self._is_stored(wanted):
                wanted.is_stored.set()

    def _is_stored(self, wanted: Wanted) -> bool:
        accepting = self._accepting
        is_through = all(self._stored_through[lane] >= at for lane, at in wanted.through.items())
        return is_through and accepting.directed - len(accepting.direct) >= wanted.directed

    def _has_work(self, lane: Lane) -> bool:
        return self._accepting.accepted_through[lane] > self._stored_through[lane]

    def _is_work_left(self) -> bool:
        lanes = (lane for lane in Lane if not self._is_held(lane))
        return any(self._has_work(lane) for lane in lanes) or bool(self._accepting.direct)

    def _is_held(self, lane: Lane) -> bool:
        """Whether ticks wait in the journal because the database's disk is full."""
        return lane is Lane.TICKS and self.upkeep.is_full

    # --- retention ----------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        """Let old days go, a piece at a time."""
        now = trio.current_time()
        if now < self._upkeep_at or self._finishing.is_set():
            return
        step = functools.partial(self.upkeep.step, monotonic_s=now)
        was_full = self.upkeep.is_full
        wait_s = await self._succeeds(lambda: step)
        self._upkeep_at = trio.current_time() + (wait_s or 0.0)
        if self.upkeep.is_full != was_full:
            self._say_fullness()

    def _say_fullness(self) -> None:
        is_full, disk = self.upkeep.is_full, self.upkeep.disk
        emit(
            Event.RETENTION,
            f"the database's disk is full ({disk}): ticks wait in the journal, while there is room in it"
            if is_full
            else f"the database's disk has room again ({disk}): ticks are stored",
            level=logging.ERROR if is_full else logging.INFO,
            actor="writer",
            state="full" if is_full else "room",
        )

    # --- one transaction ----------------------------------------------------------------------

    async def _store_lane(self, lane: Lane) -> None:
        accepting = self._accepting
        done = await self._succeeds(lambda: functools.partial(self._store.store, work=self._work(lane)))
        if done is None:
            return
        self._stored_through[lane], self.confirmed[lane] = done.position, done.confirmed
        accepting.set_stored(lane, done.position)
        if lane is Lane.TICKS:
            self.stored += done.rows
            if done.journal_id in accepting.journal_ids:
                self.stored_own += done.rows
            else:
                self._recover(done)
        self._say(done)

    def _recover(self, done: Done) -> None:
        """Count what an earlier run had accepted; say it once all of that is stored."""
        before = self.recovered
        self.recovered = Recovered(batches=before.batches + done.batches, ticks=before.ticks + done.rows)
        opened = self._accepting.opened
        is_all = opened is None or done.position >= opened.found.last_position[Lane.TICKS]
        if self._is_recovered or not is_all:
            return
        self._is_recovered = True
        if self.recovered.batches:
            emit(
                Event.LAST_RUN,
                f"recovered from the journal: {self.recovered.ticks} ticks in {self.recovered.batches} "
                "batches, which the database did not have yet",
                actor="writer",
                batches=self.recovered.batches,
                ticks=self.recovered.ticks,
            )

    async def _store_direct(self) -> None:
        """Store what is in no journal; and candles of intervals that ended although no tick came."""
        accepting = self._accepting
        while accepting.direct and not self._is_cut:
            lane, rows = accepting.direct[0]
            work = self._work(lane)
            store = functools.partial(self._store.store_directly, rows=rows, work=work)
            done = await self._succeeds(lambda: store)  # noqa: B023 - called before the next turn
            if done is None:
                return
            accepting.drop_direct()
            if lane is Lane.TICKS:
                self.stored += done.rows
                self.stored_own += done.rows
            self._say(done)
        if not self._has_work(Lane.TICKS) and self._store.is_candle_due(until_us=now_us()):
            work = self._work(Lane.TICKS)
            await self._succeeds(lambda: functools.partial(self._store.store_directly, rows=[], work=work))

    def _work(self, lane: Lane) -> Work:
        accepting, most = self._accepting, self._accepting.rows_at_once
        offered = accepting.shelves[lane].first(max_rows=most)
        is_all = not offered or offered[-1].position == accepting.accepted_through[lane]
        return Work(
            lane=lane,
            offered=offered,
            accepted_through=accepting.accepted_through[lane],
            max_rows=most,
            until_us=now_us() if is_all and not self._is_behind(lane) else None,
            kept_from_us=self.upkeep.kept_from_us,
        )

    def _is_behind(self, lane: Lane) -> bool:
        """Whether batches wait that are in the journal only; RAM may have begun anew with later ones."""
        next_one = self._stored_through[lane] + 1
        return self._has_work(lane) and not self._accepting.shelves[lane].begins_at(next_one)

    async def _succeeds(self, prepare: Callable[[], Callable[[Session], Result]]) -> Result | None:
        """Run what `prepare` makes in the thread until it succeeds; None where that was given up."""
        attempt = 0
        while True:
            if self._accepting.is_reopened:
                self._accepting.is_reopened = False
                await trio.to_thread.run_sync(self._store.close, limiter=self._thread)
            try:
                result = await trio.to_thread.run_sync(self._pool.run, prepare(), limiter=self._thread)
            except JournalBroken as exc:
                if not await self._accepting.reopen():
                    await self._pause(self._patience.retry_min_s)
                    return None  # out of reach; what needs no journal is not to wait for it
                failure: Failure = exc
            except (StorageBusy, SchemaNewer) as exc:
                self._went_away(exc)
                failure = exc
            else:
                self._is_there()
                return result
            if self._is_cut or (self._finishing.is_set() and not self._is_work_left()):
                return None
            await self._pause(self._patience.pause_s(failure, attempt=attempt))
            attempt += 1

    async def _pause(self, seconds: float) -> None:
        if self._finishing.is_set():
            await trio.sleep(min(seconds, self._patience.retry_min_s))
            return
        with trio.move_on_after(seconds):
            await self._finishing.wait()

    def _prepare(self, session: Session) -> None:
        """In the thread, with each new connection: behind it may stand another database."""
        self._store.forget()
        self._migrated = bring_up_to_date(
            session, patient_session=self._pool.patient_session, tell=_tell_from_thread
        )
        self.upkeep.prepare(session)

    def _close_in_thread(self) -> None:
        self._pool.close()
        self._store.close()

    # --- what became of it --------------------------------------------------------------------

    def _is_there(self) -> None:
        migrated, self._migrated = self._migrated, None
        if migrated is not None:
            self.contact.set(Contact.FRESH if migrated.was_fresh else Contact.EXISTING)
            if migrated.applied:
                self._tell_migrated(migrated)
        if self._is_told:
            emit(Event.DATABASE, f"database is back: {self._target}", actor="writer", state="up")
        self.db, self.db_reason, self._is_told = DatabaseState.UP, "", False
        self._accepting.is_database_up = True

    def _went_away(self, failure: StorageBusy | SchemaNewer) -> None:
        if isinstance(failure, SchemaNewer):
            self.contact.fail(failure)
        else:
            self.contact.set(Contact.UNREACHABLE)
        self.db, self.db_reason = DatabaseState.DOWN, str(failure)
        self._accepting.is_database_up = False
        if not self._is_told and not self._is_cut:
            self._is_told = True
            emit(
                Event.DATABASE,
                f"database is away, ticks wait in the journal: {failure}",
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

    def _say(self, done: Done) -> None:
        if done.refused:
            emit(
                Event.REFUSED_ROW,
                f"{len(done.refused)} rows refused, kept in dead_letter; the first: {done.refused[0]}",
                level=logging.ERROR,
                actor="writer",
                rows=len(done.refused),
            )
        if done.went_back:
            emit(
                Event.DATABASE,
                f"{done.went_back}; what is missing is stored again from the journal",
                level=logging.ERROR,
                actor="writer",
                state="went back",
            )


def _tell_from_thread(line: str) -> None:
    """Say from the storing thread what it is about to do: the log's mailboxes are trio's."""
    trio.from_thread.run_sync(functools.partial(emit, Event.MIGRATION, line, actor="writer"))


def _say_notice_from_thread(notice: Notice) -> None:
    """Say from the storing thread what retention does, before it does it."""
    say = functools.partial(emit, Event.RETENTION, notice.message, level=notice.level)
    trio.from_thread.run_sync(functools.partial(say, actor="writer", state=notice.state))


def greet(session: Session) -> None:
    """Do nothing with it: to have a session at all, it was connected and its schema checked."""
