"""`marketd run --background`: leaves the terminal, and tells who started it how the start went.

    caller ── waits for ──▶ go-between ── waits for ──▶ daemon
                            leads the new session,      belongs to it, so that no terminal it opens
                            ends once it is ready       ever becomes its own

Nothing is lost of what the daemon says until it is ready: the caller prints it. The working directory
stays, because paths in the settings are relative to it, also when they are read again.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from domain.errors import MarketdError
from supervisor import signals
from supervisor.notify import Notifier

READY_WITHIN_S = 120.0  # to look over a journal of a gigabyte takes half a minute
LOOK_EVERY_S = 0.02
FAILED = 1
# Of the service manager that started our caller: it would take the daemon's words for the caller's.
NOT_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")

TOO_LONG = """\
not ready after {waited_s:.0f} s. It may still be starting, in the background: \
look with `marketd status`, or at the end of marketd.log in the state directory"""


def launch(live: Callable[[Notifier], int]) -> int:
    """Run `live` in the background; return 0 once it is ready, else its exit code.

    In the daemon itself it returns what `live` returns. Call it before there are threads.
    """
    errors_from, errors_to = os.pipe()
    between = _fork()
    if between == 0:
        os.close(errors_from)
        os.setsid()
        _redirect(errors=errors_to)
        return live(_leave_caller())
    os.close(errors_to)
    return _Caller(between=between, errors=errors_from).wait()


# --- the caller -------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class _Caller:
    """The process on the terminal, while it waits."""

    between: int
    errors: int  # descriptor: what the daemon says before it is ready

    def wait(self) -> int:
        """Wait until the daemon is ready or has ended; return our exit code. Raises MarketdError."""
        os.set_blocking(self.errors, False)
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            ended, status = os.waitpid(self.between, os.WNOHANG)
            self._relay()
            if ended:
                return _exit_code(status)
            if signals.take_stopping():  # Ctrl-C reaches us only
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.between, signal.SIGTERM)
            time.sleep(LOOK_EVERY_S)
        raise MarketdError(TOO_LONG.format(waited_s=READY_WITHIN_S))

    def _relay(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self.errors, 65_536):
                sys.stderr.write(said.decode(errors="replace"))
        sys.stderr.flush()


# --- between them -----------------------------------------------------------------------------


def _leave_caller() -> Notifier:
    """Fork again and return in the daemon only, with whom it tells that it is ready."""
    ready_from, ready_to = os.pipe()
    daemon = _fork()
    if daemon:
        os.close(ready_to)
        _wait_between(daemon, ready=ready_from)
    os.close(ready_from)
    _close_others(keep=ready_to)
    for name in NOT_OURS:
        os.environ.pop(name, None)
    signals.forget()  # what was sent to the caller was not meant for us
    return _ReadyOnce(descriptor=ready_to)


def _wait_between(daemon: int, *, ready: int) -> None:
    """Wait until the daemon is ready or ends, and leave with what the caller is to return."""
    if os.read(ready, 1):
        os._exit(0)
    _, status = os.waitpid(daemon, 0)
    # One that was stopped before it was ready ended in order, and yet does not run.
    os._exit(_exit_code(status) or FAILED)


def _exit_code(status: int) -> int:
    """Return the exit code of a child that has ended; of one that a signal ended, ours for that."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else FAILED


class _ReadyOnce(Notifier):
    """Tells the go-between, who ends; from then on nobody listens to standard error."""

    def __init__(self, *, descriptor: int) -> None:
        super().__init__(address="", watchdog_s=None)
        self._descriptor: int | None = descriptor

    def ready(self, status: str) -> None:
        """Tell it, once."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.write(descriptor, b"1")
        os.close(descriptor)
        _redirect(errors=None)


# --- descriptors ------------------------------------------------------------------------------


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        return os.fork()
    except OSError as exc:
        raise MarketdError(f"no process for the background: {exc.strerror}") from exc


def _redirect(*, errors: int | None) -> None:
    """Read from nowhere and write to nowhere; standard error goes to a descriptor, where one is given."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(errors if standard == 2 and errors is not None else nowhere, standard)
    os.close(nowhere)


def _close_others(*, keep: int) -> None:
    """Close what we inherited: somebody may wait for the end of a pipe, or for a lock."""
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number > 2 and number != keep:
            with contextlib.suppress(OSError):  # that of the folder itself is closed by now
                os.close(number)
