import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from domain.errors import RejectedError
from supervisor import client, lock
from supervisor.client import Line, NoAnswer, NotRunning, ask, wait_gone


@contextmanager
def listening(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Listen on a unix socket; do one thing with each client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answers(reply: object) -> Callable[[socket.socket], None]:
    """Take one request, and give this answer, in two parts."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        line = msgspec.json.encode(reply) + b"\n"
        connection.sendall(line[:3])
        connection.sendall(line[3:])

    return answer


def hangs_up(connection: socket.socket) -> None:
    """Take one request and leave."""
    connection.recv(65_536)


def never_answers(connection: socket.socket) -> None:
    """Take the request, and wait until the client has had enough."""
    while connection.recv(65_536):
        pass


def sends_garbage(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"\xff not JSON\n")


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory whose lock this process holds; patience is short."""
    monkeypatch.setattr(client, "ANSWER_S", 0.2)
    monkeypatch.setattr(client, "SOCKETS", (client.OWN_SOCKET, tmp_path / "service.sock"))
    (tmp_path / "state").mkdir()
    with lock.held(tmp_path / "state"):
        yield tmp_path / "state"


def test_the_answer_is_the_result(state_dir: Path) -> None:
    with listening(state_dir / "control.sock", answers({"id": 1, "ok": True, "result": {"a": 1}})):
        assert ask(state_dir, "status") == {"a": 1}


def test_the_request_is_a_line_of_json_with_its_arguments(state_dir: Path) -> None:
    heard: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        heard.append(connection.recv(65_536))
        connection.sendall(b'{"id":1,"ok":true,"result":null}\n')

    with listening(state_dir / "control.sock", keep):
        ask(state_dir, "drain", on=True)
    assert msgspec.json.decode(heard[0]) == {"id": 1, "command": "drain", "arguments": {"on": True}}
    assert heard[0].endswith(b"\n")


def test_a_refusal_has_its_reason(state_dir: Path) -> None:
    refusal = answers({"id": 1, "ok": False, "error": "market 'X' is not in the settings"})
    with listening(state_dir / "control.sock", refusal), pytest.raises(RejectedError, match="'X'"):
        ask(state_dir, "market")


def test_nobody_who_holds_the_lock_is_nobody_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=str(tmp_path)):
        ask(tmp_path, "status")


def test_a_socket_without_a_lock_is_not_talked_to(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with (
        listening(tmp_path / "control.sock", lambda connection: heard.append(connection.recv(1))),
        pytest.raises(NotRunning),
    ):
        ask(tmp_path, "shutdown")
    assert heard == []


@pytest.mark.parametrize("fault", [never_answers, hangs_up, sends_garbage])
def test_a_daemon_that_gives_no_answer_is_said_to_run(
    state_dir: Path, fault: Callable[[socket.socket], None]
) -> None:
    with listening(state_dir / "control.sock", fault), pytest.raises(NoAnswer, match=str(os.getpid())):
        ask(state_dir, "status")


def test_a_daemon_without_a_socket_is_said_to_run(state_dir: Path) -> None:
    with pytest.raises(NoAnswer, match=str(os.getpid())):
        ask(state_dir, "status")


def test_the_socket_of_the_service_is_used_where_it_is_the_holders(state_dir: Path) -> None:
    with listening(state_dir.parent / "service.sock", answers({"id": 1, "ok": True, "result": 7})):
        assert ask(state_dir, "status") == 7


def test_the_socket_of_another_daemon_is_not_talked_to(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        heard.append(connection.recv(65_536))

    monkeypatch.setattr(lock, "holder", lambda state_dir: os.getpid() + 1)
    with listening(state_dir.parent / "service.sock", keep), pytest.raises(NoAnswer):
        ask(state_dir, "shutdown")
    assert heard in ([], [b""])


# --- many requests ----------------------------------------------------------------------------


class Counting:
    """Answers each request with its number, and counts clients; hangs up after so many answers."""

    def __init__(self, *, answers_a_client: int) -> None:
        self._answers_a_client = answers_a_client
        self.clients = self.requests = 0

    def __call__(self, connection: socket.socket) -> None:
        self.clients += 1
        for _ in range(self._answers_a_client):
            if not connection.recv(65_536):
                return
            self.requests += 1
            connection.sendall(msgspec.json.encode({"id": 1, "ok": True, "result": self.requests}) + b"\n")


def test_a_line_serves_many_requests_over_one_connection(state_dir: Path) -> None:
    daemon = Counting(answers_a_client=1_000)
    with (
        listening(state_dir / "control.sock", daemon),
        contextlib.closing(Line(state_dir, answer_s=30.0)) as line,
    ):
        assert [line.ask("history") for _ in range(100)] == list(range(1, 101))
    assert daemon.clients == 1


def test_a_line_that_was_hung_up_is_made_anew(state_dir: Path) -> None:
    daemon = Counting(answers_a_client=2)
    with (
        listening(state_dir / "control.sock", daemon),
        contextlib.closing(Line(state_dir, answer_s=30.0)) as line,
    ):
        assert [line.ask("history") for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert daemon.clients == 4


def test_a_line_to_a_daemon_that_always_hangs_up_does_not_try_for_ever(state_dir: Path) -> None:
    heard: list[int] = []

    def answers_once(connection: socket.socket) -> None:
        heard.append(len(connection.recv(65_536)))
        if len(heard) == 1:
            connection.sendall(b'{"id":1,"ok":true,"result":null}\n')

    with (
        listening(state_dir / "control.sock", answers_once),
        contextlib.closing(Line(state_dir, answer_s=30.0)) as line,
    ):
        line.ask("history")
        with pytest.raises(NoAnswer):
            line.ask("history")
    assert len(heard) == 2


def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(state_dir: Path) -> None:
    clients: list[None] = []

    def late_at_first(connection: socket.socket) -> None:
        clients.append(None)
        connection.recv(65_536)
        if len(clients) == 1:
            connection.recv(1)  # until the client has had enough
            with contextlib.suppress(OSError):
                connection.sendall(b'{"id":1,"ok":true,"result":"late"}\n')
        else:
            connection.sendall(b'{"id":1,"ok":true,"result":"right"}\n')

    with (
        listening(state_dir / "control.sock", late_at_first),
        contextlib.closing(Line(state_dir, answer_s=0.2)) as line,
    ):
        with pytest.raises(NoAnswer):
            line.ask("history")
        assert line.ask("history") == "right"


def test_a_refusal_leaves_the_line_open(state_dir: Path) -> None:
    clients: list[None] = []

    def refuses(connection: socket.socket) -> None:
        clients.append(None)
        while connection.recv(65_536):
            connection.sendall(b'{"id":1,"ok":false,"error":"no"}\n')

    with (
        listening(state_dir / "control.sock", refuses),
        contextlib.closing(Line(state_dir, answer_s=30.0)) as line,
    ):
        for _ in range(3):
            with pytest.raises(RejectedError):
                line.ask("history")
    assert len(clients) == 1


def test_a_line_notices_that_nobody_runs_any_more(tmp_path: Path, state_dir: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with contextlib.closing(Line(other, answer_s=30.0)) as line:
        with lock.held(other), listening(other / "control.sock", Counting(answers_a_client=1)):
            assert line.ask("history") == 1
        with pytest.raises(NotRunning):
            line.ask("history")


# --- the end ----------------------------------------------------------------------------------


def test_waiting_ends_when_nobody_holds_the_lock(tmp_path: Path) -> None:
    assert wait_gone(tmp_path, within_s=30.0)


def test_waiting_ends_when_its_time_is_over(state_dir: Path) -> None:
    assert not wait_gone(state_dir, within_s=0.0)
