"""journald hangs under load: no stall, nothing above the bound, what was dropped is counted and said."""

import time

import pytest
from daemons import (
    CLOSED_PORT_URL,
    MARKETD,
    Daemon,
    Settings,
    Status,
    Workshop,
    assert_stored_as_sent,
    wait_until,
)
from databases import SqliteDatabase
from journald import Journald

from domain.events import Event
from supervisor.log_writer import BACKLOG_ENTRIES

LAG_GUARD_MS = 1_000.0  # a loop that waited for journald would not turn at all
# Markets of a venue that is not there: stopping and starting one is said at the level debug.
AWAY = [f"AWAY{n:03}" for n in range(200)]
VENUE_AWAY = f"""
[venues.away]
protocol = "binance"
url = "{CLOSED_PORT_URL}"
[[markets]]
venue = "away"
symbols = {AWAY}
"""


def of_sim(status: Status) -> set[str]:
    return {row["state"] for row in status["markets"] if row["venue"] == "sim"}


def dropped_as_said(journald: Journald) -> int:
    return sum(int(entry["DROPPED"]) for entry in journald.entries(f"EVENT={Event.LOG}"))


def start(workshop: Workshop, journald: Journald, settings: Settings) -> Daemon:
    workshop.change(settings)
    return workshop.daemon_by(journald.service(MARKETD, "run", "--config", workshop.config))


def say_much(daemon: Daemon) -> None:
    """Have it log two hundred entries and more."""
    ids = [f"{symbol}@away" for symbol in AWAY]
    daemon.ask("market", action="stop", markets=ids)
    daemon.ask("market", action="start", markets=ids)


def check_well(daemon: Daemon, *, stored: int) -> int:
    """Fail unless it does its work although its log is stuck; return how many ticks are stored now."""
    status = daemon.wait_until(lambda found: found["writer"]["stored"] > stored, what="more ticks stored")
    assert status["log"]["waiting"] <= BACKLOG_ENTRIES
    assert status["process"]["loop_lag_ms"] < LAG_GUARD_MS
    assert of_sim(status) == {"live"}
    return int(status["writer"]["stored"])


@pytest.mark.parametrize("stopped_s", [1.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_a_stopped_journald_stalls_nothing_and_what_was_dropped_is_said(
    workshop: Workshop, sqlite: SqliteDatabase, journald: Journald, stopped_s: float
) -> None:
    simulator = workshop.simulator("--rate", "10")
    settings = Settings(url=simulator.url, database=sqlite, log_level="debug", more=VENUE_AWAY)
    daemon = start(workshop, journald, settings)
    daemon.wait_until(lambda status: of_sim(status) == {"live"}, what="27 markets live")
    journald.pause()
    end, stored = time.monotonic() + stopped_s, 0
    while time.monotonic() < end or not daemon.status()["log"]["dropped"]:
        say_much(daemon)
        stored = check_well(daemon, stored=stored)
    journald.go_on()
    daemon.wait_until(lambda status: status["log"]["waiting"] == 0, what="the backlog is written")
    wait_until(
        lambda: dropped_as_said(journald) == daemon.status()["log"]["dropped"], what="all drops are said"
    )
    assert daemon.stop() == 0
    simulator.stop()
    assert_stored_as_sent(sqlite, workshop.ledger, source="trades")
