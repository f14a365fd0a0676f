"""The database fails in every way it can while the venue sends: in the end the table is the ledger."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pymysql
import pytest
from daemons import FIVE, WITHIN_S, Daemon, Settings, Status, Workshop, assert_stored_as_sent, wait_until
from databases import MariadbDatabase
from proxy import Fate, running_proxy

ROOT = Path(__file__).parent.parent.parent
SILENT_FOR_MS = 1_000  # nothing is under way any more

Trouble = Callable[[MariadbDatabase, Daemon], None]


def is_down(status: Status, *, reason: str = "") -> bool:
    return status["writer"]["db"] == "down" and reason in status["writer"]["db_reason"]


def wait_accepted(daemon: Daemon, *, more: int) -> None:
    """Wait until so many further ticks were accepted, whatever the database does."""
    before = daemon.status()["writer"]["accepted"]
    daemon.wait_until(lambda now: now["writer"]["accepted"] >= before + more, what=f"{more} accepted")


def wait_all_stored(daemon: Daemon) -> Status:
    """Wait until the venue has fallen silent and everything is stored; return the last status."""
    return daemon.wait_until(
        lambda now: (
            min(row["age_ms"] for row in now["markets"]) > SILENT_FOR_MS
            and now["writer"]["stored"] >= now["writer"]["accepted"]
            and now["writer"]["db"] == "up"
        ),
        what="silent, and everything stored",
    )


def kill_twice(mariadb: MariadbDatabase, daemon: Daemon) -> None:
    for _ in range(2):
        mariadb.server.kill()
        daemon.wait_until(is_down, what="down")
        wait_accepted(daemon, more=20)
        mariadb.server.start()
        daemon.wait_until(lambda status: not is_down(status), what="up")


def stop_for_a_while(mariadb: MariadbDatabase, daemon: Daemon) -> None:
    mariadb.server.pause()
    wait_accepted(daemon, more=100)
    mariadb.server.resume()


def make_read_only(mariadb: MariadbDatabase, daemon: Daemon) -> None:
    mariadb.server.execute("SET GLOBAL read_only = 1")
    daemon.wait_until(partial(is_down, reason="1290"), what="down by 1290")
    wait_accepted(daemon, more=50)
    mariadb.server.execute("SET GLOBAL read_only = 0")


def take_all_connections(mariadb: MariadbDatabase, daemon: Daemon) -> None:
    target = mariadb.target
    with contextlib.ExitStack() as held:

        def hold_one() -> None:
            connection = pymysql.connect(
                host=target.host,
                port=target.port,
                user=target.user,
                password=target.password.encode(),
                ssl_disabled=True,
            )
            held.callback(connection.close)
            ours.add(connection.thread_id())

        ours: set[int] = set()
        mariadb.server.execute("SET GLOBAL max_connections = 10")
        deadline = time.monotonic() + WITHIN_S
        while not is_down(daemon.status(), reason="1040"):
            assert time.monotonic() < deadline, "there is always a free one"
            with contextlib.suppress(pymysql.err.OperationalError):  # 1040: all are taken
                while True:
                    hold_one()
            for (id_,) in mariadb.server.execute(
                "SELECT id FROM information_schema.processlist WHERE user = 'marketd'"
            ):
                if id_ not in ours:
                    with contextlib.suppress(pymysql.err.OperationalError):  # it was gone already
                        mariadb.server.execute(f"KILL {id_}")
        wait_accepted(daemon, more=50)


@pytest.mark.parametrize(
    "trouble", [kill_twice, stop_for_a_while, make_read_only, take_all_connections], ids=lambda f: f.__name__
)
def test_table_is_the_ledger_after_trouble_with_the_server(
    workshop: Workshop, mariadb: MariadbDatabase, trouble: Trouble
) -> None:
    simulator = workshop.simulator("--rate", "40", "--fault", "silent@3")
    daemon = workshop.daemon(Settings(url=simulator.url, database=mariadb, symbols=FIVE))
    daemon.wait_stored(1)
    trouble(mariadb, daemon)
    status = wait_all_stored(daemon)
    assert (status["writer"]["dropped"], status["writer"]["unjournaled"]) == (0, False)
    assert daemon.stop() == 0
    simulator.stop()
    assert_stored_as_sent(mariadb, workshop.ledger, source="trades")


def test_table_is_the_ledger_after_commits_were_cut(workshop: Workshop, mariadb: MariadbDatabase) -> None:
    simulator = workshop.simulator("--rate", "40", "--fault", "silent@3")
    with running_proxy(mariadb) as (proxy, proxied):
        settings = Settings(url=simulator.url, database=proxied, symbols=FIVE, store_every_ms=50)
        daemon = workshop.daemon(settings)
        daemon.wait_stored(1)
        proxy.fates.extend([Fate.ANSWER_CUT, Fate.CUT_BEFORE, Fate.PASSED, Fate.PASSED] * 2)
        wait_until(lambda: not proxy.fates, what="every fate was met")
        wait_all_stored(daemon)
        assert daemon.stop() == 0
    simulator.stop()
    assert_stored_as_sent(mariadb, workshop.ledger, source="trades")


# --- a large backlog ----------------------------------------------------------------------------

BACKLOG = 5_000_000  # ticks
MOST_RSS_BYTES = 80 * 2**20


@contextlib.contextmanager
def flood(symbols: tuple[str, ...]) -> Iterator[str]:
    """Serve a venue that is always ahead; give its address."""
    command = [sys.executable, "-m", "benchmarks.flood_venue", ",".join(symbols)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.kill()


@pytest.mark.soak
def test_five_million_ticks_pile_up_and_are_replayed_beside_live_data(
    workshop: Workshop, mariadb: MariadbDatabase, record_property: Callable[[str, object], None]
) -> None:
    within_s = BACKLOG / 2_000  # a guard
    peak = 0

    def look(status: Status) -> Status:
        nonlocal peak
        peak = max(peak, status["process"]["rss_bytes"])
        return status

    simulator = workshop.simulator("--rate", "20")
    with flood(FIVE) as url:
        more = f"""
[venues.flood]
protocol = "binance"
url = "{url}"
source = "quotes"
[[markets]]
venue = "flood"
symbols = {list(FIVE)}
"""
        settings = Settings(url=simulator.url, database=mariadb, symbols=FIVE, more=more)
        daemon = workshop.daemon(settings)
        daemon.wait_stored(1)
        mariadb.server.pause()
        daemon.wait_until(
            lambda status: look(status)["writer"]["accepted"] >= BACKLOG,
            what=f"{BACKLOG} accepted",
            within_s=within_s,
        )
    before = daemon.status()["writer"]
    started = time.monotonic()
    mariadb.server.resume()
    daemon.wait_until(
        lambda status: look(status)["writer"]["stored"] >= before["accepted"],
        what="replayed",
        within_s=within_s,
    )
    taken_s = time.monotonic() - started
    rows = daemon.status()["writer"]["stored"] - before["stored"]
    record_property("replayed_rows_per_s", round(rows / taken_s))
    record_property("peak_rss_mib", round(peak / 2**20, 1))
    print(f"replayed {rows} rows at {rows / taken_s:.0f} rows/s; peak {peak / 2**20:.1f} MiB")  # noqa: T201
    assert daemon.status()["writer"]["dropped"] == 0
    assert daemon.stop() == 0
    [(count,)] = mariadb.query("SELECT COUNT(*) FROM tick")
    assert count >= rows
    assert peak < MOST_RSS_BYTES
