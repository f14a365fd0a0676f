import io
import logging
import time

import pytest
from logged import logged, logged_json, make_record

from domain.events import Event, emit
from supervisor.log_lines import COLOURS, as_dated_line, priority_of


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_in_a_pipe_a_line_is_json_with_its_fields() -> None:
    [line] = logged_json(lambda: emit(Event.STATE, "A live", actor="market/A@sim", reason="none"))
    del line["time"]
    assert line == {
        "level": "info",
        "priority": 6,
        "message": "A live",
        "event": "state",
        "actor": "market/A@sim",
        "market": "A@sim",
        "venue": "sim",
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
    assert line.startswith(COLOURS[logging.WARNING])


def test_no_colour_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    [line] = logged(lambda: emit(Event.STATE, "A", level=logging.WARNING), stream=Terminal())
    assert "\x1b" not in line


def test_on_a_terminal_a_crash_shows_its_traceback_below() -> None:
    lines = logged(lambda: emit(Event.CRASH, "crashed", traceback="File x\nline y\n"), stream=Terminal())
    assert lines[1:] == ["File x", "line y"]


def test_below_the_level_nothing_is_said() -> None:
    assert logged(lambda: emit(Event.STATE, "A starting", level=logging.DEBUG)) == []


def test_in_a_file_a_line_has_its_day() -> None:
    record = make_record("disk full", level=logging.ERROR)
    day = time.strftime("%Y-%m-%d", time.localtime(record.created))
    line = as_dated_line(record).decode()
    assert line.startswith(day)
    assert line.endswith("  error: disk full\n")


def test_no_level_has_a_priority_that_is_shown_on_every_terminal() -> None:
    assert {priority_of(level) for level in range(101)} == {2, 3, 4, 6, 7}
