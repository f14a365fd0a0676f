import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing
import trio_websocket
import trustme
from hypothesis import given
from hypothesis import strategies as st
from loopback import (
    HOST,
    ServeSocket,
    ServeStream,
    answers_without_end,
    closes_without_answer,
    never_answers,
    never_reads,
    never_says_goodbye,
    resets_inside_a_frame,
    resets_without_answer,
    says,
    says_and_waits,
    sends_after_upgrade,
    tcp_server,
    websocket_server,
)
from trio.testing import MockClock

from domain.errors import (
    ConfigError,
    ConnectionLost,
    MarketdError,
    RemoteProtocolError,
    UpgradeRefused,
    VenueThrottled,
    flatten,
)
from wire import websocket
from wire.websocket import Socket, dial, retry_after_s, split_url

WITHIN_S = 30.0  # the dial's own deadline; virtual where the clock jumps


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while the kernel carries something over loopback."""
    return MockClock(autojump_threshold=0.05)


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[trio.SocketStream]]:
    """Every TCP stream that was dialled; all must be closed at the end of each test."""
    opened: list[trio.SocketStream] = []
    open_tcp_stream = trio.open_tcp_stream

    async def open_and_note(host: str, port: int) -> trio.SocketStream:
        opened.append(await open_tcp_stream(host, port))
        return opened[-1]

    monkeypatch.setattr(trio, "open_tcp_stream", open_and_note)
    yield opened
    assert [stream for stream in opened if stream.socket.fileno() >= 0] == []


@contextlib.asynccontextmanager
async def dialled(port: int, *, path: str = "/", scheme: str = "ws") -> AsyncIterator[Socket]:
    async with dial(f"{scheme}://{HOST}:{port}{path}", headers={}, timeout_s=WITHIN_S) as opened:
        yield opened


async def only_error(
    run: Callable[[], contextlib.AbstractAsyncContextManager[object]],
) -> BaseException:
    """Return what entering and leaving the block raised; it must be one error of ours."""
    with pytest.raises((MarketdError, BaseExceptionGroup)) as caught:
        async with run():
            pass
    (error,) = flatten(caught.value)
    assert isinstance(error, MarketdError)
    return error


async def refusal_by(serve: ServeStream, *, scheme: str = "ws") -> BaseException:
    """Return the error that dialling such a server raises, which must come before the deadline."""
    async with tcp_server(serve) as port:
        url = f"{scheme}://{HOST}:{port}/"
        started = trio.current_time()
        error = await only_error(lambda: dial(url, headers={}, timeout_s=WITHIN_S))
        assert trio.current_time() < started + WITHIN_S
    return error


async def echo(connection: trio_websocket.WebSocketConnection) -> None:
    while True:
        await connection.send_message(await connection.get_message())


# --- a sound server ---------------------------------------------------------------------------


async def test_what_is_sent_is_received_in_order() -> None:
    async with websocket_server(echo) as port, dialled(port) as opened:
        for text in ("one", "zwei €", ""):
            await opened.send(text)
        assert [await opened.receive() for _ in range(3)] == [["one"], ["zwei €"], [""]]


async def test_bytes_are_received_as_bytes() -> None:
    async def serve(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message(b"\x00\xff")
        await connection.get_message()

    async with websocket_server(serve) as port, dialled(port) as opened:
        assert await opened.receive() == [b"\x00\xff"]


async def test_path_query_host_and_headers_reach_the_server() -> None:
    seen: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        seen.append(bytes(await stream.receive_some()))

    async with tcp_server(serve) as port:
        url = f"ws://{HOST}:{port}/stream?streams=a/b"
        await only_error(lambda: dial(url, headers={"Origin": "https://example.org"}, timeout_s=WITHIN_S))
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"GET /stream?streams=a/b HTTP/1.1"
    assert f"Host: {HOST}:{port}".encode() in lines
    assert b"Origin: https://example.org" in lines


async def test_the_kernel_is_told_to_watch_the_connection_too(streams: list[trio.SocketStream]) -> None:
    async with websocket_server(echo) as port, dialled(port):
        (stream,) = streams
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == websocket.USER_TIMEOUT_MS


async def test_a_ping_returns_when_it_is_answered() -> None:
    async with websocket_server(echo) as port, dialled(port) as opened:
        await opened.ping()


async def test_the_servers_ping_is_answered_while_nothing_is_received() -> None:
    answered = trio.Event()

    async def serve(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.ping()
        answered.set()

    async with websocket_server(serve) as port, dialled(port):
        await answered.wait()


async def test_leaving_the_block_says_goodbye() -> None:
    codes: list[int] = []

    async def serve(connection: trio_websocket.WebSocketConnection) -> None:
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await connection.get_message()
        assert closed.value.reason is not None
        codes.append(closed.value.reason.code)

    async with websocket_server(serve) as port:
        async with dialled(port):
            pass
        await trio.testing.wait_all_tasks_blocked()
    assert codes == [1000]


async def test_close_may_be_called_twice() -> None:
    async with websocket_server(echo) as port, dialled(port) as opened:
        await opened.close()
        await opened.close()


async def test_a_closed_socket_receives_no_more() -> None:
    async with websocket_server(echo) as port, dialled(port) as opened:
        await opened.close()
        with pytest.raises(ConnectionLost):
            await opened.receive()
        with pytest.raises(ConnectionLost):
            await opened.send("too late")
        with pytest.raises(ConnectionLost):
            await opened.ping()


async def test_an_error_inside_the_block_comes_out_and_drops_the_socket() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with websocket_server(echo) as port, dialled(port):
            raise LookupError("a bug of ours")
    (error,) = flatten(caught.value)
    assert isinstance(error, LookupError)


async def test_a_cancelled_block_leaves_no_socket(streams: list[trio.SocketStream]) -> None:
    async with websocket_server(echo) as port:
        with trio.CancelScope() as scope:
            async with dialled(port):
                scope.cancel()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert len(streams) == 1


async def test_a_dial_that_is_cancelled_leaves_no_socket(streams: list[trio.SocketStream]) -> None:
    async with tcp_server(never_answers) as port, trio.open_nursery() as nursery:
        nursery.start_soon(only_dial, port)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    assert len(streams) == 1


async def only_dial(port: int) -> None:
    async with dialled(port):
        raise AssertionError("this server never answers")


# --- a server that fails before the upgrade is done ---------------------------------------------


async def test_a_server_that_accepts_and_never_answers_is_left_at_the_deadline(
    patient_clock: MockClock,
) -> None:
    async with tcp_server(never_answers) as port:
        started = trio.current_time()
        error = await only_error(lambda: dialled(port))
        assert trio.current_time() == pytest.approx(started + WITHIN_S)
    assert isinstance(error, ConnectionLost)


async def test_a_tls_handshake_that_is_never_answered_is_left_at_the_deadline(
    patient_clock: MockClock,
) -> None:
    async def takes_all(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass

    async with tcp_server(takes_all) as port:
        error = await only_error(lambda: dialled(port, scheme="wss"))
    assert isinstance(error, ConnectionLost)


@pytest.mark.parametrize(
    "serve",
    [
        closes_without_answer,
        resets_without_answer,
        says(b"HTTP/1.1 101 Switching Proto"),
        says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"),
        says(b"HTTP/1.1 429 Too Many"),
    ],
    ids=["close", "reset", "half a line", "half a head", "half a refusal"],
)
async def test_a_server_that_leaves_before_it_answered_is_lost_at_once(
    serve: ServeStream, patient_clock: MockClock
) -> None:
    assert isinstance(await refusal_by(serve), ConnectionLost)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\xff" * 100,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBvbmU=\r\n\r\n",
    ],
    ids=["ssh", "noise", "no upgrade", "wrong key"],
)
async def test_an_answer_that_is_no_upgrade_is_a_protocol_error_at_once(
    answer: bytes, patient_clock: MockClock
) -> None:
    assert isinstance(await refusal_by(says_and_waits(answer)), RemoteProtocolError)


def http(status: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    lines = (b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "status", [b"429 Too Many Requests", b"418 I'm a teapot", b"503 Service Unavailable"]
)
async def test_a_throttling_server_says_how_long_to_wait(status: bytes, patient_clock: MockClock) -> None:
    error = await refusal_by(says_and_waits(http(status, b"Retry-After: 7")))
    assert isinstance(error, VenueThrottled)
    assert error.retry_after_s == 7.0


async def test_a_throttling_server_that_does_not_say_is_left_alone_for_a_minute(
    patient_clock: MockClock,
) -> None:
    error = await refusal_by(says_and_waits(http(b"429 Too Many Requests")))
    assert isinstance(error, VenueThrottled)
    assert error.retry_after_s == 60.0


@pytest.mark.parametrize("serve", [says, says_and_waits])
async def test_a_refusal_whose_body_ends_with_the_stream_is_understood(
    serve: Callable[[bytes], ServeStream], patient_clock: MockClock
) -> None:
    answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\nslow down"
    async with tcp_server(serve(answer)) as port:
        error = await only_error(lambda: dialled(port))
    assert isinstance(error, VenueThrottled)
    assert error.retry_after_s == 7.0
    assert "slow down" in str(error)


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (b"403 Forbidden", 403),
        (b"451 Unavailable For Legal Reasons", 451),
        (b"503 Service Unavailable", 503),
        (b"200 OK", 200),
        (b"302 Found", 302),
    ],
)
async def test_any_other_refusal_carries_its_status_and_evidence(
    status: bytes, number: int, patient_clock: MockClock
) -> None:
    error = await refusal_by(says_and_waits(http(status, body=b"go away")))
    assert isinstance(error, UpgradeRefused)
    assert error.status == number
    assert "go away" in str(error)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", UpgradeRefused),
        (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", UpgradeRefused),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", MarketdError),
    ],
    ids=["body", "chunk", "header"],
)
async def test_an_answer_without_end_is_not_read_for_ever(
    head: bytes, expected: type[MarketdError], patient_clock: MockClock
) -> None:
    assert isinstance(await refusal_by(answers_without_end(head)), expected)


async def test_a_closed_port_is_a_lost_connection() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    error = await only_error(lambda: dialled(port))
    assert isinstance(error, ConnectionLost)
    assert str(error) == "connection refused"


class FindsNoHost(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *_: object, **__: object) -> tuple[str, str]:
        raise AssertionError("nobody asks for names")


class NeverFindsAHost(FindsNoHost):
    async def getaddrinfo(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        await trio.sleep_forever()
        raise AssertionError("this resolver sleeps for ever")


@pytest.mark.parametrize("resolver", [FindsNoHost(), NeverFindsAHost()])
async def test_a_name_that_is_not_found_is_a_lost_connection(
    resolver: trio.abc.HostnameResolver, autojump_clock: MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(resolver)
    error = await only_error(lambda: dial("ws://no.such.host/", headers={}, timeout_s=WITHIN_S))
    assert isinstance(error, ConnectionLost)


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dial with the context that the daemon dials with, the tests' authority added to it."""
    websocket.tls_context.cache_clear()
    context = websocket.tls_context()
    websocket.tls_context.cache_clear()
    authority.configure_trust(context)
    monkeypatch.setattr(websocket, "tls_context", lambda: context)


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.usefixtures("trusting")
async def test_a_server_with_a_good_certificate_is_talked_to(authority: trustme.CA) -> None:
    tls = certified(authority, HOST)
    async with websocket_server(echo, tls=tls) as port, dialled(port, scheme="wss") as opened:
        await opened.send("hello")
        assert await opened.receive() == ["hello"]


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_of_another_name_is_refused(authority: trustme.CA) -> None:
    async with websocket_server(echo, tls=certified(authority, "example.org")) as port:
        error = await only_error(lambda: dialled(port, scheme="wss"))
    assert isinstance(error, ConnectionLost)
    assert "certificate" in str(error)


async def test_a_certificate_of_an_authority_that_nobody_knows_is_refused(authority: trustme.CA) -> None:
    async with websocket_server(echo, tls=certified(authority, HOST)) as port:
        error = await only_error(lambda: dialled(port, scheme="wss"))
    assert isinstance(error, ConnectionLost)
    assert "certificate" in str(error)


async def test_a_server_that_speaks_no_tls_is_a_lost_connection(patient_clock: MockClock) -> None:
    async def speaks_plainly(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(http(b"400 Bad Request"))

    assert isinstance(await refusal_by(speaks_plainly, scheme="wss"), ConnectionLost)


@pytest.mark.usefixtures("trusting")
async def test_a_tls_server_that_closes_without_answer_is_a_lost_connection(authority: trustme.CA) -> None:
    async with tcp_server(closes_without_answer, tls=certified(authority, HOST)) as port:
        error = await only_error(lambda: dialled(port, scheme="wss"))
    assert isinstance(error, ConnectionLost)


# --- a server that fails after the upgrade ------------------------------------------------------


async def loss_of(serve: ServeStream, use: Callable[[Socket], Awaitable[None]]) -> MarketdError:
    """Return the one error of ours that using the socket of such a server ends with."""

    async def dial_and_use(port: int) -> None:
        async with dialled(port) as opened:
            await use(opened)

    async with tcp_server(serve) as port:
        with pytest.raises((MarketdError, BaseExceptionGroup)) as caught:
            await dial_and_use(port)
    (error,) = flatten(caught.value)
    assert isinstance(error, MarketdError)
    return error


async def receive_for_ever(opened: Socket) -> None:
    while True:
        await opened.receive()


async def send_for_ever(opened: Socket) -> None:
    while True:
        await opened.send("x" * 2**20)


@pytest.mark.parametrize(
    "serve",
    [
        sends_after_upgrade(b""),
        sends_after_upgrade(b"\x81\x05he"),
        resets_inside_a_frame,
        sends_after_upgrade(b"\x88\x02\x03\xf0"),
        sends_after_upgrade(b"\x88\x00"),
    ],
    ids=["no goodbye", "half a frame", "reset", "policy violation", "goodbye without a reason"],
)
async def test_a_server_that_leaves_is_a_lost_connection(serve: ServeStream) -> None:
    assert isinstance(await loss_of(serve, receive_for_ever), ConnectionLost)


@pytest.mark.parametrize(
    "frames",
    [b"\xff\xff\xff\xff", b"\x83\x00", b"\x81\x85\x00\x00\x00\x00hello", b"\x81\x02\xff\xff", b"\x80\x00"],
    ids=["reserved bits", "reserved opcode", "masked", "invalid text", "continues nothing"],
)
async def test_a_broken_frame_ends_the_connection_with_an_error_of_ours(frames: bytes) -> None:
    assert isinstance(
        await loss_of(sends_after_upgrade(frames), receive_for_ever), ConnectionLost | RemoteProtocolError
    )


async def test_what_came_before_the_goodbye_is_received() -> None:
    got: list[str | bytes] = []

    async def note(opened: Socket) -> None:
        while True:
            got.extend(await opened.receive())

    error = await loss_of(sends_after_upgrade(b"\x81\x03one\x81\x03two\x88\x00"), note)
    assert got == ["one", "two"]
    assert isinstance(error, ConnectionLost)


def sends_text(text: str) -> ServeSocket:
    async def serve(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message(text)
        await connection.get_message()

    return serve


async def test_the_largest_message_allowed_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_MESSAGE_BYTES", 50_000)
    async with websocket_server(sends_text("x" * 50_000)) as port, dialled(port) as opened:
        assert [len(frame) for frame in await opened.receive()] == [50_000]


async def test_a_larger_message_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_MESSAGE_BYTES", 50_000)
    frame = b"\x81\x7f" + (50_001).to_bytes(8, "big") + b"x" * 50_001
    assert isinstance(await loss_of(sends_after_upgrade(frame), receive_for_ever), ConnectionLost)


async def test_a_message_that_grows_too_large_in_pieces_is_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "MAX_MESSAGE_BYTES", 1_000)
    piece = b"\x00\x64" + b"x" * 100
    frames = b"\x01\x64" + piece[2:] + 10 * piece
    assert isinstance(await loss_of(sends_after_upgrade(frames), receive_for_ever), ConnectionLost)


async def test_a_peer_that_takes_nothing_is_a_lost_connection(patient_clock: MockClock) -> None:
    assert isinstance(await loss_of(never_reads, send_for_ever), ConnectionLost)


async def test_the_wait_for_a_pong_is_the_callers_to_end(patient_clock: MockClock) -> None:
    async with tcp_server(never_says_goodbye) as port, dialled(port) as opened:
        with trio.move_on_after(1000.0) as scope:
            await opened.ping()
    assert scope.cancelled_caught


@pytest.mark.parametrize("serve", [never_says_goodbye, never_reads])
async def test_a_peer_that_never_says_goodbye_is_not_waited_for(
    serve: ServeStream, patient_clock: MockClock
) -> None:
    async with tcp_server(serve) as port:
        with trio.fail_after(2 * websocket.CLOSE_TIMEOUT_S):
            async with dialled(port):
                pass


# --- addresses and headers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ws://h", ("ws", "h", 80, "/")),
        ("wss://h", ("wss", "h", 443, "/")),
        ("wss://h:9443/ws/a?b=c&d", ("wss", "h", 9443, "/ws/a?b=c&d")),
        ("ws://[::1]:80/x", ("ws", "::1", 80, "/x")),
        ("WSS://H/X", ("wss", "h", 443, "/X")),
    ],
)
def test_an_address_is_taken_apart(url: str, parts: tuple[str, str, int, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "http://h",
        "ws://",
        "ws:///path",
        "ws://h:port",
        "ws://h:99999",
        "ws://[::1",
        "ws://a b/",
        "ws://h/a b",
        "ws://h/ä",
        "ws://ä/",
        "ws://a..b/",
        f"ws://{'a' * 64}/",
        "ws://h/\r\nX-Evil: 1",
        "ws://h\x00/",
    ],
)
def test_an_address_that_is_none_is_a_settings_error_that_shows_it(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        split_url(url)
    assert repr(url) in str(error.value)


@given(rest=st.text())
def test_of_any_text_an_address_or_a_settings_error_is_made(rest: str) -> None:
    with contextlib.suppress(ConfigError):
        scheme, host, port, resource = split_url("ws://" + rest)
        assert scheme == "ws"
        assert host
        assert 0 <= port <= 65535
        assert resource.isascii()
        assert resource.startswith("/")


async def test_dialling_an_address_that_is_none_is_a_settings_error() -> None:
    error = await only_error(lambda: dial("http://example.org/", headers={}, timeout_s=WITHIN_S))
    assert isinstance(error, ConfigError)


def test_retry_after_may_be_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "now_us", lambda: 784_111_777_000_000)  # RFC 9110's example
    assert retry_after_s("Sun, 06 Nov 1994 08:50:07 GMT") == 30.0


def test_a_date_that_has_passed_asks_for_no_wait() -> None:
    assert retry_after_s("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "²", "Sun, 99 Nov 1994 08:49:37 GMT"])
def test_a_retry_after_that_makes_no_sense_is_a_minute(value: str) -> None:
    assert retry_after_s(value) == 60.0


@given(
    value=st.text()
    | st.from_regex(r"\w{3}, \d{1,2} (Jan|Feb) \d{1,5} \d\d:\d\d:\d\d [-+A-Z]\w{2,5}", fullmatch=True)
)
def test_any_retry_after_is_a_wait(value: str) -> None:
    assert retry_after_s(value) >= 0.0
