import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from notified import Manager

from supervisor.notify import Notifier, from_environment


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Both kinds of address that a service manager may listen on."""
    name = f"@marketd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    listening = Manager(name)
    yield listening
    listening.close()


def notifier_for(manager: Manager, *, watchdog_s: float | None = None) -> Notifier:
    return Notifier(address=manager.address, watchdog_s=watchdog_s)


def test_ready_comes_with_a_status(manager: Manager) -> None:
    notifier_for(manager).ready("27 of 27")
    assert manager.heard() == [{"READY": "1", "STATUS": "27 of 27"}]


def test_a_status_says_nothing_else(manager: Manager) -> None:
    notifier_for(manager).status("12 of 27")
    assert manager.heard() == [{"STATUS": "12 of 27"}]


def test_stopping_comes_with_a_status(manager: Manager) -> None:
    notifier_for(manager).stopping("on SIGTERM")
    assert manager.heard() == [{"STOPPING": "1", "STATUS": "on SIGTERM"}]


def test_reloading_says_since_when(manager: Manager) -> None:
    notifier_for(manager).reloading()
    [said] = manager.heard()
    assert said["RELOADING"] == "1"
    assert said["MONOTONIC_USEC"].isdecimal()


def test_a_ping_is_a_ping(manager: Manager) -> None:
    notifier_for(manager).alive()
    assert manager.heard() == [{"WATCHDOG": "1"}]


def test_a_longer_start_is_said_in_microseconds(manager: Manager) -> None:
    notifier_for(manager).extend_start(1.5)
    assert manager.heard() == [{"EXTEND_TIMEOUT_USEC": "1500000"}]


def test_a_line_break_in_a_status_begins_no_assignment(manager: Manager) -> None:
    notifier_for(manager).status("database down (gone\nMAINPID=1)")
    assert manager.heard() == [{"STATUS": "database down (gone MAINPID=1)"}]


def test_a_status_that_is_not_unicode_is_sent_as_well_as_can_be(manager: Manager) -> None:
    notifier_for(manager).status("file \udcff")
    assert manager.heard() == [{"STATUS": "file ?"}]


@pytest.mark.parametrize("address", ["", "/nobody/listens/here", "@nobody-listens-here", "/" + "x" * 300])
def test_nobody_listening_hinders_nothing(address: str) -> None:
    Notifier(address=address, watchdog_s=None).ready("ready")


def test_a_manager_that_does_not_read_hinders_nothing(manager: Manager) -> None:
    notifier = notifier_for(manager)
    for _ in range(10_000):  # more than any queue of datagrams holds
        notifier.alive()
    assert len(manager.heard()) < 10_000


# --- what the service manager asks of us -----------------------------------------------------------

WATCHDOGS = [
    ({"WATCHDOG_USEC": "4000000"}, 4.0),
    ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 4.0),
    ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, None),
    ({"WATCHDOG_USEC": "0"}, None),
    ({"WATCHDOG_USEC": "soon"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("environment", "watchdog_s"), WATCHDOGS)
def test_the_watchdog_is_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], watchdog_s: float | None
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert from_environment().watchdog_s == watchdog_s
