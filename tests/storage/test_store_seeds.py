"""Whatever happens between accepting and storing: in the end every row is there, once.

Programs drawn by seed, with weights of our own: a generator that looks for small examples restored
the database beside a running store four times in a thousand steps.
"""

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest
from databases import SqliteDatabase, in_order, stored_ticks
from ledgers import a_signal, a_step, a_trade, as_money, stored_ledger
from ledgers import in_order as in_order_of_ids
from storing import Injected, Storing, event, fails_after_commit, fails_before_commit

from domain.gaps import Gap
from domain.market import Tick
from domain.trades import LedgerRow
from storage.payloads import EventRow, Lane, Money

SHELF_ROWS = 25  # a few batches: RAM is let go of again and again
STEPS = 80
FAULTS = (contextlib.nullcontext, contextlib.nullcontext, fails_before_commit, fails_after_commit)


class Kept:
    """Appends, transactions, failures, restarts, trims and restored databases in any order."""

    def __init__(self, folder: Path, database: SqliteDatabase, *, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.database = database
        self.snapshot = folder / "snapshot.db"
        self.ticks: list[Tick] = []
        self.events: list[EventRow] = []
        self.gaps: dict[tuple[str, int, str], Gap] = {}
        self.ledger: list[LedgerRow] = []
        self.steps = 0  # of trades
        self.run = self.start()

    def start(self) -> Storing:
        run = Storing(self.folder, self.database.target, shelf_rows=SHELF_ROWS)
        run.pool.run(lambda _: None)
        self.own_stored: set[Lane] = set()
        return run

    def check(self) -> None:
        """Store what waits, and hold the tables against what was appended."""
        self.run.store_all(max_rows=10)
        assert stored_ticks(self.database) == in_order(self.ticks)
        assert self.database.query("SELECT id FROM actor_event ORDER BY id") == [(e.id,) for e in self.events]
        rows = self.database.query("SELECT from_us, to_us, cause FROM gap ORDER BY from_us")
        assert rows == sorted((gap.from_us, gap.to_us, gap.cause) for gap in self.gaps.values())
        assert stored_ledger(self.database) == in_order_of_ids(as_money(*self.ledger))

    # --- what can happen --------------------------------------------------------------------------

    def append_ticks(self) -> None:
        first, market = len(self.ticks), self.random.randrange(7)
        ticks = [
            Tick(f"M{market}@sim", 1_700_000_000_000_000 + first + n, 0, 1.0, None, None, None, first + n)
            for n in range(self.random.randint(1, 12))
        ]
        self.run.accept(ticks)
        self.ticks += ticks

    def append_money(self) -> None:
        first = len(self.events) + 1
        events = [event(first + n) for n in range(self.random.randint(1, 3))]
        gap = Gap("M0@sim", self.random.randint(1, 5), self.random.choice((None, 10, 20)), "stale")
        trading = self.trade()
        ledger = as_money(*trading)
        self.run.accept(
            Money(
                gaps=[gap],
                events=events,
                signals=ledger.signals,
                trades=ledger.trades,
                trade_events=ledger.trade_events,
            )
        )
        self.events += events
        self.ledger += trading
        self.gaps[gap.market, gap.from_us, gap.cause] = gap

    def trade(self) -> list[LedgerRow]:
        """Return some steps of some trades, in their order; the first one of a trade has its signal."""
        rows: list[LedgerRow] = []
        for _ in range(self.random.randint(0, 3)):
            self.steps += 1
            signal = a_signal(self.random.randrange(8), market=f"M{self.random.randrange(3)}@sim")
            trade = a_trade(signal, stake=f"{self.steps}.01")
            rows += [signal, trade, a_step(trade, self.steps)]
        return rows

    def store(self) -> None:
        lanes = [lane for lane in Lane if self.run.has_work(lane)]
        if not lanes:
            return
        lane = self.random.choice(lanes)
        with contextlib.suppress(Injected):
            done = self.run.step(
                lane, max_rows=self.random.randint(1, 40), wrapped=self.random.choice(FAULTS)
            )
            if done.journal_id == self.run.journal._journal_id:
                self.own_stored.add(lane)

    def trim(self) -> None:
        for lane in Lane:
            through = self.run.confirmed[lane]
            if through:
                self.run.journal.trim_slice(lane, through=through)
                self.snapshot.unlink(missing_ok=True)  # what came after it is not all in the journal

    def let_go_of_ram(self) -> None:
        self.run.forget_ram()

    def restart(self) -> None:
        self.run.close()
        self.run = self.start()

    def keep_a_copy(self) -> None:
        copy(self.database.target.path, self.snapshot)

    def restore_beside_a_run(self) -> None:
        # Found out only by a run that knows its own position, and when there is something to store;
        # before the next trim, which comes a minute after what it trims was confirmed.
        if self.snapshot.exists() and self.own_stored == set(Lane):
            copy(self.snapshot, self.database.target.path)
            self.append_ticks()
            self.append_money()
            for lane in Lane:
                self.run.step(lane, max_rows=3)

    def restore_between_two_runs(self) -> None:
        if self.snapshot.exists():
            self.run.close()
            copy(self.snapshot, self.database.target.path)
            self.run = self.start()


def copy(source: Path, target: Path) -> None:
    """Make the content of a database that of another, beside whoever has it open."""
    with (
        contextlib.closing(sqlite3.connect(source)) as from_,
        contextlib.closing(sqlite3.connect(target)) as to,
    ):
        from_.backup(to)


WEIGHTS = {
    Kept.append_ticks: 25,
    Kept.append_money: 12,
    Kept.store: 40,
    Kept.trim: 3,
    Kept.let_go_of_ram: 4,
    Kept.restart: 4,
    Kept.keep_a_copy: 4,
    Kept.restore_beside_a_run: 5,
    Kept.restore_between_two_runs: 3,
}


@pytest.mark.parametrize("seed", range(40))
def test_in_the_end_every_row_is_there_once(sqlite: SqliteDatabase, tmp_path: Path, seed: int) -> None:
    kept = Kept(tmp_path, sqlite, seed=seed)
    try:
        for step in kept.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=STEPS):
            step(kept)
            for lane in Lane:
                run = kept.run
                assert run.confirmed[lane] <= run.through[lane] <= run.accepted_through[lane]
        kept.check()
    finally:
        kept.run.close()
