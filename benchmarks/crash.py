"""Kills daemons under load, at every crash point and at random, and judges what they have kept.

    python -m benchmarks.crash [--trading] [--kills N] [--database sqlite|mariadb|both] [--seed S]

Four daemons at a time, each with a venue and a database of its own; with `--trading` each trades on
paper, and what became of its trades is judged too. A failed run leaves its folder behind and ends with
1; its seed plans the same lives again, though not the same moments.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # what the tests share

import trade_crashing
from crash_oracle import Verdict
from crash_plans import Plan, plan_lives, plan_trading_lives
from crashing import WINDOW_US, CrashRun
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, running_mariadb
from trade_crashing import TradeCrashRun

from domain.clock import now_us
from domain.crash_points import ALL_NAMES, NAMES, TRADE_NAMES
from storage.target import SqliteTarget

KILLS_A_ROUND = 65  # on one state directory
AT_ONCE = 4  # daemons: most of a short life is waiting
WORKERS = {
    "sqlite": ("sqlite",) * AT_ONCE,
    "mariadb": ("mariadb",) * AT_ONCE,
    "both": ("sqlite", "mariadb") * (AT_ONCE // 2),
}
ENOUGH_KILLS = 300  # from so many on …
ENOUGH_HITS = 10  # … each point must have been hit so often …
USUAL_ENDS = ("won", "lost", "void", "refused")
ENOUGH_TRADES = 50  # … and so many trades have ended in each way but a tie, which is rare


@attrs.frozen(kw_only=True)
class Kind:
    """What the daemons are to do, and where above all they are killed."""

    run: type[CrashRun]
    plan: Callable[..., Iterator[Plan]]
    points: Sequence[str]
    window_us: int  # how long before a kill a price may have come that is lost


PRICES = Kind(run=CrashRun, plan=plan_lives, points=NAMES, window_us=WINDOW_US)
TRADES = Kind(
    run=TradeCrashRun, plan=plan_trading_lives, points=TRADE_NAMES, window_us=trade_crashing.WINDOW_US
)


@attrs.define(kw_only=True)
class Total:
    """What came of many rounds."""

    kind: Kind
    kills: int = 0
    lives: int = 0
    hits: Counter[str] = attrs.field(factory=Counter)
    trades: Counter[str] = attrs.field(factory=Counter)  # by how they ended
    verdicts: list[Verdict] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)

    def add(self, run: CrashRun, verdict: Verdict) -> None:
        self.kills += run.kills
        self.lives += len(run.lives)
        self.hits += run.hits
        self.verdicts.append(verdict)
        self.complaints += verdict.complaints
        if isinstance(run, TradeCrashRun):
            self.trades += run.states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--trading", action="store_true")
    parser.add_argument("--database", choices=WORKERS, default="both")
    parser.add_argument("--seed", default=str(now_us()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.kills} kills, {arguments.database}", flush=True)
    workers = WORKERS[arguments.database]
    kills = [len(range(number, arguments.kills, len(workers))) for number in range(len(workers))]
    total, began = Total(kind=TRADES if arguments.trading else PRICES), time.monotonic()
    with ThreadPoolExecutor(len(workers)) as pool:
        jobs = [
            pool.submit(work, kind, count, total, random.Random(f"{arguments.seed}/{number}"))
            for number, (kind, count) in enumerate(zip(workers, kills, strict=True))
        ]
    for job in jobs:
        job.result()
    raise SystemExit(report(total, seconds=time.monotonic() - began))


def work(kind: str, kills: int, total: Total, random_: random.Random) -> None:
    """Play one worker's rounds."""
    for start in range(0, kills, KILLS_A_ROUND):
        play(kind, min(KILLS_A_ROUND, kills - start), total, random_)


def play(kind: str, kills: int, total: Total, random_: random.Random) -> None:
    """Play one round in a new folder, which stays where something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="marketd-crash-"))
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(new_database(kind, folder))
        run = total.kind.run(folder, database=database, random_=random_)
        stack.callback(run.workshop.close)
        for plan in total.kind.plan(kills=kills, random_=random_):
            run.live(plan)
        run.finish()
        verdict = run.judge(window_us=total.kind.window_us)
    total.add(run, verdict)
    state = f"{len(verdict.complaints)} COMPLAINTS, see {folder}" if verdict.complaints else "nothing wrong"
    print(f"{kind:8} {run.kills} kills in {len(run.lives)} lives: {line(verdict)}; {state}", flush=True)
    for complaint in verdict.complaints:
        print(f"    {complaint}", flush=True)
    if not verdict.complaints:
        shutil.rmtree(folder)


@contextlib.contextmanager
def new_database(kind: str, folder: Path) -> Iterator[AnyDatabase]:
    if kind == "sqlite":
        yield SqliteDatabase(target=SqliteTarget(path=folder / "marketd.db"))
        return
    with running_mariadb() as server:
        yield MariadbDatabase(target=server.target(server.new_database()), server=server)


def line(verdict: Verdict) -> str:
    return (
        f"{verdict.stored:,} ticks stored, {verdict.gaps:,} gaps, "
        f"{verdict.lost - verdict.given_up:,} lost in the window "
        f"(the oldest {verdict.oldest_lost_ms:.0f} ms before its kill), "
        f"{verdict.given_up:,} given up by a full journal"
    )


def report(total: Total, *, seconds: float) -> int:
    """Print the sum; return the exit status."""
    print(
        f"\n{total.kills} kills in {total.lives} lives and {seconds:.0f} s; "
        f"{sum(verdict.stored for verdict in total.verdicts):,} ticks stored; "
        f"the oldest lost one came {max(verdict.oldest_lost_ms for verdict in total.verdicts):.0f} ms before "
        f"its kill ({total.kind.window_us // 1000} ms allowed)"
    )
    for name in ALL_NAMES:
        print(f"    {name:18}{total.hits[name]:5} hits")
    for state in sorted(total.trades):
        print(f"    {state:18}{total.trades[state]:5} trades")
    if total.kills >= ENOUGH_KILLS:
        few = [name for name in total.kind.points if total.hits[name] < ENOUGH_HITS]
        if few:
            total.complaints.append(f"hit less than {ENOUGH_HITS} times: {', '.join(few)}")
        if total.kind is TRADES:
            rare = [state for state in USUAL_ENDS if total.trades[state] < ENOUGH_TRADES]
            total.complaints += [f"less than {ENOUGH_TRADES} trades were {state}" for state in rare]
    print(
        "\n".join(total.complaints)
        or "nothing lost, nothing doubled, every hole has its gap, every trade adds up"
    )
    return 1 if total.complaints else 0


if __name__ == "__main__":
    main()
