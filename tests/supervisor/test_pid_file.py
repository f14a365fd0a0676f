"""The file with our process id. What other processes make of it is in `tests/process/test_background.py`."""

import os
from pathlib import Path

import pytest

from domain.errors import ConfigError
from supervisor import pid_file


@pytest.mark.parametrize("before", ["", "123456789012\n", "\0" * 40])
def test_it_is_there_for_the_length_of_the_block_only(tmp_path: Path, before: str) -> None:
    path = tmp_path / "pid"
    path.write_text(before)  # of somebody who is gone, by a power cut perhaps
    with pid_file.written(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_one_that_somebody_removed_is_no_trouble(tmp_path: Path) -> None:
    with pid_file.written(tmp_path / "pid"):
        pid_file.remove(tmp_path / "pid")


def test_a_block_that_fails_removes_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), pid_file.written(tmp_path / "pid"):
        raise ZeroDivisionError
    assert not (tmp_path / "pid").exists()


def test_a_place_that_cannot_be_written_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="no such folder/pid"),
        pid_file.written(tmp_path / "no such folder/pid"),
    ):
        pass


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "marketd.toml"
    path.write_text("[service]\n")
    with pytest.raises(ConfigError, match="no process id"), pid_file.written(path):
        pass
    assert path.read_text() == "[service]\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Where others may write, it could lead to any file of ours."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "pid").symlink_to(precious)
    with pytest.raises(ConfigError), pid_file.written(tmp_path / "pid"):
        pass
    assert precious.read_text() == "kept"
