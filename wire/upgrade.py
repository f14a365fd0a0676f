"""Tells at once that an upgrade failed, and why, where trio-websocket 0.12.2 waits in vain."""

import re

import trio
from trio_websocket import ConnectionRejected

from domain.errors import ConnectionLost

MAX_ANSWER_BYTES = 64 * 1024  # of an answer that is no upgrade: an error page is smaller

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)\b")


class UpgradeStream(trio.abc.Stream):
    """Passes everything through; until the upgrade is done it keeps what the server answers.

    A server that closes or resets the stream before its answer is complete leaves trio-websocket
    waiting for the rest until a deadline, and so does a refusal whose body ends with the stream.
    Here each is an error as soon as it happens: ConnectionRejected where the head of a refusal
    came, else ConnectionLost.
    """

    __slots__ = ("_answer", "_stream", "is_done")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._answer = bytearray()
        self.is_done = False

    def finish(self) -> None:
        """The upgrade is done: from now on everything is passed through."""
        self.is_done = True
        self._answer.clear()

    def refusal(self) -> ConnectionRejected | None:
        """Return what the server has answered so far, if that is the head of a refusal."""
        head, end, body = bytes(self._answer).partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        status = _STATUS_LINE.match(status_line)
        if not end or status is None or status[1] == b"101":
            return None
        fields = (line.partition(b":") for line in lines)
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in fields)
        return ConnectionRejected(int(status[1]), headers, body)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive; raise ConnectionRejected or ConnectionLost for an upgrade that failed."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as exc:
            if self.is_done:
                raise
            raise ConnectionLost(
                "the server broke the connection off before it answered the upgrade"
            ) from exc
        if not self.is_done:  # looked at now: the upgrade may be done while we wait
            self._note(data)
        return data

    def _note(self, data: bytes | bytearray) -> None:
        self._answer += data
        if not data:
            raise self.refusal() or ConnectionLost("the server closed before it answered the upgrade")
        if len(self._answer) > MAX_ANSWER_BYTES:
            raise self.refusal() or ConnectionLost("the server answers the upgrade without end")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as exc:
            if self.is_done:
                raise
            raise ConnectionLost("the server took no upgrade request") from exc

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream under it."""
        await self._stream.aclose()
