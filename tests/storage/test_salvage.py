import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journals import (
    BYTES,
    INDEX,
    LOG,
    Sample,
    append,
    assert_survives,
    closed_sample,
    contents,
    killed_sample,
    money,
    open_journal,
    read_all,
    ticks,
)

from domain.errors import JournalBroken, JournalFull
from storage import salvage
from storage.acceptor import Acceptor
from storage.journal import Journal
from storage.journal_file import NAME
from storage.log_file import FRAME, HEADER, read_index
from storage.payloads import Lane
from storage.salvage import put_right
from storage.survey import first_ticks_after, survey

HEADERS = 140  # bytes: of the file and of its first page, or of the log and its first frame
STRIDE = 499  # a prime: each part of a page has its turn


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of journals are synced here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def closed(place: Path) -> Sample:
    return closed_sample(place / "1")


@pytest.fixture(scope="module")
def killed(place: Path) -> Sample:
    return killed_sample(place / "2")


# --- every byte -------------------------------------------------------------------------------


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def bit_flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


def zeroed(content: bytes, at: int) -> bytes:
    return content[:at] + b"\0" + content[at + 1 :]


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


Damage = Callable[[bytes, int], bytes]
DAMAGES = [flipped, bit_flipped, zeroed, cut]
FILES = [("closed", NAME), ("killed", NAME), ("killed", LOG), ("killed", INDEX)]


def damage_at(sample: Sample, place: Path, *, name: str, damage: Damage, places: list[int]) -> None:
    whole = sample.bytes_of(name)
    for at in places:
        if (damaged := damage(whole, at)) != whole:
            try:
                assert_survives(sample, place / "damaged", name=name, damaged=damaged)
            except BaseException as exc:
                exc.add_note(f"{name} {damage.__name__} at {at}")
                raise


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("which", "name"), FILES)
def test_a_damaged_byte_or_a_cut_file_costs_no_start_and_nothing_in_silence(
    which: str, name: str, damage: Damage, place: Path, request: pytest.FixtureRequest
) -> None:
    sample: Sample = request.getfixturevalue(which)
    length = len(sample.bytes_of(name))
    stride = 8 * STRIDE if name == INDEX else STRIDE
    places = sorted(
        {*range(0, min(HEADERS, length), 7), *range(500, 1024, 13), *range(0, length, stride), length - 1}
    )
    damage_at(sample, place, name=name, damage=damage, places=places)


@pytest.mark.soak
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("which", "name"), FILES)
def test_any_damaged_byte_and_any_length_costs_no_start_and_nothing_in_silence(
    which: str, name: str, damage: Damage, place: Path, request: pytest.FixtureRequest
) -> None:
    sample: Sample = request.getfixturevalue(which)
    most = 2 * HEADERS if name == INDEX else len(sample.bytes_of(name))  # the rest is a table of hashes
    places = list(range(most))
    damage_at(sample, place, name=name, damage=damage, places=places)


def test_a_batch_at_a_position_that_nobody_looks_at_is_found(closed: Sample, place: Path) -> None:
    """The first one of a lane: one byte makes its position 0, and all is still in order."""
    folder = place / "position"
    shutil.copytree(closed.folder, folder)
    with contextlib.closing(sqlite3.connect(folder / NAME)) as connection:
        connection.execute(
            "UPDATE ticks_batch SET position = 0 WHERE position = (SELECT MIN(position) FROM ticks_batch)"
        )
        connection.commit()
    assert not survey(folder / NAME).is_sound
    acceptor = Acceptor(folder, max_bytes=BYTES)
    opened = acceptor.open().opened
    assert opened is not None
    assert opened.set_aside is not None
    acceptor.journal.close()
    assert set(contents(read_all(folder))) == set(closed.there)


def test_a_log_cut_short_is_a_prefix_where_its_index_is_gone_too(killed: Sample, place: Path) -> None:
    """After a power cut nothing tells of what the file system lost: what is left is what was first."""
    whole = killed.bytes_of(LOG)
    for length in range(0, len(whole), 509):
        folder = place / "prefix"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / NAME).write_bytes(killed.bytes_of(NAME))
        (folder / LOG).write_bytes(whole[:length])
        open_journal(folder).close()
        found = contents(read_all(folder))
        assert set(found) <= set(killed.written)
        for lane in Lane:  # the newest are missing, and none before them
            wanted = [each for each in killed.written if each.startswith(lane)]
            there = [each for each in found if each.startswith(lane)]
            assert there == wanted[wanted.index(there[0]) :][: len(there)]


# --- what is saved ----------------------------------------------------------------------------


def test_one_damaged_batch_costs_no_other(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    written = append(journal, range(1, 9))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as connection, connection:
        connection.execute(
            "UPDATE ticks_batch SET payload = CAST(payload || x'00' AS BLOB) WHERE position = 4"
        )
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert "wrong checksum" in opened.reason
    found = read_all(tmp_path)
    lost = [batch for batch in written if (batch.lane, batch.number) == (Lane.TICKS, 4)]
    assert contents([each for each in found if len(each.rows)]) == contents(
        [each for lane in Lane for each in written if each.lane is lane and each not in lost]
    )
    assert [batch.position for batch in found if batch.lane is Lane.TICKS] == list(range(1, 9))
    assert opened.found.batches == {Lane.MONEY: 8, Lane.TICKS: 7}


def test_a_position_that_leads_astray_costs_none_of_the_batches_behind_it(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    written = append(journal, range(1, 30))
    journal.close()
    content = bytearray((tmp_path / NAME).read_bytes())
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'money_batch'").fetchone()
        leaf = _first_leaf(content, int(root[0]))
    cell = int.from_bytes(content[leaf + 8 + 2 * 2 :][:2], "big")  # the third one's
    assert content[leaf + cell + 1] == 3  # behind a byte of its length: its position
    content[leaf + cell + 1] = 100
    (tmp_path / NAME).write_bytes(content)
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert "out of order" in opened.reason
    found = read_all(tmp_path)
    assert set(contents(found)) == set(contents(written))
    assert [batch.position for batch in found if batch.lane is Lane.MONEY] == list(range(1, 30))


def _first_leaf(content: bytes, page: int) -> int:
    """Return where the first leaf of a table's tree lies (SQLite's file format, section 1.6)."""
    start = (page - 1) * 1024
    while content[start] == 5:
        cell = int.from_bytes(content[start + 12 : start + 14], "big")
        start = (int.from_bytes(content[start + cell : start + cell + 4], "big") - 1) * 1024
    assert content[start] == 13
    return start


def test_a_file_cut_in_the_middle_gives_what_its_first_half_holds(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, range(1, 200))
    journal.close()
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    found = Journal(tmp_path, max_bytes=BYTES).open().found
    assert found.batches[Lane.TICKS] > 50


def test_a_journal_of_a_newer_version_is_kept_aside_and_its_batches_are_taken(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    written = append(journal, range(1, 4))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as connection, connection:
        connection.execute("PRAGMA user_version = 9")
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert opened.reason == "version 9, this marketd knows 1"
    assert opened.set_aside is not None
    assert opened.set_aside.exists()
    assert set(contents(read_all(tmp_path))) == set(contents(written))


def test_what_is_no_database_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"something else " * 1_000)
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert opened.set_aside is not None
    assert opened.set_aside.read_bytes().startswith(b"something else ")
    assert opened.found.is_empty


def test_a_log_whose_journal_is_missing_is_kept_aside(killed: Sample, tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(killed.bytes_of(LOG))
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert opened.reason == "missing beside its log"
    assert opened.set_aside is not None
    assert Path(f"{opened.set_aside}-wal").read_bytes() == killed.bytes_of(LOG)
    assert read_all(tmp_path) == []


@pytest.mark.parametrize("size_after_commit", [0, 5], ids=["amid a commit", "at its end"])
def test_a_page_that_a_kill_cut_off_is_no_damage(
    killed: Sample, tmp_path: Path, size_after_commit: int
) -> None:
    """The frame's head is written, its page is not, and what an older log had there follows."""
    shutil.copytree(killed.folder, tmp_path, dirs_exist_ok=True)
    log, index = killed.bytes_of(LOG), read_index(tmp_path / NAME)
    page_size = int.from_bytes(log[8:12], "big")
    end = HEADER.size + index.frames * (FRAME.size + page_size)
    head = FRAME.pack(1, size_after_commit, *HEADER.unpack_from(log)[4:6], 1, 2)
    (tmp_path / LOG).write_bytes(log[:end] + head + log[end + len(head) :].ljust(page_size, b"\0"))
    assert survey(tmp_path / NAME).complaints == []
    (tmp_path / INDEX).unlink()  # without it, it may as well have been a commit
    assert survey(tmp_path / NAME).complaints != []


# --- it is not the file's fault ---------------------------------------------------------------


def test_a_journal_that_another_process_holds_is_waited_for_and_not_set_aside(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    written = append(journal, range(1, 4))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalFull, match="locked"):
            survey(tmp_path / NAME)
        with pytest.raises(JournalFull, match="locked"):
            Journal(tmp_path, max_bytes=BYTES).open()
        other.execute("ROLLBACK")
    assert Journal(tmp_path, max_bytes=BYTES).open().set_aside is None
    assert set(contents(read_all(tmp_path))) == set(contents(written))


def test_a_journal_whose_log_cannot_be_opened_is_not_set_aside(killed: Sample, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(killed.bytes_of(NAME))
    (tmp_path / LOG).mkdir()
    with pytest.raises(JournalBroken):
        Journal(tmp_path, max_bytes=BYTES).open()
    (tmp_path / LOG).rmdir()
    assert Journal(tmp_path, max_bytes=BYTES).open().set_aside is None


# --- interrupted ------------------------------------------------------------------------------

KILLED_AT_CALL = """
import os, pathlib, signal, sys
from storage.salvage import put_right

left = int(sys.argv[2])

def dying(method):
    def call(self, *args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return method(self, *args, **kwargs)
    return call

pathlib.Path.rename = dying(pathlib.Path.rename)
pathlib.Path.unlink = dying(pathlib.Path.unlink)
put_right(pathlib.Path(sys.argv[1]))
"""


def harmfully_damaged(sample: Sample, place: Path) -> bytes:
    """Return the file with a damaged byte that is neither free nor said otherwise by the log."""
    whole = sample.bytes_of(NAME)
    folder = place / "trial"
    for at in range(len(whole) // 4, len(whole), 97):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sample.folder, folder)
        (folder / NAME).write_bytes(flipped(whole, at))
        if not survey(folder / NAME).is_sound:
            return flipped(whole, at)
    raise AssertionError("no byte of it matters")


def test_a_salvage_killed_before_any_of_its_steps_ends_well(killed: Sample, place: Path) -> None:
    damaged = harmfully_damaged(killed, place)
    steps = 0
    code = -9
    while code:
        folder = place / "interrupted"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(killed.folder, folder)
        (folder / NAME).write_bytes(damaged)
        command = [sys.executable, "-c", KILLED_AT_CALL, str(folder / NAME), str(steps)]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, -9)
        Journal(folder, max_bytes=BYTES).open()
        kept = {path.read_bytes() for path in folder.glob("*.damaged-*")}
        assert {damaged, killed.bytes_of(LOG)} == kept
        saved = [batch for batch in read_all(folder) if len(batch.rows)]
        if steps == 0:
            first = contents(saved)
            assert set(first) < set(killed.there)
        assert contents(saved) == first
        assert not list(folder.glob("*.salvaging*"))
        steps += 1
    assert steps > 8


def test_a_disk_without_room_for_the_saved_batches_leaves_the_damaged_journal_in_its_place(
    killed: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (NAME, LOG, INDEX):
        (tmp_path / name).write_bytes(killed.bytes_of(name))
    damaged = harmfully_damaged(killed, tmp_path)
    (tmp_path / NAME).write_bytes(damaged)

    def connect_to_little_room(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 12").close()
        return connection

    connect = salvage.connect
    with monkeypatch.context() as patched:
        patched.setattr(salvage, "connect", connect_to_little_room)
        assert "no room" in Acceptor(tmp_path, max_bytes=BYTES).open().trouble
    assert (tmp_path / NAME).read_bytes() == damaged
    assert not list(tmp_path.glob("*.damaged-*"))
    opened = Journal(tmp_path, max_bytes=BYTES).open()
    assert opened.found.batches[Lane.TICKS] > 0


# --- looking only -----------------------------------------------------------------------------


def test_a_survey_counts_and_changes_nothing(killed: Sample, tmp_path: Path) -> None:
    for name in (NAME, LOG):
        (tmp_path / name).write_bytes(killed.bytes_of(name))
    found = survey(tmp_path / NAME)
    assert found.is_sound
    assert sum(found.batches.values()) == len(killed.there)
    assert found.last_ticks["M0@sim"].ts_us == ticks(42, each=4)[-3].ts_us
    assert found.gaps["M42@sim", 42, "stale"] == money(42).gaps[0]
    assert {name: (tmp_path / name).read_bytes() for name in (NAME, LOG)} == {
        name: killed.bytes_of(name) for name in (NAME, LOG)
    }


def test_a_survey_tells_of_a_hole_in_the_numbers(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, range(1, 6))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as connection, connection:
        connection.execute("DELETE FROM money_batch WHERE position = 3")
    assert "lane money: batch 4 after 2" in survey(tmp_path / NAME).summary()
    put_right(tmp_path / NAME)
    assert survey(tmp_path / NAME).is_sound


def test_the_first_ticks_above_a_number_are_found_by_market(tmp_path: Path) -> None:
    assert first_ticks_after(tmp_path / NAME, numbers={}) == {}
    journal = open_journal(tmp_path)
    written = append(journal, range(1, 4))
    journal.close()
    first = first_ticks_after(tmp_path / NAME, numbers={written[0].journal_id: 1})
    assert first == {f"M{n}@sim": ticks(2)[0].ts_us for n in range(3)}
