"""The journal when there is no room: what goes, what stays, and what becomes of the reserve."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from domain.errors import JournalBroken, JournalFull, JournalLocked
from domain.gaps import Gap
from domain.market import Tick
from storage.acceptor import Acceptor
from storage.journal import RESERVE_BYTES, RESERVE_NAME, Journal
from storage.journal_file import is_damage, translate
from storage.journal_reader import JournalReader
from storage.payloads import Lane, Money
from storage.room import Room

MEGABYTE = 1024 * 1024
FLUSH = 100  # ticks


@attrs.define
class Disk:
    """A disk of which others take what they like."""

    free: int = 100 * MEGABYTE

    def room(self, folder: Path) -> Room:
        return Room(free=self.free, total=100 * MEGABYTE)


def some(number: int) -> list[Tick]:
    return [Tick("EURUSD@sim", number * FLUSH + n, n, 1.0, None, None, None, 0) for n in range(FLUSH)]


@contextmanager
def opened(folder: Path, disk: Disk, *, max_bytes: int = 50 * MEGABYTE) -> Iterator[Journal]:
    journal = Journal(folder, max_bytes=max_bytes, room_of=disk.room)
    journal.open()
    yield journal
    journal.close()


def gap_rows(folder: Path) -> list[Gap]:
    batches = JournalReader(folder).read(Lane.MONEY, after=0, max_rows=10**9)
    return [gap for batch in batches if isinstance(batch.rows, Money) for gap in batch.rows.gaps]


def ticks_in(folder: Path) -> list[Tick]:
    batches = JournalReader(folder).read(Lane.TICKS, after=0, max_rows=10**9)
    return [tick for batch in batches if not isinstance(batch.rows, Money) for tick in batch.rows]


# --- the oldest go ----------------------------------------------------------------------------


def test_a_full_journal_makes_room_for_many_appends_at_once(tmp_path: Path) -> None:
    with opened(tmp_path, Disk(), max_bytes=MEGABYTE) as journal:
        shed = [journal.append([(Lane.TICKS, some(n))]).shed for n in range(500)]
    lossy = [count for count in shed if count]
    assert 0 < len(lossy) < 100  # of about 380 after it was full; each costs rows of gaps
    assert sum(shed) + len(ticks_in(tmp_path)) == 500 * FLUSH


def test_gap_rows_of_what_goes_do_not_fill_the_journal_in_the_end(tmp_path: Path) -> None:
    with opened(tmp_path, Disk(), max_bytes=MEGABYTE) as journal:
        for n in range(1_000):
            assert journal.append([(Lane.TICKS, some(n))]).refused == []
    assert len(ticks_in(tmp_path)) > 50 * FLUSH
    assert len(gap_rows(tmp_path)) < 200


def test_what_the_database_takes_is_refused_rather_than_something_older_let_go(tmp_path: Path) -> None:
    disk = Disk()
    with opened(tmp_path, disk) as journal:
        for n in range(10):
            journal.append([(Lane.TICKS, some(n))])
        disk.free = 0
        journal.keeps_unstored = True
        appended = journal.append([(Lane.TICKS, some(10))])
        assert (appended.refused, appended.shed) == (some(10), 0)
        journal.stored_through[Lane.TICKS] = 9
        appended = journal.append([(Lane.TICKS, some(10))])
        assert (appended.refused, appended.shed) == ([], 0)


def test_ticks_go_for_money_too(tmp_path: Path) -> None:
    disk = Disk()
    with opened(tmp_path, disk) as journal:
        for n in range(100):
            journal.append([(Lane.TICKS, some(n))])
        disk.free = 0
        money = Money(gaps=[Gap("EURUSD@sim", 1, None, "stopped")])
        assert journal.append([(Lane.MONEY, money)]).shed > 0
    assert money.gaps[0] in gap_rows(tmp_path)


# --- the reserve ------------------------------------------------------------------------------


class FullUntilReserveIsGone(Journal):
    """Its disk takes nothing as long as the reserve is there."""

    def _append(self, entries):  # type: ignore[no-untyped-def]
        if (self._folder / RESERVE_NAME).exists():
            raise JournalFull("no room on the disk")
        return super()._append(entries)


def test_a_reserve_that_was_given_up_is_not_for_ticks(tmp_path: Path) -> None:
    disk = Disk()
    journal = FullUntilReserveIsGone(tmp_path, max_bytes=50 * MEGABYTE, room_of=disk.room)
    journal.open()
    disk.free = 2 * MEGABYTE + RESERVE_BYTES // 2  # of 100 MB, 2 are never ours
    money = Money(gaps=[Gap("EURUSD@sim", 1, None, "stopped")])
    appended = journal.append([(Lane.MONEY, money), (Lane.TICKS, some(0))])
    assert (appended.refused, [batch.lane for batch in appended.batches]) == (some(0), [Lane.MONEY])
    journal.close()


def test_a_reserve_that_was_given_up_is_made_again_once_there_is_room(tmp_path: Path) -> None:
    disk = Disk()
    journal = FullUntilReserveIsGone(tmp_path, max_bytes=50 * MEGABYTE, room_of=disk.room)
    journal.open()
    journal.append([(Lane.TICKS, some(0))])
    disk.free = 2 * MEGABYTE + RESERVE_BYTES // 2
    journal.tidy()
    assert not (tmp_path / RESERVE_NAME).exists()
    disk.free = 2 * MEGABYTE + 2 * RESERVE_BYTES
    journal.tidy()
    assert (tmp_path / RESERVE_NAME).stat().st_size == RESERVE_BYTES
    journal.close()


def test_half_a_reserve_is_none_and_takes_nobodys_last_bytes(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path, Disk()) as journal:
        (tmp_path / RESERVE_NAME).unlink()
        resource.setrlimit(resource.RLIMIT_FSIZE, (RESERVE_BYTES // 2, hard))  # Python ignores SIGXFSZ
        try:
            journal.tidy()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / RESERVE_NAME).exists()


def test_a_lock_of_another_process_costs_no_reserve(tmp_path: Path) -> None:
    with opened(tmp_path, Disk()) as journal:
        other = sqlite3.connect(journal.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalLocked):
            journal.append([(Lane.TICKS, some(0))])
        other.close()
        assert (tmp_path / RESERVE_NAME).exists()
        assert journal.append([(Lane.TICKS, some(0))]).refused == []


# --- names ------------------------------------------------------------------------------------


class FullNowAndThen(Journal):
    """Its disk has room for every second append."""

    def _append(self, entries):  # type: ignore[no-untyped-def]
        self.attempts = getattr(self, "attempts", 0) + 1
        if self.attempts % 2:
            raise JournalFull("no room on the disk")
        return super()._append(entries)


def test_a_disk_that_is_full_now_and_then_costs_no_new_journal_id(tmp_path: Path) -> None:
    acceptor = Acceptor(tmp_path, max_bytes=50 * MEGABYTE)
    acceptor.journal = FullNowAndThen(tmp_path, max_bytes=50 * MEGABYTE)
    acceptor.open()
    (tmp_path / RESERVE_NAME).unlink()
    money = Money(gaps=[Gap("EURUSD@sim", 1, None, "stopped")])
    outcomes = [acceptor.accept(money=money, ticks=[]) for _ in range(6)]
    batches = [batch for outcome in outcomes for batch in outcome.batches]
    assert [outcome.refused_money is None for outcome in outcomes] == [False, True] * 3
    assert [batch.number for batch in batches] == [1, 2, 3]
    assert len({batch.journal_id for batch in batches}) == 1


# --- what is damage ---------------------------------------------------------------------------


def error(code: int) -> sqlite3.Error:
    exc = sqlite3.OperationalError("…")
    exc.sqlite_errorcode = code
    return exc


@pytest.mark.parametrize("code", [3, 5, 6, 7, 8, 9, 13, 14, 778, 1034, 4618, 4874, 5386])
def test_what_failed_round_a_journal_says_nothing_of_what_is_in_it(code: int) -> None:
    assert not is_damage(error(code))


@pytest.mark.parametrize("code", [1, 11, 26, 266, 522, 267, 779])
def test_what_cannot_be_read_is_damage(code: int) -> None:
    assert is_damage(error(code))


def test_an_index_without_room_is_a_full_disk(tmp_path: Path) -> None:
    assert type(translate(error(4874), path=tmp_path)) is JournalFull


@pytest.mark.parametrize("code", [13, 14, 4874])
def test_a_sound_journal_that_cannot_be_opened_now_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with opened(tmp_path, Disk()) as journal:
        journal.append([(Lane.TICKS, some(0))])

    def fail(path: Path) -> None:
        raise error(code)

    with monkeypatch.context() as patched:
        patched.setattr("storage.survey.connect_readonly", fail)
        again = Journal(tmp_path, max_bytes=50 * MEGABYTE)
        with pytest.raises((JournalFull, JournalBroken)):
            again.open()
    assert [path.name for path in tmp_path.iterdir() if "damaged" in path.name] == []
    assert again.open().found.rows[Lane.TICKS] == FLUSH
    again.close()
