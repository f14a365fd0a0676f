"""Talks to the running daemon: finds it by its lock, asks over its control socket."""

import contextlib
import socket
import struct
import time
from pathlib import Path
from typing import Any

import msgspec

from domain.errors import MarketdError, RejectedError
from supervisor import lock

ANSWER_S = 5.0
OWN_SOCKET = Path("control.sock")
SERVICE_SOCKET = Path("/run/marketd/control.sock")  # the service links it there
SOCKETS = (OWN_SOCKET, SERVICE_SOCKET)


class NotRunning(MarketdError):
    """Nobody holds the lock of the state directory."""


class NoAnswer(MarketdError):
    """The daemon holds its lock but did not answer in time."""


def service_state_dir() -> Path | None:
    """Return the state directory of the service that runs; None where none does, or we may not know."""
    try:
        return SERVICE_SOCKET.readlink().parent
    except OSError:
        return None


def ask(state_dir: Path, command: str, **arguments: Any) -> Any:
    """Return the daemon's answer. Raises NotRunning, NoAnswer, RejectedError with its reason."""
    with contextlib.closing(Line(state_dir, answer_s=ANSWER_S)) as line:
        return line.ask(command, **arguments)


class Line:
    """A connection to the daemon for many requests, each answered within `answer_s` seconds.

    The daemon shows out who asks nothing for a minute. A later request that finds the connection
    closed is then asked over a new one, so only what may be asked twice may be asked second.
    """

    def __init__(self, state_dir: Path, *, answer_s: float) -> None:
        self._state_dir = state_dir
        self._answer_s = answer_s
        self._connection: socket.socket | None = None

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the daemon's answer. Raises NotRunning, NoAnswer, RejectedError with its reason."""
        pid = lock.holder(self._state_dir)
        if pid is None:
            raise NotRunning(f"marketd is not running in {self._state_dir}")
        request = msgspec.json.encode({"id": 1, "command": command, "arguments": arguments}) + b"\n"
        try:
            line = self._exchange(request, pid=pid)
            answer = msgspec.json.decode(line, type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as exc:
            self.close()  # an answer that comes late would be taken for the next one's
            raise NoAnswer(
                f"marketd (pid {pid}) runs in {self._state_dir} but does not answer: {exc}"
            ) from exc
        if not answer["ok"]:
            raise RejectedError(str(answer["error"]))
        return answer["result"]

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, request: bytes, *, pid: int) -> bytes:
        deadline = time.monotonic() + self._answer_s
        if self._connection is not None:
            with contextlib.suppress(ConnectionError):
                return _exchange(self._connection, request, deadline)
            self.close()
        self._connection = _connect(self._state_dir, pid=pid, deadline=deadline)
        return _exchange(self._connection, request, deadline)


def _exchange(connection: socket.socket, request: bytes, deadline: float) -> bytes:
    connection.settimeout(_left_s(deadline))
    connection.sendall(request)
    return _read_line(connection, deadline)


def _connect(state_dir: Path, *, pid: int, deadline: float) -> socket.socket:
    """Return a connection to the process that holds the lock, and to no other daemon."""
    errors: list[OSError] = []
    for path in SOCKETS:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_left_s(deadline))
        try:
            connection.connect(str(state_dir / path))
            if path != OWN_SOCKET:  # whichever daemon is the service's
                _check_listener(connection, pid=pid)
        except OSError as exc:
            connection.close()
            errors.append(exc)
        else:
            return connection
    raise errors[0]


def _check_listener(connection: socket.socket, *, pid: int) -> None:
    if not hasattr(socket, "SO_PEERCRED"):
        return
    listener, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if listener != pid:
        raise ConnectionRefusedError(f"its control socket belongs to another process, pid {listener}")


def _left_s(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    buffer = bytearray()
    while not buffer.endswith(b"\n"):
        connection.settimeout(_left_s(deadline))
        data = connection.recv(65_536)
        if not data:
            raise ConnectionResetError("it closed the connection")
        buffer += data
    return bytes(buffer)


def wait_gone(state_dir: Path, *, within_s: float) -> bool:
    """Wait until nobody holds the lock; return False where somebody still does at the deadline."""
    deadline = time.monotonic() + within_s
    while lock.holder(state_dir) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
