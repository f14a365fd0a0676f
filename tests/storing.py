"""The writer's two halves without the actor: journal, RAM, store and pool, on the test's own thread."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from domain.gaps import Gap
from domain.market import Tick
from storage.drivers import make_driver
from storage.journal import Appended, Journal
from storage.journal_reader import JournalReader
from storage.migrations import bring_up_to_date
from storage.payloads import EventRow, Lane, Money, Rows
from storage.pool import Pool
from storage.session import Session
from storage.settings import StorageSettings
from storage.shelf import Shelf
from storage.store import Done, Store, Work
from storage.target import Target

Wrapped = Callable[[Session], contextlib.AbstractContextManager[None]]


class Storing:
    """One run of a daemon, as far as its journal and its database are concerned."""

    def __init__(
        self,
        folder: Path,
        target: Target,
        *,
        read_timeout_s: float = 30.0,
        shelf_rows: int = 100_000,
        timeframes_s: Sequence[int] = (60,),
    ) -> None:
        self.journal = Journal(folder, max_bytes=2**30)
        self.journal.open()
        self.accepted_through = self.journal.last_positions
        self.shelves = {lane: Shelf(max_rows=shelf_rows) for lane in Lane}
        self.store = Store(reader=JournalReader(folder), timeframes_s=timeframes_s)
        self.through = dict.fromkeys(Lane, 0)
        self.confirmed = dict.fromkeys(Lane, 0)
        self.pool = self.make_pool(target, read_timeout_s=read_timeout_s)

    def make_pool(self, target: Target, *, read_timeout_s: float) -> Pool:
        """Return a pool for this database."""
        self.driver = make_driver(target, settings=StorageSettings(read_timeout_s=read_timeout_s))
        return Pool(driver=self.driver, prepare=self._prepare)

    def _prepare(self, session: Session) -> None:
        self.store.forget()
        bring_up_to_date(session, patient_session=self.pool.patient_session)

    def close(self) -> None:
        self.pool.close()
        self.store.close()
        self.journal.close()

    # --- accept -------------------------------------------------------------------------------

    def accept(self, *lots: Rows) -> Appended:
        """Append each lot as a batch of its own."""
        lanes = [Lane.MONEY if isinstance(rows, Money) else Lane.TICKS for rows in lots]
        appended = self.journal.append(list(zip(lanes, lots, strict=True)))
        for batch in appended.batches:
            self.shelves[batch.lane].put([batch])
            self.accepted_through[batch.lane] = batch.position
        return appended

    # --- store --------------------------------------------------------------------------------

    def has_work(self, lane: Lane) -> bool:
        return self.accepted_through[lane] > self.through[lane]

    def step(
        self,
        lane: Lane = Lane.TICKS,
        *,
        max_rows: int = 20_000,
        until_us: int | None = None,
        wrapped: Wrapped = contextlib.nullcontext,  # type: ignore[assignment]
    ) -> Done:
        """Run one transaction, inside of `wrapped` where something is to go wrong in it."""
        work = Work(
            lane=lane,
            offered=self.shelves[lane].first(max_rows=max_rows),
            accepted_through=self.accepted_through[lane],
            max_rows=max_rows,
            until_us=until_us,
            kept_from_us=0,
        )

        def store(session: Session) -> Done:
            with wrapped(session):
                return self.store.store(session, work)

        done = self.pool.run(store)
        self.through[lane], self.confirmed[lane] = done.position, done.confirmed
        self.shelves[lane].stored(through=done.position, accepted_through=self.accepted_through[lane])
        self.journal.stored_through[lane] = done.position
        return done

    def store_all(self, *, max_rows: int = 20_000) -> list[Done]:
        """Run transactions until nothing waits; return what each did."""
        done = []
        for lane in Lane:
            while self.has_work(lane):
                done.append(self.step(lane, max_rows=max_rows))
                assert len(done) < 1_000, "it gets nowhere"
        return done

    def forget_ram(self) -> None:
        """Let go of what is on the shelves, as when the database falls behind."""
        for shelf in self.shelves.values():
            shelf.stored(through=2**62, accepted_through=2**62)


@contextlib.contextmanager
def storing(folder: Path, target: Target, *, read_timeout_s: float = 30.0) -> Iterator[Storing]:
    """Give a run; its end is that of a process, whatever waits."""
    run = Storing(folder, target, read_timeout_s=read_timeout_s)
    try:
        yield run
    finally:
        run.close()


# --- what can go wrong in a transaction ---------------------------------------------------------


class Injected(Exception):
    """Raised by a test in the midst of a transaction; the pool lets it pass and starts anew."""


@contextlib.contextmanager
def fails_before_commit(session: Session) -> Iterator[None]:
    """Everything was done, and the database dies at the COMMIT."""

    def fail() -> None:
        raise Injected

    with _replaced_commit(session, fail):
        yield


@contextlib.contextmanager
def fails_after_commit(session: Session) -> Iterator[None]:
    """The COMMIT is applied, and its answer is lost."""
    commit = session.commit

    def fail() -> None:
        commit()
        raise Injected

    with _replaced_commit(session, fail):
        yield


@contextlib.contextmanager
def _replaced_commit(session: Session, commit: Callable[[], None]) -> Iterator[None]:
    session.commit = commit  # type: ignore[method-assign]
    try:
        yield
    finally:
        del session.commit  # type: ignore[method-assign]


# --- rows ---------------------------------------------------------------------------------------


def event(number: int, *, detail: str = "live") -> EventRow:
    """Return a row of `actor_event`."""
    return EventRow(id=number, ts_us=number, actor="market/M0@sim", event="state", detail=detail)


def money(*numbers: int) -> Money:
    """Return a batch with an event and a gap for each of these numbers."""
    gaps = [Gap("M0@sim", 10 * number, 10 * number + 5, "disconnect") for number in numbers]
    return Money(gaps=gaps, events=[event(number) for number in numbers])


def in_lists(ticks: Sequence[Tick], *, of: int) -> list[list[Tick]]:
    """Return ticks in lists of so many."""
    return [list(ticks[start : start + of]) for start in range(0, len(ticks), of)]
