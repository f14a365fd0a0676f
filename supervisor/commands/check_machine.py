"""The parts of `marketd check` that look at the machine: state directory, clock, disk."""

import ctypes
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from domain.clock import as_text, now_us
from supervisor.commands.findings import Finding, doubtful, failed, good

FIRST_YEAR = 2026  # when this was written: an earlier clock is wrong
LAST_YEAR = 2100  # a later one too
TIME_ERROR = 5  # adjtimex(2): "the clock is not synchronized"
TIMEX_BYTES = 1024  # struct timex has 208; zeroed, it only asks
LOW_PERCENT = 10  # old days are given up from here on
FULL_PERCENT = 2  # no ticks are stored below


def check_state_dir(state: Path) -> Finding:
    """Return whether files can be made in the state directory, or it itself where it is missing."""
    what = "state directory"
    if not state.exists():
        above = nearest_folder(state)
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            return good(what, f"{state} will be made")
        return failed(what, f"{state} cannot be made in {above}")
    try:
        with tempfile.TemporaryFile(dir=state):
            return good(what, f"{state} is writable")
    except OSError as exc:
        return failed(what, f"{state}: {exc.strerror}")


def nearest_folder(path: Path) -> Path:
    """Return the path, or what is there of the folders above it."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def check_clock() -> Finding:
    """Return whether the wall clock can be true, and what the kernel says of it."""
    return judge_clock(wall_us=now_us(), kernel_state=kernel_clock_state())


def judge_clock(*, wall_us: int, kernel_state: int) -> Finding:
    """Return what this time and this answer of adjtimex mean."""
    shown = as_text(wall_us)
    if not FIRST_YEAR <= datetime.fromtimestamp(wall_us / 1e6, tz=UTC).year <= LAST_YEAR:
        return failed("clock", f"{shown} cannot be true: set the clock")
    if kernel_state < 0:
        return doubtful("clock", f"{shown}; the kernel does not say whether it is synchronised")
    if kernel_state == TIME_ERROR:
        return doubtful("clock", f"{shown}; not synchronised, the kernel says: is a time service running?")
    return good("clock", f"{shown}, synchronised")


def kernel_clock_state() -> int:
    """Return what adjtimex(2) returns when it only asks; below 0 where asking is not allowed."""
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))


def check_disk(folder: Path) -> Finding:
    """Return whether the file system that holds the folder has room for us."""
    there = nearest_folder(folder)
    usage = shutil.disk_usage(there)
    return judge_disk(there, free=usage.free, total=usage.total)


def judge_disk(folder: Path, *, free: int, total: int) -> Finding:
    """Return what so many free of so many bytes mean."""
    percent = 100 * free / total if total else 0.0
    detail = f"{folder}: {percent:.0f} % free, {free / 2**30:.1f} GiB"
    if percent < FULL_PERCENT:
        return failed("disk", f"{detail}; below {FULL_PERCENT} % nothing is stored")
    if percent < LOW_PERCENT:
        return doubtful("disk", detail)
    return good("disk", detail)
