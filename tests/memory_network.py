"""TCP without a kernel: on a clock that jumps, bytes on their way over loopback would be overtaken."""

import errno
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

BACKLOG = 100
ENDS_BY_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class MemoryStream(trio.abc.Stream):
    """One end of a connection, as far as our code uses those of trio; `socket` is itself."""

    def __init__(self, send: trio.abc.SendStream, receive: trio.abc.ReceiveStream) -> None:
        self.peer: MemoryStream | None = None
        self._send = send
        self._receive = receive
        self._ends_by_reset = self._was_reset = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._send.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._send.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._receive.receive_some(max_bytes)
        if self._was_reset:
            raise trio.BrokenResourceError("connection reset by peer")
        return data

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, ENDS_BY_RESET):
            self._ends_by_reset = True

    # --- what trio has on the socket under a stream -------------------------------------------

    @property
    def socket(self) -> "MemoryStream":
        return self

    def is_readable(self) -> bool:
        return False

    def close(self) -> None:
        if self._ends_by_reset and self.peer is not None:
            self.peer._was_reset = True
        self._send.close()  # type: ignore[attr-defined]
        self._receive.close()  # type: ignore[attr-defined]


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Who listens on a port of a `MemoryNetwork`; `socket` is itself."""

    def __init__(self, port: int, closed: Callable[[], None]) -> None:
        self.connect, self._accepted = trio.open_memory_channel[MemoryStream](BACKLOG)
        self._port = port
        self._closed = closed

    async def accept(self) -> MemoryStream:
        return await self._accepted.receive()

    async def aclose(self) -> None:
        self._closed()
        await self._accepted.aclose()

    @property
    def socket(self) -> "MemoryListener":
        return self

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port


@attrs.define
class MemoryNetwork:
    """One host's ports."""

    _listeners: dict[int, MemoryListener] = attrs.field(factory=dict)
    _last_port: int = 40_000

    async def open_tcp_listeners(self, port: int, *, host: Any = None) -> list[MemoryListener]:
        await trio.lowlevel.checkpoint()
        if port == 0:
            self._last_port += 1
            port = self._last_port
        if port in self._listeners:
            raise OSError(errno.EADDRINUSE, "address already in use")
        listener = MemoryListener(port, lambda: self._listeners.pop(port, None) and None)
        self._listeners[port] = listener
        return [listener]

    async def open_tcp_stream(self, host: Any, port: int, **_: Any) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        if port not in self._listeners:
            raise OSError(errno.ECONNREFUSED, "connection refused")
        there, from_here = trio.testing.memory_stream_one_way_pair()
        here, from_there = trio.testing.memory_stream_one_way_pair()
        client, server = MemoryStream(there, from_there), MemoryStream(here, from_here)
        client.peer, server.peer = server, client
        self._listeners[port].connect.send_nowait(server)
        return client


def use_memory_network(monkeypatch: pytest.MonkeyPatch) -> MemoryNetwork:
    """Let everybody who asks trio for TCP have it here."""
    network = MemoryNetwork()
    monkeypatch.setattr(trio, "open_tcp_stream", network.open_tcp_stream)
    monkeypatch.setattr(trio, "open_tcp_listeners", network.open_tcp_listeners)
    return network


class ThreadsHoldTheClock:
    """Keeps an autojump clock from jumping while a thread works."""

    def __init__(self, clock: trio.testing.MockClock, run_sync: Callable[..., Awaitable[Any]]) -> None:
        self._clock = clock
        self._run_sync = run_sync
        self._working = 0

    async def run_sync(self, *args: Any, **kwargs: Any) -> Any:
        self._working += 1
        self._clock.autojump_threshold = float("inf")
        try:
            return await self._run_sync(*args, **kwargs)
        finally:
            self._working -= 1
            if not self._working:
                self._clock.autojump_threshold = 0.0
