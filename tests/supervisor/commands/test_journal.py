import contextlib
import sqlite3
from pathlib import Path

import pytest
from journals import append, open_journal

from storage.journal_file import NAME
from supervisor.cli import run_command


def verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = run_command(["journal", "verify", "--state-dir", str(folder)])
    return code, capsys.readouterr().out.splitlines()


def test_a_missing_journal_is_said_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(tmp_path, capsys) == (0, [f"{tmp_path / NAME}: no journal is there"])
    assert list(tmp_path.iterdir()) == []


def test_each_lane_of_a_sound_journal_is_told_while_it_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = open_journal(tmp_path)
    [batch, *_] = append(first, range(1, 4))
    first.close()
    second = open_journal(tmp_path)
    [other, *_] = append(second, range(4, 6))
    code, [money, ticks, whole] = verify(tmp_path, capsys)
    assert code == 0
    journals = f"journal {batch.journal_id}: 1 to 3; {other.journal_id}: 1 to 2"
    assert money.startswith("money: 5 batches, 10 rows, ")
    assert money.endswith(journals)
    assert ticks.startswith("ticks: 5 batches, 60 rows, ")
    assert ticks.endswith(journals)
    assert whole.endswith(" bytes, sound")
    second.close()


def test_what_is_wrong_is_told_and_changed_by_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = open_journal(tmp_path)
    append(journal, range(1, 6))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as connection, connection:
        connection.execute("UPDATE ticks_batch SET checksum = 1 WHERE position = 3")
    before = (tmp_path / NAME).read_bytes()
    code, lines = verify(tmp_path, capsys)
    assert code == 1
    assert lines[2].endswith("DAMAGED")
    assert "lane ticks: wrong checksum" in lines[3]
    assert "batch 4 after 2" in lines[4]
    assert (tmp_path / NAME).read_bytes() == before
    open_journal(tmp_path).close()
    code, lines = verify(tmp_path, capsys)
    assert code == 0
    assert lines[0].startswith(f"set aside: {tmp_path / NAME}.damaged-")
