"""Servers on the loopback interface, each named by what is wrong with it."""

import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import trio
import trio_websocket
import wsproto
import wsproto.events

HOST = "127.0.0.1"

ServeStream = Callable[[trio.abc.Stream], Awaitable[None]]
ServeSocket = Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_server(serve: ServeStream, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve plain TCP (or TLS) for the length of the block; yield the port."""
    async with trio.open_nursery() as nursery:
        if tls is None:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
        else:
            start = partial(trio.serve_ssl_over_tcp, serve, 0, tls, host=HOST)
            listener = (await nursery.start(start))[0].transport_listener
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def websocket_server(serve: ServeSocket, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve web sockets for the length of the block; yield the port."""

    async def accept(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await serve(connection)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_websocket.serve_websocket, accept, HOST, 0, tls))
        yield server.port
        nursery.cancel_scope.cancel()


# --- what may be wrong before the upgrade is done ------------------------------------------------


async def read_request(stream: trio.abc.Stream) -> bytes:
    """Read the head of the upgrade request."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        data = await stream.receive_some()
        if not data:
            break
        request += data
    return request


async def never_answers(stream: trio.abc.Stream) -> None:
    await read_request(stream)
    await trio.sleep_forever()


async def closes_without_answer(stream: trio.abc.Stream) -> None:
    await read_request(stream)


async def resets_without_answer(stream: trio.abc.Stream) -> None:
    await read_request(stream)
    reset(stream)


def reset(stream: trio.abc.Stream) -> None:
    """Have the kernel send a RST when the stream is closed."""
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))


def says(answer: bytes) -> ServeStream:
    """Return a server that sends this answer and closes."""

    async def serve(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(answer)

    return serve


def says_and_waits(answer: bytes) -> ServeStream:
    """Return a server that sends this answer and leaves the stream open."""

    async def serve(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(answer)
        await trio.sleep_forever()

    return serve


def answers_without_end(head: bytes) -> ServeStream:
    """Return a server whose answer has no end."""

    async def serve(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(head)
            while True:
                await stream.send_all(b"x" * 1024)

    return serve


# --- what may be wrong after it ------------------------------------------------------------------


async def upgrade(stream: trio.abc.Stream) -> wsproto.WSConnection:
    """Answer the upgrade as a sound server does; what comes then is the caller's."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(await read_request(stream))
    await stream.send_all(server.send(wsproto.events.AcceptConnection()))
    return server


def sends_after_upgrade(frames: bytes) -> ServeStream:
    """Return a server that upgrades, sends these bytes, and closes the stream."""

    async def serve(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        await stream.send_all(frames)

    return serve


async def resets_inside_a_frame(stream: trio.abc.Stream) -> None:
    await upgrade(stream)
    await stream.send_all(b"\x81\x05he")  # a text of five bytes, of which two come
    await trio.testing.wait_all_tasks_blocked()
    reset(stream)


async def never_reads(stream: trio.abc.Stream) -> None:
    await upgrade(stream)
    await trio.sleep_forever()


async def never_says_goodbye(stream: trio.abc.Stream) -> None:
    await upgrade(stream)
    while await stream.receive_some():
        pass
