"""Days of ticks, stored in time order with retention between the transactions, as the writer does it."""

import functools
from collections.abc import Iterator
from pathlib import Path

import attrs
from databases import AnyDatabase, Batch, MariadbDatabase, OpenStore, open_store

from domain.market import Tick
from storage.disk import Disk
from storage.kept import DAY_US
from storage.retention import LOOK_EVERY_S, Notice, Retention
from storage.session import Session
from storage.settings import StorageSettings

FIRST_DAY_US = 20_000 * DAY_US  # a midnight of 2024
BATCH_ROWS = 10_000


@attrs.define(kw_only=True)
class ADisk:
    """A disk as full as a test wants it."""

    free_bytes: int = 50
    total_bytes: int = 100

    def look(self, _: Session) -> Disk:
        return Disk(free_bytes=self.free_bytes, total_bytes=self.total_bytes)


class Keeper:
    """Storing and retention on this thread, with a clock that only the test moves."""

    def __init__(
        self,
        store: OpenStore,
        *,
        keep_ticks_days: int,
        now_us: int = FIRST_DAY_US,
        disk: ADisk | None = None,
    ) -> None:
        self.store = store
        self.disk = disk or ADisk()
        self.now_us = now_us
        self.notices: list[Notice] = []
        self.retention = Retention(
            settings=StorageSettings(keep_ticks_days=keep_ticks_days),
            look_at_disk=self.disk.look,
            patient_session=store.pool.patient_session,
            tell=self.notices.append,
        )
        self.prepare()

    def prepare(self) -> None:
        """What the writer does with a new connection."""
        self.store.pool.run(functools.partial(self.retention.prepare, now_us=self.now_us))

    def step(self) -> float:
        """One piece of retention at the simulated time."""
        monotonic_s = self.now_us / 1e6
        return self.store.pool.run(
            functools.partial(self.retention.step, now_us=self.now_us, monotonic_s=monotonic_s)
        )

    def settle(self) -> None:
        """Take steps until nothing is left to do now; time stands still meanwhile."""
        while self.step() < LOOK_EVERY_S:
            pass

    def keep(self, ticks: list[Tick]) -> None:
        """Store these in one transaction."""
        self.store.pool.run(functools.partial(self.store.batches.store, batch=Batch(ticks=ticks)))

    def live(self, *, days: int, ticks_a_day: int, markets: int = 27) -> None:
        """Let days pass, from the simulated time on: ticks in time order, retention in between."""
        for _ in range(days):
            for ticks in a_day(self.now_us, ticks_a_day=ticks_a_day, markets=markets):
                self.keep(ticks)
                self.now_us = ticks[-1].ts_us
                self.settle()
            self.now_us += DAY_US - self.now_us % DAY_US


def a_day(from_us: int, *, ticks_a_day: int, markets: int) -> Iterator[list[Tick]]:
    """The ticks of one day in transactions, the markets in turn, as a venue without volume sends them."""
    step_us = DAY_US // ticks_a_day
    for first in range(0, ticks_a_day, BATCH_ROWS):
        yield [
            Tick(
                f"M{n % markets}@sim",
                from_us + n * step_us,
                0,
                1.0 + (n % 9973) / 1e5,
                None,
                None,
                None,
                from_us + n * step_us + 120,
                "live",
            )
            for n in range(first, min(first + BATCH_ROWS, ticks_a_day))
        ]


def bytes_on_disk(database: AnyDatabase) -> int:
    """What the file system spends on the ticks: SQLite's file and its log, MariaDB's partitions."""
    if isinstance(database, MariadbDatabase):
        folder = database.server.folder / "data" / database.target.database
        return sum(file.stat().st_size for file in folder.glob("tick#P#*.ibd"))
    path = database.target.path
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def empty_log(database: AnyDatabase) -> None:
    """Cut SQLite's log, which keeps the length it once had: some MB, whatever is in it."""
    if not isinstance(database, MariadbDatabase):
        database.query("PRAGMA wal_checkpoint(TRUNCATE)")


def bytes_of_server(folder: Path) -> int:
    """What all of a server's files take."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def grown_fresh(database: AnyDatabase, *, first_us: int, days: int, ticks_a_day: int) -> int:
    """The size of a new database that has seen only these days, and kept them all."""
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=days + 1, now_us=first_us)
        keeper.live(days=days, ticks_a_day=ticks_a_day)
        empty_log(database)
        return bytes_on_disk(database)
