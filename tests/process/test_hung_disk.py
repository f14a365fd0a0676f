"""A disk that takes nothing for a while, and is neither full nor broken: a busy host's, a network's."""

import signal
from pathlib import Path

import pytest
from daemons import FIVE, Settings, Workshop, all_live, differences, read_ledger, read_stored, wait_until
from databases import SqliteDatabase
from disks import frozen, real_disk
from notified import Manager

from storage.target import SqliteTarget

WATCHDOG_S = 4.0


def test_hung_disk_holds_up_neither_feeds_nor_answers_nor_the_watchdogs_ping(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    workshop.state_dir = disk / "state"
    status_file = workshop.state_dir / "status.json"
    database = SqliteDatabase(target=SqliteTarget(path=disk / "marketd.db"))
    manager = Manager(f"@{tmp_path.name}-notify")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", f"{WATCHDOG_S * 1_000_000:.0f}")
    with real_disk(disk, megabytes=200):
        venue = workshop.simulator("--rate", "20", "--fault", "close@6", "--markets", ",".join(FIVE))
        daemon = workshop.daemon(Settings(url=venue.url, database=database, symbols=FIVE))
        daemon.wait_live()
        with frozen(disk):
            # the venue hangs up meanwhile: connecting anew is remembered on disk
            daemon.send(signal.SIGUSR1)
            daemon.wait_until(
                lambda status: status["connections"][0]["restarts"] >= 1 and all_live(status),
                what="connected anew while the disk hangs",
            )
            manager.heard()
            for _ in range(3):
                wait_until(lambda: {"WATCHDOG": "1"} in manager.heard(), what="the watchdog is told")
            assert not status_file.exists()
        # what waited in memory is accepted
        daemon.wait_stored(daemon.status()["writer"]["accepted"] + 500)
        assert status_file.exists()
        assert daemon.stop() == 0
        stored, sent = read_stored(database, source="trades"), read_ledger(workshop.ledger)
        assert differences(stored, sent)["missing"] == []
    manager.close()


def test_a_stop_on_a_hung_disk_is_obeyed_whatever_was_asked_before(
    workshop: Workshop, tmp_path: Path
) -> None:
    """The kernel lets nobody end whose thread waits for such a disk; all that we can do is done."""
    disk = tmp_path / "disk"
    workshop.state_dir = disk / "state"
    database = SqliteDatabase(target=SqliteTarget(path=disk / "marketd.db"))
    with real_disk(disk, megabytes=200):
        venue = workshop.simulator("--rate", "20", "--markets", ",".join(FIVE))
        daemon = workshop.daemon(Settings(url=venue.url, database=database, symbols=FIVE))
        daemon.wait_live()
        with frozen(disk):
            daemon.send(signal.SIGUSR2)  # to be kept on disk
            wait_until(lambda: daemon.has_said("desired"), what="the signal is obeyed")
            daemon.send(signal.SIGTERM)
            wait_until(lambda: daemon.has_said("stop", exit_code=1), what="its last words")
        assert daemon.wait() == 1
