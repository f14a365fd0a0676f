import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.mailbox import Mailbox
from domain.events import Event, emit
from domain.messages import ActorEvent
from supervisor import logs

GUARD_S = 30.0  # against hanging


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class NeverTakesALine(io.StringIO):
    """A pipe whose reader hangs: the first write does not return until told."""

    def __init__(self) -> None:
        super().__init__()
        self.is_writing = threading.Event()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.is_writing.set()
        self.go_on.wait(GUARD_S)
        return super().write(text)


class ReaderIsGone(io.StringIO):
    """A pipe that nobody reads any longer."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def logged(say: Callable[[], None], *, stream: io.StringIO | None = None, level: str = "info") -> list[str]:
    """Return the lines that came of it."""
    stream = stream or io.StringIO()
    writer = logs.open_log(level=level, stream=stream)
    say()
    writer.close()
    return stream.getvalue().splitlines()


def logged_json(say: Callable[[], None], *, level: str = "info") -> list[dict[str, object]]:
    return [json.loads(line) for line in logged(say, level=level)]


# --- lines ----------------------------------------------------------------------------------------


def test_in_a_pipe_a_line_is_json_with_its_fields() -> None:
    [line] = logged_json(lambda: emit(Event.STATE, "A live", actor="market/A", market="A", reason="none"))
    del line["time"]
    assert line == {
        "level": "info",
        "priority": 6,
        "message": "A live",
        "event": "state",
        "actor": "market/A",
        "market": "A",
        "reason": "none",
    }


def test_what_is_not_known_is_left_out() -> None:
    [line] = logged_json(lambda: emit(Event.STATE, "A live", reason="", market=None))
    assert line.keys() == {"time", "level", "priority", "message", "event"}


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_levels_have_the_priorities_of_syslog(level: int, priority: int) -> None:
    [line] = logged_json(lambda: emit(Event.START, "…", level=level), level="debug")
    assert line["priority"] == priority


def test_a_message_of_several_lines_is_one_line_of_json() -> None:
    [line] = logged_json(lambda: emit(Event.CRASH, "one\ntwo", traceback="three\nfour"))
    assert line["message"] == "one\ntwo"


def test_what_utf8_cannot_hold_is_logged_all_the_same() -> None:
    [line] = logged_json(lambda: emit(Event.START, "starts in /caf\udce9", state_dir="/caf\udce9"))
    assert line["state_dir"] == "/caf\\udce9"


def test_a_percent_sign_is_a_percent_sign() -> None:
    [line] = logged_json(lambda: emit(Event.START, "100 %s of it"))
    assert line["message"] == "100 %s of it"


def test_on_a_terminal_a_line_is_for_people() -> None:
    [line] = logged(lambda: emit(Event.STATE, "A live, 1 of 27", market="A"), stream=Terminal())
    assert line.endswith("  A live, 1 of 27")


def test_on_a_terminal_a_warning_has_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    [line] = logged(lambda: emit(Event.STATE, "A", level=logging.WARNING), stream=Terminal())
    assert line.startswith(logs.COLOURS[logging.WARNING])


def test_no_colour_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    [line] = logged(lambda: emit(Event.STATE, "A", level=logging.WARNING), stream=Terminal())
    assert "\x1b" not in line


def test_on_a_terminal_a_crash_shows_its_traceback_below() -> None:
    lines = logged(lambda: emit(Event.CRASH, "crashed", traceback="File x\nline y\n"), stream=Terminal())
    assert lines[1:] == ["File x", "line y"]


def test_below_the_level_nothing_is_said() -> None:
    assert logged(lambda: emit(Event.STATE, "A starting", level=logging.DEBUG)) == []


# --- fewer lines ------------------------------------------------------------------------------------


def messages(*says: Callable[[], None]) -> list[object]:
    def say_all() -> None:
        for say in says:
            say()

    return [line["message"] for line in logged_json(say_all)]


def backs_off(seconds: int) -> None:
    emit(
        Event.STATE,
        f"A backing_off: refused; next try in {seconds} s",
        actor="market/A",
        state="backing_off",
        reason=f"refused; next try in {seconds} s",
    )


def test_the_same_state_for_the_same_reason_is_said_once() -> None:
    assert len(messages(lambda: backs_off(1), lambda: backs_off(2), lambda: backs_off(3))) == 1


def test_the_same_of_two_actors_is_said_twice() -> None:
    says = [lambda: emit(Event.CRASH, "x", actor="a"), lambda: emit(Event.CRASH, "x", actor="b")]
    assert len(messages(*says)) == 2


def test_another_state_in_between_is_said() -> None:
    def live() -> None:
        emit(Event.STATE, "A live", actor="market/A", state="live")

    assert len(messages(lambda: backs_off(1), live, lambda: backs_off(1))) == 3


def test_different_words_of_one_actor_are_all_said() -> None:
    """Such as the operator's commands, the keys without effect, a reload that failed and one that did not."""
    says = [lambda n=n: emit(Event.DESIRED, f"stopped {n}", actor="control") for n in range(5)]
    assert messages(*says) == [f"stopped {n}" for n in range(5)]


def test_broken_frames_are_one_event_whatever_is_wrong_with_each() -> None:
    says = [lambda n=n: emit(Event.FRAME, f"byte {n}", actor="connection/sim/1", sample=n) for n in range(5)]
    assert messages(*says) == ["byte 0"]


def test_each_kind_of_unknown_message_is_said() -> None:
    says = [lambda n=n: emit(Event.UNKNOWN, f"unknown {n}", actor="connection/sim/1") for n in range(3)]
    assert len(messages(*says)) == 3


def test_that_a_token_was_refused_hides_not_that_it_has_expired() -> None:
    words = ("sim refuses the token", "the token of sim has expired")
    says = [
        lambda text=text: emit(Event.TOKEN, text, actor="tokens", token_state="refused", venue="sim")
        for text in words
    ]
    assert messages(*says) == list(words)


def test_that_a_market_is_live_again_is_said_each_time() -> None:
    says = [lambda: emit(Event.STATE, "EURUSD live", actor="market/EURUSD", state="live")] * 2
    assert messages(*says) == ["EURUSD live"] * 2


def test_after_ten_minutes_it_is_said_again_with_how_often_it_was_not() -> None:
    folding = logs.Folding()

    def passes(at: float) -> logging.LogRecord | None:
        record = logging.makeLogRecord({"msg": "A", "event": "state", "actor": "market/A", "levelno": 30})
        record.created = at
        return record if folding.filter(record) else None

    assert [passes(at) is not None for at in (0.0, 1.0, 599.0)] == [True, False, False]
    again = passes(600.0)
    assert again is not None
    assert "2" in again.getMessage()


# --- nobody reads -------------------------------------------------------------------------------------


def test_a_reader_that_hangs_holds_up_nobody_and_costs_the_oldest_lines() -> None:
    stream = NeverTakesALine()
    writer = logs.LineWriter(stream)
    writer.start()
    writer.put("taken")
    assert stream.is_writing.wait(GUARD_S)
    for n in range(logs.BACKLOG_LINES + 5):
        writer.put(f"{n}")
    assert writer.dropped == 5
    stream.go_on.set()
    writer.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "taken"
    assert lines[1].startswith("5 ")  # how many are missing, said where they are
    assert lines[2] == "5"
    assert lines[-1] == f"{logs.BACKLOG_LINES + 4}"


def test_what_is_written_keeps_its_order_and_is_all_there_at_the_end() -> None:
    stream = io.StringIO()
    writer = logs.LineWriter(stream)
    writer.start()
    for n in range(1_000):
        writer.put(f"{n}")
    writer.close()
    assert stream.getvalue().splitlines() == [f"{n}" for n in range(1_000)]


def test_a_reader_that_has_left_is_no_trouble() -> None:
    writer = logs.LineWriter(ReaderIsGone())
    writer.start()
    for n in range(10):
        writer.put(f"{n}")
    writer.close()
    writer.put("after the end")
    assert writer._thread is not None
    assert not writer._thread.is_alive()


LOG_WITHOUT_END = """
from supervisor import logs
from domain.events import Event, emit
writer = logs.open_log(level="info")
for n in range(5_000):
    emit(Event.START, f"line {n} " + "." * 100)
writer.close()
print("end", flush=True)
"""


def run_python(code: str, *, stderr: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        timeout=GUARD_S,
    )


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    reader, writer = os.pipe()
    try:
        done = run_python(LOG_WITHOUT_END, stderr=writer)
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.stdout, done.returncode) == ("end\n", 0)


def test_a_process_ends_though_its_log_has_no_reader() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_python(LOG_WITHOUT_END, stderr=writer)
    finally:
        os.close(writer)
    assert done.stdout == "end\n"


def test_a_process_without_stderr_logs_to_nowhere() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, LOG_WITHOUT_END],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=GUARD_S,
    )
    assert (done.stdout, done.returncode) == ("end\n", 0)


# --- what is stored -------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Mailbox[ActorEvent]]:
    """The writer's mailbox of events, with the log going to a file beside."""
    mailbox = Mailbox[ActorEvent](name="writer/events", bound=2)
    with (tmp_path / "log").open("w") as stream:
        writer = logs.open_log(level="debug", stream=stream)
        logs.record_events(mailbox)
        yield mailbox
        writer.close()


async def test_what_is_logged_is_stored_too(stored: Mailbox[ActorEvent]) -> None:
    emit(Event.STATE, "A live", actor="market/A")
    event = stored.get_nowait()
    assert (event.actor, event.event, event.detail) == ("market/A", "state", "A live")


async def test_what_is_only_for_finding_bugs_is_not_stored(stored: Mailbox[ActorEvent]) -> None:
    emit(Event.FRAME, "a frame", actor="connection/sim/1", level=logging.DEBUG)
    assert stored.used == 0


@pytest.mark.parametrize("level", ["debug", "error"])
async def test_every_change_of_a_state_is_stored_whatever_the_log_shows(
    stored: Mailbox[ActorEvent], level: str
) -> None:
    logs.set_level(level)
    emit(Event.STATE, "A starting", actor="market/A", level=logging.DEBUG)
    assert stored.get_nowait().detail == "A starting"


async def test_that_the_database_was_away_is_kept_for_when_it_is_back(stored: Mailbox[ActorEvent]) -> None:
    emit(Event.DATABASE, "database is away", actor="writer")
    assert stored.get_nowait().event == "database"


async def test_a_full_mailbox_of_events_counts_what_it_drops(stored: Mailbox[ActorEvent]) -> None:
    for n in range(5):
        emit(Event.STATE, f"{n}", actor=f"market/{n}")
    assert (stored.used, stored.dropped) == (2, 3)
