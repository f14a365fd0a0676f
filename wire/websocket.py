"""Opens and uses a web socket. Every wait has our deadline, every foreign exception becomes ours.

trio-websocket 0.12.2 leaves four things to its user: its connect timeout can hang for ever, it
sends no keepalive, a half-open link blocks `get_message` for ever, and a failed handshake shows
up as wsproto's exceptions. Hence the deadline round the whole dial, the TCP options, the pings of
`wire/heartbeat.py`, and `_translate`.
"""

import contextlib
import errno
import functools
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import h11
import trio
import trio_websocket
import wsproto.utilities

from domain.clock import now_us
from domain.errors import (
    ConfigError,
    ConnectionClosed,
    ConnectionLost,
    MarketdError,
    RemoteProtocolError,
    UpgradeRefused,
    UpgradeThrottled,
    flatten,
)
from wire.upgrade import UpgradeStream

KEEPALIVE_IDLE_S = 10  # TCP asks the peer's kernel after this much silence,
KEEPALIVE_INTERVAL_S = 5  # again after this,
KEEPALIVE_PROBES = 3  # and gives up after so many
USER_TIMEOUT_MS = 15_000  # what we sent and nobody acknowledged for this long breaks the socket
SEND_TIMEOUT_S = 10.0  # a peer that takes no frame for this long is gone
CLOSE_TIMEOUT_S = 1.0  # we wait this long for the peer's close frame
MAX_MESSAGE_BYTES = 4 * 2**20  # the largest frame recorded from a venue has 209 KB
THROTTLED_STATUSES = {418, 429}  # 418: Binance's ban for going on after 429
DEFAULT_RETRY_AFTER_S = 60.0  # for a 429 that does not say

DEFAULT_PORTS = {"ws": 80, "wss": 443}

_PLAIN_TEXT = re.compile(r"[!-~]*")  # what HTTP allows in the address of a request

FOREIGN_ERRORS = (
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
    wsproto.utilities.ProtocolError,
    h11.ProtocolError,  # trio-websocket trips over an answer to the upgrade that is none
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    OSError,  # ssl.SSLError is one
)


class Socket:
    """One open web socket. After any of its errors it is to be left, not used again."""

    __slots__ = ("_connection", "_nursery")

    def __init__(self, connection: trio_websocket.WebSocketConnection, nursery: trio.Nursery) -> None:
        self._connection = connection
        self._nursery = nursery

    def start_beside(self, task: Callable[["Socket"], Awaitable[None]], *, name: str) -> None:
        """Run `task(self)` as long as the socket is open; what it raises ends the block of `dial`.

        A nursery of one's own inside the block would do the same for 2 KiB a socket more.
        """
        self._nursery.start_soon(task, self, name=name)

    async def receive(self) -> list[str | bytes]:
        """Wait for data; return the messages of one read, in order, at least one.

        Stock trio-websocket hands them over one by one. Raises ConnectionLost.
        """
        try:
            return [await self._connection.get_message()]
        except FOREIGN_ERRORS as exc:
            raise _translate(exc) from exc

    async def send(self, frame: str) -> None:
        """Send one text message. Raises ConnectionLost, also when the peer takes nothing."""
        try:
            with trio.fail_after(SEND_TIMEOUT_S):
                await self._connection.send_message(frame)
        except FOREIGN_ERRORS as exc:
            raise _translate(exc) from exc

    async def ping(self) -> None:
        """Send a ping and wait for its pong, without end: the deadline is the caller's."""
        try:
            await self._connection.ping()
        except FOREIGN_ERRORS as exc:
            raise _translate(exc) from exc

    async def close(self) -> None:
        """Say goodbye and close; somebody must be receiving until this returns."""
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            with contextlib.suppress(*FOREIGN_ERRORS):  # it is gone already: closed is closed
                await self._connection.aclose()


@contextlib.asynccontextmanager
async def dial(
    url: str,
    *,
    headers: Mapping[str, str],
    timeout_s: float,
) -> AsyncIterator[Socket]:
    """Open a web socket for the length of the block; `timeout_s` covers name, TCP, TLS, upgrade.

    Leaving the block by an exception drops the socket at once; a clean exit closes it with a
    deadline. Raises ConnectionLost (ConnectionClosed after a close frame), UpgradeRefused,
    UpgradeThrottled, RemoteProtocolError; ConfigError for an address that is none.
    """
    deadline = trio.current_time() + timeout_s
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_at(deadline):
                stream, host_header, resource = await _open_stream(url)
            try:
                with trio.move_on_at(deadline):
                    connection = await trio_websocket.wrap_client_stream(
                        nursery,
                        stream,  # type: ignore[arg-type]  # any stream will do, it says
                        host_header,
                        resource,
                        extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                        max_message_size=MAX_MESSAGE_BYTES,
                    )
                    stream.finish()
                if not stream.is_done:
                    raise stream.refusal() or trio.TooSlowError
                opened = Socket(connection, nursery)
                yield opened
                await opened.close()
            finally:
                # In this order: in a cancelled nursery it would raise Cancelled in the place of the error.
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()
    except* FOREIGN_ERRORS as group:
        raise _translate(flatten(group)[0]) from group


async def _open_stream(url: str) -> tuple[UpgradeStream, str, str]:
    """Return the open stream, the Host header and the resource of a ws:// or wss:// address."""
    scheme, host, port, resource = split_url(url)
    tcp = await trio.open_tcp_stream(host, port)
    watch_tcp(tcp)
    stream: trio.abc.Stream = tcp
    if scheme == "wss":
        secure = trio.SSLStream(tcp, tls_context(), server_hostname=host, https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(tcp)
            raise
        stream = secure
    host_header = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[scheme]:
        host_header += f":{port}"
    return UpgradeStream(stream), host_header, resource


def watch_tcp(stream: trio.SocketStream) -> None:
    """Let the kernel notice a dead peer too; an option that this system lacks is left out."""
    for level, option, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", KEEPALIVE_PROBES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        if hasattr(socket, option):
            stream.setsockopt(level, getattr(socket, option), value)


def split_url(url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port and resource of a web-socket address; raise ConfigError."""
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # the resolver would raise the same UnicodeError
    except ValueError as exc:
        raise ConfigError(f"{url!r} is not a web-socket address: {exc}") from exc
    if not _PLAIN_TEXT.fullmatch(url):
        raise ConfigError(f"{url!r} is not a web-socket address: it holds a space or what is not ASCII")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigError(f"{url!r} is not a web-socket address: expected ws://HOST… or wss://HOST…")
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname, port, resource


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the one TLS context: certificates and names are always verified."""
    return ssl.create_default_context()


def _translate(error: BaseException) -> MarketdError:
    """Return our exception for one of the libraries'."""
    match error:
        case trio_websocket.ConnectionRejected():
            return _refused(error)
        case trio_websocket.ConnectionClosed():
            reason = error.reason
            if reason is None:
                return ConnectionLost("connection closed by us")
            text = f"connection closed: {reason.code} {reason.reason or reason.name}"
            return ConnectionClosed(text, code=reason.code, reason=reason.reason or "")
        case wsproto.utilities.ProtocolError():
            return RemoteProtocolError(f"broken web-socket frame or handshake: {error}")
        case h11.ProtocolError():
            return RemoteProtocolError(f"the answer to the upgrade is none: {error.__context__ or error}")
        case trio.TooSlowError():
            return ConnectionLost("no answer within the deadline")
        case ssl.SSLError():
            return ConnectionLost(f"TLS: {error}")
        case OSError():
            return ConnectionLost(describe(error))
        case _:
            return ConnectionLost(str(error.__cause__ or error) or type(error).__name__)


def describe(error: OSError) -> str:
    """Return the reason under trio's "all attempts to connect failed", if there is one."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = flatten(cause)[0]
    if isinstance(cause, OSError):
        error = cause
    if error.errno == errno.ECONNREFUSED:
        return "connection refused"
    return error.strerror or str(error)


def _refused(error: trio_websocket.ConnectionRejected) -> MarketdError:
    status = error.status_code
    message = _refusal(error)
    if status in THROTTLED_STATUSES or (status == 503 and _header(error, b"retry-after")):
        wait_s = retry_after_s(_header(error, b"retry-after"))
        return UpgradeThrottled(message, retry_after_s=wait_s, status=status)
    return UpgradeRefused(message, status=status)


def _refusal(error: trio_websocket.ConnectionRejected) -> str:
    body = (error.body or b"")[:200].decode(errors="replace").strip()
    return f"the server answered the upgrade with HTTP {error.status_code}" + (f": {body}" if body else "")


def _header(error: trio_websocket.ConnectionRejected, name: bytes) -> str:
    for key, value in error.headers or ():
        if key.lower() == name:
            return value.decode("latin-1").strip()
    return ""


def retry_after_s(value: str) -> float:
    """Return the seconds that a Retry-After header asks for: a number, or an HTTP date.

    RFC 9110, section 10.2.3. Anything else is taken as 60 s.
    """
    if value.isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # 2 MiB that hardly anybody needs

    try:
        at_s = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return DEFAULT_RETRY_AFTER_S
    return max(0.0, at_s - now_us() / 1_000_000)
