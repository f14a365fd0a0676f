import os
import stat
from pathlib import Path

import pytest

from domain.errors import PermanentError
from supervisor import token_files
from supervisor.token_files import make_folder, read_token, refresh_path, stamp_of, token_path, write_token
from venues.settings import VenueSettings


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def secret_file(folder: Path, content: bytes, *, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_token_is_in_the_state_directory_unless_the_settings_say_where(tmp_path: Path) -> None:
    settings = VenueSettings(protocol="binance")
    assert token_path(tmp_path, venue="olymp", settings=settings) == tmp_path / "tokens/olymp"
    assert refresh_path(tmp_path, venue="olymp") == tmp_path / "tokens/olymp.refresh"
    settings = VenueSettings(protocol="binance", token_file="/etc/marketd/olymp")
    assert token_path(tmp_path, venue="olymp", settings=settings) == Path("/etc/marketd/olymp")


def test_what_is_written_is_read_back_and_seen_by_nobody_else(tmp_path: Path) -> None:
    make_folder(tmp_path / "state")
    path = tmp_path / "state/tokens/olymp"
    before = os.umask(0)
    try:
        write_token(path, "abc.def")
    finally:
        os.umask(before)
    assert read_token(path) == "abc.def"
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700


def test_a_folder_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir(mode=0o755)
    make_folder(tmp_path)
    assert mode_of(tmp_path / "tokens") == 0o700


def test_writing_changes_the_stamp_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = secret_file(tmp_path, b"old\n")
    before = stamp_of(path)
    write_token(path, "new")
    assert stamp_of(path) != before
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_a_link_to_the_token_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret_file(tmp_path, b"old\n"))
    write_token(link, "new")
    assert link.is_symlink()
    assert read_token(tmp_path / "token") == "new"


def test_a_write_that_fails_leaves_the_old_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret_file(tmp_path, b"old\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_token(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["token"]
    assert read_token(path) == "old"


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert read_token(tmp_path / "missing") is None
    assert read_token(tmp_path / "missing/too") is None
    assert stamp_of(tmp_path / "missing") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o620])
def test_a_file_that_others_can_use_is_refused_and_left_alone(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, b"abc\n", mode=mode)
    with pytest.raises(PermanentError, match=rf"{mode:04o}.*chmod 600"):
        read_token(path)
    assert (mode_of(path), path.read_bytes()) == (mode, b"abc\n")


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe", b"x" * 40_000, b"a b"])
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes) -> None:
    path = secret_file(tmp_path, content)
    with pytest.raises(PermanentError) as error:
        read_token(path)
    assert str(path) in str(error.value)


def test_a_pipe_in_the_place_of_a_token_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.mkfifo(path, 0o600)
    with pytest.raises(PermanentError, match="is not a file"):
        read_token(path)


def test_a_folder_in_the_place_of_a_token_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="is not a file"):
        read_token(tmp_path)


def test_root_writes_for_the_owner_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((Path(path).name, uid, gid)))
    make_folder(tmp_path)
    write_token(tmp_path / token_files.FOLDER / "olymp", "abc")
    owner = tmp_path.stat()
    assert [(uid, gid) for _, uid, gid in given] == [(owner.st_uid, owner.st_gid)] * 2
