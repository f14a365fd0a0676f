"""How a daemon's life ends, and what the next one says of it."""

import contextlib
import signal
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from control_groups import MIB, memory_group
from crash_evidence import read_journal
from daemons import CLOSED_PORT_URL, FIVE, MARKETD, Daemon, Settings, Start, Workshop, states, wait_until
from databases import SqliteDatabase

from domain.clock import now_us
from supervisor import run_record
from supervisor.life import boot_id

ENDS_THE_LOOP = """
import trio
from actors.writer import Writer

async def raise_soon(self):
    await trio.sleep(1.0)
    raise ZeroDivisionError("injected by a test")

Writer._trim = raise_soon
"""

RAISES_BESIDE_THE_TREE = """
from supervisor.daemon import Daemon

def raise_at_once(self):
    raise ZeroDivisionError("injected by a test")

Daemon._say_ready = raise_at_once
"""

HANGS = """
import os
os.environ["INVOCATION_ID"] = "0123abcd"
from supervisor.status import LoopLag

async def turn_for_ever(self):
    while True:
        pass

LoopLag.measure = turn_for_ever
"""

EATS_MEMORY = """
from supervisor.life import Life

async def eat(self):
    import trio
    eaten = []
    while True:
        await trio.sleep(0.01)
        eaten.append(bytearray(4 * 1024 * 1024))

Life.show_life = eat
"""


@pytest.fixture
def lonely(sqlite: SqliteDatabase) -> Settings:
    """A daemon that no venue answers: ready in a moment, and the same to us."""
    return Settings(url=CLOSED_PORT_URL, database=sqlite, symbols=FIVE)


def last_run(daemon: Daemon) -> dict[str, Any]:
    found = daemon.wait_ready()["last_run"]
    return dict(found)


def end_of_last(daemon: Daemon) -> tuple[str, str]:
    found = last_run(daemon)
    return found["end"], found["detail"]


def test_each_way_to_go_is_told_by_the_next_run(workshop: Workshop, lonely: Settings) -> None:
    daemon = workshop.daemon(lonely)
    assert last_run(daemon)["end"] == "first"
    assert daemon.stop() == 0
    daemon = workshop.daemon(lonely)
    assert end_of_last(daemon) == ("clean", "stopped on SIGTERM")
    daemon.kill()
    daemon = workshop.daemon(lonely)
    found = last_run(daemon)
    assert found["end"] == "killed"
    assert found["started_us"] <= found["ended_us"] <= daemon.status()["started_us"]
    assert "killed" in workshop.command("status").stdout
    assert daemon.stop(signal.SIGSEGV) == -signal.SIGSEGV
    daemon = workshop.daemon(lonely)
    end, detail = end_of_last(daemon)
    assert end == "crash"
    assert "Segmentation fault" in detail
    assert workshop.command("shutdown").returncode == 0
    daemon.wait()
    end, detail = end_of_last(workshop.daemon(lonely))
    assert end == "clean"
    assert "request of uid" in detail


@pytest.mark.parametrize("fault", [ENDS_THE_LOOP, RAISES_BESIDE_THE_TREE])
def test_a_crash_is_told_with_its_words(workshop: Workshop, lonely: Settings, fault: str) -> None:
    assert workshop.faulty_daemon(lonely, fault=fault).wait() == 1
    daemon = workshop.daemon(lonely)
    end, detail = end_of_last(daemon)
    assert end == "crash"
    assert "injected by a test" in detail
    assert daemon.has_said("last_run", level="error", state="crash")


def test_a_run_that_never_ended_before_another_boot_lost_its_power(
    workshop: Workshop, lonely: Settings
) -> None:
    fault = 'import os\nos.environ["MARKETD_BOOT_ID"] = "the boot before"'
    daemon = workshop.faulty_daemon(lonely, fault=fault)
    daemon.wait_ready()
    daemon.kill()
    assert last_run(workshop.daemon(lonely))["end"] == "power_loss"


def test_a_hang_that_the_watchdog_ended_is_told_with_its_place(workshop: Workshop, lonely: Settings) -> None:
    """The service manager's part, the signal and its word on it, is ours here."""
    daemon = workshop.faulty_daemon(lonely, fault=HANGS)
    wait_until((daemon.state_dir / run_record.FILE_NAME).exists, what="it lives")
    wait_until(lambda: daemon.cpu_s() > 1.0, what="it hangs")
    assert daemon.stop(signal.SIGABRT) == -signal.SIGABRT
    result = "SERVICE_RESULT=watchdog\nEXIT_CODE=killed\nEXIT_STATUS=ABRT\nINVOCATION_ID=0123abcd\n"
    (daemon.state_dir / run_record.SERVICE_RESULT_NAME).write_text(result)
    daemon = workshop.daemon(lonely)
    end, detail = end_of_last(daemon)
    assert end == "watchdog"
    assert "in turn_for_ever (faulty.py:" in detail
    wait_until(lambda: daemon.has_said("last_run", state="watchdog"), what="said")
    [said] = [line for line in daemon.lines() if line["event"] == "last_run"]
    assert "turn_for_ever" in said["traceback"]


def test_a_run_that_the_oom_killer_ended_says_so(workshop: Workshop, lonely: Settings) -> None:
    workshop.change(lonely)
    with memory_group() as group:
        group.limit(96 * MIB)
        eater = workshop.daemon_by(group.inside(workshop.faulty(EATS_MEMORY)))
        assert eater.wait() == -signal.SIGKILL
        assert group.kills() == 1
        daemon = workshop.daemon_by(group.inside([MARKETD, "run", "--config", workshop.config]))
        assert last_run(daemon)["end"] == "oom"
        assert daemon.stop() == 0


# --- what is saved ----------------------------------------------------------------------------


@contextlib.contextmanager
def locked(database: SqliteDatabase) -> Iterator[None]:
    """Keep everybody from storing."""
    with contextlib.closing(sqlite3.connect(database.target.path, isolation_level=None, timeout=30)) as lock:
        lock.execute("BEGIN IMMEDIATE").close()
        yield


def test_what_was_accepted_and_not_stored_is_counted_as_recovered(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    with locked(sqlite):
        accepted = daemon.status()["writer"]["accepted"]
        daemon.wait_until(lambda status: status["writer"]["accepted"] > accepted + 200, what="accepted")
        daemon.kill()
        [(stored,)] = sqlite.query("SELECT COUNT(*) FROM tick")
    waiting = len(read_journal(daemon.state_dir / "journal.db")) - stored  # nothing is trimmed yet
    assert waiting > 200
    daemon = workshop.daemon(attrs.evolve(settings, url=CLOSED_PORT_URL))
    status = daemon.wait_until(lambda status: status["last_run"]["recovered"]["ticks"], what="recovered")
    assert status["last_run"]["recovered"]["ticks"] == waiting
    wait_until(lambda: daemon.has_said("last_run", actor="writer", ticks=waiting), what="said")
    assert daemon.stop() == 0
    again = workshop.daemon(settings).wait_live()
    assert again["last_run"]["recovered"] == {"batches": 0, "ticks": 0}


# --- the pause --------------------------------------------------------------------------------


def write_bad_ends(state_dir: Path, *, bad_ends: int) -> None:
    """Leave the record of a run that was killed at once, after so many others that ended badly."""
    state_dir.mkdir(exist_ok=True)
    record = run_record.RunRecord(
        pid=1,
        boot_id=boot_id(),
        invocation_id="",
        started_us=now_us(),
        marketd="0",
        bad_ends=bad_ends,
        pause_s=3600.0,  # it was as long on the way as it likes
        memory_limit_bytes=None,
        oom_kills=None,
    )
    run_record.write(state_dir, record)


def test_after_many_bad_ends_nothing_is_dialled_until_the_pause_is_over(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    """Nor for lists and history, which a venue gives over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as venue:
        venue.setblocking(False)
        address = f"127.0.0.1:{venue.getsockname()[1]}"
        settings = Settings(
            url=f"ws://{address}/stream",
            database=sqlite,
            symbols=FIVE,
            venue=f'rest_url = "http://{address}"',
            backoff_min_s=3.0,
            backoff_max_s=3.0,
        )
        write_bad_ends(workshop.state_dir, bad_ends=9)
        daemon = workshop.daemon(settings)
        status = daemon.wait_ready()
        assert states(status) == dict.fromkeys(FIVE, "waiting")
        reason = "the last 10 runs ended badly and soon; first try in"
        assert {row["reason"].rpartition(" in ")[0] + " in" for row in status["markets"]} == {reason}
        assert reason in workshop.command("status").stdout
        assert daemon.has_said("start", level="warning")
        workshop.command("market", "restart", "all")
        with pytest.raises(BlockingIOError):
            venue.accept()
        assert reason in daemon.status()["markets"][0]["reason"]  # it was not over in between
        wait_until(lambda: has_dialled(venue), what="dialled")


def has_dialled(venue: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        venue.accept()[0].close()
        return True
    return False


def test_a_start_after_a_wanted_stop_waits_for_nothing(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    simulator = workshop.simulator("--rate", "20")
    settings = Settings(
        url=simulator.url, database=sqlite, symbols=FIVE, backoff_min_s=3600.0, backoff_max_s=3600.0
    )
    write_bad_ends(workshop.state_dir, bad_ends=9)
    daemon = workshop.daemon(settings)
    assert set(states(daemon.wait_ready()).values()) == {"waiting"}
    daemon.send(signal.SIGUSR1)
    wait_until((workshop.state_dir / "status.json").exists, what="looked at in the pause")
    assert daemon.stop() == 0
    workshop.daemon(settings).wait_live()


def test_the_simulation_with_its_token_comes_alive_after_the_pause(workshop: Workshop) -> None:
    write_bad_ends(workshop.state_dir, bad_ends=5)
    daemon = workshop.daemon_by([MARKETD, "run", "--simulated"])
    status = daemon.wait_until(lambda status: "live" in states(status).values(), what="the first is live")
    assert daemon.has_said("start", level="warning")
    assert {row["reason"] for row in status["markets"]} == {None}
    assert status["venues"][0]["token"]["state"] == "good"
