"""`marketd journal verify` beside a daemon at work, and after it."""

import contextlib
import sqlite3

from daemons import Start, Workshop
from databases import SqliteDatabase

from storage.journal_file import NAME


def test_a_journal_is_sound_however_often_one_looks_while_the_daemon_writes(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, _ = start(sqlite)
    for _ in range(5):
        done = workshop.command("journal", "verify")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "ticks: " in done.stdout
        daemon.wait_stored(daemon.status()["writer"]["stored"] + 20)
    daemon.kill()
    done = workshop.command("journal", "verify")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_daemon_that_starts_on_a_damaged_journal_says_so_and_goes_on(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    daemon.wait_stored(50)
    assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(workshop.state_dir / NAME)) as connection, connection:
        connection.execute("UPDATE ticks_batch SET checksum = checksum + 1")
    done = workshop.command("journal", "verify")
    assert done.returncode == 1
    assert "wrong checksum" in done.stdout
    again = workshop.daemon(settings)
    again.wait_stored(50)
    assert again.has_said("journal", state="damaged")
    done = workshop.command("journal", "verify")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("set aside: ")
    assert again.stop() == 0
