"""Does the database stay as large as what it is told to keep? Days of ticks, simulated, on disk.

    python -m benchmarks.retention [--days 60] [--rate-scale 1] [--database sqlite|mariadb] [--keep 14]

27 markets × 2 ticks/s times `--rate-scale`, stored in time order as fast as it goes, with retention
between the transactions as the writer has it, and a clock that is moved and not waited for. The
reference is the same database after `--keep` days and today: full, and nothing deleted yet, that
is a fresh one with exactly the kept days. Read the ratio; it must stay at or below 1.2.

At full rate a day is 4.7 million ticks. With few ticks constant costs weigh more: SQLite's log
(some MB) and the least size of each of MariaDB's files.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests' private MariaDB

from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, open_store, running_mariadb
from simulated_days import Keeper, bytes_of_server, bytes_on_disk

from storage.target import SqliteTarget

TICKS_A_DAY = 27 * 2 * 86_400
PRINT_EVERY_DAYS = 10
MOST = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=60, help="how many days pass")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="part of the full rate")
    parser.add_argument("--database", choices=("sqlite", "mariadb"), default="sqlite")
    parser.add_argument("--keep", type=int, default=14, help="keep_ticks_days")
    parser.add_argument("--folder", type=Path, help="where SQLite's file is made; default: a temporary one")
    arguments = parser.parse_args()
    if arguments.days <= arguments.keep + 1:
        parser.error("--days must be more than --keep and today: before, nothing is deleted")
    ticks_a_day = round(TICKS_A_DAY * arguments.rate_scale)
    with opened(arguments.database, folder=arguments.folder) as database:
        worst = run(database, days=arguments.days, keep=arguments.keep, ticks_a_day=ticks_a_day)
    print(f"largest ratio {worst:.3f}, allowed {MOST}")
    raise SystemExit(0 if worst <= MOST else 1)


@contextlib.contextmanager
def opened(kind: str, *, folder: Path | None) -> Iterator[AnyDatabase]:
    if kind == "mariadb":
        with running_mariadb() as server:
            yield MariadbDatabase(target=server.target(server.new_database()), server=server)
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        yield SqliteDatabase(target=SqliteTarget(path=Path(made) / "marketd.db"))


def run(database: AnyDatabase, *, days: int, keep: int, ticks_a_day: int) -> float:
    """Let the days pass, print the sizes; return the largest ratio once days are deleted."""
    print(f"{ticks_a_day} ticks a day, {keep} days kept beside today")
    print(f"{'day':>4}{'ticks MB':>11}{'implied MB':>12}{'ratio':>7}{'all files MB':>14}{'ticks/s':>10}")
    implied, worst = 0, 0.0
    with open_store(database.target) as store:
        keeper = Keeper(store, keep_ticks_days=keep)
        for day in range(1, days + 1):
            started = time.perf_counter()
            keeper.live(days=1, ticks_a_day=ticks_a_day)
            ticks_per_s = ticks_a_day / (time.perf_counter() - started)
            size = bytes_on_disk(database)
            if day == keep + 1:
                implied = size
            elif day > keep + 1:
                worst = max(worst, size / implied)
            if day % PRINT_EVERY_DAYS == 0 or day in (keep + 1, days):
                told = f"{implied / 1e6:12.1f}{size / implied:7.3f}" if implied else f"{'-':>12}{'-':>7}"
                print(f"{day:4}{size / 1e6:11.1f}{told}{all_bytes(database) / 1e6:14.1f}{ticks_per_s:10.0f}")
    return worst


def all_bytes(database: AnyDatabase) -> int:
    """The whole data directory of a server, whose logs and temporary files are not ours to bound."""
    if isinstance(database, MariadbDatabase):
        return bytes_of_server(database.server.folder / "data")
    return bytes_on_disk(database)


if __name__ == "__main__":
    main()
