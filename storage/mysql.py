"""Connections to MySQL and MariaDB. Imported only where one is used: PyMySQL costs memory."""

import contextlib
import functools
import ipaddress
import math
import socket
import ssl
from typing import Any, Self

import attrs

from domain.errors import StorageBusy
from storage.faults import mysql_fault
from storage.lifelines import Lifelines
from storage.light_pymysql import pymysql
from storage.session import Counts, Dialect
from storage.target import MysqlTarget

CONNECT_TIMEOUT_S = 10.0  # TCP only; what follows is under the read timeout
WRITE_TIMEOUT_S = 30.0  # a server that takes no bytes; statements are under 1 MB
LOCK_WAIT_S = 10.0  # for a row that another session holds
SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"  # with '' a long text is cut silently


class CuttableConnection(pymysql.connections.Connection):
    """A PyMySQL connection that unties its lifeline when it is closed."""

    untie = contextlib.ExitStack()  # of a connection that was never dialled: nothing to undo

    def close(self) -> None:
        """Close the connection; closing it again is allowed."""
        with contextlib.suppress(pymysql.err.Error):  # "Already closed"
            super().close()
        self.untie.close()


@attrs.frozen(kw_only=True, eq=False)
class MysqlDriver:
    """Makes connections that another thread can cut, in connect as well as in a statement."""

    target: MysqlTarget
    read_timeout_s: float | None  # None, of the patient one: for ever, as PyMySQL has it
    counts: Counts = attrs.field(factory=Counts)
    lifelines: Lifelines = attrs.field(factory=Lifelines)
    # SSCursor, the unbuffered one, for whoever reads more than fits into memory
    cursor_class: type[pymysql.cursors.Cursor] = pymysql.cursors.Cursor
    dialect: Dialect = Dialect.MYSQL
    threadsafety: int = 1
    errors: tuple[type[Exception], ...] = (pymysql.err.MySQLError, OSError)

    def connect(self) -> CuttableConnection:
        """Return a connection in UTC, utf8mb4 and strict mode, outside of autocommit."""
        self.lifelines.check()
        self.counts.connects += 1
        target = self.target
        connection = CuttableConnection(
            defer_connect=True,  # so that we dial, with the socket registered first
            host=target.host,
            port=target.port,
            unix_socket=target.unix_socket,
            user=target.user,
            password=target.password.encode(),  # as text PyMySQL would take it for latin1
            database=target.database,
            charset="utf8mb4",
            autocommit=False,
            cursorclass=self.cursor_class,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=self.read_timeout_s,  # the handshake is under it too
            write_timeout=WRITE_TIMEOUT_S,
            init_command=self._first_statement(),
            **_encryption(target),
        )
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            connection.connect(self._dial(connection))
            self.counts.statements += 3  # SET NAMES, the first statement, SET AUTOCOMMIT
            undo.pop_all()
        return connection

    def patient(self) -> Self:
        """Return the same without a read timeout: a migration may take hours."""
        return attrs.evolve(self, read_timeout_s=None)

    def translate(self, exc: Exception) -> StorageBusy:
        """Return our error; an OSError is a failed connect, so it gets PyMySQL's number for that."""
        if isinstance(exc, OSError):
            return mysql_fault(number=2003, text=f"can't connect to {self.target}: {exc}")
        number, *rest = exc.args or (None,)
        if not isinstance(number, int) or number == 0:  # 0: a connection that is closed already
            return mysql_fault(number=None, text=f"{type(exc).__name__}: {exc}")
        return mysql_fault(number=number, text=" ".join(str(part) for part in rest))

    def sever(self) -> None:
        """Shut down what is open, so that closing it cannot wait for the server."""
        self.lifelines.sever()

    def cut(self) -> None:
        """Shut down what is open; no connection is begun any more."""
        self.lifelines.cut()

    def _first_statement(self) -> str:
        # Below the read timeout: a lock is then reported by the server, and not mistaken for a hang.
        longest_s = min(LOCK_WAIT_S, (self.read_timeout_s or math.inf) / 2)
        lock_wait_s = max(1, int(longest_s))  # whole seconds, at least one
        return (
            f"SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', "
            f"innodb_lock_wait_timeout = {lock_wait_s}"
        )

    def _dial(self, connection: CuttableConnection) -> socket.socket:
        target = self.target
        if target.unix_socket is not None:
            return self._dial_one(connection, family=socket.AF_UNIX, address=target.unix_socket)
        failure = OSError(f"{target.host} has no address")
        for family, _, _, _, address in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
            try:
                return self._dial_one(connection, family=family, address=address)
            except OSError as exc:
                failure = exc
        raise failure

    def _dial_one(self, connection: CuttableConnection, *, family: int, address: Any) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        with contextlib.ExitStack() as undo:
            undo.callback(sock.close)
            tied = undo.enter_context(contextlib.ExitStack())
            tied.callback(self.lifelines.untie, self.lifelines.tie(sock))
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.connect(address)
            self.lifelines.check()
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # A host that is gone is noticed also by the patient one, in about two minutes.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
            connection.untie = tied.pop_all()
            undo.pop_all()
        return sock


def _encryption(target: MysqlTarget) -> dict[str, Any]:
    """TLS, verified against the system's authorities, unless the way does not leave this machine.

    Said in every case: PyMySQL by itself makes a new TLS context for each connection, 20 ms of CPU.
    """
    if is_on_this_machine(target):
        return {"ssl_disabled": True}
    return {"ssl": _tls_context()}


def is_on_this_machine(target: MysqlTarget) -> bool:
    """Whether the way to the server does not leave this machine."""
    return target.unix_socket is not None or _is_loopback(target.host)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
