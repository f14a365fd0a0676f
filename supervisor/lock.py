"""One daemon a state directory: an flock that ends with the process, whatever ends it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import AlreadyRunning, MarketdError, unusable

FILE_NAME = "marketd.lock"
LOOKS, LOOK_AGAIN_S = 5, 0.02  # `holder` has the lock for some microseconds


@contextmanager
def held(state_dir: Path) -> Iterator[None]:
    """Make the state directory and hold its lock for the length of the block.

    Raises AlreadyRunning with the holder's pid, ConfigError where the directory cannot be used, MarketdError
    where its disk is full or broken.
    """
    path = state_dir / FILE_NAME
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as exc:
        raise unusable(f"state directory {state_dir} cannot be used", exc) from exc
    try:
        try:
            _lock(descriptor)
        except BlockingIOError:
            pid = _read_pid(descriptor)
            raise AlreadyRunning(
                f"marketd already runs in {state_dir}, pid {pid or 'unknown'}", pid=pid
            ) from None
        _write_pid(descriptor)
        yield
    finally:
        os.close(descriptor)


def holder(state_dir: Path) -> int | None:
    """Return the pid of the daemon that holds the lock; None where nobody does.

    A holder that has not written its pid yet (it is a moment old) counts as pid 0. Raises
    MarketdError where we may not look.
    """
    path = state_dir / FILE_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise MarketdError(
            f"{path} cannot be read: {exc.strerror}; it answers root and the members of its group"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(descriptor) or 0
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> None:
    """Lock it; raise BlockingIOError where a daemon has it, and not just `holder` for a moment."""
    for _ in range(LOOKS):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_AGAIN_S)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write_pid(descriptor: int) -> None:
    """Write ours over the last one's, in its place on a full disk; without room it stays unknown."""
    text = f"{os.getpid()}\n".encode()
    try:
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except OSError:
        os.ftruncate(descriptor, 0)


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
