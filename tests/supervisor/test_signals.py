import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from supervisor import signals

GUARD_S = 60.0  # against hanging
MARKETD = [sys.executable, "-c", "import sys; from supervisor.cli import main; sys.exit(main())"]

# A child that gets a signal at each import of the command, from the first one on.
SIGNAL_AT_EVERY_IMPORT = """
import os, signal, sys
import supervisor.cli

class SignalsAtEveryImport:
    def find_spec(self, name, path, target=None):
        os.kill(os.getpid(), number)

number = getattr(signal, sys.argv.pop(1))
sys.meta_path.insert(0, SignalsAtEveryImport())
sys.exit(supervisor.cli.main())
"""
RUN = ("run", "--simulated", "--state-dir")


def run_child(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=GUARD_S
    )


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal, by the kernel's word."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1]
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_during_the_imports_stops_in_order(tmp_path: Path, name: str) -> None:
    done = run_child(SIGNAL_AT_EVERY_IMPORT, name, *RUN, str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM"])
def test_a_harmless_signal_during_the_imports_kills_nobody(tmp_path: Path, name: str) -> None:
    # A command line that ends by itself once all is imported: the state directory is a file.
    (tmp_path / "file").touch()
    done = run_child(SIGNAL_AT_EVERY_IMPORT, name, *RUN, str(tmp_path / "file"))
    assert done.returncode == 78, done.stderr


def test_nothing_slow_is_imported_before_the_handlers_stand() -> None:
    done = run_child("import sys, supervisor.cli; print(*sys.modules)")
    slow = {"trio", "attrs", "attr", "msgspec", "argparse", "logging", "asyncio", "ssl", "socket"}
    assert slow.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_hail_of_harmless_signals_from_start_to_end_changes_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen([*MARKETD, *RUN, str(tmp_path)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + GUARD_S
        while not catches(process.pid, number):  # before that it is the interpreter's own start
            assert time.monotonic() < deadline
        is_over = threading.Event()

        def hail() -> None:
            while not is_over.is_set():
                process.send_signal(number)
                time.sleep(0.0002)

        thread = threading.Thread(target=hail)
        thread.start()
        assert process.stderr is not None
        for line in process.stderr:
            if '"ready"' in line:
                process.send_signal(signal.SIGTERM)
        code = process.wait(GUARD_S)
        is_over.set()
        thread.join()
    assert code == 0


# --- the generator ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def handlers_as_before() -> object:
    """Put the process's handlers back, and forget what was remembered."""
    before = {number: signal.getsignal(number) for number in signals.HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signals._remembered.clear()


async def test_what_came_before_is_said_first() -> None:
    signals.install()
    os.kill(os.getpid(), signal.SIGHUP)
    with trio.fail_after(GUARD_S):
        async with aclosing(signals.received()) as received:
            assert await anext(received) is signal.SIGHUP


async def test_what_comes_later_is_said_as_it_comes() -> None:
    signals.install()
    os.kill(os.getpid(), signal.SIGUSR2)
    with trio.fail_after(GUARD_S):
        async with aclosing(signals.received()) as received:
            heard = [await anext(received)]
            os.kill(os.getpid(), signal.SIGUSR1)
            heard.append(await anext(received))
    assert heard == [signal.SIGUSR2, signal.SIGUSR1]


async def test_after_the_end_harmless_signals_are_ignored() -> None:
    signals.install()
    with trio.move_on_after(0):
        async for _ in signals.received():
            pass
    assert {signal.getsignal(number) for number in signals.HARMLESS} == {signal.SIG_IGN}


async def test_a_stop_asked_for_before_anybody_listens_comes_first() -> None:
    signals.install()
    os.kill(os.getpid(), signal.SIGTERM)
    async with aclosing(signals.received()) as received:
        assert await anext(received) is signal.SIGTERM
