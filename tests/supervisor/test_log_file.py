"""The log in a file, on real file systems: full ones too."""

import stat
from pathlib import Path

import pytest
from disks import fill, small_disk
from logged import make_record

from domain.errors import ConfigError
from domain.events import Event, emit
from supervisor import logs
from supervisor.log_file import KEPT_FILES, FileOutput
from supervisor.log_writer import BACKLOG_ENTRIES


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def write_lines(output: FileOutput, count: int, *, begin: int = 0) -> list[bytes]:
    """Write numbered lines; return those that were taken."""
    lines = [f"{n:09}\n".encode() for n in range(begin, begin + count)]
    return [line for line in lines if output.write(line)]


def test_what_is_logged_is_in_the_file(tmp_path: Path) -> None:
    log = logs.open_log_file(tmp_path / "marketd.log", level="info")
    emit(Event.STATE, "EURUSD@sim live", actor="market/EURUSD@sim")
    log.close()
    [line] = lines_of(tmp_path / "marketd.log")
    assert line.endswith(b"  EURUSD@sim live\n")


def test_a_start_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    path = tmp_path / "marketd.log"
    path.write_bytes(b"before\n")
    FileOutput(path).write(b"after\n")
    assert lines_of(path) == [b"before\n", b"after\n"]


def test_the_log_is_not_for_everybody(tmp_path: Path) -> None:
    FileOutput(tmp_path / "marketd.log")
    assert stat.S_IMODE((tmp_path / "marketd.log").stat().st_mode) & 0o007 == 0


def test_a_file_that_cannot_be_opened_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-folder"):
        FileOutput(tmp_path / "no-such-folder" / "marketd.log")


def test_a_full_file_becomes_the_first_of_a_few_older_ones(tmp_path: Path) -> None:
    path = tmp_path / "marketd.log"
    output = FileOutput(path, most_bytes=100)  # ten lines
    assert len(write_lines(output, 95)) == 95
    names = {f"marketd.log.{number}" for number in range(1, KEPT_FILES + 1)}
    assert {each.name for each in tmp_path.iterdir()} == {"marketd.log", *names}
    oldest_first = [*(path.with_name(f"marketd.log.{n}") for n in range(KEPT_FILES, 0, -1)), path]
    kept = [line for each in oldest_first for line in lines_of(each)]
    assert kept == [f"{n:09}\n".encode() for n in range(50, 95)]


def test_a_file_that_somebody_deleted_or_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "marketd.log"
    output = FileOutput(path)
    output.write(b"one\n")
    path.rename(tmp_path / "moved")
    output.write(b"two\n")
    path.unlink()
    output.write(b"three\n")
    assert lines_of(tmp_path / "moved") == [b"one\n"]
    assert lines_of(path) == [b"three\n"]


def test_on_a_full_disk_lines_are_whole_or_not_there_and_it_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, size="256k"):
        output = FileOutput(folder / "marketd.log")
        taken = write_lines(output, 10)
        filler = fill(folder)
        taken += write_lines(output, 1_000, begin=10)
        assert 10 < len(taken) < 1_010  # what fitted into the last page, and no more
        filler.unlink()
        taken += write_lines(output, 10, begin=2_000)
        assert taken[-10:] == [f"{n:09}\n".encode() for n in range(2_000, 2_010)]
        assert lines_of(folder / "marketd.log") == taken


def test_where_nothing_can_be_renamed_the_file_does_not_grow_beyond_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "marketd.log"
    (tmp_path / f"marketd.log.{KEPT_FILES}" / "something").mkdir(parents=True)
    (tmp_path / f"marketd.log.{KEPT_FILES - 1}").touch()
    output = FileOutput(path, most_bytes=100)
    assert len(write_lines(output, 15)) == 10
    assert len(lines_of(path)) == 10


def test_what_a_full_disk_cost_is_said_in_the_file_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, size="1m"):
        log = logs.open_log_file(folder / "marketd.log", level="info")
        filler = fill(folder)
        for n in range(BACKLOG_ENTRIES + 1_000):
            log.put(make_record(f"{n}"))
        figures = log.figures()
        assert figures.dropped > 0
        filler.unlink()
        log.close()
        [notice] = [line for line in lines_of(folder / "marketd.log") if b"dropped" in line]
        assert f"  warning: {figures.dropped} entries" in notice.decode()
        assert len(lines_of(folder / "marketd.log")) == BACKLOG_ENTRIES + 1_000 - figures.dropped + 1
