"""Whatever happens between accepting and storing: in the end every row is there, once."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from databases import SqliteDatabase, in_order, stored_ticks
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from storing import Injected, Storing, event, fails_after_commit, fails_before_commit

from domain.gaps import Gap
from domain.market import Tick
from storage.payloads import EventRow, Lane, Money
from storage.target import SqliteTarget

FAULTS = {"none": contextlib.nullcontext, "before": fails_before_commit, "after": fails_after_commit}
SHELF_ROWS = 25  # a few batches: RAM is let go of again and again


class Kept(RuleBasedStateMachine):
    """Appends, transactions, failures, restarts, trims and restored databases in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._undo = contextlib.ExitStack()
        self.folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory()))
        self.database = SqliteDatabase(target=SqliteTarget(path=self.folder / "marketd.db"))
        self.snapshot = self.folder / "snapshot.db"
        self.ticks: list[Tick] = []
        self.events: list[EventRow] = []
        self.gaps: dict[tuple[str, int, str], Gap] = {}
        self.run = self._start()

    def _start(self) -> Storing:
        run = Storing(self.folder, self.database.target, shelf_rows=SHELF_ROWS)
        run.pool.run(lambda _: None)
        self.own_stored: set[Lane] = set()
        return run

    def teardown(self) -> None:
        with self._undo:
            self._undo.callback(self.run.close)
            self.finish()

    def finish(self) -> None:
        """Store what waits, and hold the tables against what was appended."""
        self.run.store_all(max_rows=10)
        assert stored_ticks(self.database) == in_order(self.ticks)
        assert self.database.query("SELECT id FROM actor_event ORDER BY id") == [(e.id,) for e in self.events]
        rows = self.database.query("SELECT from_us, to_us, cause FROM gap ORDER BY from_us")
        assert rows == sorted((gap.from_us, gap.to_us, gap.cause) for gap in self.gaps.values())

    # --- accept -----------------------------------------------------------------------------------

    @rule(count=st.integers(1, 12), market=st.integers(0, 6))
    def append_ticks(self, count: int, market: int) -> None:
        first = len(self.ticks)
        ticks = [
            Tick(f"M{market}@sim", 1_700_000_000_000_000 + first + n, 0, 1.0, None, None, None, first + n)
            for n in range(count)
        ]
        self.run.accept(ticks)
        self.ticks += ticks

    @rule(count=st.integers(1, 3), from_us=st.integers(1, 5), to_us=st.none() | st.integers(10, 20))
    def append_money(self, count: int, from_us: int, to_us: int | None) -> None:
        first = len(self.events) + 1
        events = [event(first + n) for n in range(count)]
        gap = Gap("M0@sim", from_us, to_us, "stale")
        self.run.accept(Money(gaps=[gap], events=events))
        self.events += events
        self.gaps[gap.market, gap.from_us, gap.cause] = gap

    # --- store ------------------------------------------------------------------------------------

    @rule(lane=st.sampled_from(Lane), max_rows=st.integers(1, 40), fault=st.sampled_from(sorted(FAULTS)))
    def store(self, lane: Lane, max_rows: int, fault: str) -> None:
        if self.run.has_work(lane):
            with contextlib.suppress(Injected):
                self.run.step(lane, max_rows=max_rows, wrapped=FAULTS[fault])
                self.own_stored.add(lane)

    @rule(lane=st.sampled_from(Lane))
    def trim(self, lane: Lane) -> None:
        if self.run.journal.trim_slice(lane, through=self.run.confirmed[lane]) or self.run.confirmed[lane]:
            self.snapshot.unlink(missing_ok=True)  # what came after it is no longer all in the journal

    @rule()
    def let_go_of_ram(self) -> None:
        self.run.forget_ram()

    @rule()
    def restart(self) -> None:
        self.run.close()
        self.run = self._start()

    # --- the database goes back -------------------------------------------------------------------

    @rule()
    def keep_a_copy(self) -> None:
        self._copy(self.database.target.path, self.snapshot)

    @precondition(lambda self: self.snapshot.exists() and self.own_stored == set(Lane))
    @rule()
    def restore_the_copy_beside_a_run(self) -> None:
        # Found out only by a run that knows its own position, and when there is something to store.
        self._copy(self.snapshot, self.database.target.path)
        self.append_ticks(count=1, market=0)
        self.append_money(count=1, from_us=1, to_us=None)

    @precondition(lambda self: self.snapshot.exists())
    @rule()
    def restore_the_copy_between_two_runs(self) -> None:
        self.run.close()
        self._copy(self.snapshot, self.database.target.path)
        self.run = self._start()

    def _copy(self, source: Path, target: Path) -> None:
        with (
            contextlib.closing(sqlite3.connect(source)) as from_,
            contextlib.closing(sqlite3.connect(target)) as to,
        ):
            from_.backup(to)

    # --- always -----------------------------------------------------------------------------------

    @invariant()
    def confirmed_is_not_ahead(self) -> None:
        for lane in Lane:
            assert self.run.confirmed[lane] <= self.run.through[lane] <= self.run.accepted_through[lane]


TestKept = Kept.TestCase
TestKept.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
