"""The disk of the state directory fills up: money gets through, lost ticks lie in a gap, all comes back."""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from daemons import FIVE, Daemon, Sent, Settings, Simulator, Status, Workshop, read_ledger, read_stored
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase

from storage.target import SqliteTarget

SIZE = 8 * 2**20
FULL_WITHIN_S = 150.0  # 8 MB at some thousand ticks a second; a guard against hanging
RATE = 100  # ticks a second and market: 27 of them fill a megabyte in five seconds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the small disk")


@attrs.frozen(kw_only=True)
class SmallDisk:
    """A file system of 8 MB at the state directory's place."""

    folder: Path

    def fill(self) -> None:
        """Take every byte that is free, as somebody else would."""
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.folder / "filler").unlink()

    def unused(self) -> int:
        return shutil.disk_usage(self.folder).free


@pytest.fixture
def disk(workshop: Workshop) -> Iterator[SmallDisk]:
    folder = workshop.state_dir
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=True)
    yield SmallDisk(folder=folder)
    workshop.close()  # nobody may stand in it
    subprocess.run(["umount", folder], check=True)


def flood(workshop: Workshop) -> Simulator:
    return workshop.simulator("--rate", f"{RATE}")


def dropped(status: Status) -> int:
    count: int = status["writer"]["dropped"]
    return count


def ticks(status: Status) -> int:
    return sum(row["ticks"] for row in status["markets"])


def wait_ticks(daemon: Daemon, count: int) -> None:
    """Wait until so many more ticks have come."""
    before = ticks(daemon.status())
    daemon.wait_until(lambda status: ticks(status) >= before + count, what=f"{count} more ticks")


def cpu_per_tick(daemon: Daemon) -> float:
    """Return the processor time of each of the next 5,000 ticks."""
    cpu_s, count = daemon.cpu_s(), ticks(daemon.status())
    wait_ticks(daemon, 5_000)
    return (daemon.cpu_s() - cpu_s) / (ticks(daemon.status()) - count)


def do_what_is_money(daemon: Daemon) -> None:
    """Do what leaves rows of events and gaps behind."""
    daemon.ask("drain", on=True)
    daemon.ask("market", action="stop", markets=["EURUSD"])
    wait_ticks(daemon, 200)
    daemon.ask("market", action="start", markets=["EURUSD"])


def assert_money_is_there(database: AnyDatabase) -> None:
    """Fail unless the rows of `do_what_is_money` are in the database."""
    details = [
        detail for (detail,) in database.query("SELECT detail FROM actor_event WHERE event = 'desired'")
    ]
    assert any("drain on" in detail for detail in details)
    assert any("stopped on request" in detail for detail in details)
    assert any("started on request" in detail for detail in details)
    assert [row.cause for row in read_gaps(database) if row.cause == "stopped"] == ["stopped"]


@attrs.frozen
class GapRow:
    symbol: str
    from_us: int
    to_us: int | None
    cause: str

    def holds(self, sent: Sent) -> bool:
        assert sent.ts_us is not None
        is_before_its_end = self.to_us is None or sent.ts_us < self.to_us
        return sent.symbol == self.symbol and self.from_us < sent.ts_us and is_before_its_end


def read_gaps(database: AnyDatabase) -> list[GapRow]:
    sql = "SELECT symbol, from_us, to_us, cause FROM gap JOIN market ON market.id = gap.market_id"
    return [GapRow(*row) for row in database.query(f"{sql} ORDER BY symbol, from_us")]


def missing_ticks(database: AnyDatabase, ledger: Path) -> list[Sent]:
    """Return what was sent and is not stored as it came, but for what was under way at the end."""
    stored = read_stored(database, source="trades", how=("live",))
    assert len(set(stored)) == len(stored)
    last = {symbol: list(rows)[-1] for symbol, rows in itertools.groupby(stored, lambda row: row.symbol)}
    has = set(stored)
    return [sent for sent in read_ledger(ledger) if sent not in has and sent.seq < last[sent.symbol].seq]


def assert_all_is_stored_or_in_a_gap(database: AnyDatabase, ledger: Path, *, dropped: int) -> None:
    """Fail unless each missing tick lies inside a gap row, and was counted where it was given up."""
    gaps: dict[str, list[GapRow]] = {}
    for row in read_gaps(database):
        gaps.setdefault(row.symbol, []).append(row)
    missing = missing_ticks(database, ledger)
    outside = [sent for sent in missing if not any(row.holds(sent) for row in gaps.get(sent.symbol, []))]
    assert outside == []
    # Between runs nothing is counted: a kill takes what was not accepted yet.
    paused = [row for rows in gaps.values() for row in rows if row.cause in ("stopped", "downtime")]
    given_up = [sent for sent in missing if not any(row.holds(sent) for row in paused)]
    assert len(given_up) <= dropped


def drain_and_stop(daemon: Daemon, simulator: Simulator) -> Status:
    """Let all that was accepted be stored; end both; return the last status."""
    simulator.stop()
    status = daemon.wait_until(
        lambda status: (
            status["writer"]["db"] == "up"
            and not status["writer"]["unjournaled"]
            and status["writer"]["stored"] + dropped(status) >= status["writer"]["accepted"]
            and status["mailboxes"]["writer/ticks"]["used"] == 0
        ),
        what="all is stored",
    )
    assert daemon.stop() == 0
    assert daemon.lines()[-1]["message"].endswith("all of them stored")
    return status


# --- the database is away ---------------------------------------------------------------------


def test_a_journal_that_fills_its_disk_lets_the_oldest_ticks_go_and_money_through(
    workshop: Workshop, disk: SmallDisk, mariadb: MariadbDatabase
) -> None:
    simulator = flood(workshop)
    daemon = workshop.daemon(Settings(url=simulator.url, database=mariadb))
    daemon.wait_live()
    before = cpu_per_tick(daemon)
    mariadb.server.stop()
    daemon.wait_until(dropped, what="the disk is full", within_s=FULL_WITHIN_S)
    during = cpu_per_tick(daemon)
    do_what_is_money(daemon)
    status = daemon.status()
    assert not status["writer"]["unjournaled"]  # it takes what comes, in the place of the oldest
    assert disk.unused() > 0
    assert during < 4 * before
    mariadb.server.start()
    after = drain_and_stop(daemon, simulator)
    assert_money_is_there(mariadb)
    assert_all_is_stored_or_in_a_gap(mariadb, workshop.ledger, dropped=dropped(after))
    assert missing_ticks(mariadb, workshop.ledger)
    assert {row.symbol for row in read_gaps(mariadb) if row.cause == "journal_full"} == {
        row["symbol"] for row in status["markets"]
    }


def test_a_disk_filled_by_somebody_else_loses_only_ticks_that_are_counted(
    workshop: Workshop, disk: SmallDisk, mariadb: MariadbDatabase
) -> None:
    simulator = flood(workshop)
    daemon = workshop.daemon(Settings(url=simulator.url, database=mariadb))
    daemon.wait_live()
    before = cpu_per_tick(daemon)
    mariadb.server.stop()
    daemon.wait_until(lambda status: status["writer"]["db"] == "down", what="missed")
    disk.fill()
    daemon.wait_until(dropped, what="ticks are lost", within_s=FULL_WITHIN_S)
    disk.fill()  # also the reserve that was given up
    assert disk.unused() == 0
    during = cpu_per_tick(daemon)
    do_what_is_money(daemon)
    assert during < 4 * before
    disk.free()
    daemon.wait_until(lambda status: not status["writer"]["unjournaled"], what="journaled again")
    mariadb.server.start()
    after = drain_and_stop(daemon, simulator)
    assert_money_is_there(mariadb)
    assert_all_is_stored_or_in_a_gap(mariadb, workshop.ledger, dropped=dropped(after))


# --- the database is there --------------------------------------------------------------------


def test_without_room_for_a_journal_ticks_are_stored_all_the_same(
    workshop: Workshop, disk: SmallDisk, mariadb: MariadbDatabase
) -> None:
    simulator = flood(workshop)
    daemon = workshop.daemon(Settings(url=simulator.url, database=mariadb))
    daemon.wait_live()
    disk.fill()
    wait_ticks(daemon, 2_000)
    disk.fill()
    wait_ticks(daemon, 10_000)
    do_what_is_money(daemon)
    assert disk.unused() == 0
    disk.free()
    after = drain_and_stop(daemon, simulator)
    assert dropped(after) == 0
    assert_money_is_there(mariadb)
    assert_all_is_stored_or_in_a_gap(mariadb, workshop.ledger, dropped=0)
    assert not [row for row in read_gaps(mariadb) if row.cause == "journal_full"]


def test_an_embedded_database_on_the_full_disk_itself_comes_back_with_the_room(
    workshop: Workshop, disk: SmallDisk
) -> None:
    database = SqliteDatabase(target=SqliteTarget(path=disk.folder / "marketd.db"))
    simulator = flood(workshop)
    daemon = workshop.daemon(Settings(url=simulator.url, database=database))
    daemon.wait_live()
    before = cpu_per_tick(daemon)
    disk.fill()
    daemon.wait_until(lambda status: status["writer"]["db"] == "down", what="no room in the database")
    daemon.wait_until(dropped, what="ticks are lost", within_s=FULL_WITHIN_S)
    during = cpu_per_tick(daemon)
    do_what_is_money(daemon)
    assert during < 4 * before
    disk.free()
    after = drain_and_stop(daemon, simulator)
    assert_money_is_there(database)
    assert_all_is_stored_or_in_a_gap(database, workshop.ledger, dropped=dropped(after))


# --- a start on a full disk -------------------------------------------------------------------


def test_a_sound_journal_on_a_full_disk_is_taken_for_sound_at_the_start(
    workshop: Workshop, disk: SmallDisk, mariadb: MariadbDatabase
) -> None:
    simulator = workshop.simulator("--rate", "20")
    settings = Settings(url=simulator.url, database=mariadb, symbols=FIVE)
    daemon = workshop.daemon(settings)
    daemon.wait_live()
    mariadb.server.stop()
    daemon.wait_until(
        lambda status: status["writer"]["accepted"] > status["writer"]["stored"] + 100, what="a backlog"
    )
    daemon.kill()
    for name in ("journal.db-shm", "journal.reserve"):  # what a kill leaves need not be there
        (disk.folder / name).unlink()
    disk.fill()
    again = workshop.daemon(settings)
    again.wait_live()
    disk.free()
    mariadb.server.start()
    again.wait_until(lambda status: not status["writer"]["unjournaled"], what="the journal is open")
    after = drain_and_stop(again, simulator)
    assert [path.name for path in disk.folder.iterdir() if "damaged" in path.name] == []
    stored = read_stored(mariadb, source="trades")
    assert len(stored) >= after["writer"]["stored"]
    assert_all_is_stored_or_in_a_gap(mariadb, workshop.ledger, dropped=dropped(after))
