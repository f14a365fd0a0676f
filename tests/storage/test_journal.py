import contextlib
import ctypes
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from journals import BYTES, append, contents, money, open_journal, read_all, ticks, trim

from domain.crash_points import VARIABLE
from domain.errors import JournalBroken, JournalFull
from domain.gaps import Gap
from storage import journal as journal_module
from storage.journal import RESERVE_BYTES, RESERVE_NAME, SLICE, Journal
from storage.journal_file import NAME, connect
from storage.journal_reader import JournalReader
from storage.payloads import JournalBatch, Lane, Money
from storage.room import Room

PLENTY = 2**40


class Disk:
    """Tells of as much room as a test wants there to be."""

    def __init__(self) -> None:
        self.free = PLENTY

    def __call__(self, _: Path) -> Room:
        return Room(free=self.free, total=0)


def names(batches: Sequence[JournalBatch]) -> list[tuple[Lane, int, int]]:
    return [(batch.lane, batch.number, batch.position) for batch in batches]


def gaps_in(batches: Sequence[JournalBatch]) -> list[Gap]:
    return [gap for batch in batches if isinstance(batch.rows, Money) for gap in batch.rows.gaps]


def sole(batches: Sequence[JournalBatch], lane: Lane) -> list[JournalBatch]:
    return [batch for batch in batches if batch.lane is lane]


# --- numbers ----------------------------------------------------------------------------------


def test_what_is_appended_is_read_back_after_the_next_start(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    written = append(journal, range(1, 20))
    journal.close()
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert (opened.set_aside, opened.reason) == (None, "")
    assert opened.found.batches == dict.fromkeys(Lane, 19)
    assert sorted(contents(read_all(tmp_path))) == sorted(contents(written))


def test_each_start_numbers_from_one_under_an_id_of_its_own_behind_what_is_there(tmp_path: Path) -> None:
    ids = set()
    for start in range(4):
        journal = open_journal(tmp_path)
        written = append(journal, range(3))
        ids.add(written[0].journal_id)
        assert names(sole(written, Lane.TICKS)) == [
            (Lane.TICKS, number, 3 * start + number) for number in (1, 2, 3)
        ]
        trim(journal, Lane.TICKS, through=3 * start + 3)
        journal.close()
    assert len(ids) == 4


def test_an_emptied_journal_uses_no_id_again(tmp_path: Path) -> None:
    ids = set()
    for _ in range(5):
        journal = open_journal(tmp_path)
        ids |= {batch.journal_id for batch in append(journal, range(2))}
        journal.close()
        (tmp_path / NAME).unlink()
    assert len(ids) == 5


class AppliesAndFails:
    """A connection whose COMMIT is applied, and answered by an error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        cursor = self._connection.execute(sql, *arguments)
        if sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def close(self) -> None:
        self._connection.close()


def test_an_append_that_was_applied_and_failed_is_repeated_in_its_own_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "connect", lambda path: AppliesAndFails(connect(path)))
    journal = open_journal(tmp_path)
    entries = [(Lane.MONEY, money(7)), (Lane.TICKS, ticks(7))]
    with pytest.raises(JournalBroken):
        journal.append(entries)
    assert len(read_all(tmp_path)) == 2
    monkeypatch.undo()
    journal.close()
    journal.open()
    repeated = journal.append(entries).batches
    assert names(repeated) == [(Lane.MONEY, 1, 1), (Lane.TICKS, 1, 1)]
    assert contents(read_all(tmp_path)) == contents(repeated)


def test_a_failed_append_leaves_nothing_and_spends_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path)

    def fail(name: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "crash_point", fail)
        with pytest.raises(JournalBroken):
            append(journal, range(1))
    assert read_all(tmp_path) == []
    assert names(append(journal, range(1))) == [(Lane.MONEY, 1, 1), (Lane.TICKS, 1, 1)]


def test_what_is_given_up_keeps_its_numbers_and_its_places(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    [first, _] = append(journal, range(1))
    journal.begin_anew([(Lane.MONEY, money(1)), (Lane.TICKS, ticks(1))])
    later = append(journal, range(1))
    assert later[0].journal_id != first.journal_id
    assert {batch.number for batch in later} == {1}
    assert later[1].position == 3  # 2 may be taken
    assert later[0].position == 4  # and one more by the gaps


@pytest.mark.parametrize("point", ["accept.appended", "accept.committed", "trim.deleted"])
def test_a_kill_at_any_point_leaves_a_sound_journal(point: str, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from journals import append, open_journal, trim
from storage.payloads import Lane
journal = open_journal(Path(sys.argv[1]))
for number in range(1, 9):
    append(journal, range(number, number + 1))
    trim(journal, Lane.TICKS, through=number - 3)
"""
    environment = {**os.environ, VARIABLE: f"{point}:4", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, tmp_path], env=environment, check=False)
    assert done.returncode == -9
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert (opened.set_aside, opened.reason) == (None, "")
    expected = {"accept.appended": 3, "accept.committed": 4, "trim.deleted": 7}[point]
    assert opened.found.last_position == dict.fromkeys(Lane, expected)


# --- trim -------------------------------------------------------------------------------------


def test_trimming_keeps_the_last_batch_and_what_is_not_to_go(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, range(5))
    trim(journal, Lane.TICKS, through=3)
    assert [batch.position for batch in sole(read_all(tmp_path), Lane.TICKS)] == [4, 5]
    trim(journal, Lane.TICKS, through=99)
    assert [batch.position for batch in sole(read_all(tmp_path), Lane.TICKS)] == [5]
    assert len(sole(read_all(tmp_path), Lane.MONEY)) == 5


def test_trimming_goes_by_slices(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append([(Lane.TICKS, ticks(number, each=1)) for number in range(2 * SLICE + 50)])
    left = []
    while journal.trim_slice(Lane.TICKS, through=2 * SLICE + 20):
        left.append(journal.figures()[0])
    assert left == [SLICE + 50, 50]
    assert journal.figures()[0] == 30


def test_an_empty_lane_has_nothing_to_trim(tmp_path: Path) -> None:
    assert not open_journal(tmp_path).trim_slice(Lane.MONEY, through=10)


def test_a_stored_backlog_gives_its_space_back(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=64 * BYTES)
    for number in range(30):
        journal.append([(Lane.TICKS, ticks(number, each=1_000))])
    journal.close()
    large = (tmp_path / NAME).stat().st_size
    journal.open()
    trim(journal, Lane.TICKS, through=30)
    journal.tidy()
    journal.close()
    assert (tmp_path / NAME).stat().st_size < large // 10
    assert len(read_all(tmp_path)) == 1


# --- bounded ----------------------------------------------------------------------------------


def fill(journal: Journal, *, since: int, count: int) -> list[JournalBatch]:
    batches: list[JournalBatch] = []
    for number in range(since, since + count):
        batches += journal.append([(Lane.TICKS, ticks(number, each=100))]).batches
    return batches


def test_a_full_journal_lets_the_oldest_ticks_go_with_a_gap_in_the_same_commit(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=BYTES)
    written = fill(journal, since=0, count=120)
    there = read_all(tmp_path)
    ticks_there, gaps = sole(there, Lane.TICKS), gaps_in(there)
    lost = [batch for batch in written if batch.lane is Lane.TICKS and batch not in ticks_there]
    assert lost
    assert contents(ticks_there) == contents(sole(written, Lane.TICKS)[len(lost) :])
    latest = {(gap.market, gap.from_us): gap for gap in gaps}.values()
    assert {gap.cause for gap in latest} == {"journal_full"}
    for tick in (tick for batch in lost for tick in _ticks(batch)):
        assert any(
            gap.market == tick.market and gap.to_us is not None and gap.from_us < tick.ts_us < gap.to_us
            for gap in latest
        )
    assert (tmp_path / NAME).stat().st_size <= BYTES


def _ticks(batch: JournalBatch) -> Sequence[object]:
    assert not isinstance(batch.rows, Money)
    return batch.rows


def test_a_full_journal_tells_how_many_ticks_had_to_go(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=BYTES)
    given = shed = 0
    for number in range(120):
        appended = journal.append([(Lane.TICKS, ticks(number, each=100))])
        given += 300
        shed += appended.shed
        assert appended.refused == []
    there = sum(len(batch.rows) for batch in sole(read_all(tmp_path), Lane.TICKS))
    assert there + shed == given


def test_what_is_stored_already_goes_without_a_gap(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=BYTES)
    for number in range(120):
        appended = journal.append([(Lane.TICKS, ticks(number, each=100))])
        assert appended.shed == 0
        journal.stored_through[Lane.TICKS] = appended.batches[-1].position
    there = read_all(tmp_path)
    assert gaps_in(there) == []
    assert len(there) < 120


def test_money_goes_into_a_full_journal(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=BYTES)
    fill(journal, since=0, count=60)
    written = [journal.append([(Lane.MONEY, money(number))]).batches[0] for number in range(500)]
    assert set(contents(written)) <= set(contents(read_all(tmp_path)))


# --- no room on the disk ----------------------------------------------------------------------


def test_ticks_are_refused_where_others_filled_the_disk_and_money_is_not(tmp_path: Path) -> None:
    disk = Disk()
    journal = Journal(tmp_path, max_bytes=PLENTY, room_of=disk)
    journal.open()
    append(journal, range(1))
    disk.free = 0
    many = ticks(2, each=500)
    appended = journal.append([(Lane.MONEY, money(2)), (Lane.TICKS, many)])
    assert appended.refused == many
    assert [batch.lane for batch in appended.batches] == [Lane.MONEY]
    disk.free = PLENTY
    assert names(journal.append([(Lane.TICKS, many)]).batches) == [(Lane.TICKS, 2, 2)]


def test_the_reserve_is_made_where_there_is_room_and_not_where_there_is_none(tmp_path: Path) -> None:
    disk = Disk()
    disk.free = RESERVE_BYTES
    journal = Journal(tmp_path, max_bytes=PLENTY, room_of=disk)
    journal.open()
    reserve = tmp_path / RESERVE_NAME
    assert not reserve.exists()
    disk.free = PLENTY
    journal.tidy()
    assert reserve.stat().st_size == RESERVE_BYTES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip(f"mounting is not allowed here: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(bytes(folder), 2) == 0  # MNT_DETACH


def fill_up(folder: Path) -> Path:
    """Fill the file system to its last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)) == 4096:
            pass
    return filler


def test_on_a_full_disk_the_reserve_is_given_up_for_money_and_for_deleting(small_disk: Path) -> None:
    journal = open_journal(small_disk, max_bytes=PLENTY)
    reserve = small_disk / RESERVE_NAME
    assert reserve.stat().st_size == RESERVE_BYTES
    written = fill(journal, since=0, count=5)
    filler = fill_up(small_disk)
    while reserve.exists():
        written += journal.append([(Lane.MONEY, money(len(written)))]).batches
    trim(journal, Lane.TICKS, through=3)
    left = contents(read_all(small_disk))
    money_written = [each for each in contents(written) if each.startswith("money")]
    ticks_written = [each for each in contents(written) if not each.startswith("money")]
    assert [each for each in left if each.startswith("money")] == money_written
    ticks_left = [each for each in left if not each.startswith("money")]  # the oldest made room for money
    assert 0 < len(ticks_left) <= len(ticks_written) - 3
    assert ticks_left == ticks_written[-len(ticks_left) :]
    filler.unlink()
    journal.tidy()
    assert reserve.stat().st_size == RESERVE_BYTES
    journal.close()
    assert Journal(small_disk, max_bytes=PLENTY).open().set_aside is None


def test_on_a_disk_that_is_too_small_the_newest_ticks_and_all_money_are_kept(small_disk: Path) -> None:
    journal = open_journal(small_disk, max_bytes=PLENTY)
    written: list[JournalBatch] = []
    shed = 0
    for number in range(150):
        appended = journal.append([(Lane.MONEY, money(number)), (Lane.TICKS, ticks(number, each=500))])
        written += appended.batches
        shed += appended.shed
    there = contents(read_all(small_disk))
    assert shed > 0
    assert set(contents(sole(written, Lane.MONEY))) <= set(there)
    assert there[-1] == contents(written)[-1]
    assert shed + sum(len(b.rows) for b in sole(read_all(small_disk), Lane.TICKS)) == 150 * 1_500
    journal.close()
    assert Journal(small_disk, max_bytes=PLENTY).open().set_aside is None


def test_no_room_to_open_is_tried_again(small_disk: Path) -> None:
    filler = fill_up(small_disk)
    with pytest.raises((JournalFull, JournalBroken)):
        Journal(small_disk, max_bytes=PLENTY).open()
    filler.unlink()
    opened = Journal(small_disk, max_bytes=PLENTY).open()
    assert opened.set_aside is None


# --- anything, in any order -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_each_lane_is_in_order_and_nothing_of_it_is_missing(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    journal = open_journal(tmp_path, max_bytes=8 * BYTES)
    written: list[JournalBatch] = []
    trimmed = dict.fromkeys(Lane, 0)
    for number in range(150):
        match chance.choice(["append"] * 4 + ["trim", "start", "anew", "tidy"]):
            case "append":
                written += append(journal, range(number, number + chance.randint(1, 5)))
            case "trim":
                lane = chance.choice(list(Lane))
                last = journal.last_positions[lane]
                through = chance.randint(0, last + 1)
                trim(journal, lane, through=through)
                trimmed[lane] = max(trimmed[lane], min(through, last - 1))
            case "start":
                journal.close()
                journal = Journal(tmp_path, max_bytes=8 * BYTES)
                assert journal.open().set_aside is None
            case "anew":
                journal.begin_anew([(Lane.TICKS, [])])
            case "tidy":
                journal.tidy()
    for lane in Lane:
        expected = [each for each in sole(written, lane) if each.position > trimmed[lane]]
        assert contents(sole(read_all(tmp_path), lane)) == contents(expected)
        assert [each.position for each in expected] == sorted({each.position for each in expected})
    reader = JournalReader(tmp_path)
    assert reader.read(Lane.TICKS, after=journal.last_positions[Lane.TICKS], max_rows=1) == []
