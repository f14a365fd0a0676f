"""A TCP proxy before MariaDB that decides about each COMMIT: it, or its answer, can be lost or late."""

import contextlib
import enum
import socket
import threading
from collections import deque
from collections.abc import Iterator

import attrs
from databases import MariadbDatabase

COMMIT = b"\x03COMMIT"  # COM_QUERY and its text, as PyMySQL sends it
GUARD_S = 30.0  # against hanging


class Fate(enum.Enum):
    """What becomes of a COMMIT."""

    PASSED = "passed"
    CUT_BEFORE = "cut before"  # the connection ends, the server never sees it
    ANSWER_CUT = "answer cut"  # the server applies it, the connection ends without a word
    HELD = "held"  # the server gets it when the test says so, however long the client is gone


@attrs.define(kw_only=True, eq=False)
class _Pair:
    """The two sockets of one connection."""

    client: socket.socket
    server: socket.socket
    holds: bool = False

    def cut(self) -> None:
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Stands before a server's port. `fates` are those of the next COMMITs; after them all pass."""

    def __init__(self, *, behind: int) -> None:
        self.fates: deque[Fate] = deque()
        self.is_held = threading.Event()
        self.is_answered = threading.Event()  # the one that was held
        self._behind = behind
        self._let_go = threading.Event()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def let_go(self) -> None:
        """Give the server the COMMIT that was held."""
        self._let_go.set()

    def close(self) -> None:
        self._let_go.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            pair.cut()
        for thread in self._threads:
            thread.join(GUARD_S)
            assert not thread.is_alive(), "the proxy hangs"
        for pair in self._pairs:
            pair.client.close()
            pair.server.close()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._behind), timeout=GUARD_S)
                except OSError:
                    client.close()  # the server is away
                    continue
                server.settimeout(None)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pair = _Pair(client=client, server=server)
                self._pairs.append(pair)
                self._start(self._upward, pair)
                self._start(self._downward, pair)

    def _upward(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while True:
                header = _receive(pair.client, 4)
                packet = _receive(pair.client, int.from_bytes(header[:3], "little"))
                fate = Fate.PASSED
                if packet == COMMIT:
                    with contextlib.suppress(IndexError):
                        fate = self.fates.popleft()
                if fate is Fate.CUT_BEFORE:
                    break
                pair.holds = fate in (Fate.HELD, Fate.ANSWER_CUT)
                if fate is Fate.HELD:
                    self.is_held.set()
                    assert self._let_go.wait(GUARD_S), "nobody let it go"
                pair.server.sendall(header + packet)
                if pair.holds:
                    break
        if not pair.holds:
            pair.cut()

    def _downward(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while data := pair.server.recv(65_536):
                if pair.holds:
                    self.is_answered.set()  # and nobody hears it
                    break
                pair.client.sendall(data)
        pair.cut()


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("the client left")
        data += piece
    return data


@contextlib.contextmanager
def running_proxy(database: MariadbDatabase) -> Iterator[tuple[Proxy, "ProxiedDatabase"]]:
    """Give a proxy before the database's server, and the database by way of it."""
    proxy = Proxy(behind=database.server.port)
    target = attrs.evolve(database.target, port=proxy.port)
    try:
        yield proxy, ProxiedDatabase(target=target, server=database.server, port=proxy.port)
    finally:
        proxy.close()


@attrs.frozen(kw_only=True)
class ProxiedDatabase(MariadbDatabase):
    """The database as a client of the proxy sees it; looked at from outside without."""

    port: int

    @property
    def url(self) -> str:
        return super().url.replace(f":{self.server.port}/", f":{self.port}/")
