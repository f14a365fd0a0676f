import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.control import IDLE_S, MAX_CLIENTS, MAX_REQUEST_BYTES, Control, Peer
from domain.errors import ConfigError, RejectedError

NOBODY = Peer(pid=1, uid=1)


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while the kernel carries something."""
    return MockClock(autojump_threshold=0.05)


async def tell(command: str, arguments: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
    """Tell what was asked, and by whom."""
    return {"command": command, "arguments": arguments, "uid": peer.uid, "pid": peer.pid}


async def refuse(command: str, arguments: Mapping[str, Any], peer: Peer) -> None:
    raise RejectedError(f"{command}: not now")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@contextlib.asynccontextmanager
async def listening(control: Control) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run)
        yield
        nursery.cancel_scope.cancel()


class Client:
    """One connection to the socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def line(self) -> bytes:
        """Return the next line; empty when the other side has closed."""
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some()
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def answer(self) -> Any:
        return msgspec.json.decode(await self.line())

    async def ask(self, line: bytes) -> Any:
        await self.stream.send_all(line + b"\n")
        return await self.answer()


@contextlib.asynccontextmanager
async def client_of(path: Path) -> AsyncIterator[Client]:
    async with await trio.open_unix_socket(path) as stream:
        yield Client(stream)


# --- requests and answers ---------------------------------------------------------------------


async def test_a_request_is_handed_on_and_answered_with_its_id(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        answer = await client.ask(b'{"id":7,"command":"drain","arguments":{"on":true}}')
    assert (answer["id"], answer["ok"]) == (7, True)
    assert (answer["result"]["command"], answer["result"]["arguments"]) == ("drain", {"on": True})


async def test_id_and_arguments_may_be_left_out(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        answer = await client.ask(b'{"command":"status"}')
    assert (answer["id"], answer["ok"], answer["result"]["arguments"]) == (None, True, {})


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="this kernel does not say who asks")
async def test_the_kernel_says_who_asks(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        answer = await client.ask(b'{"command":"status"}')
    assert (answer["result"]["uid"], answer["result"]["pid"]) == (os.getuid(), os.getpid())


async def test_a_refusal_is_an_answer(path: Path) -> None:
    async with listening(Control(path=path, handle=refuse)), client_of(path) as client:
        answer = await client.ask(b'{"id":"x","command":"drain"}')
    assert answer == {"id": "x", "ok": False, "error": "drain: not now"}


async def test_requests_sent_at_once_are_answered_in_order(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        await client.stream.send_all(b'{"id":1,"command":"a"}\n{"id":2,"command":"b"}\n{"id":3,')
        assert [(await client.answer())["id"], (await client.answer())["id"]] == [1, 2]
        assert (await client.ask(b'"command":"c"}'))["id"] == 3


GARBAGE = [
    b"",
    b"garbage",
    b"[]",
    b"{}",
    b'{"command":7}',
    b'{"command":"x","arguments":[]}',
    b'{"command":"\xff"}',
    b"\x00\xff\xfe",
    b'{"command":"x","arguments":{"a":' + b"[" * 30_000,
    b'{"command":"x","id":1' + b"0" * 5000 + b"}",
]


@pytest.mark.parametrize("line", GARBAGE, ids=lambda line: repr(line[:30]))
async def test_garbage_is_answered_and_the_next_request_too(path: Path, line: bytes) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        assert (await client.ask(line))["ok"] is False
        assert (await client.ask(b'{"command":"status"}'))["ok"] is True


@given(line=st.binary() | st.text(alphabet='{}[]":,\\ud8x0command', max_size=60).map(str.encode))
@example(line=b'{"command":"x","id":1000000000000000000000000000000}')
@example(line=b'{"command":"\\ud800","id":"\\udfff"}')
def test_any_line_has_an_answer_that_can_be_sent(line: bytes) -> None:
    control = Control(path=Path("unused"), handle=tell)
    answer = trio.run(control.answer, line, NOBODY)
    assert msgspec.json.decode(msgspec.json.encode(answer))["ok"] in (True, False)


# --- limits -----------------------------------------------------------------------------------


async def test_the_largest_request_allowed_is_answered(path: Path) -> None:
    request = b'{"command":"status","arguments":{"a":"'
    request += b"x" * (MAX_REQUEST_BYTES - len(request) - 3) + b'"}}'
    assert len(request) == MAX_REQUEST_BYTES
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        assert (await client.ask(request))["ok"] is True


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_larger_request_is_refused_and_its_client_shown_out(path: Path, end: bytes) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        await client.stream.send_all(b"x" * (MAX_REQUEST_BYTES + 1) + end)
        assert (await client.answer())["ok"] is False
        assert await end_of(client) == b""


async def end_of(client: Client) -> bytes:
    """Return what still comes; a reset is an end too."""
    try:
        return await client.line()
    except trio.BrokenResourceError:
        return b""


async def test_one_client_too_many_is_shown_out_and_disturbs_nobody(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(path)) for _ in range(MAX_CLIENTS)]
        for client in clients:
            await client.ask(b'{"command":"status"}')
        async with client_of(path) as one_more:
            assert await end_of(one_more) == b""
        for client in clients:
            assert (await client.ask(b'{"command":"status"}'))["ok"] is True


async def test_a_client_that_left_makes_room(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)):
        for _ in range(3 * MAX_CLIENTS):
            async with client_of(path) as client:
                assert (await client.ask(b'{"command":"status"}'))["ok"] is True


async def test_a_client_that_asks_nothing_is_shown_out(path: Path, patient_clock: MockClock) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        connected = trio.current_time()
        assert await end_of(client) == b""
        assert trio.current_time() == pytest.approx(connected + IDLE_S)


async def test_a_client_that_drips_its_request_is_shown_out_too(path: Path, patient_clock: MockClock) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        with pytest.raises(trio.BrokenResourceError):
            await drip(client)


async def drip(client: Client) -> None:
    for _ in range(10):
        await client.stream.send_all(b"x")
        await trio.sleep(IDLE_S / 2)


async def test_a_client_that_asks_now_and_then_may_stay(path: Path, patient_clock: MockClock) -> None:
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        for _ in range(5):
            await trio.sleep(IDLE_S - 1.0)
            assert (await client.ask(b'{"command":"status"}'))["ok"] is True


async def test_a_client_that_takes_no_answer_is_shown_out(path: Path, patient_clock: MockClock) -> None:
    async def tell_at_length(command: str, arguments: Mapping[str, Any], peer: Peer) -> str:
        return "x" * 10_000_000

    control = Control(path=path, handle=tell_at_length)
    async with listening(control), client_of(path) as client:
        await client.stream.send_all(b'{"command":"status"}\n')
        await trio.sleep(2 * IDLE_S)
        assert len(await end_of(client)) < 10_000_000


async def test_a_client_that_leaves_before_its_answer_disturbs_nobody(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)):
        for _ in range(10):
            async with client_of(path) as client:
                await client.stream.send_all(b'{"command":"status"}\n' * 100)
        async with client_of(path) as client:
            assert (await client.ask(b'{"command":"status"}'))["ok"] is True


# --- the socket file --------------------------------------------------------------------------


def mode_of(path: Path) -> int | None:
    """Return type and permissions of a file, None where there is none."""
    return path.stat().st_mode if path.exists() else None


def leave_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))


async def test_the_socket_is_open_to_owner_and_group_only(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)):
        assert mode_of(path) == stat.S_IFSOCK | 0o660


async def test_the_socket_is_gone_after_the_end(path: Path) -> None:
    async with listening(Control(path=path, handle=tell)):
        assert mode_of(path) is not None
    assert mode_of(path) is None


@pytest.mark.parametrize("leave", [leave_a_socket, Path.touch], ids=["socket", "file"])
async def test_the_remains_of_a_crash_are_replaced(path: Path, leave: Callable[[Path], None]) -> None:
    leave(path)
    async with listening(Control(path=path, handle=tell)), client_of(path) as client:
        assert (await client.ask(b'{"command":"status"}'))["ok"] is True


@pytest.mark.parametrize(
    "name",
    ["x" * 150, "x" * 300, "missing/control.sock", "directory", "file/control.sock"],
    ids=[
        "too long for a socket",
        "too long for a file",
        "no such directory",
        "a directory",
        "not in a directory",
    ],
)
async def test_a_path_that_cannot_be_listened_on_is_a_settings_error_naming_it(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as error:
        await Control(path=tmp_path / name, handle=tell).run()
    assert str(tmp_path / name) in str(error.value)


async def test_the_process_mask_is_as_before(path: Path) -> None:
    before = os.umask(0o077)
    os.umask(before)
    async with listening(Control(path=path, handle=tell)):
        pass
    after = os.umask(before)
    assert after == before
