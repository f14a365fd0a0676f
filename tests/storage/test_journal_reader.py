import contextlib
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from journals import BYTES, append, contents, money, open_journal, ticks, trim

from domain.errors import JournalBroken
from storage.journal import Journal
from storage.journal_file import NAME
from storage.journal_reader import Head, JournalReader
from storage.payloads import JournalBatch, Lane


def filled(folder: Path, *, count: int, each: int = 2) -> list[JournalBatch]:
    journal = open_journal(folder, max_bytes=64 * BYTES)
    batches: list[JournalBatch] = []
    for number in range(count):
        batches += journal.append([(Lane.TICKS, ticks(number, each=each))]).batches
    journal.close()
    return batches


def test_it_reads_up_to_so_many_rows_and_goes_on_behind_them(tmp_path: Path) -> None:
    written = filled(tmp_path, count=7)  # of 6 rows each
    reader = JournalReader(tmp_path)
    assert contents(reader.read(Lane.TICKS, after=0, max_rows=18)) == contents(written[:3])
    assert contents(reader.read(Lane.TICKS, after=3, max_rows=17)) == contents(written[3:5])
    assert reader.read(Lane.TICKS, after=7, max_rows=17) == []
    assert reader.read(Lane.MONEY, after=0, max_rows=17) == []


def test_a_batch_larger_than_asked_for_is_read_by_itself(tmp_path: Path) -> None:
    written = filled(tmp_path, count=3)
    assert contents(JournalReader(tmp_path).read(Lane.TICKS, after=0, max_rows=1)) == contents(written[:1])


def test_it_never_mixes_journals(tmp_path: Path) -> None:
    first, second = filled(tmp_path, count=2), filled(tmp_path, count=2)
    reader = JournalReader(tmp_path)
    assert contents(reader.read(Lane.TICKS, after=0, max_rows=1_000)) == contents(first)
    assert contents(reader.read(Lane.TICKS, after=2, max_rows=1_000)) == contents(second)


def test_the_head_is_the_first_batch_behind_a_position(tmp_path: Path) -> None:
    [first, *_] = filled(tmp_path, count=2)
    [second, *_] = filled(tmp_path, count=2)
    reader = JournalReader(tmp_path)
    assert reader.head(Lane.TICKS, after=0) == Head(position=1, journal_id=first.journal_id, number=1)
    assert reader.head(Lane.TICKS, after=2) == Head(position=3, journal_id=second.journal_id, number=1)
    assert reader.head(Lane.TICKS, after=4) is None


def test_a_number_of_a_journal_has_its_position(tmp_path: Path) -> None:
    filled(tmp_path, count=3)
    [second, *_] = filled(tmp_path, count=4)
    reader = JournalReader(tmp_path)

    def position(number: int) -> int | None:
        return reader.position_of(Lane.TICKS, journal_id=second.journal_id, number=number)

    assert [position(number) for number in (0, 1, 4, 9)] == [3, 4, 7, 7]
    assert reader.position_of(Lane.TICKS, journal_id=1, number=1) is None


def test_the_position_of_a_number_that_is_trimmed_is_before_what_is_left(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    [first, *_] = append(journal, range(6))
    trim(journal, Lane.TICKS, through=4)
    reader = JournalReader(tmp_path)
    assert reader.position_of(Lane.TICKS, journal_id=first.journal_id, number=2) == 4


def test_it_sees_what_is_appended_and_trimmed_meanwhile(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    reader = JournalReader(tmp_path)
    for number in range(5):
        [_, batch] = append(journal, range(number, number + 1))
        assert contents(reader.read(Lane.TICKS, after=number, max_rows=100)) == contents([batch])
        trim(journal, Lane.TICKS, through=number)
    head = reader.head(Lane.TICKS, after=0)
    assert head is not None
    assert head.position == 5


def test_a_backlog_is_read_with_little_memory(tmp_path: Path) -> None:
    filled(tmp_path, count=40, each=1_000)  # 120,000 rows: over 30 MB as ticks
    reader = JournalReader(tmp_path)
    tracemalloc.start()
    try:
        position = count = 0
        while batches := reader.read(Lane.TICKS, after=position, max_rows=3_000):
            position = batches[-1].position
            count += sum(len(batch.rows) for batch in batches)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 120_000
    assert peak < 5 * BYTES


def test_reading_holds_no_log_back(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=64 * BYTES)
    reader = JournalReader(tmp_path)
    for number in range(300):
        journal.append([(Lane.TICKS, ticks(number, each=100))])  # 20 KB
        reader.read(Lane.TICKS, after=number, max_rows=1)
    assert (tmp_path / f"{NAME}-wal").stat().st_size < 3 * BYTES


def test_a_missing_journal_is_said_and_found_later(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path)
    with pytest.raises(JournalBroken):
        reader.head(Lane.TICKS, after=0)
    filled(tmp_path, count=1)
    assert reader.head(Lane.TICKS, after=0) is not None


def test_a_damaged_batch_is_said_and_never_returned(tmp_path: Path) -> None:
    filled(tmp_path, count=3)
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as connection, connection:
        connection.execute("UPDATE ticks_batch SET rows = rows - 1 WHERE position = 2")
    reader = JournalReader(tmp_path)
    with pytest.raises(JournalBroken, match="wrong checksum"):
        reader.read(Lane.TICKS, after=0, max_rows=100)
    assert Journal(tmp_path, max_bytes=BYTES).open().set_aside is not None
    [first, lost, third] = reader.read(Lane.TICKS, after=0, max_rows=100)
    assert [len(batch.rows) for batch in (first, lost, third)] == [6, 0, 6]


def test_money_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    [batch] = journal.append([(Lane.MONEY, money(5))]).batches
    assert JournalReader(tmp_path).read(Lane.MONEY, after=0, max_rows=1) == [batch]
