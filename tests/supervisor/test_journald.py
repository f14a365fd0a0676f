"""Entries in the journal, with a real journald."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import MARKETD, wait_until
from journald import Entry, Journald
from logged import GUARD_S, make_record

from domain.events import Event
from supervisor.journald import JournalOutput, journal_name
from supervisor.log_writer import BACKLOG_ENTRIES, LogFigures, LogWriter

OURS = "SYSLOG_IDENTIFIER=marketd"


def sent(journald: Journald, message: str, **fields: object) -> Entry:
    """Return what is in the journal after this was sent."""
    output = JournalOutput(journald.socket)
    with contextlib.closing(output):
        assert output.write(output.render(make_record(message, **fields)))
    [entry] = journald.entries(OURS)
    return entry


def opened(journald: Journald) -> LogWriter:
    log = LogWriter(JournalOutput(journald.socket))
    log.start()
    return log


def numbers(journald: Journald) -> list[int]:
    """Return the numbers that were logged as messages, in the journal's order."""
    return [int(entry["MESSAGE"]) for entry in journald.entries(OURS, f"EVENT={Event.START}")]


# --- one entry --------------------------------------------------------------------------------------


def test_an_entry_has_our_fields(journald: Journald) -> None:
    entry = sent(journald, "EURUSD@sim live", market="EURUSD@sim", state="live", restarts=3, reason="")
    assert {name: value for name, value in entry.items() if not name.startswith("_")} == {
        "MESSAGE": "EURUSD@sim live",
        "MESSAGE_ID": Event.START.message_id,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "marketd",
        "EVENT": "start",
        "MARKET": "EURUSD@sim",
        "STATE": "live",
        "RESTARTS": "3",
        "TIME": entry["TIME"],
    }


@pytest.mark.parametrize(
    "text",
    ["one\ntwo", "ends\n", "\n", "a=b", "EVENT=stop\nPRIORITY=0", "\u20ac \U0001f4c8", "tab\tbell\x07"],
)
def test_text_arrives_as_it_is(journald: Journald, text: str) -> None:
    entry = sent(journald, f"<{text}>", reason=text)
    message = entry["MESSAGE"]
    # journalctl prints as a list of bytes what it takes for binary
    assert (bytes(message).decode() if isinstance(message, list) else message) == f"<{text}>"
    assert entry["PRIORITY"] == "6"


def test_what_utf8_cannot_hold_is_spelt_out(journald: Journald) -> None:
    assert sent(journald, "starts in /caf\udce9")["MESSAGE"] == "starts in /caf\\udce9"


@pytest.mark.parametrize("length", [300_000, 9_000_000])
def test_a_message_too_large_for_a_datagram_arrives(journald: Journald, length: int) -> None:
    has_arrived = sent(journald, "x" * length)["MESSAGE"] == "x" * length
    assert has_arrived  # else pytest would show both


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("token_state", "TOKEN_STATE"),
        ("message_id", "MARKETD_MESSAGE_ID"),
        ("code_line", "MARKETD_CODE_LINE"),
        ("unit", "MARKETD_UNIT"),
        ("_pid", "PID"),
        ("2nd", "MARKETD_2ND"),
        ("given up", "GIVEN_UP"),
        ("é", "MARKETD_"),
        ("x" * 100, "X" * 64),
    ],
)
def test_no_field_means_something_else_to_journald(name: str, there: str) -> None:
    assert journal_name(name) == there


def test_the_id_of_an_event_never_changes() -> None:
    """People search for it, and catalogs explain it."""
    assert Event.START.message_id == "4289fae23c8b529f908340caf3c81ef1"
    assert len({event.message_id for event in Event}) == len(Event)


# --- many, and a journald in trouble ----------------------------------------------------------------


def test_a_burst_loses_nothing(journald: Journald) -> None:
    """journald's queue holds 10 here; a sender that does not wait loses most of it."""
    log = opened(journald)
    for n in range(BACKLOG_ENTRIES):
        log.put(make_record(f"{n}"))
    log.close()
    assert log.figures() == LogFigures(waiting=0, dropped=0)
    assert numbers(journald) == list(range(BACKLOG_ENTRIES))


def test_what_is_logged_while_journald_is_dead_is_there_when_it_is_back(journald: Journald) -> None:
    log = opened(journald)
    log.put(make_record("0"))
    wait_until(lambda: log.figures().waiting == 0, what="sent")
    assert numbers(journald) == [0]
    journald.kill()
    log.put(make_record("1"))
    log.put(make_record("2"))
    assert log.figures() == LogFigures(waiting=2, dropped=0)
    journald.start()
    wait_until(lambda: log.figures().waiting == 0, what="sent")
    log.close()
    assert numbers(journald) == [0, 1, 2]


def test_a_stopped_journald_costs_what_the_backlog_cannot_hold_and_says_how_much(journald: Journald) -> None:
    log = opened(journald)
    journald.pause()
    for n in range(BACKLOG_ENTRIES + 500):
        log.put(make_record(f"{n}"))
    figures = log.figures()
    assert figures.waiting <= BACKLOG_ENTRIES
    assert 0 < figures.dropped <= 500
    journald.go_on()
    log.close()
    [notice] = journald.entries(OURS, f"EVENT={Event.LOG}")
    assert notice["DROPPED"] == f"{figures.dropped}"
    assert notice["PRIORITY"] == "4"
    assert len(numbers(journald)) == BACKLOG_ENTRIES + 500 - figures.dropped
    assert numbers(journald)[-1] == BACKLOG_ENTRIES + 499


# --- whether the journal is there -------------------------------------------------------------------

SAY_HELLO = """
from domain.events import Event, emit
from supervisor import logs
log = logs.open_log(level="info")
emit(Event.STATE, "hello", actor="market/EURUSD@sim", reason="none")
log.close()
"""

LOG_A_LOT_WHEN_TOLD = f"""
from domain.events import Event, emit
from supervisor import logs
log = logs.open_log(level="info")
emit(Event.READY, "up")
input()
for n in range({BACKLOG_ENTRIES}):
    emit(Event.START, "a line")
log.close()
"""


def test_a_service_whose_standard_error_is_the_journal_logs_with_fields(journald: Journald) -> None:
    subprocess.run(journald.service(sys.executable, "-c", SAY_HELLO), check=True, timeout=GUARD_S)
    [entry] = journald.entries("MARKET=EURUSD@sim")
    assert (entry["MESSAGE"], entry["VENUE"], entry["REASON"]) == ("hello", "sim", "none")


def test_why_the_service_does_not_start_is_an_error_in_the_journal(
    journald: Journald, tmp_path: Path
) -> None:
    command = journald.service(MARKETD, "run", "--config", tmp_path / "none.toml")
    assert subprocess.run(command, check=False, timeout=GUARD_S).returncode == 78
    [entry] = journald.entries(OURS)
    assert entry["MESSAGE"].startswith("marketd: settings: ")
    assert entry["PRIORITY"] == "3"


def test_a_child_of_a_service_with_a_pipe_of_its_own_logs_there(journald: Journald, tmp_path: Path) -> None:
    """$JOURNAL_STREAM is inherited; it says which stream it means."""
    log = tmp_path / "log"
    command = journald.service("sh", "-c", f'exec "$0" -c "$1" 2>{log}', sys.executable, SAY_HELLO)
    subprocess.run(command, check=True, timeout=GUARD_S)
    assert json.loads(log.read_text())["message"] == "hello"
    assert journald.entries("MARKET=EURUSD@sim") == []


def test_a_process_ends_though_journald_is_stopped(journald: Journald) -> None:
    with subprocess.Popen(
        journald.service(sys.executable, "-c", LOG_A_LOT_WHEN_TOLD), stdin=subprocess.PIPE
    ) as process:
        wait_until(lambda: journald.entries("MESSAGE=up"), what="the process is up")
        journald.pause()
        process.communicate(b"now\n", timeout=GUARD_S)
        assert process.returncode == 0
    journald.go_on()
    assert len(journald.entries(OURS, "EVENT=start")) < BACKLOG_ENTRIES
