"""`make bench`: what the daemon costs, beside a bare client in the same run. `make soak`: the long tests.

    python -m benchmarks [bench|soak]

The venue is a process of its own on the first core, the daemon and MariaDB share the last one.
Machines differ and are shared: read the ratios, not the single figures.
"""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests' private MariaDB

from databases import MariaDB, running_mariadb

from benchmarks.beside import beside
from benchmarks.deciding import decisions
from benchmarks.harness import (
    DAEMON_CORE,
    QUOTES,
    ROOT,
    VENUE_CORE,
    Daemon,
    Sample,
    daemon,
    flood_venue,
    pin_server,
    pinned,
    venue,
)
from venues import PROTOCOLS
from venues.simulated.prices import FX_PAIRS

PAIRS = tuple(FX_PAIRS)
THOUSAND = tuple(f"S{number:03d}USD" for number in range(1000))
SECONDS = 10


def main() -> None:
    if sys.argv[1:] == ["soak"]:
        soak()
    elif sys.argv[1:] in ([], ["bench"]):
        bench()
    else:
        raise SystemExit(__doc__)


def soak() -> None:
    commands = (
        ["pytest", "-m", "soak", "-v"],
        ["benchmarks.crash", "--kills", "500"],
        ["benchmarks.crash", "--trading", "--kills", "320"],
    )
    codes = [
        subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False).returncode for words in commands
    ]
    raise SystemExit(max(map(abs, codes)))


def bench() -> None:
    print(f"venue on core {VENUE_CORE}, daemon and MariaDB on core {DAEMON_CORE}, {SECONDS} s each\n")
    print(f"{'':44}{'received/s':>11}{'stored/s':>10}{'CPU µs/tick':>12}{'RSS MiB':>9}{'KB/s written':>13}")
    with running_mariadb() as server:
        pin_server(server)
        floods(server)
        paced(server)
        protocols()
        many(server)
        decisions(server)
        beside(server)


def on(server: MariaDB) -> str:
    """The settings that lead to a new database of the server."""
    url = server.url(server.new_database())
    return f'[storage]\nurl = "{url}"\npassword_file = "{server.password_file}"\n'


# --- what is measured -------------------------------------------------------------------------


def floods(server: MariaDB) -> None:
    with flood_venue(PAIRS) as url:
        bare = bare_client(url)
    name = "flood, bare trio-websocket, nothing kept"
    print(f"{name:44}{bare['per_s']:11,.0f}{'-':>10}{bare['cpu_us']:12.1f}")
    for name, storage in (("SQLite", ""), ("MariaDB", on(server))):
        with flood_venue(PAIRS) as url, daemon(url, PAIRS, storage=storage) as running:
            first, last = measured(running)
            show(f"flood, 27 markets, {name}", first, last)
            ratio = rate_of(first, last, "stored") / bare["per_s"]
            print(f"{'':4}stored / bare client's received: {ratio:.2f}; stop took {running.stop():.2f} s")


def bare_client(url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bare_client", url, str(SECONDS), ",".join(PAIRS)]
    done = subprocess.run(pinned(DAEMON_CORE, command), cwd=ROOT, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def paced(server: MariaDB) -> None:
    for rate in (2, 20):
        for name, storage in (("SQLite", ""), ("MariaDB", on(server))):
            with venue(PAIRS, rate=rate) as url, daemon(url, PAIRS, storage=storage) as running:
                with_counters(f"27 markets × {rate}/s, {name}", running, server if storage else None)


def protocols() -> None:
    """The same of every other venue: what differs is the adapter, and what it keeps."""
    for protocol in (name for name in PROTOCOLS if name != "binance"):
        for rate in (2, 20):
            with (
                venue(PAIRS, rate=rate, protocol=protocol) as url,
                daemon(url, PAIRS, protocol=protocol) as running,
            ):
                with_counters(f"27 markets × {rate}/s, {protocol}", running, None)


def many(server: MariaDB) -> None:
    for name, storage in (("SQLite", ""), ("MariaDB", on(server))):
        with venue(THOUSAND, rate=2) as url, daemon(url, THOUSAND, storage=storage) as running:
            with_counters(f"1,000 markets × 2/s, one socket, {name}", running, server if storage else None)
    # Six venues: at one of them we connect 200 times in five minutes at the most.
    with contextlib.ExitStack() as stack:
        spaced, alone = "start_delay_ms = 20\nstarts_per_pass = 50", f"{QUOTES}\nmarkets_per_connection = 1"
        urls = [stack.enter_context(venue(THOUSAND[number::6], rate=2)) for number in range(6)]
        running = stack.enter_context(daemon(urls, THOUSAND, supervision=spaced, venue_lines=alone))
        with_counters("1,000 markets × 2/s, 1,000 sockets, SQLite", running, None)


def with_counters(name: str, running: Daemon, server: MariaDB | None) -> None:
    before = counters(server)
    first, last = measured(running)
    after = counters(server)
    show(name, first, last)
    if server is not None:
        statements = (after[0] - before[0] - 2) / SECONDS  # asking costs two
        connections = after[1] - before[1]
        print(f"{'':4}by MariaDB: {statements:.1f} statements/s, {connections} new connections")


def counters(server: MariaDB | None) -> tuple[int, int]:
    return (0, 0) if server is None else (server.status("Questions"), server.status("Connections"))


def measured(running: Daemon) -> tuple[Sample, Sample]:
    """Wait until a few transactions have gone, then take two samples."""
    time.sleep(4)
    first = running.sample()
    time.sleep(SECONDS)
    return first, running.sample()


def rate_of(first: Sample, last: Sample, what: str) -> float:
    figures = (last.status["writer"][what] - first.status["writer"][what]) / (last.at - first.at)
    return float(figures)


def show(name: str, first: Sample, last: Sample) -> None:
    received, seconds = rate_of(first, last, "accepted"), last.at - first.at
    cpu_us = (last.cpu_s - first.cpu_s) / max(1.0, received * seconds) * 1e6
    written = (last.written - first.written) / seconds / 1000
    print(
        f"{name:44}{received:11,.0f}{rate_of(first, last, 'stored'):10,.0f}{cpu_us:12.1f}"
        f"{last.rss_mib:9.1f}{written:13.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
