"""`marketd run --background`, by real processes, sessions and terminals."""

import contextlib
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from daemons import CLOSED_PORT_URL, FIVE, MARKETD, WITHIN_S, Running, Settings, Workshop, wait_until
from databases import SqliteDatabase

from supervisor.client import NoAnswer, NotRunning, ask
from supervisor.daemon import SECOND_STOP_S
from supervisor.lock import holder

RAISES_WHEN_READY = """
from supervisor.daemon import Daemon

def raise_at_once(self):
    raise ZeroDivisionError("injected by a test")

Daemon._say_ready = raise_at_once
"""

STARTS_SLOWLY = """
import time
from supervisor.life import Life

begin = Life.begin

def begin_slowly(self, settings):
    begin(self, settings)
    time.sleep(1.0)

Life.begin = begin_slowly
"""

HAS_NO_PATIENCE = f"""{STARTS_SLOWLY}
from supervisor import background

background.READY_WITHIN_S = 0.3
"""

HAS_SMALL_LOGS = """
from supervisor.log_file import FileOutput

FileOutput.__init__.__kwdefaults__["most_bytes"] = 300
"""


@attrs.frozen
class Background:
    """Starts daemons in the background of one workshop."""

    workshop: Workshop

    @property
    def state_dir(self) -> Path:
        return self.workshop.state_dir

    @property
    def pid_file(self) -> Path:
        return self.state_dir / "marketd.pid"

    def command(self, *words: str | Path) -> list[str | Path]:
        config = ["run", "--config", self.workshop.config]
        return [MARKETD, *config, "--background", "--state-dir", self.state_dir, *words]

    def faulty(self, fault: str) -> list[str | Path]:
        return [*self.workshop.faulty(fault), "--background", "--state-dir", self.state_dir]

    def start(
        self, command: Sequence[str | Path], *, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run it and return when it does; what it prints is at an end then."""
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=WITHIN_S,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip

    def is_ready(self) -> bool:
        try:
            return bool(ask(self.state_dir, "status")["ready"])
        except (NotRunning, NoAnswer):
            return False

    def log(self) -> str:
        return (self.state_dir / "marketd.log").read_text()

    def wait_gone(self) -> None:
        wait_until(lambda: holder(self.state_dir) is None, what="gone")


@pytest.fixture
def background(workshop: Workshop, sqlite: SqliteDatabase) -> Iterator[Background]:
    """Settings of a daemon that no venue answers; what is left of it is ended."""
    workshop.change(Settings(url=CLOSED_PORT_URL, database=sqlite, symbols=FIVE))
    found = Background(workshop)
    yield found
    for pid in (holder(found.state_dir), holder(workshop.folder / "other")):
        if pid:
            os.kill(pid, signal.SIGKILL)


def test_it_returns_when_the_daemon_is_ready_and_the_pid_file_ends_it(background: Background) -> None:
    done = background.start(background.command())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert background.is_ready()
    pid = int(background.pid_file.read_text())
    assert holder(background.state_dir) == pid
    assert "ready; 5 of 5 markets" in background.log()
    os.kill(pid, signal.SIGTERM)
    background.wait_gone()
    assert not background.pid_file.exists()
    assert "stopping on SIGTERM" in background.log()


def test_the_simulation_runs_in_the_background_and_shutdown_ends_it(background: Background) -> None:
    command = [MARKETD, "run", "--simulated", "--background", "--state-dir", background.state_dir]
    assert background.start(command).returncode == 0
    assert background.is_ready()
    assert background.workshop.command("shutdown").returncode == 0
    assert not background.pid_file.exists()


def test_wrong_settings_are_told_to_the_caller(background: Background) -> None:
    background.workshop.config.write_text("[service]\nlog_levle = 1\n")
    done = background.start(background.command())
    assert done.returncode == 78
    assert "log_levle" in done.stderr
    assert holder(background.state_dir) is None


def test_a_crash_before_it_is_ready_is_told_to_the_caller(background: Background) -> None:
    done = background.start(background.faulty(RAISES_WHEN_READY))
    assert done.returncode == 1
    assert "injected by a test" in done.stderr
    assert "injected by a test" in background.log()
    assert not background.pid_file.exists()


def test_a_second_one_is_refused_and_told_the_pid_of_the_first(background: Background) -> None:
    background.start(background.command())
    pid = background.pid_file.read_text()
    done = background.start(background.command())
    assert done.returncode == 1
    assert f"pid {pid.strip()}" in done.stderr
    assert background.pid_file.read_text() == pid
    assert background.is_ready()


def test_a_pid_file_in_use_elsewhere_is_refused_and_a_stale_one_overwritten(
    background: Background, tmp_path: Path
) -> None:
    file = tmp_path / "of both"
    background.start(background.command("--pid-file", file))
    pid = int(file.read_text())
    other = background.command("--pid-file", file, "--state-dir", tmp_path / "other")
    done = background.start(other)
    assert done.returncode == 1
    assert f"pid {pid}" in done.stderr
    os.kill(pid, signal.SIGKILL)
    background.wait_gone()
    assert int(file.read_text()) == pid
    assert background.start(other).returncode == 0
    assert int(file.read_text()) == holder(tmp_path / "other")


def test_a_caller_that_gives_up_says_so_and_leaves_the_daemon_to_start(background: Background) -> None:
    done = background.start(background.faulty(HAS_NO_PATIENCE))
    assert done.returncode == 1
    assert "marketd status" in done.stderr
    wait_until(background.is_ready, what="ready after all")


def test_an_interrupt_of_the_caller_ends_the_daemon_that_starts(background: Background) -> None:
    command = background.faulty(STARTS_SLOWLY)
    caller = Running(command, log=background.workshop.folder / "caller.log")
    try:
        wait_until((background.state_dir / "run.json").exists, what="it starts")
        assert caller.stop(signal.SIGINT) == 1
    finally:
        caller.kill()
    assert holder(background.state_dir) is None


def test_one_that_leaves_at_once_leaves_no_pid_file(background: Background, sqlite: SqliteDatabase) -> None:
    assert background.start(background.command()).returncode == 0
    pid = int(background.pid_file.read_text())
    with contextlib.closing(sqlite3.connect(sqlite.target.path, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE").close()  # so the stop takes its time
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: "stopping on SIGTERM" in background.log(), what="stopping")
        begun_at = time.monotonic()
        wait_until(lambda: time.monotonic() > begun_at + SECOND_STOP_S + 0.1, what="a second later")
        os.kill(pid, signal.SIGTERM)
        background.wait_gone()
    assert "left at once on a second SIGTERM" in background.log()
    assert not background.pid_file.exists()


def test_a_pid_file_is_written_in_the_foreground_too(background: Background, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    config = background.workshop.config
    daemon = background.workshop.daemon_by([MARKETD, "run", "--config", config, "--pid-file", file])
    daemon.wait_ready()
    assert int(file.read_text()) == daemon.pid
    assert daemon.stop() == 0
    assert not file.exists()


def test_a_log_that_is_full_is_put_aside(background: Background) -> None:
    command = background.faulty(HAS_SMALL_LOGS)
    assert background.start(command).returncode == 0
    wait_until((background.state_dir / "marketd.log.2").exists, what="put aside twice")
    assert background.is_ready()


# --- what it inherits -------------------------------------------------------------------------


def test_it_holds_nothing_open_that_was_its_callers(background: Background) -> None:
    reading, writing = os.pipe()
    subprocess.run(background.command(), pass_fds=[writing], check=True, timeout=WITHIN_S)
    os.close(writing)
    assert os.read(reading, 1) == b""  # the end of the pipe
    os.close(reading)
    assert background.is_ready()


def test_it_does_not_speak_to_its_callers_service_manager(background: Background, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        done = background.start(background.command(), environment={"NOTIFY_SOCKET": address})
        assert done.returncode == 0
        with pytest.raises(BlockingIOError):
            manager.recv(1_000)


def test_a_terminal_that_closes_does_not_reach_it(background: Background) -> None:
    """SIGHUP, which the terminal sends to the caller's session, would reload the settings."""
    controlling, terminal = pty.openpty()
    script = '"$@"; echo returned $?; exec sleep 1000'
    shell = subprocess.Popen(
        ["setsid", "--ctty", "/bin/sh", "-c", script, "sh", *background.command()],
        stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):
        while b"returned" not in said:
            said += os.read(controlling, 1_000)
    assert b"returned 0" in said
    pid = int(background.pid_file.read_text())
    assert os.getsid(pid) not in (shell.pid, os.getsid(0))
    os.close(controlling)
    assert shell.wait(timeout=WITHIN_S) == -signal.SIGHUP  # it was sent
    os.kill(pid, signal.SIGUSR1)
    wait_until((background.state_dir / "status.json").exists, what="it lives")
    assert "reload" not in background.log()
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "settings reloaded" in background.log(), what="it reloads when it is asked to")
