"""A file with our process id in it, for those who send signals by it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from domain.errors import AlreadyRunning, ConfigError

NAME = "marketd.pid"


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Keep our process id in a file for the length of the block.

    It is locked meanwhile, so that one whose process is gone, whatever ended it, is told from one in
    use. Raises AlreadyRunning with the pid of who uses it, ConfigError where it cannot be written
    or holds something else.
    """
    try:
        descriptor = _open_locked(path)
        _check_is_ours(path, descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as exc:
        raise ConfigError(f"pid file {path} cannot be written: {exc.strerror}") from exc
    try:
        yield
    finally:
        remove(path)
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove it; no matter if somebody else has."""
    with contextlib.suppress(OSError):
        path.unlink()


def _open_locked(path: Path) -> int:
    """Return the file's descriptor, locked; another try where its owner removed it in that moment."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).strip().decode(errors="replace")
            os.close(descriptor)
            pid = int(text) if text.isdecimal() else None
            raise AlreadyRunning(
                f"pid file {path} belongs to a marketd that runs, pid {pid or 'unknown'}", pid=pid
            ) from None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def _check_is_ours(path: Path, descriptor: int) -> None:
    """Raise ConfigError where the file holds anything but a process id: it is somebody's, who needs it."""
    text = os.pread(descriptor, 32, 0).strip(b"\0 \r\n")  # zeros: what a power cut leaves
    if text and not text.isdigit():
        os.close(descriptor)
        raise ConfigError(f"pid file {path} is there and holds no process id; take another name")


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
