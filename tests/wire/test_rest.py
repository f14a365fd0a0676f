import builtins
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import h11
import pytest
import trio
import trustme
from loopback import (
    HOST,
    ServeStream,
    closes_without_answer,
    never_answers,
    resets_without_answer,
    says,
    says_and_waits,
    tcp_server,
)
from trio.testing import MockClock

from domain.errors import (
    ConfigError,
    ConnectionLost,
    MarketdError,
    PermanentError,
    RejectedError,
    RemoteProtocolError,
    VenueThrottled,
)
from venues.offers import HttpRequest
from wire import http_streams, websocket
from wire.rest import Answer, Client, fetch

WITHIN_S = 20.0  # the request's own deadline; virtual where the clock jumps


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while the kernel carries something over loopback."""
    return MockClock(autojump_threshold=0.05)


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[trio.SocketStream]]:
    """Every TCP stream that was opened; all must be closed at the end of each test."""
    opened: list[trio.SocketStream] = []
    open_tcp_stream = trio.open_tcp_stream

    async def open_and_note(host: str, port: int) -> trio.SocketStream:
        opened.append(await open_tcp_stream(host, port))
        return opened[-1]

    monkeypatch.setattr(trio, "open_tcp_stream", open_and_note)
    yield opened
    assert [stream for stream in opened if stream.socket.fileno() >= 0] == []


class Seen:
    """One request as a server saw it."""

    def __init__(self, request: h11.Request, body: bytes) -> None:
        self.target = request.target.decode()
        self.method = request.method.decode()
        self.headers = {name.decode(): value.decode() for name, value in request.headers}
        self.body = body


Reply = Callable[[Seen], tuple[int, Mapping[str, str], bytes]]


@contextlib.asynccontextmanager
async def http_server(reply: Reply, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve HTTP/1.1 as a sound server does; yield the base address."""

    async def serve(stream: trio.abc.Stream) -> None:
        server = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        body = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                event = server.next_event()
                if event is h11.NEED_DATA:
                    server.receive_data(bytes(await stream.receive_some()))
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert request is not None
                    status, headers, answer = reply(Seen(request, body))
                    pairs = [*headers.items(), ("Content-Length", str(len(answer)))]
                    for said in (
                        h11.Response(status_code=status, headers=pairs),
                        h11.Data(data=answer),
                        h11.EndOfMessage(),
                    ):
                        await stream.send_all(server.send(said) or b"")
                    if server.our_state is h11.MUST_CLOSE:
                        return
                    server.start_next_cycle()
                else:
                    return

    async with tcp_server(serve, tls=tls) as port:
        yield f"{'http' if tls is None else 'https'}://{HOST}:{port}"


def get(url: str, **headers: str) -> HttpRequest:
    return HttpRequest("GET", url, headers)


def always(status: int, body: bytes = b"{}", **headers: str) -> Reply:
    return lambda _: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


async def error_of(request: HttpRequest, *, timeout_s: float = WITHIN_S) -> MarketdError:
    with pytest.raises(MarketdError) as caught:
        await fetch(request, timeout_s=timeout_s)
    return caught.value


async def error_by(serve: ServeStream, *, tls: ssl.SSLContext | None = None, scheme: str = "http") -> Any:
    async with tcp_server(serve, tls=tls) as port:
        started = trio.current_time()
        error = await error_of(get(f"{scheme}://{HOST}:{port}/api"))
        assert trio.current_time() < started + WITHIN_S
    return error


# --- a sound server ---------------------------------------------------------------------------


async def test_an_answer_comes_back_whole() -> None:
    body = b'{"prices":[' + b"1.5," * 50_000 + b"1]}"
    async with http_server(always(200, body, X_Used_Weight="7")) as base:
        answer = await fetch(get(f"{base}/api/v3/aggTrades?symbol=BTCUSDT"), timeout_s=WITHIN_S)
    assert answer == Answer(
        status=200, headers={"x-used-weight": "7", "content-length": str(len(body))}, body=body
    )


async def test_method_path_query_headers_and_body_reach_the_server() -> None:
    seen: list[Seen] = []

    def reply(request: Seen) -> tuple[int, Mapping[str, str], bytes]:
        seen.append(request)
        return 200, {}, b""

    async with http_server(reply) as base:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "user-agent": "another"}
        await fetch(HttpRequest("POST", f"{base}/oauth2/token?a=1", headers, b"x=1"), timeout_s=WITHIN_S)
    (request,) = seen
    assert (request.method, request.target, request.body) == ("POST", "/oauth2/token?a=1", b"x=1")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["user-agent"] == "another"  # ours gives way
    assert request.headers["accept-encoding"] == "identity"
    assert base.endswith(request.headers["host"])


async def test_one_client_uses_its_connection_again(streams: list[trio.SocketStream]) -> None:
    async with http_server(always(200)) as base, Client() as client:
        for _ in range(5):
            await client.fetch(get(base), timeout_s=WITHIN_S)
        assert len(streams) == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(
    streams: list[trio.SocketStream],
) -> None:
    async with http_server(always(200, Connection="close")) as base, Client() as client:
        for _ in range(2):
            await client.fetch(get(base), timeout_s=WITHIN_S)
    assert len(streams) == 2


async def test_requests_side_by_side_do_not_mix() -> None:
    answers: dict[int, bytes] = {}

    async def ask(client: Client, base: str, number: int) -> None:
        answers[number] = (await client.fetch(get(f"{base}/{number}"), timeout_s=WITHIN_S)).body

    async with (
        http_server(lambda seen: (200, {}, seen.target.encode())) as base,
        Client() as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(20):
            nursery.start_soon(ask, client, base, number)
    assert answers == {number: f"/{number}".encode() for number in range(20)}


# --- one that says no -------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "wait"), [(429, "7"), (418, "120"), (503, "3")])
async def test_a_server_that_asks_for_patience_is_given_it(status: int, wait: str) -> None:
    async with http_server(always(status, b"slow down", Retry_After=wait)) as base:
        error = await error_of(get(base))
    assert isinstance(error, VenueThrottled)
    assert error.retry_after_s == float(wait)
    assert "slow down" in str(error)


async def test_a_server_that_does_not_say_how_long_gets_a_minute() -> None:
    async with http_server(always(429)) as base:
        error = await error_of(get(base))
    assert isinstance(error, VenueThrottled)
    assert error.retry_after_s == websocket.DEFAULT_RETRY_AFTER_S


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 501])
async def test_a_refusal_comes_with_what_the_server_said(status: int) -> None:
    async with http_server(always(status, b'{"code":-1121,"msg":"Invalid symbol."}')) as base:
        error = await error_of(get(f"{base}/api?secret=hush"))
    assert isinstance(error, RejectedError)
    assert str(status) in str(error)
    assert "Invalid symbol." in str(error)
    assert "hush" not in str(error)


@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_a_server_in_trouble_is_tried_again(status: int) -> None:
    async with http_server(always(status)) as base:
        assert isinstance(await error_of(get(base)), ConnectionLost)


async def test_a_long_refusal_is_cut_short() -> None:
    async with http_server(always(400, b"x" * 100_000)) as base:
        assert len(str(await error_of(get(base)))) < 400


# --- one that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "serve",
    [
        closes_without_answer,
        resets_without_answer,
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    ],
)
async def test_an_answer_that_breaks_off_is_a_lost_connection(serve: ServeStream) -> None:
    assert isinstance(await error_by(serve), ConnectionLost)


@pytest.mark.parametrize(
    "serve",
    [
        says_and_waits(b"220 mail.example.org ESMTP\r\n\r\n"),
        says_and_waits(b"\x16\x03\x01\x02\x00\r\n\r\n"),
        says_and_waits(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
        says_and_waits(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"),
    ],
)
async def test_an_answer_that_is_no_http_breaks_the_protocol(serve: ServeStream) -> None:
    assert isinstance(await error_by(serve), RemoteProtocolError)


async def test_an_answer_without_end_is_given_up_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_streams, "MAX_ANSWER_BYTES", 100_000)
    async with http_server(always(200, b"x" * 100_001)) as base:
        error = await error_of(get(base))
    assert isinstance(error, RemoteProtocolError)
    assert "larger" in str(error)


@pytest.mark.parametrize(
    "serve",
    [
        never_answers,
        says_and_waits(b"HTTP/1.1 200 OK\r\nContent-Le"),
        says_and_waits(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
    ],
)
async def test_the_deadline_covers_the_whole_answer(serve: ServeStream, patient_clock: MockClock) -> None:
    async with tcp_server(serve) as port:
        started = trio.current_time()
        error = await error_of(get(f"http://{HOST}:{port}/"))
        assert trio.current_time() == pytest.approx(started + WITHIN_S)
    assert isinstance(error, ConnectionLost)
    assert "within 20 s" in str(error)


async def test_a_port_that_nobody_listens_on_is_a_lost_connection() -> None:
    async with tcp_server(never_answers) as port:
        pass
    error = await error_of(get(f"http://{HOST}:{port}/"))
    assert isinstance(error, ConnectionLost)
    assert "refused" in str(error)


async def test_a_request_that_is_cancelled_leaves_no_socket(streams: list[trio.SocketStream]) -> None:
    async with tcp_server(never_answers) as port, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: fetch(get(f"http://{HOST}:{port}/"), timeout_s=WITHIN_S))
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    assert len(streams) == 1


async def test_a_client_serves_on_after_a_failure() -> None:
    replies = iter([(404, {}, b""), (200, {}, b"well")])
    async with http_server(lambda _: next(replies)) as base, Client() as client:
        with pytest.raises(RejectedError):
            await client.fetch(get(base), timeout_s=WITHIN_S)
        assert (await client.fetch(get(base), timeout_s=WITHIN_S)).body == b"well"


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def _trusting(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(websocket, "tls_context", lambda: context)


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.usefixtures("_trusting")
async def test_a_server_with_a_good_certificate_is_asked(authority: trustme.CA) -> None:
    async with http_server(always(200, b"secret"), tls=certified(authority, HOST)) as base:
        assert (await fetch(get(base), timeout_s=WITHIN_S)).body == b"secret"


@pytest.mark.usefixtures("_trusting")
async def test_a_certificate_of_another_name_is_refused(authority: trustme.CA) -> None:
    async with http_server(always(200), tls=certified(authority, "example.org")) as base:
        error = await error_of(get(base))
    assert isinstance(error, ConnectionLost)
    assert "TLS" in str(error)


async def test_a_tls_handshake_that_is_never_answered_leaves_no_socket(
    streams: list[trio.SocketStream], patient_clock: MockClock
) -> None:
    async def takes_all(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass

    async with tcp_server(takes_all) as port:
        assert isinstance(await error_of(get(f"https://{HOST}:{port}/")), ConnectionLost)
    assert len(streams) == 1


# --- what is wrong on our side ------------------------------------------------------------------


async def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_httpcore(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "httpcore":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_httpcore)
    error = await error_of(get(f"http://{HOST}:9/"))
    assert isinstance(error, PermanentError)
    assert "pip install 'marketd[rest]'" in str(error)


@pytest.mark.parametrize(
    "url",
    ["", "ws://example.org", "https://", "https://a b/", "http://[::1", "https://x:99999/", "https://€/"],
)
async def test_an_address_that_is_none_is_named(url: str) -> None:
    assert isinstance(await error_of(get(url)), ConfigError)


async def test_a_secret_in_a_wrong_address_is_not_repeated() -> None:
    assert "hush" not in str(await error_of(get("https://a b/?token=hush")))
