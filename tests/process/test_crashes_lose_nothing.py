"""The short run of `benchmarks/crash.py`: killed at every crash point, and otherwise, under load."""

import contextlib
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from crash_evidence import read_gaps
from crash_oracle import judge
from crash_plans import End, Plan, Trouble, plan_kill, plan_point
from crashing import WINDOW_US, CrashRun
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, stored_ticks

from domain.crash_points import NAMES
from storage.target import SqliteTarget

GUARD_US = 3 * WINDOW_US  # against hanging; the benchmark holds it to the window itself
TRIES = 3  # a machine that is busy may not reach a point in time

# Amid a life: one of the first lies before all gaps.
DELETE_A_TICK = """
    DELETE FROM tick WHERE (market_id, ts_us, seq) IN
    (SELECT market_id, ts_us, seq FROM tick ORDER BY ts_us DESC LIMIT 1 OFFSET 1000)
"""

DELETE_A_GAP = """
    DELETE FROM gap WHERE id = (
        SELECT MIN(gap.id) FROM gap JOIN market ON market.id = gap.market_id
        WHERE symbol = 'GBPUSD' AND cause = 'downtime')
"""

STOP = Plan(end=End.STOP, at_s=0.0)
LOST_UNDER_LOAD = Plan(end=End.KILL, at_s=0.3, trouble=Trouble.DATABASE_LOST)
AWAY_AT_START = Plan(end=End.KILL, at_s=0.3, trouble=Trouble.DATABASE_AWAY)


@contextlib.contextmanager
def crash_run(folder: Path, *, database: AnyDatabase) -> Iterator[CrashRun]:
    run = CrashRun(folder, database=database, random_=random.Random(1))
    try:
        yield run
    finally:
        sys.stdout.write(run.workshop.close())


@pytest.fixture(scope="module")
def at_every_point(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashRun]:
    """A daemon on SQLite, killed at every crash point in turn, and an ordered stop at the end."""
    folder = tmp_path_factory.mktemp("crashes")
    random_ = random.Random(1)
    with crash_run(folder, database=SqliteDatabase(target=SqliteTarget(path=folder / "marketd.db"))) as run:
        for point in NAMES:
            quick = attrs.evolve(plan_point(point, random_=random_), trouble=Trouble.NONE, nth=2)
            if point == "control.written":
                quick = attrs.evolve(quick, trouble=Trouble.COMMANDS)
            any(run.live(quick) for _ in range(TRIES))
        for plan in (STOP, plan_kill(random_=random_)):
            run.live(plan)
        run.finish()
        yield run


def test_every_crash_point_is_hit(at_every_point: CrashRun) -> None:
    assert at_every_point.hits == dict.fromkeys(NAMES, 1)


def test_kills_at_every_crash_point_lose_and_double_nothing(at_every_point: CrashRun) -> None:
    verdict = at_every_point.judge(window_us=GUARD_US)
    assert list(verdict.complaints) == []
    assert verdict.lost > 0  # under load, that is: what was on its way is gone


def test_a_row_that_is_taken_away_is_missed(at_every_point: CrashRun, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    path = at_every_point.workshop.folder / "marketd.db"
    robbed = SqliteDatabase(target=SqliteTarget(path=Path(shutil.copy(path, tmp_path))))
    robbed.query(DELETE_A_TICK)
    robbed.query(DELETE_A_GAP)
    evidence = at_every_point.evidence(window_us=GUARD_US)
    found = judge(attrs.evolve(evidence, stored=stored_ticks(robbed), gaps=read_gaps(robbed)))
    assert any("lost and in no gap" in complaint for complaint in found.complaints)
    assert any("no gap from" in complaint for complaint in found.complaints)


def test_kills_of_the_daemon_and_of_its_server_lose_and_double_nothing(
    tmp_path: Path, mariadb: MariadbDatabase
) -> None:
    random_ = random.Random(2)
    points = [plan_point(name, random_=random_) for name in ("store.inserted", "store.committed")]
    with crash_run(tmp_path, database=mariadb) as run:
        for plan in (plan_kill(random_=random_), *points, LOST_UNDER_LOAD, AWAY_AT_START):
            run.live(plan)
        run.finish()
        verdict = run.judge(window_us=GUARD_US)
    assert list(verdict.complaints) == []
    assert run.kills == 5
