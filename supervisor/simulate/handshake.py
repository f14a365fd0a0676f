"""The server's side of what comes before frames: a web-socket upgrade, or plain HTTP, over a stream."""

from collections.abc import Mapping
from typing import NamedTuple

import h11
import trio
from wsproto import WSConnection
from wsproto.events import AcceptConnection
from wsproto.utilities import ProtocolError

from domain.errors import ConnectionLost
from venues.simulated.protocol import HttpAnswer, Request

DEADLINE_S = 10.0  # from TCP accept to the end of the request, and for the answer
RECEIVE_BYTES = 2**12
MAX_BODY_BYTES = 2**16  # of a request: a log-in or a filter, no file


class Asked(NamedTuple):
    """What a client asked for, and the bytes it was asked with."""

    request: Request
    raw: bytes
    is_upgrade: bool


async def read_request(stream: trio.SocketStream) -> Asked:
    """Return what a client asks for.

    Raises `ConnectionLost` if the client leaves, speaks something else, or takes over 10 s.
    """
    with trio.move_on_after(DEADLINE_S):
        try:
            return await _read_request(stream)
        except h11.ProtocolError as exc:
            raise ConnectionLost(f"not a request: {exc}") from exc
    raise ConnectionLost("no whole request in time")


async def _read_request(stream: trio.SocketStream) -> Asked:
    parser, raw, body = h11.Connection(h11.SERVER), b"", b""
    head: h11.Request | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = await _receive(stream)
            parser.receive_data(data)
            raw += data
        elif isinstance(event, h11.Request):
            head = event
            headers = _headers(event)
            if "websocket" in headers.get("upgrade", "").lower():
                return Asked(_request(event, headers, b""), raw, is_upgrade=True)
        elif isinstance(event, h11.Data) and len(body) <= MAX_BODY_BYTES:
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Asked(_request(head, _headers(head), body), raw, is_upgrade=False)
        else:
            raise ConnectionLost("the client left, or sends without end")


def _headers(head: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _request(head: h11.Request, headers: Mapping[str, str], body: bytes) -> Request:
    return Request(head.method.decode("latin-1"), head.target.decode("latin-1"), headers, body)


async def accept(stream: trio.SocketStream, *, ws: WSConnection, raw: bytes) -> None:
    """Answer an upgrade with 101; raise `ConnectionLost` if it is none, or that cannot be sent."""
    try:
        ws.receive_data(raw)
        list(ws.events())
        answer = ws.send(AcceptConnection())
    except ProtocolError as exc:
        raise ConnectionLost(f"not an upgrade: {exc}") from exc
    await _send(stream, data=answer)


async def say(stream: trio.SocketStream, answer: HttpAnswer) -> None:
    """Answer over HTTP, for good; raise `ConnectionLost` if that cannot be sent."""
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status} Simulated", *(f"{name}: {text}" for name, text in headers.items())]
    await _send(stream, data="\r\n".join([*lines, "", ""]).encode() + answer.body)


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
