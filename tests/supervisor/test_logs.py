import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from logged import GUARD_S

from actors.mailbox import Mailbox
from domain.events import Event, emit
from domain.messages import ActorEvent
from supervisor import logs

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
