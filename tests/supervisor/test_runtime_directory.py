from pathlib import Path

import pytest

from supervisor.runtime_directory import show_socket

STATE_DIR = Path("/var/lib/marketd")


@pytest.mark.parametrize("more", ["", ":/run/another"])
def test_the_link_leads_to_the_control_socket(tmp_path: Path, more: str) -> None:
    show_socket(STATE_DIR, {"RUNTIME_DIRECTORY": f"{tmp_path}{more}"})
    assert (tmp_path / "control.sock").readlink() == STATE_DIR / "control.sock"
    assert [path.name for path in tmp_path.iterdir()] == ["control.sock"]


@pytest.mark.parametrize("name", ["control.sock", "control.new"])
def test_what_an_earlier_run_left_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/somewhere/else")
    show_socket(STATE_DIR, {"RUNTIME_DIRECTORY": str(tmp_path)})
    assert (tmp_path / "control.sock").readlink() == STATE_DIR / "control.sock"


def test_outside_a_service_there_is_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    show_socket(STATE_DIR, {})
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    show_socket(STATE_DIR, {"RUNTIME_DIRECTORY": str(tmp_path / "missing")})
    assert not (tmp_path / "missing").exists()
