"""The old bot and marketd side by side, on the same simulated venue and database server.

    python -m benchmarks.beside

The venue is on the first core; MariaDB and the one that is measured share the last. First a quiet
while; then the database hangs for three seconds; then, on a fresh venue, an "hour" of a minute with
three cuts: all sockets closed, all reset, and nobody let in for five seconds.
"""

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests' private MariaDB

import attrs
from databases import MariaDB, running_mariadb

from benchmarks.contenders import PAIRS, Contender, Start, marketd, old_bot
from benchmarks.harness import TICKS_PER_JIFFY_S, pin_server, venue

RATE = 2
SETTLE_S, QUIET_S, HANG_S = 4, 20, 3
HOUR_S = 60
CUTS = ("close@15", "reset@30", "refuse@45+5")


@attrs.frozen(kw_only=True)
class Look:
    """The kernel's and the server's counters at one moment."""

    at: float
    cpu_s: float
    server_cpu_s: float
    connections: int
    statements: int

    @classmethod
    def at_now(cls, contender: Contender, server: MariaDB) -> "Look":
        return cls(
            connections=server.status("Connections"),
            statements=server.status("Questions"),
            at=time.monotonic(),
            cpu_s=cpu_s(contender.pid),
            server_cpu_s=cpu_s(server.pid),
        )


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_JIFFY_S


def of_status(pid: int, key: str) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[key].split()[0])


def rates(first: Look, last: Look) -> dict[str, str]:
    seconds = last.at - first.at
    return {
        "new database connections/s": f"{(last.connections - first.connections) / seconds:.1f}",
        # asking costs two
        "statements/s": f"{(last.statements - first.statements - 2) / seconds:.1f}",
        "database CPU, % of a core": f"{(last.server_cpu_s - first.server_cpu_s) / seconds * 100:.1f}",
        "its own CPU, % of a core": f"{(last.cpu_s - first.cpu_s) / seconds * 100:.1f}",
    }


def quiet(start: Start, server: MariaDB) -> dict[str, str]:
    """What it costs while nothing happens, and what a database that hangs does to it."""
    with venue(PAIRS, rate=RATE) as url:
        began = time.monotonic()
        with start(url, server) as contender:
            live_s = time.monotonic() - began
            time.sleep(SETTLE_S)
            first = Look.at_now(contender, server)
            time.sleep(QUIET_S)
            last = Look.at_now(contender, server)
            found = {
                "all 27 markets live after, s": f"{live_s:.1f}",
                **rates(first, last),
                "RSS, MiB": f"{of_status(contender.pid, 'VmRSS') / 1024:.1f}",
                "threads": f"{of_status(contender.pid, 'Threads')}",
                "worst stall of a loop, ms": f"{contender.worst_ms():.1f}",
            }
            server.pause()
            time.sleep(HANG_S)
            server.resume()
            time.sleep(1.5)
            found[f"worst stall, database hangs {HANG_S} s, ms"] = f"{contender.worst_ms():.0f}"
    return found


def an_hour(start: Start, server: MariaDB) -> dict[str, str]:
    """What is missing after three cuts: the venue numbers its trades."""
    with venue(PAIRS, rate=RATE, faults=CUTS) as url:
        began = time.monotonic()
        with start(url, server) as contender:
            time.sleep(max(0.0, began + HOUR_S - time.monotonic()))
            happened = {symbol: last_number(url, symbol) for symbol in PAIRS}
            time.sleep(SETTLE_S)  # what is on its way is stored
            at_once = lost(contender.kept(), happened)
            contender.settle()
            after = lost(contender.kept(), happened)
    return {
        "ticks of an hour with three cuts": f"{at_once.of:,}",
        "… missing at its end": f"{at_once.missing:,}",
        "… and after gaps were filled from the venue's history": f"{after.missing:,}",
        "… in % of the hour": f"{after.missing / after.of * 100:.1f}",
    }


def last_number(url: str, symbol: str) -> int:
    """Ask the venue for its latest trade's number; they are counted one by one."""
    address = f"http://{urlsplit(url).netloc}/api/v3/aggTrades?symbol={symbol}&limit=1"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return int(json.load(answer)[-1]["a"])


class Lost(NamedTuple):
    """How many ticks are missing of how many."""

    missing: int
    of: int


def lost(kept: dict[str, tuple[int, int, int]], happened: dict[str, int]) -> Lost:
    """Count what happened since each market's first stored trade, and what of it is not stored."""
    there_were = stored = 0
    for symbol, last in happened.items():
        first, newest, count = kept[symbol]
        there_were += max(last, newest) - first + 1
        stored += count
    return Lost(there_were - stored, there_were)


def beside(server: MariaDB) -> None:
    """Print both."""
    old, new = ({**quiet(start, server), **an_hour(start, server)} for start in (old_bot, marketd))
    print(f"\n{f'27 markets × {RATE}/s, trades, MariaDB':64}{'old bot':>12}{'marketd':>12}")
    for name in old:
        print(f"{name:64}{old[name]:>12}{new[name]:>12}")


def main() -> None:
    with running_mariadb() as server:
        pin_server(server)
        beside(server)


if __name__ == "__main__":
    main()
