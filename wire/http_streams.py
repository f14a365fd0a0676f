"""The TCP and TLS streams under httpcore: its own leave a socket open where a TLS handshake is cancelled.

Imported together with httpcore, by the first request only.
"""

import contextlib
import ssl
from collections.abc import Iterable, Iterator

import httpcore
import trio

from wire.websocket import watch_tcp

MAX_ANSWER_BYTES = 8 * 2**20  # a page of 1,000 Binance trades has 150 KB, Kraken's list of pairs 1 MB


class Backend(httpcore.AsyncNetworkBackend):
    """Opens streams on trio; the deadline is the caller's, whatever `timeout` says."""

    async def connect_tcp(  # the signature is httpcore's
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> "Stream":
        """Open a TCP stream that the kernel watches too."""
        with _translated(httpcore.ConnectError):
            tcp = await trio.open_tcp_stream(host, port)
        watch_tcp(tcp)
        return Stream(tcp, tcp)

    async def sleep(self, seconds: float) -> None:
        """Sleep between two attempts."""
        await trio.sleep(seconds)


class Stream(httpcore.AsyncNetworkStream):
    """One open stream, with TLS or without; `tcp` is what lies under it."""

    def __init__(self, stream: trio.abc.Stream, tcp: trio.SocketStream) -> None:
        self._stream = stream
        self._tcp = tcp
        self._answer_bytes = 0  # since the last request

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for some bytes; none at the end. An answer that is too large ends here.

        Elsewhere it could not be left in the middle: httpcore's generators want to be exhausted.
        """
        with _translated(httpcore.ReadError):
            data = bytes(await self._stream.receive_some(max_bytes))
        self._answer_bytes += len(data)
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise httpcore.RemoteProtocolError(f"larger than {MAX_ANSWER_BYTES:,} bytes")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        self._answer_bytes = 0
        if buffer:
            with _translated(httpcore.WriteError):
                await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        """Close at once, without a goodbye that could block."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "Stream":
        """Return the same stream under TLS; one whose handshake ends in any other way is closed."""
        secure = trio.SSLStream(
            self._tcp, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with _translated(httpcore.ConnectError):
                await secure.do_handshake()
        except BaseException:
            await self.aclose()
            raise
        return Stream(secure, self._tcp)

    def get_extra_info(self, info: str) -> object:
        """Say whether an idle stream has something to read: then its server has closed it."""
        return self._tcp.socket.is_readable() if info == "is_readable" else None


@contextlib.contextmanager
def _translated(kind: type[httpcore.NetworkError]) -> Iterator[None]:
    """Turn trio's errors into the one of httpcore's that it expects here."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as exc:
        raise kind(str(exc)) from exc
