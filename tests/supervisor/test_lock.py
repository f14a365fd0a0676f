import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import fill, small_disk

from actors.control import Control
from domain.errors import AlreadyRunning, ConfigError, MarketdError
from supervisor import lock

GUARD_S = 30.0  # against hanging
HOLD = """
import sys
from pathlib import Path
from supervisor import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock of the test's folder until it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_that_we_may_not_look_at_is_not_taken_for_a_free_one(tmp_path: Path) -> None:
    (tmp_path / lock.FILE_NAME).symlink_to(lock.FILE_NAME)  # leads to itself: nobody can open it
    with pytest.raises(MarketdError, match=lock.FILE_NAME):
        lock.holder(tmp_path)


def test_a_second_process_is_refused_and_told_by_whom(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(AlreadyRunning, match=str(other.pid)) as refused, lock.held(tmp_path):
        pass
    assert refused.value.pid == other.pid


def test_a_refused_process_leaves_the_holder_its_lock(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(AlreadyRunning), lock.held(tmp_path):
        pass
    assert lock.holder(tmp_path) == other.pid


def test_a_killed_process_holds_nothing(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait(GUARD_S)
    with lock.held(tmp_path):
        assert lock.holder(tmp_path) == os.getpid()


def test_a_process_that_ends_holds_nothing(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.communicate("end\n", timeout=GUARD_S)
    assert lock.holder(tmp_path) is None


def test_the_state_directory_is_made(tmp_path: Path) -> None:
    with lock.held(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_nobody_holds_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "missing") is None


def test_a_shorter_pid_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / lock.FILE_NAME).write_text("99999999999999\n")
    with lock.held(tmp_path):
        assert lock.holder(tmp_path) == os.getpid()


def test_a_holder_that_has_not_said_its_pid_yet_is_a_holder(tmp_path: Path) -> None:
    with (tmp_path / lock.FILE_NAME).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock.holder(tmp_path) == 0


def test_who_asks_for_the_holder_hinders_no_start(tmp_path: Path) -> None:
    """A look at the lock holds it for a moment, and a start in that very moment is to succeed."""
    with (tmp_path / lock.FILE_NAME).open("w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        timer = threading.Timer(lock.LOOK_AGAIN_S, fcntl.flock, (look, fcntl.LOCK_UN))
        timer.start()
        with lock.held(tmp_path):
            assert lock.holder(tmp_path) == os.getpid()
        timer.join()


def test_a_file_in_the_place_of_the_directory_is_wrong_settings(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ConfigError, match=str(path)), lock.held(path):
        pass


def test_a_full_disk_is_no_wrong_setting(tmp_path: Path) -> None:
    """The service manager starts nobody again whose settings are wrong."""
    disk = tmp_path / "disk"
    with small_disk(disk, size="64k,nr_inodes=1"):
        with pytest.raises(MarketdError, match="No space") as raised, lock.held(disk / "state"):
            pass
        assert not isinstance(raised.value, ConfigError)
        with pytest.raises(MarketdError, match="No space") as raised:
            Control(path=disk / "control.sock", handle=_nothing).listen()
        assert not isinstance(raised.value, ConfigError)


def test_a_full_disk_holds_nobody_off_who_has_been_here_before(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, size="16k"):
        (disk / lock.FILE_NAME).touch()
        fill(disk)
        with lock.held(disk):
            assert lock.holder(disk) == 0


async def _nothing(*_: object) -> None:
    """Answer nothing: nobody asks."""
