"""What the service says of how its last run ended, with systemd's own word on it."""

from typing import Any

from service import Service

QUICK = "RestartSec=100ms"

HANGS_ON_DRAIN = """
from supervisor.operator import Operator
async def hang(self, *, is_on):
    while True:
        pass
Operator.set_drain = hang
"""

CRASHES_ON_DRAIN = """
import os
from supervisor.operator import Operator
async def leave(self, *, is_on):
    os._exit(3)
Operator.set_drain = leave
"""


def last_run(service: Service, *, restarts: int) -> dict[str, Any]:
    service.wait_shown("NRestarts", str(restarts))
    service.wait_shown("ActiveState", "active")
    status = service.wait_until(lambda status: status["ready"], what="ready")
    return dict(status["last_run"])


def test_a_kill_and_a_stop_are_told_by_the_next_run(service: Service) -> None:
    service.drop_in(QUICK)
    service.start()
    assert last_run(service, restarts=0)["end"] == "first"
    service.kill("SIGKILL")
    found = last_run(service, restarts=1)
    assert (found["end"], found["detail"]) == ("killed", "by SIGKILL")
    assert found["started_us"] < found["ended_us"] < service.status()["started_us"]
    service.stop()
    service.start()
    found = last_run(service, restarts=0)
    assert (found["end"], found["detail"]) == ("clean", "stopped on SIGTERM")
    service.wait_said("the last run ended: clean")


def test_the_watchdog_is_told_with_the_place_of_the_hang(service: Service) -> None:
    service.start_with(HANGS_ON_DRAIN, f"WatchdogSec=2\n{QUICK}")
    service.kill("SIGUSR2")
    found = last_run(service, restarts=1)
    assert found["end"] == "watchdog"
    assert "in hang (faulty.py:" in found["detail"]


def test_a_crash_without_a_word_is_told_with_its_exit_code(service: Service) -> None:
    service.start_with(CRASHES_ON_DRAIN, QUICK)
    service.kill("SIGUSR2")
    found = last_run(service, restarts=1)
    assert (found["end"], found["detail"]) == ("crash", "exit code 3, without a word")
