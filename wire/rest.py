"""Asks a venue's REST interface over HTTP: bounded in time and size, every foreign exception ours.

httpcore is an extra (`marketd[rest]`) and imported by the first request only: 0.9 MiB, on trio,
while a bigger client takes three times that.
"""

import ssl
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

import attrs
import trio

from domain.errors import (
    ConfigError,
    ConnectionLost,
    InvariantError,
    MarketdError,
    PermanentError,
    RejectedError,
    RemoteProtocolError,
    VenueThrottled,
)
from wire import websocket

if TYPE_CHECKING:
    import httpcore

KEEP_IDLE_S = 30.0  # an idle connection is used again within this time, and closed by the next request after
MAX_CONNECTIONS = 4
SAMPLE_CHARACTERS = 200  # of a refusal's body, as an error shows it
OWN_HEADERS = {"User-Agent": "marketd", "Accept": "application/json", "Accept-Encoding": "identity"}

OK_STATUSES = range(200, 300)
THROTTLED_STATUSES = {*websocket.THROTTLED_STATUSES, 503}
TRANSIENT_STATUSES = {408, 500, 502, 504}  # the server's trouble or a proxy's, not an answer to us


class Request(Protocol):
    """What is asked; a venue's `HttpRequest` is one."""

    @property
    def method(self) -> str:
        """GET or POST."""

    @property
    def url(self) -> str:
        """The whole address."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers beside our own."""

    @property
    def body(self) -> bytes:
        """What is sent along; empty for nothing."""


@attrs.frozen(kw_only=True)
class Answer:
    """An answer of status 2xx. Names of headers are in lower case; `body` is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """A few connections that are kept open from one request to the next, as long as the block lasts.

    ```
    async with Client() as client:
        answer = await client.fetch(request, timeout_s=10)
    ```
    """

    def __init__(self) -> None:
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is open."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def fetch(self, request: Request, *, timeout_s: float) -> Answer:
        """Return the answer; `timeout_s` covers name, TCP, TLS, request and the whole body.

        Raises ConnectionLost (also for a server in trouble: 408, 500, 502, 504), VenueThrottled
        (418, 429, 503) with the time to wait, RejectedError for every other status that is not
        2xx, with the head of its body; RemoteProtocolError for what is no HTTP or too large;
        PermanentError where httpcore is not installed; ConfigError for an address that is none.
        """
        _check_address(request.url)
        if self._pool is None:
            self._pool = _new_pool()
        with trio.move_on_after(timeout_s) as scope:
            return await _ask(self._pool, request)
        assert scope.cancelled_caught
        raise ConnectionLost(f"{_place(request)}: no answer within {timeout_s:g} s")


async def fetch(request: Request, *, timeout_s: float) -> Answer:
    """Return the answer to a single request, on a connection of its own; see `Client.fetch`."""
    async with Client() as client:
        return await client.fetch(request, timeout_s=timeout_s)


def _new_pool() -> "httpcore.AsyncConnectionPool":
    try:
        import httpcore  # noqa: PLC0415  # an extra, and not for those who never ask

        from wire.http_streams import Backend  # noqa: PLC0415
    except ImportError as exc:
        raise PermanentError(
            "this needs a package that is not installed: pip install 'marketd[rest]'"
        ) from exc
    return httpcore.AsyncConnectionPool(
        ssl_context=websocket.tls_context(),
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=MAX_CONNECTIONS,
        keepalive_expiry=KEEP_IDLE_S,
        network_backend=Backend(),
    )


async def _ask(pool: "httpcore.AsyncConnectionPool", request: Request) -> Answer:
    import httpcore  # noqa: PLC0415

    try:
        async with pool.stream(
            request.method,
            request.url,
            headers=_headers(request),
            content=request.body or None,
        ) as response:
            body = await response.aread()
    except (httpcore.NetworkError, httpcore.TimeoutException) as exc:
        raise ConnectionLost(f"{_place(request)}: {_describe(exc)}") from exc
    except httpcore.RemoteProtocolError as exc:
        raise _broken(request, exc) from exc
    except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol) as exc:
        raise InvariantError(f"{_place(request)}: not a request: {exc}") from exc
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status not in OK_STATUSES:
        raise _refusal(request, status=response.status, headers=headers, body=body)
    return Answer(status=response.status, headers=headers, body=body)


def _headers(request: Request) -> Sequence[tuple[bytes, bytes]]:
    given = {name.lower() for name in request.headers}
    own = ((name, value) for name, value in OWN_HEADERS.items() if name.lower() not in given)
    pairs: Iterable[tuple[str, str]] = (*own, *request.headers.items())
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in pairs]


def _broken(request: Request, error: Exception) -> MarketdError:
    """Return our error for an answer that broke off, or that is none."""
    if "disconnected" in str(error) or "without sending complete" in str(error):
        return ConnectionLost(f"{_place(request)}: the connection broke off inside the answer")
    return RemoteProtocolError(f"{_place(request)}: not an answer in HTTP: {error}")


def _refusal(request: Request, *, status: int, headers: Mapping[str, str], body: bytes) -> MarketdError:
    head = body[: 4 * SAMPLE_CHARACTERS].decode(errors="replace").strip()[:SAMPLE_CHARACTERS]
    message = f"{_place(request)} answered HTTP {status}" + (f": {head}" if head else "")
    if status in THROTTLED_STATUSES:
        wait_s = websocket.retry_after_s(headers.get("retry-after", "").strip())
        return VenueThrottled(message, retry_after_s=wait_s)
    if status in TRANSIENT_STATUSES:
        return ConnectionLost(message)
    return RejectedError(message)


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url.partition('?')[0]!r} is not an HTTP address: expected https://HOST…")


def _place(request: Request) -> str:
    """Return where it went, without what follows the `?`: that may hold a secret."""
    parts = urlsplit(request.url)
    return f"{parts.hostname}{parts.path}"


def _describe(error: Exception) -> str:
    """Return the reason under the library's exceptions that say nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause}"
        if isinstance(cause, OSError):
            return websocket.describe(cause)
        cause = cause.__cause__ or cause.__context__  # httpcore raises again `from None`
    return str(error) or type(error).__name__
