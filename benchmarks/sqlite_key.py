"""Which key should the embedded `tick` table have? Bytes written per tick, and reading one market's day.

    python benchmarks/sqlite_key.py [--folder DIR] [--days 1] [--minutes 10]

27 markets × 2 ticks/s, a transaction every 2 s, on a table that holds `--days` already. Read the
ratios. `--folder` must be on a real disk: /proc/self/io counts nothing for a tmpfs.

Seen on 2026-11-23: market first 3,030 B a tick and 14 ms, time first 388 B and 255 ms. Writing goes
on for ever and a day is read now and then, and by a page's worth; 3,030 B × 54/s is over the
budget of 100 KB/s. So `storage/schema/001_first.sqlite.sql` has the time first.
"""

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

MARKETS = 27
TICKS_PER_S = 2  # of each market
STORE_EVERY_S = 2
DAY_S = 86_400
STEP_US = 1_000_000 // TICKS_PER_S
KEYS = {"market first": "market_id, ts_us, seq", "time first": "ts_us, market_id, seq"}
INSERT = "INSERT INTO tick VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
Row = tuple[int, int, int, float, float | None, float | None, float | None, int, str]


def open_table(file: Path, *, key: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE tick (market_id INTEGER NOT NULL, ts_us INTEGER NOT NULL, seq INTEGER NOT NULL, "
        "price REAL NOT NULL, bid REAL, ask REAL, volume REAL, received_us INTEGER NOT NULL, "
        f"source TEXT NOT NULL, PRIMARY KEY ({key})) WITHOUT ROWID"
    )
    return connection


def tick_rows(*, from_s: int, seconds: int) -> list[Row]:
    """The rows of some seconds, in order of arrival; each market at its own offset."""
    first = from_s * TICKS_PER_S
    return [
        (market, n * STEP_US + market * 100, 0, 1.0 + (n % 9973) / 1e5, None, None, 0.5, n * STEP_US, "live")
        for n in range(first, first + seconds * TICKS_PER_S)
        for market in range(1, MARKETS + 1)
    ]


def store(connection: sqlite3.Connection, rows: list[Row]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")


def written_bytes() -> int:
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    raise RuntimeError("/proc/self/io has no write_bytes")


def grow(connection: sqlite3.Connection, *, seconds: int) -> None:
    # By market, as the pages of a long-lived table lie; an hour a transaction keeps memory low.
    for from_s in range(0, seconds, 3_600):
        rows = tick_rows(from_s=from_s, seconds=min(3_600, seconds - from_s))
        store(connection, rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def measure(file: Path, *, key: str, grown_s: int, live_s: int) -> tuple[float, float]:
    """Return the bytes written per tick, and the seconds to read one market's last day."""
    connection = open_table(file, key=key)
    grow(connection, seconds=grown_s)
    before, ticks = written_bytes(), 0
    for from_s in range(grown_s, grown_s + live_s, STORE_EVERY_S):
        rows = tick_rows(from_s=from_s, seconds=STORE_EVERY_S)
        store(connection, rows)
        ticks += len(rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    per_tick = (written_bytes() - before) / ticks
    end_us = (grown_s + live_s) * 1_000_000
    started = time.perf_counter()
    found = connection.execute(
        "SELECT COUNT(price) FROM tick WHERE market_id = ? AND ts_us >= ? AND ts_us < ?",
        (13, end_us - DAY_S * 1_000_000, end_us),
    ).fetchone()[0]
    read_s = time.perf_counter() - started
    assert found == min(DAY_S, grown_s + live_s) * TICKS_PER_S, found
    connection.close()
    return per_tick, read_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where the files are made")
    parser.add_argument("--days", type=float, default=1.0, help="how much the table holds before")
    parser.add_argument("--minutes", type=float, default=10.0, help="how much is stored and measured")
    arguments = parser.parse_args()
    found = {}
    for name, key in KEYS.items():
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            file = Path(folder) / "ticks.db"
            found[name] = measure(
                file, key=key, grown_s=int(arguments.days * DAY_S), live_s=int(arguments.minutes * 60)
            )
            per_tick, read_s = found[name]
            size_mb = file.stat().st_size / 1e6
            print(f"{name:13}{per_tick:6.0f} B a tick, a day in {read_s * 1e3:5.0f} ms, {size_mb:.0f} MB")
    (market_bytes, market_s), (time_bytes, time_s) = found.values()
    if time_bytes == 0:
        print("nothing was counted: the folder is on a tmpfs; name another with --folder")
        return
    print(
        f"time first writes 1/{market_bytes / time_bytes:.1f} and reads {time_s / market_s:.1f} times as long"
    )


if __name__ == "__main__":
    main()
