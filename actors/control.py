"""The control socket: JSON lines over a unix socket in the state directory.

→ {"id": 1, "command": "status", "arguments": {}}
← {"id": 1, "ok": true, "result": {…}}      or  {"id": 1, "ok": false, "error": "…"}
"""

import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

from domain.errors import MarketdError, RejectedError, unusable
from domain.events import Event, emit

MAX_REQUEST_BYTES = 64 * 1024
MAX_CLIENTS = 16
IDLE_S = 60.0  # a client that asks nothing for this long is shown out
ANSWER_S = 10.0  # a client that does not take its answer within this, too
CLEAN_UP_S = 0.5  # the end waits so long for a disk that hangs
UNCREDENTIALED = -1
# These change nothing and come often: a page of history is a request. They are not logged.
READING = frozenset(
    {"status", "history", "gaps", "last_candles", "markets", "trades", "trade", "refused", "refusals", "why"}
)


@attrs.frozen(kw_only=True)
class Peer:
    """Who asks, by the kernel's word: process and user id, -1 where it does not say."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"uid {self.uid}, pid {self.pid}"


class _Request(msgspec.Struct):
    command: str
    id: int | str | None = None
    arguments: dict[str, Any] = {}


Handle = Callable[[str, Mapping[str, Any], Peer], Awaitable[Any]]


class Control:
    """The actor of the control socket.

    Reads: its socket. Writes: nothing; `handle` does what is asked. Owns: the socket file.
    Crashes on: a path it cannot listen on. A restart forgets: the clients, who connect again.
    """

    def __init__(self, *, path: Path, handle: Handle) -> None:
        self._path = path
        self._handle = handle
        self._clients = 0
        self._listener: trio.SocketListener | None = None

    async def run(
        self, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; listens first, where `listen` has not been called."""
        if self._listener is None:
            self.listen()
        assert self._listener is not None
        try:
            await trio.serve_listeners(self._serve, [self._listener], task_status=task_status)
        finally:
            self._listener = None
            await self._clean_up()

    async def _clean_up(self) -> None:
        """Remove the socket file, where the disk lets us: the next start does it too."""
        unlink = partial(self._path.unlink, missing_ok=True)
        with trio.move_on_after(CLEAN_UP_S, shield=True), contextlib.suppress(OSError):
            await trio.to_thread.run_sync(unlink, abandon_on_cancel=True)

    def listen(self) -> None:
        """Open the socket; the caller holds the state directory's lock.

        Clients may connect from now on, and are answered once it runs. Raises ConfigError, or MarketdError
        where the disk is full.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o117)  # 0660 from the first moment on
        try:
            self._path.unlink(missing_ok=True)  # a crash's remains: nobody else holds the lock
            listener.bind(str(self._path))
        except OSError as exc:
            listener.close()
            raise unusable(f"control socket {self._path}", exc) from exc
        finally:
            os.umask(mask)
        listener.listen(MAX_CLIENTS)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one client; what it does wrong is its own trouble."""
        if self._clients >= MAX_CLIENTS:
            return
        self._clients += 1
        try:
            await self._answer_lines(stream, _peer_of(stream))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # it left, or does not take its answer
        finally:
            self._clients -= 1

    async def _answer_lines(self, stream: trio.SocketStream, peer: Peer) -> None:
        buffer = bytearray()
        try:
            while (line := await _receive_line(stream, buffer)) is not None:
                await _send(stream, await self.answer(line, peer))
        except RejectedError as exc:
            await _send(stream, {"id": None, "ok": False, "error": str(exc)})

    async def answer(self, line: bytes, peer: Peer) -> dict[str, Any]:
        """Return the answer to one request line."""
        try:
            request = msgspec.json.decode(line, type=_Request)
        except (ValueError, RecursionError) as exc:  # msgspec's own, and UnicodeDecodeError
            return {"id": None, "ok": False, "error": f"not a request: {exc}"}
        if request.command not in READING:
            emit(Event.CONTROL, f"{request.command} asked for by {peer}", actor="control", who=str(peer))
        try:
            result = await self._handle(request.command, request.arguments, peer)
        except MarketdError as exc:
            return {"id": request.id, "ok": False, "error": str(exc)}
        return {"id": request.id, "ok": True, "result": result}


async def _receive_line(stream: trio.SocketStream, buffer: bytearray) -> bytes | None:
    """Wait for one whole line; return None where the client has no more.

    `buffer` keeps what came after it. Raises TooSlowError, RejectedError for a line too long.
    """
    with trio.fail_after(IDLE_S):
        while (end := buffer.find(b"\n")) < 0 and len(buffer) <= MAX_REQUEST_BYTES:
            data = await stream.receive_some(16_384)
            if not data:
                return None
            buffer += data
    if not 0 <= end <= MAX_REQUEST_BYTES:
        raise RejectedError(f"a request of over {MAX_REQUEST_BYTES // 1024} KiB")
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line


async def _send(stream: trio.SocketStream, answer: Mapping[str, Any]) -> None:
    with trio.fail_after(ANSWER_S):
        await stream.send_all(msgspec.json.encode(answer) + b"\n")


def _peer_of(stream: trio.SocketStream) -> Peer:
    if not hasattr(socket, "SO_PEERCRED"):
        return Peer(pid=UNCREDENTIALED, uid=UNCREDENTIALED)
    pid, uid, _ = struct.unpack("3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid=pid, uid=uid)
