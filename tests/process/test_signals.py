"""The operating system's signals, sent to a real daemon."""

import json
import os
import signal
from pathlib import Path

import attrs
from daemons import (
    FIVE,
    MOST_THREADS,
    Daemon,
    Settings,
    Start,
    Status,
    Workshop,
    restarts,
    states,
    wait_until,
)
from databases import MariadbDatabase, SqliteDatabase

# DESIGN §7, word by word: others rely on it
TOP = (
    "written_us version pid started_us mode ready markets venues connections writer mailboxes trading "
    "process last_run log"
)
MARKET = (
    "id symbol venue state desired reason last_tick_us age_ms price ticks duplicates restarts gaps next_try_s"
)
VENUE = "name protocol listed_us markets open skew_ms token"
CONNECTION = "name venue state reason markets frames unknown_frames new_fields restarts rtt_ms"
WRITER = (
    "accepted stored dropped journal_batches journal_bytes unjournaled days_until_full db db_reason "
    "statements connects"
)
MAILBOX = "used bound peak dropped"
TRADING = (
    "mode currency balance drain kill_switch is_ready reason open unknown open_real trades_today "
    "realised_today paused_until_us limits ladders strategies"
)
PROCESS = "rss_bytes memory_limit_bytes is_memory_short threads tasks fds loop_lag_ms"


def names(text: str) -> set[str]:
    return set(text.split())


def check_contract(status: Status) -> None:
    """Fail unless a status has exactly the names of the contract."""
    assert set(status) == names(TOP)
    assert {frozenset(row) for row in status["markets"]} == {frozenset(names(MARKET))}
    assert {frozenset(row) for row in status["venues"]} == {frozenset(names(VENUE))}
    assert {frozenset(row) for row in status["connections"]} == {frozenset(names(CONNECTION))}
    assert set(status["writer"]) == names(WRITER)
    assert {frozenset(box) for box in status["mailboxes"].values()} == {frozenset(names(MAILBOX))}
    assert set(status["process"]) == names(PROCESS)
    assert set(status["trading"]) == names(TRADING)


def read_status(daemon: Daemon) -> Status:
    found: Status = json.loads((daemon.state_dir / "status.json").read_bytes())
    return found


# --- SIGUSR1 ----------------------------------------------------------------------------------


def test_sigusr1_writes_every_name_of_the_contract(sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    daemon.send(signal.SIGUSR1)
    wait_until((daemon.state_dir / "status.json").exists, what="status.json written")
    status = read_status(daemon)
    check_contract(status)
    assert status["pid"] == daemon.pid
    assert names("writer/ticks writer/events market/EURUSD@sim") < set(status["mailboxes"])
    check_contract(daemon.status())


def test_sigusr1_writes_the_status_every_time(sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    written: set[int] = set()
    while len(written) < 3:
        daemon.send(signal.SIGUSR1)
        wait_until(
            lambda: (
                (daemon.state_dir / "status.json").exists()
                and read_status(daemon)["written_us"] not in written
            ),
            what="status.json written anew",
        )
        written.add(read_status(daemon)["written_us"])


def test_ten_thousand_sigusr1_change_nothing_else(sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    before = daemon.status()
    for _ in range(10_000):
        os.kill(daemon.pid, signal.SIGUSR1)
    after = daemon.wait_until(
        lambda status: status["writer"]["stored"] > before["writer"]["accepted"] + 100, what="ticks go on"
    )
    assert restarts(after) == dict.fromkeys(FIVE, 0)
    assert states(after) == dict.fromkeys(FIVE, "live")
    assert after["connections"][0]["restarts"] == 0
    assert after["process"]["fds"] <= before["process"]["fds"]
    assert after["process"]["threads"] <= MOST_THREADS
    assert after["process"]["rss_bytes"] < before["process"]["rss_bytes"] + 8 * 2**20
    of_status = [line for line in daemon.lines() if line["event"] == "status"]
    assert 0 < len(of_status) <= 3 * (len(FIVE) + 2)  # a line per child, at most every 10 s
    assert daemon.stop() == 0


def test_signals_in_the_first_moment_kill_nobody(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    daemon = workshop.daemon(Settings(url="ws://127.0.0.1:1/stream", database=sqlite, symbols=FIVE))
    wait_until(lambda: catches(daemon, signal.SIGUSR1), what="handlers installed")
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
        daemon.send(number)
    status = daemon.wait_until(
        lambda status: status["ready"] and status["trading"]["drain"], what="ready, and drain as asked"
    )
    assert states(status) == dict.fromkeys(FIVE, "waiting")
    wait_until((daemon.state_dir / "status.json").exists, what="status.json as asked")


def catches(daemon: Daemon, number: int) -> bool:
    """Return whether a process has a handler for this signal: proc_pid_status(5), SigCgt."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        name, _, mask = line.partition(":")
        if name == "SigCgt":
            return bool(int(mask, 16) >> (number - 1) & 1)
    return False


def test_sigterm_in_the_first_moment_ends_it_in_order(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    daemon = workshop.daemon(Settings(url="ws://127.0.0.1:1/stream", database=sqlite, symbols=FIVE))
    wait_until(lambda: catches(daemon, signal.SIGTERM), what="handlers installed")
    assert daemon.stop() == 0


def test_sigusr1_during_the_stop_does_not_spoil_it(sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    daemon.send(signal.SIGTERM)
    while daemon.is_running:
        daemon.send(signal.SIGUSR1)
        daemon.send(signal.SIGHUP)
    assert daemon.wait() == 0


# --- SIGUSR2 ----------------------------------------------------------------------------------


def is_draining(status: Status) -> bool:
    return bool(status["trading"]["drain"])


def test_sigusr2_turns_drain_on_and_never_off(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    daemon.send(signal.SIGUSR2)
    daemon.wait_until(is_draining, what="draining")
    daemon.send(signal.SIGUSR2)
    daemon.send(signal.SIGUSR1)  # comes after it, and shows in a file
    wait_until((daemon.state_dir / "status.json").exists, what="status.json written")
    assert is_draining(daemon.status())
    assert daemon.stop() == 0
    again = workshop.daemon(settings)
    assert is_draining(again.wait_ready())
    assert workshop.command("drain", "off").returncode == 0
    assert not is_draining(again.status())


# --- SIGHUP -----------------------------------------------------------------------------------


def test_sighup_with_a_broken_file_changes_nothing_and_names_the_fault(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    workshop.change(attrs.evolve(settings, symbols=("EURUSD",), more="stale_after_sec = 1"))
    daemon.send(signal.SIGHUP)
    wait_until(lambda: daemon.has_said("reload", level="error"), what="refused")
    [said] = [line["message"] for line in daemon.lines() if line["event"] == "reload"]
    assert str(workshop.config) in said
    assert "stale_after_sec" in said
    status = daemon.status()
    assert states(status) == dict.fromkeys(FIVE, "live")
    assert restarts(status) == dict.fromkeys(FIVE, 0)


def test_sighup_with_a_new_market_starts_just_that_one(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    before = daemon.status()
    workshop.change(attrs.evolve(settings, symbols=(*FIVE, "EURCHF")))
    daemon.send(signal.SIGHUP)
    after = daemon.wait_until(
        lambda status: states(status) == dict.fromkeys((*FIVE, "EURCHF"), "live"), what="the new one live"
    )
    assert restarts(after) == dict.fromkeys((*FIVE, "EURCHF"), 0)
    [connection] = after["connections"]
    assert connection["restarts"] == 0
    assert connection["frames"] > before["connections"][0]["frames"]


def test_sighup_without_a_market_stops_just_that_one(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    workshop.change(attrs.evolve(settings, symbols=FIVE[1:]))
    daemon.send(signal.SIGHUP)
    before = daemon.wait_until(lambda status: set(states(status)) == set(FIVE[1:]), what="gone")
    after = daemon.wait_until(
        lambda status: status["writer"]["stored"] > before["writer"]["accepted"] + 50, what="ticks go on"
    )
    assert restarts(after) == dict.fromkeys(FIVE[1:], 0)
    assert after["connections"][0]["restarts"] == 0


def test_sighup_before_the_daemon_is_ready_is_obeyed_when_it_is(
    workshop: Workshop, mariadb: MariadbDatabase
) -> None:
    simulator = workshop.simulator("--rate", "20")
    settings = Settings(url=simulator.url, database=mariadb, symbols=FIVE)
    mariadb.server.pause()  # so the first contact takes its two seconds
    daemon = workshop.daemon(settings)
    wait_until(lambda: daemon.has_said("start"), what="started")
    workshop.change(attrs.evolve(settings, symbols=(*FIVE[1:], "EURCHF")))
    daemon.send(signal.SIGHUP)
    daemon.wait_until(
        lambda status: states(status) == dict.fromkeys((*FIVE[1:], "EURCHF"), "live"),
        what="live as the new settings say",
    )
    mariadb.server.resume()
    assert daemon.stop() == 0


def test_sighup_during_the_stop_does_not_spoil_it(
    workshop: Workshop, mariadb: MariadbDatabase, start: Start
) -> None:
    daemon, settings = start(mariadb)
    mariadb.server.pause()  # so the stop takes its time
    daemon.wait_until(
        lambda status: status["writer"]["accepted"] > status["writer"]["stored"], what="waiting"
    )
    daemon.send(signal.SIGTERM)
    wait_until(lambda: daemon.has_said("stop"), what="stopping")
    wait_until(lambda: not (daemon.state_dir / "control.sock").exists(), what="the feeds are stopped")
    workshop.change(attrs.evolve(settings, symbols=(*FIVE, "EURCHF")))
    daemon.send(signal.SIGHUP)
    mariadb.server.resume()
    assert daemon.wait() == 0
