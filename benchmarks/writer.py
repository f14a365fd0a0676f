"""The writer alone: mailbox to journal to database. And a journal replayed beside live data.

    python -m benchmarks.writer [ROWS]

No sockets, no decoding: ticks of 27 markets are put into the writer's mailbox, as fast as it stores them
(so many are under way at a time that it need not read them back from the journal).
"""

import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests' private MariaDB

import trio
from databases import MariaDB, running_mariadb

from actors.mailbox import BatchMailbox, Inbox, Mailbox
from actors.writer import Writer
from domain.gaps import GapLedger
from domain.market import Tick
from storage.settings import StorageSettings
from storage.target import SqliteTarget, Target
from venues.simulated.prices import FX_PAIRS

BOUND = 65_536
LIST = 500  # ticks in a list: a burst
UNDER_WAY = 79_000  # four transactions' worth, as many as it keeps in RAM
MARKETS = [f"{symbol}@sim" for symbol in FX_PAIRS]


def make_inbox() -> Inbox:
    return Inbox(
        ticks=BatchMailbox(name="writer/ticks", bound=BOUND),
        events=Mailbox(name="writer/events", bound=1_000),
        gaps=GapLedger(),
    )


def lists(*, rows: int, from_us: int) -> Iterator[list[Tick]]:
    """Ticks in the order of time, all markets in turn, 25,000 a second by their own clock."""
    numbers = count()
    for _ in range(rows // LIST):
        yield [
            Tick(
                MARKETS[n % 27], from_us + n * 40, n, 1.17 + n % 997 / 1e5, 1.17, 1.18, None, from_us + n * 40
            )
            for n in (next(numbers) for _ in range(LIST))
        ]


async def feed(inbox: Inbox, writer: Writer, ready: Iterable[list[Tick]], *, under_way: float) -> None:
    put = 0
    for batch in ready:
        while inbox.ticks.used > BOUND // 2 or put - writer.statistics().stored > under_way:
            await trio.sleep(0.001)
        inbox.ticks.put_nowait(batch)
        put += len(batch)


def written_bytes() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


async def store_all(name: str, target: Target, folder: Path, *, rows: int) -> None:
    """Print rows a second from the first tick put in to the last one stored."""
    ready = list(lists(rows=rows, from_us=time.time_ns() // 1_000))
    gc.freeze()  # a million ticks that are not the writer's business
    inbox = make_inbox()
    writer = Writer(folder=folder, settings=StorageSettings(), target=target, inbox=inbox)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        await writer.first_contact(deadline_s=60)
        started, cpu, written = time.monotonic(), time.process_time(), written_bytes()
        await feed(inbox, writer, ready, under_way=UNDER_WAY)
        while writer.statistics().stored < rows:
            await trio.sleep(0.005)
        took, cpu = time.monotonic() - started, time.process_time() - cpu
        print(
            f"{name:10} {rows:,} rows: {rows / took:9,.0f} rows/s; "
            f"a row {cpu / rows * 1e6:.2f} µs of our CPU, {(written_bytes() - written) / rows:.0f} B written",
            flush=True,
        )
        await writer.finish()


async def replay(name: str, server: MariaDB, target: Target, folder: Path, *, rows: int) -> None:
    """Let a backlog pile up with the server stopped, then print how fast it is stored beside live data."""
    inbox = make_inbox()
    writer = Writer(folder=folder, settings=StorageSettings(), target=target, inbox=inbox)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        await writer.first_contact(deadline_s=60)
        server.stop()
        ticks = lists(rows=rows, from_us=time.time_ns() // 1_000)
        await feed(inbox, writer, ticks, under_way=float("inf"))
        while writer.statistics().accepted < rows:
            await trio.sleep(0.01)
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        bytes_ = writer.statistics().journal_bytes / 2**20
        print(f"{name:10} {rows:,} rows wait in a journal of {bytes_:.0f} MiB; RSS {rss:.1f} MiB", flush=True)
        await trio.to_thread.run_sync(server.start)
        while writer.statistics().stored == 0:
            await trio.sleep(0.005)
        first, started = writer.statistics().stored, time.monotonic()
        nursery.start_soon(live, inbox)
        while writer.statistics().stored < rows:
            await trio.sleep(0.01)
        took = time.monotonic() - started
        print(f"{name:10} replayed {(rows - first) / took:9,.0f} rows/s beside 540 live ticks/s", flush=True)
        await writer.finish()
        nursery.cancel_scope.cancel()


async def live(inbox: Inbox) -> None:
    for n in count():
        now = time.time_ns() // 1_000
        inbox.ticks.put_nowait([Tick(market, now, n, 1.17, None, None, None, now) for market in MARKETS])
        await trio.sleep(0.05)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with running_mariadb() as server:
        # As on a server of 1 GB; the tests' own is smaller.
        server.execute("SET GLOBAL innodb_buffer_pool_size = 67108864")
        server.execute("SET GLOBAL innodb_log_file_size = 100663296")
        for _ in range(3):
            with tempfile.TemporaryDirectory(prefix="marketd-bench-") as name:
                folder = Path(name)
                trio.run(partial(store_all, "SQLite", SqliteTarget(path=folder / "db"), folder, rows=rows))
            with tempfile.TemporaryDirectory(prefix="marketd-bench-") as name:
                target = server.target(server.new_database())
                trio.run(partial(store_all, "MariaDB", target, Path(name), rows=rows))
        with tempfile.TemporaryDirectory(prefix="marketd-bench-") as name:
            target = server.target(server.new_database())
            trio.run(partial(replay, "MariaDB", server, target, Path(name), rows=rows))


if __name__ == "__main__":
    main()
