import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import BYTES, contents, money, read_all, ticks

from domain.errors import JournalBroken
from storage import acceptor as acceptor_module
from storage.acceptor import Acceptor
from storage.journal import ROWS_A_BATCH, Journal
from storage.journal_file import NAME
from storage.payloads import Lane, Money
from storage.room import Room

NOTHING = Money()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open again at once what could not be opened."""
    monkeypatch.setattr(acceptor_module, "OPEN_EVERY_S", 0.0)


def opened(folder: Path) -> Acceptor:
    acceptor = Acceptor(folder, max_bytes=8 * BYTES)
    assert acceptor.open().opened is not None
    return acceptor


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let another process's transaction hold the journal."""
    with contextlib.closing(sqlite3.connect(folder / NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_money_and_ticks_are_batches_of_their_own_and_many_ticks_are_several(tmp_path: Path) -> None:
    acceptor = opened(tmp_path)
    many = ticks(1, each=3_000)
    outcome = acceptor.accept(money=money(1), ticks=many)
    assert (outcome.refused_money, outcome.refused_ticks, outcome.trouble) == (None, [], "")
    sizes = [(batch.lane, len(batch.rows)) for batch in outcome.batches]
    assert sizes == [
        (Lane.MONEY, 2), (Lane.TICKS, ROWS_A_BATCH), (Lane.TICKS, ROWS_A_BATCH), (Lane.TICKS, 1_000)
    ]  # fmt: skip
    assert contents(read_all(tmp_path)) == contents(outcome.batches)


def test_a_journal_that_breaks_is_opened_anew_and_takes_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor = opened(tmp_path)
    append = Journal.append
    calls = []

    def break_once(self: Journal, entries: object) -> object:
        calls.append(entries)
        if len(calls) == 1:
            raise JournalBroken("disk I/O error")
        return append(self, entries)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "append", break_once)
    outcome = acceptor.accept(money=money(1), ticks=ticks(1))
    assert outcome.opened is not None
    assert calls[0] == calls[1]
    assert [batch.number for batch in outcome.batches] == [1, 1]


def test_a_journal_that_stays_broken_hands_the_rows_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor = opened(tmp_path)

    def fail(self: Journal, entries: object) -> None:
        raise JournalBroken("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", fail)
        outcome = acceptor.accept(money=money(1), ticks=ticks(1))
    assert (outcome.refused_money, outcome.refused_ticks) == (money(1), ticks(1))
    assert outcome.trouble == "disk I/O error"
    assert read_all(tmp_path) == []


@pytest.mark.usefixtures("impatient")
def test_a_folder_that_is_gone_is_no_end_and_one_that_is_back_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    acceptor = Acceptor(folder, max_bytes=BYTES)
    assert "No such file" in acceptor.open().trouble
    outcome = acceptor.accept(money=money(1), ticks=ticks(1))
    assert (outcome.refused_money, outcome.refused_ticks) == (money(1), ticks(1))
    folder.mkdir()
    outcome = acceptor.accept(money=money(2), ticks=ticks(2))
    assert outcome.opened is not None
    assert contents(read_all(folder)) == contents(outcome.batches)


def test_what_could_not_be_opened_is_not_tried_at_every_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor = Acceptor(tmp_path / "missing", max_bytes=BYTES)
    tries = []

    def count_and_fail(self: Journal) -> None:
        tries.append(self)
        raise JournalBroken("no such folder")

    monkeypatch.setattr(Journal, "open", count_and_fail)
    assert acceptor.open().trouble == "no such folder"
    for _ in range(10):
        assert acceptor.accept(money=NOTHING, ticks=ticks(1)).refused_ticks == ticks(1)
    assert len(tries) == 1


def test_a_journal_that_another_process_holds_hands_the_rows_back_and_stays_open(tmp_path: Path) -> None:
    acceptor = opened(tmp_path)
    first = acceptor.accept(money=NOTHING, ticks=ticks(1)).batches
    with locked(tmp_path):
        outcome = acceptor.accept(money=money(2), ticks=ticks(2))
        assert "locked" in outcome.trouble
        assert (outcome.refused_money, outcome.refused_ticks) == (money(2), ticks(2))
        assert not acceptor.trim_slice(Lane.TICKS, through=9)
        acceptor.tidy()
    later = acceptor.accept(money=money(3), ticks=ticks(3))
    assert later.trouble == ""
    assert sorted(contents(read_all(tmp_path))) == sorted(contents([*first, *later.batches]))


@pytest.mark.usefixtures("impatient")
def test_a_journal_whose_file_cannot_be_written_hands_the_rows_back_until_it_can(tmp_path: Path) -> None:
    acceptor = opened(tmp_path)
    first = acceptor.accept(money=NOTHING, ticks=ticks(1)).batches
    assert acceptor.journal._connection is not None
    acceptor.journal._connection.execute("PRAGMA query_only = ON")  # what rights do, to root as well
    with locked(tmp_path):  # also opening it anew does not help
        outcome = acceptor.accept(money=money(2), ticks=ticks(2))
    assert (outcome.refused_money, outcome.refused_ticks) == (money(2), ticks(2))
    later = acceptor.accept(money=money(3), ticks=ticks(3))
    assert later.opened is not None
    assert later.opened.set_aside is None
    assert sorted(contents(read_all(tmp_path))) == sorted(contents([*first, *later.batches]))


def test_only_ticks_are_refused_where_the_disk_is_full(tmp_path: Path) -> None:
    acceptor = Acceptor(tmp_path, max_bytes=BYTES, room_of=lambda _: Room(free=0, total=0))
    acceptor.open()
    outcome = acceptor.accept(money=money(1), ticks=ticks(1, each=500))
    assert outcome.refused_money is None
    assert outcome.refused_ticks == ticks(1, each=500)
    assert outcome.trouble == "no room for ticks"
    assert [batch.lane for batch in outcome.batches] == [Lane.MONEY]


@pytest.mark.usefixtures("impatient")
def test_numbers_of_rows_that_were_handed_back_are_given_to_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor = opened(tmp_path)
    first = acceptor.accept(money=money(1), ticks=ticks(1)).batches
    assert acceptor.journal._connection is not None
    acceptor.journal._connection.execute("PRAGMA query_only = ON")
    with locked(tmp_path):
        acceptor.accept(money=money(2), ticks=ticks(2))
    later = acceptor.accept(money=money(3), ticks=ticks(3)).batches
    assert {batch.journal_id for batch in first}.isdisjoint(batch.journal_id for batch in later)
    assert min(batch.position for batch in later) > max(batch.position for batch in first) + 1


def test_a_closed_journal_has_nothing_to_trim(tmp_path: Path) -> None:
    acceptor = Acceptor(tmp_path, max_bytes=BYTES)
    assert not acceptor.trim_slice(Lane.TICKS, through=9)
    acceptor.tidy()
