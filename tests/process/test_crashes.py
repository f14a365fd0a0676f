"""We fail: one market's actor breaks inside a real daemon, and nobody else notices."""

from daemons import (
    FIVE,
    Daemon,
    Settings,
    Status,
    Workshop,
    assert_stored_as_sent,
    restarts,
    states,
)
from databases import SqliteDatabase

MAX_RESTARTS = 5  # the default of [supervision] max_restarts

RAISES_IN_EURUSD_WHILE = """
from pathlib import Path
from actors.market import Market

handle = Market.handle

def handle_or_raise(self, ticks):
    if Path({flag!r}).exists() and self._row.name == "EURUSD@sim":
        raise ZeroDivisionError("injected by a test")
    return handle(self, ticks)

Market.handle = handle_or_raise
"""

RAISES_IN_CLEAN_UP = """
from actors.market import Market

run = Market.run

async def run_and_raise(self):
    try:
        await run(self)
    finally:
        raise ZeroDivisionError("injected by a test")

Market.run = run_and_raise
"""


def start_with_fault(workshop: Workshop, settings: Settings) -> Daemon:
    """Start a daemon whose EURUSD raises at each tick as long as the file `fault` is there."""
    flag = workshop.folder / "fault"
    flag.touch()
    return workshop.faulty_daemon(settings, fault=RAISES_IN_EURUSD_WHILE.format(flag=str(flag)))


def is_quarantined(status: Status) -> bool:
    return states(status)["EURUSD"] == "quarantined"


def test_sixth_crash_quarantines_a_market_and_leaves_the_others_undisturbed(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--rate", "20")
    daemon = start_with_fault(workshop, Settings(url=simulator.url, database=sqlite, symbols=FIVE))
    status = daemon.wait_until(is_quarantined, what="quarantined")
    assert restarts(status) == dict.fromkeys(FIVE, 0) | {"EURUSD": MAX_RESTARTS}
    status = daemon.wait_until(
        lambda status: sorted(states(status).values()) == ["live"] * 4 + ["quarantined"], what="others live"
    )
    assert status["connections"][0]["restarts"] == 0


def test_crashing_market_loses_no_recorded_tick_and_a_probe_brings_it_back(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--rate", "20", "--fault", "silent@4")
    settings = Settings(url=simulator.url, database=sqlite, symbols=FIVE, probe_every_s=0.7)
    daemon = start_with_fault(workshop, settings)
    daemon.wait_until(is_quarantined, what="quarantined")
    (workshop.folder / "fault").unlink()
    daemon.wait_live()
    daemon.wait_until(
        lambda status: min(row["age_ms"] for row in status["markets"]) > 1_000, what="silent for 1 s"
    )
    assert daemon.stop() == 0
    simulator.stop()
    assert_stored_as_sent(sqlite, workshop.ledger, source="trades")


def test_probe_that_crashes_leaves_the_market_in_quarantine(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--rate", "20")
    daemon = start_with_fault(
        workshop, Settings(url=simulator.url, database=sqlite, symbols=FIVE, probe_every_s=0.5)
    )
    status = daemon.wait_until(
        lambda status: restarts(status)["EURUSD"] >= MAX_RESTARTS + 3 and is_quarantined(status),
        what="three probes",
    )
    assert {count for symbol, count in restarts(status).items() if symbol != "EURUSD"} == {0}


def test_clean_up_that_raises_does_not_break_the_stop(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    simulator = workshop.simulator("--rate", "20")
    daemon = workshop.faulty_daemon(
        Settings(url=simulator.url, database=sqlite, symbols=FIVE), fault=RAISES_IN_CLEAN_UP
    )
    daemon.wait_live()
    assert daemon.stop() == 0
    assert daemon.lines()[-1]["event"] == "stop"
    assert daemon.lines()[-1]["exit_code"] == 0
