"""The server's side of the web-socket upgrade, over a plain trio stream."""

import trio
from wsproto import WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import ProtocolError

from domain.errors import ConnectionLost

DEADLINE_S = 10.0  # from TCP accept to the end of the request, and for the answer
RECEIVE_BYTES = 2**12


async def read_request(stream: trio.SocketStream, *, ws: WSConnection) -> str:
    """Return the path and query that a client wants to upgrade.

    Raises `ConnectionLost` if the client leaves, asks for something else, or takes over 10 s.
    """
    with trio.move_on_after(DEADLINE_S):
        while True:
            data = await _receive(stream)
            try:
                ws.receive_data(data)
                for event in ws.events():
                    if isinstance(event, Request):
                        return event.target
            except ProtocolError as exc:
                raise ConnectionLost(f"not an upgrade: {exc}") from exc
    raise ConnectionLost("no whole request in time")


async def accept(stream: trio.SocketStream, *, ws: WSConnection) -> None:
    """Answer 101; raise `ConnectionLost` if that cannot be sent."""
    await _send(stream, data=ws.send(AcceptConnection()))


async def reject(stream: trio.SocketStream, *, ws: WSConnection, answer: RejectConnection) -> None:
    """Answer with another status; raise `ConnectionLost` if that cannot be sent."""
    await _send(stream, data=ws.send(answer))


async def wait_until_left(stream: trio.SocketStream, *, deadline: float) -> None:
    """Never answer: return when the client has left, at the latest at that monotonic time."""
    with trio.move_on_at(deadline):
        try:
            while True:
                await _receive(stream)
        except ConnectionLost:
            pass


async def _receive(stream: trio.SocketStream) -> bytes:
    try:
        data = await stream.receive_some(RECEIVE_BYTES)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise ConnectionLost("the client is gone") from exc
    if not data:
        raise ConnectionLost("the client left")
    return bytes(data)


async def _send(stream: trio.SocketStream, *, data: bytes) -> None:
    with trio.move_on_after(DEADLINE_S) as scope:
        try:
            await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionLost("the client is gone") from exc
    if scope.cancelled_caught:
        raise ConnectionLost("the client does not read")
