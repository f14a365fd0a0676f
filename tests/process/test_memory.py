"""The daemon under a memory limit of the kernel, which kills who goes beyond it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_groups import MIB, ControlGroup, memory_group
from daemons import FIVE, MARKETD, Settings, Workshop, read_ledger, read_stored
from databases import AnyDatabase, SqliteDatabase, some_ticks

from domain.clock import now_us
from storage.journal import Journal
from storage.payloads import Lane

OLD_BATCHES, OLD_MARKETS, OLD_EACH = 60, 27, 148  # 240,000 ticks
OLD_TICKS = OLD_BATCHES * OLD_MARKETS * OLD_EACH
# Beyond what it takes without a journal. With all of `flush_rows` in a transaction it takes 17.
LITTLE_BYTES = 13 * MIB


@pytest.fixture
def group(workshop: Workshop) -> Iterator[ControlGroup]:
    """A control group, and what ran in it is ended with it."""
    with memory_group() as made:
        yield made
        workshop.close()


def fill_journal(state_dir: Path) -> None:
    """Put so many ticks of another time into a journal that nobody has open."""
    journal = Journal(state_dir, max_bytes=1024 * MIB)
    journal.open()
    began_us = now_us() - 3_600_000_000
    for number in range(OLD_BATCHES):
        first_us = began_us + number * OLD_EACH * 1_000
        ticks = some_ticks(markets=OLD_MARKETS, each=OLD_EACH, first_us=first_us)
        journal.append([(Lane.TICKS, ticks)])
    journal.close()


def test_large_journal_is_replayed_beside_live_data_in_little_memory(
    workshop: Workshop, database: AnyDatabase, group: ControlGroup
) -> None:
    simulator = workshop.simulator("--rate", "20")
    settings = Settings(url=simulator.url, database=database, symbols=FIVE)
    workshop.change(settings)
    run = group.inside([MARKETD, "run", "--config", workshop.config])
    daemon = workshop.daemon_by(run)
    daemon.wait_live()
    limit = group.used_bytes() // MIB * MIB + LITTLE_BYTES
    assert daemon.stop() == 0
    fill_journal(workshop.state_dir)
    group.limit(limit)
    daemon = workshop.daemon_by(run)
    status = daemon.wait_until(
        lambda status: status["writer"]["stored"] >= OLD_TICKS, what="the old ticks are stored"
    )
    assert status["process"]["memory_limit_bytes"] == limit
    before = daemon.wait_live()["writer"]["stored"]
    daemon.wait_until(lambda status: status["writer"]["stored"] > before + 100, what="live ticks are stored")
    assert daemon.stop() == 0
    assert group.kills() == 0
    stored = read_stored(database, source="trades")
    assert len([tick for tick in stored if tick.symbol not in FIVE]) == OLD_TICKS
    assert set(read_ledger(workshop.ledger)) <= set(stored)


def test_daemon_that_comes_near_the_limit_says_so_and_goes_on(
    workshop: Workshop, sqlite: SqliteDatabase, group: ControlGroup
) -> None:
    simulator = workshop.simulator("--rate", "20")
    workshop.change(Settings(url=simulator.url, database=sqlite, symbols=FIVE))
    daemon = workshop.daemon_by(group.inside([MARKETD, "run", "--config", workshop.config]))
    assert not daemon.wait_live()["process"]["is_memory_short"]
    group.limit(group.used_bytes() * 8 // 7)
    status = daemon.wait_until(lambda status: status["process"]["is_memory_short"], what="short")
    assert daemon.has_said("memory", state="short", level="warning")
    daemon.wait_until(
        lambda now: now["writer"]["stored"] > status["writer"]["stored"] + 200, what="feeds go on"
    )
    assert group.kills() == 0
    assert daemon.stop() == 0
    assert set(read_ledger(workshop.ledger)) <= set(read_stored(sqlite, source="trades"))
