"""Backup and restore beside real daemons."""

import subprocess
from pathlib import Path

from daemons import FIVE, MARKETD, WITHIN_S, Settings, Simulator, Start, Workshop
from databases import AnyDatabase, SqliteDatabase, stored_ticks

from domain.market import Tick
from storage.target import SqliteTarget


def run(workshop: Workshop, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that needs the settings file."""
    return subprocess.run(
        [MARKETD, *words, "--config", workshop.config, "--state-dir", workshop.state_dir],
        capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip


def ticks_in(file: Path) -> list[Tick]:
    return stored_ticks(SqliteDatabase(target=SqliteTarget(path=file)))


def assert_prefix(copied: list[Tick], stored: list[Tick]) -> None:
    """Fail unless the copy is what was stored up to one moment, in the order in which it was received."""
    assert set(copied) <= set(stored)
    last_us = max(tick.received_us for tick in copied)
    # one message's ticks, of the same receipt, may have been stored by two transactions
    earlier = {tick for tick in stored if tick.received_us < last_us}
    assert earlier <= set(copied)


def test_backups_beside_a_storing_daemon_are_each_the_state_of_one_moment(
    workshop: Workshop, database: AnyDatabase, start: Start
) -> None:
    daemon, _ = start(database)
    daemon.wait_stored(200)
    copies = []
    for number in range(4):
        file = workshop.folder / f"backup-{number}"
        done = run(workshop, "backup", str(file))
        assert done.returncode == 0, done.stderr
        copies.append(ticks_in(file))
        daemon.wait_stored(daemon.status()["writer"]["stored"] + 50)
    assert daemon.stop() == 0
    stored = stored_ticks(database)
    assert 200 <= len(copies[0]) < len(copies[1]) < len(copies[2]) < len(copies[3]) < len(stored)
    for copied in copies:
        assert_prefix(copied, stored)


def test_restore_waits_for_the_daemon_to_be_stopped_and_the_next_one_goes_on(
    workshop: Workshop, database: AnyDatabase, calm: Simulator
) -> None:
    settings = Settings(url=calm.url, database=database, symbols=FIVE)
    daemon = workshop.daemon(settings)
    daemon.wait_stored(100)
    file = workshop.folder / "backup"
    assert run(workshop, "backup", str(file)).returncode == 0
    refused = run(workshop, "restore", str(file), "--replace")
    assert refused.returncode == 1
    assert str(daemon.pid) in refused.stderr
    assert daemon.stop() == 0
    copied = set(ticks_in(workshop_copy(file)))
    done = run(workshop, "restore", str(file), "--replace")
    assert done.returncode == 0, done.stderr
    again = workshop.daemon(settings)
    status = again.wait_live()
    assert (status["trading"]["drain"], status["trading"]["kill_switch"]) == (True, None)
    again.wait_stored(50)
    assert again.stop() == 0
    stored = set(stored_ticks(database))
    assert copied < stored


def workshop_copy(file: Path) -> Path:
    """Return a copy to look into: opening one as a database may change it."""
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    return copy
