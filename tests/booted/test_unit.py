"""The service's life under a really booted systemd."""

import json
import time

import pytest
from crash_evidence import read_candles, read_gaps, read_handed, read_journal
from crash_oracle import Evidence, Life, judge
from crashing import TIMEFRAMES_S, WINDOW_US
from daemons import assert_stored_as_sent, differences, read_ledger, read_stored
from databases import stored_ticks
from service import STATE_DIR, Service

from domain.clock import now_us

GUARD_US = 3 * WINDOW_US  # against hanging; the benchmark holds it to the window itself
A_MINUTE_S, TEN_MINUTES_S = 60.0, 600.0


SLOW_START = """
import time
from storage.acceptor import Acceptor
from supervisor import daemon
daemon.TELL_EVERY_S = 0.5
open_now = Acceptor.open
def open_late(self):
    time.sleep(5.0)
    return open_now(self)
Acceptor.open = open_late
"""


def endures_without_venue_and_database(service: Service, *, for_s: float) -> None:
    """Fail unless it is ready at once, stays so for long, and is live as soon as both have come."""
    service.machine.run("systemctl", "stop", "mariadb")
    service.start()
    pid = service.pid
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        status = service.wait_until(lambda status: status["ready"], what="ready")
        assert status["writer"]["db"] == "down"
        assert (service.show("ActiveState"), service.show("NRestarts"), service.pid) == ("active", "0", pid)
        time.sleep(5.0)  # what is asked is that nothing happens
    service.venue("--rate", "20")
    service.machine.run("systemctl", "start", "mariadb")
    status = service.wait_live()
    assert len(status["markets"]) == 27
    service.wait_until(lambda status: status["writer"]["db"] == "up", what="the database is up")
    service.wait_until(lambda status: status["writer"]["stored"] > 1_000, what="1,000 ticks stored")
    service.stop()
    assert (service.show("Result"), service.show("NRestarts")) == ("success", "0")
    assert_stored_as_sent(service.database, service.ledger, source="trades")


def test_ready_while_venue_and_database_are_down_and_live_as_soon_as_they_come(service: Service) -> None:
    endures_without_venue_and_database(service, for_s=A_MINUTE_S)


@pytest.mark.soak
def test_ten_minutes_without_venue_and_database_restart_nothing(service: Service) -> None:
    endures_without_venue_and_database(service, for_s=TEN_MINUTES_S)


def test_stop_is_an_ordered_one(service: Service) -> None:
    service.venue("--rate", "20")
    service.start()
    service.wait_live()
    invocation = service.show("InvocationID")
    service.stop()
    assert service.show("Result") == "success"
    assert (service.show("ExecMainCode"), service.show("ExecMainStatus")) == ("1", "0")  # CLD_EXITED
    assert service.result() == {
        "SERVICE_RESULT": "success",
        "EXIT_CODE": "exited",
        "EXIT_STATUS": "0",
        "INVOCATION_ID": invocation,
    }
    assert not service.machine.path("/run/marketd").exists()
    assert_stored_as_sent(service.database, service.ledger, source="trades")
    code, said = service.command("status")
    assert (code, said) == (3, f"marketd is not running in {STATE_DIR}\n")


def test_stop_beside_a_database_that_hangs_is_an_ordered_one(service: Service) -> None:
    service.venue("--rate", "20")
    service.start()
    service.wait_live()
    service.machine.run("systemctl", "kill", "--signal=STOP", "mariadb")
    try:
        service.stop()
        assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    finally:
        service.machine.run("systemctl", "kill", "--signal=CONT", "mariadb")
    service.start()
    assert service.status()["last_run"]["end"] == "clean"
    service.stop()
    stored, sent = read_stored(service.database, source="trades"), read_ledger(service.ledger)
    assert differences(stored, sent)["missing"] == []


def test_start_that_takes_long_is_given_the_time(service: Service) -> None:
    service.start_with(SLOW_START, "TimeoutStartSec=2")
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("active", "0")


def test_shutdown_by_command_is_not_undone_by_a_restart(service: Service) -> None:
    service.start()
    assert service.command("shutdown")[0] == 0
    service.wait_shown("ActiveState", "inactive")
    assert (service.show("Result"), service.show("NRestarts")) == ("success", "0")


def test_end_that_cannot_be_written_down_is_no_failure(service: Service) -> None:
    service.start()
    service.machine.run("mkdir", f"{STATE_DIR}/service-result")  # in its way, as a full disk is
    assert service.command("shutdown")[0] == 0
    service.wait_shown("ActiveState", "inactive")
    assert (service.show("Result"), service.show("NRestarts")) == ("success", "0")


def test_every_run_knows_the_boot_it_belongs_to(service: Service) -> None:
    service.start()
    run = json.loads(service.machine.path(f"{STATE_DIR}/run.json").read_bytes())
    boot_id = service.machine.said("cat", "/proc/sys/kernel/random/boot_id")
    assert run["boot_id"].replace("-", "") == boot_id.replace("-", "")
    assert run["invocation_id"] == service.show("InvocationID")


def test_faulty_settings_are_not_started_again(service: Service) -> None:
    service.configure(more="unknown = 1")
    assert service.machine.run("systemctl", "start", "marketd", check=False).returncode != 0
    service.wait_shown("ActiveState", "failed")
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    service.wait_said("unknown")
    assert service.result()["EXIT_STATUS"] == "78"


def test_crash_is_followed_by_a_start_time_and_again(service: Service) -> None:
    service.start_with("", "RestartSec=100ms")
    for number in range(1, 9):  # more than systemd's own limit of starts would allow
        service.kill("SIGKILL")
        service.wait_shown("NRestarts", str(number))
        service.wait_shown("ActiveState", "active")
        service.wait_until(lambda status: status["ready"], what="ready")


# --- SIGKILL ----------------------------------------------------------------------------------


def test_sigkill_and_the_restart_lose_nothing_that_was_accepted(service: Service) -> None:
    service.configure(storage=f"timeframes_s = {list(TIMEFRAMES_S)}")
    service.drop_in("RestartSec=2")  # long enough to look at what it left
    service.venue("--rate", "20")
    service.start()
    started_us = now_us()
    service.wait_live()
    service.wait_until(lambda status: status["writer"]["stored"] > 1_000, what="1,000 ticks stored")
    service.kill("SIGKILL")
    service.wait_shown("SubState", "auto-restart")
    killed_us = now_us()
    accepted = read_journal(service.machine.path(f"{STATE_DIR}/journal.db"))
    service.wait_shown("NRestarts", "1")
    assert service.wait_live()["last_run"]["end"] == "killed"
    stored = service.status()["writer"]["stored"]
    service.wait_until(lambda status: status["writer"]["stored"] > stored + 1_000, what="1,000 more")
    restarted_us = life_began_us(service)
    service.stop()
    verdict = judge(
        Evidence(
            handed=read_handed(service.ledger),
            stored=stored_ticks(service.database),
            gaps=read_gaps(service.database),
            candles=read_candles(service.database),
            timeframes_s=TIMEFRAMES_S,
            lives=[
                Life(
                    name="killed",
                    started_us=started_us,
                    ended_us=killed_us,
                    was_killed=True,
                    accepted=accepted,
                ),
                Life(name="stopped", started_us=restarted_us, ended_us=now_us(), was_killed=False),
            ],
            window_us=GUARD_US,
        )
    )
    assert list(verdict.complaints) == []
    assert len(accepted) > 0
    assert service.result()["SERVICE_RESULT"] == "success"


def life_began_us(service: Service) -> int:
    started: int = service.status()["started_us"]
    return started


# --- the watchdog -----------------------------------------------------------------------------

QUICK_WATCHDOG = "WatchdogSec=2\nRestartSec=100ms"

HANGS_ON_DRAIN = """
from supervisor.operator import Operator
async def hang(self, *, is_on):
    while True:
        pass
Operator.set_drain = hang
"""

STOPS_ACCEPTING = """
import trio
from actors.accepting import Accepting
drain, count = Accepting._drain_events, iter(range(20))
take = Accepting.accept
async def lose_the_way(self):
    if next(count, None) is None:
        self.due_at = trio.current_time()
        await trio.sleep_forever()
    return await take(self)
Accepting.accept = lose_the_way
"""

SLOW_DISK = """
import time
from storage.acceptor import Acceptor
accept = Acceptor.accept
def wait_and_accept(self, **rows):
    time.sleep(3.0)
    return accept(self, **rows)
Acceptor.accept = wait_and_accept
"""


def test_hung_loop_is_ended_by_the_watchdog(service: Service) -> None:
    service.start_with(HANGS_ON_DRAIN, QUICK_WATCHDOG)
    service.kill("SIGUSR2")
    service.wait_shown("NRestarts", "1")
    service.wait_until(lambda status: status["ready"], what="ready again")
    assert service.result()["SERVICE_RESULT"] == "watchdog"
    service.wait_said("Watchdog timeout")
    last_run = service.status()["last_run"]
    assert last_run["end"] == "watchdog"
    assert "hang" in json.dumps(service.entries("EVENT=last_run"))  # the line in which it hung


def test_task_that_hangs_beside_a_sound_loop_is_said_and_ended_by_the_watchdog(service: Service) -> None:
    service.start_with(STOPS_ACCEPTING, QUICK_WATCHDOG)
    service.wait_shown("NRestarts", "1")
    assert service.result()["SERVICE_RESULT"] == "watchdog"
    service.wait_said("accepting does not turn any more")


def test_disk_that_takes_longer_than_the_watchdog_waits_ends_nobody(service: Service) -> None:
    service.start_with(SLOW_DISK, QUICK_WATCHDOG)
    service.venue("--rate", "20")
    # each append takes longer than the watchdog waits
    service.wait_until(lambda status: status["writer"]["accepted"] > 1_000, what="two appends are through")
    assert (service.show("NRestarts"), service.show("ActiveState")) == ("0", "active")
