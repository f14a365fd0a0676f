"""Journals for tests: filled, copied while they are open, damaged and looked at again."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from databases import some_ticks

from domain.gaps import Gap
from domain.market import Tick
from storage.acceptor import Acceptor
from storage.journal import Journal
from storage.journal_file import NAME
from storage.journal_reader import JournalReader
from storage.payloads import EventRow, JournalBatch, Lane, Money, Rows, encode
from storage.room import Room

BYTES = 1024 * 1024
LOG = NAME + "-wal"
INDEX = NAME + "-shm"


def without_reserve(_: Path) -> Room:
    """Tell of room for everything but the reserve file, which takes as long to write as all the rest."""
    return Room(free=BYTES, total=BYTES)


def an_event(number: int) -> EventRow:
    return EventRow(id=number, ts_us=number, actor="a", event="state", detail="d" * (number % 50))


def money(number: int) -> Money:
    return Money(gaps=[Gap(f"M{number}@sim", number, None, "stale")], events=[an_event(number)])


def ticks(number: int, *, each: int = 2) -> list[Tick]:
    """Return ticks that no other number has."""
    return some_ticks(markets=3, each=each, first_us=1_700_000_000_000_000 + number * 1_000_000)


def append(journal: Journal, numbers: Iterator[int] | range) -> list[JournalBatch]:
    """Append a batch in each lane for each number; return them."""
    batches: list[JournalBatch] = []
    for number in numbers:
        entries: list[tuple[Lane, Rows]] = [
            (Lane.MONEY, money(number)), (Lane.TICKS, ticks(number, each=2 + number % 5))
        ]  # fmt: skip
        batches += journal.append(entries).batches
    return batches


def trim(journal: Journal, lane: Lane, *, through: int) -> None:
    while journal.trim_slice(lane, through=through):
        pass


def open_journal(folder: Path, *, max_bytes: int = BYTES) -> Journal:
    journal = Journal(folder, max_bytes=max_bytes)
    journal.open()
    return journal


def read_all(folder: Path) -> list[JournalBatch]:
    """Return all batches, money first, each lane in order, as the storing thread reads them."""
    reader = JournalReader(folder)
    found: list[JournalBatch] = []
    for lane in Lane:
        position = 0
        while batches := reader.read(lane, after=position, max_rows=50):
            found += batches
            position = batches[-1].position
    reader.close()
    return found


def contents(batches: Sequence[JournalBatch]) -> list[str]:
    """Return what batches hold and are called; where they lie is not part of it."""
    return [f"{b.lane} {b.journal_id} {b.number} {encode(b.rows)!r}" for b in batches]


@attrs.frozen(kw_only=True)
class Sample:
    """A journal as a process left it, and what it says.

    `written` is all that it ever held: what was trimmed may come back with damage, and the
    database's position passes over it. `there` is what it holds.
    """

    folder: Path
    written: Sequence[str]
    there: Sequence[str]

    def bytes_of(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def closed_sample(folder: Path) -> Sample:
    """Make a journal with batches of two runs, and pages that trimming left free."""
    source = folder / "source"
    written, journal = _two_runs(source)
    journal.close()
    return _copied(source, folder / "closed", written=written)


def killed_sample(folder: Path) -> Sample:
    """Make what a SIGKILL leaves of such a journal: some of it in its log, that used to be longer."""
    source = folder / "source"
    written, journal = _two_runs(source)
    journal.close()
    journal = open_journal(source)
    written += append(journal, range(30, 35))
    trim(journal, Lane.TICKS, through=8)
    written += append(journal, range(40, 43))
    sample = _copied(source, folder / "killed", written=written)
    journal.close()
    return sample


def _two_runs(folder: Path) -> tuple[list[JournalBatch], Journal]:
    folder.mkdir(parents=True)
    journal = open_journal(folder)
    written = append(journal, range(1, 11))
    for lane in Lane:
        trim(journal, lane, through=4)
    journal.close()
    journal = open_journal(folder)
    written += append(journal, range(20, 26))
    return written, journal


def _copied(source: Path, target: Path, *, written: Sequence[JournalBatch]) -> Sample:
    target.mkdir()
    for name in (NAME, LOG, INDEX):
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    there = contents(read_all(source))
    return Sample(folder=target, written=contents(written), there=there)


def assert_survives(sample: Sample, folder: Path, *, name: str, damaged: bytes) -> None:
    """Fail unless a journal with this damaged file opens, tells no untruth, and says what it lost."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sample.folder, folder)
    (folder / name).write_bytes(damaged)
    acceptor = Acceptor(folder, max_bytes=BYTES, room_of=without_reserve)
    outcome = acceptor.open()
    assert outcome.opened is not None, outcome.trouble
    found = [batch for batch in read_all(folder) if len(batch.rows)]  # what is lost is an empty batch
    _assert_in_order(found)
    assert set(contents(found)) <= set(sample.written)
    is_less = set(sample.there) - set(contents(found))
    aside = outcome.opened.set_aside
    assert aside is not None or not is_less, "lost in silence"
    if aside is not None:
        assert outcome.opened.reason
        assert aside.with_name(aside.name + name.removeprefix(NAME)).read_bytes() == damaged
    accepted = acceptor.accept(money=money(99), ticks=ticks(99))
    assert len(accepted.batches) == 2, accepted.trouble
    assert set(contents(accepted.batches)) <= set(contents(read_all(folder)))
    acceptor.journal.close()
    again = Journal(folder, max_bytes=BYTES, room_of=without_reserve)
    assert again.open().set_aside is None
    again.close()


def _assert_in_order(batches: Sequence[JournalBatch]) -> None:
    names = [(batch.lane, batch.journal_id, batch.number) for batch in batches]
    assert len(set(names)) == len(names)
    last: dict[tuple[Lane, int], int] = {}
    for batch in batches:
        key = batch.lane, batch.journal_id
        assert batch.number > last.get(key, 0)
        last[key] = batch.number
