"""What a run writes down of itself, for the next one to read: how it began, that it lives, how it ended.

`run.json` is written once at the start, for good, and once at an orderly end:

{"version": 1, "pid": 4711, "boot_id": "…", "invocation_id": "…", "started_us": 1795000000000000,
 "marketd": "0.1", "bad_ends": 0, "pause_s": 0.0, "memory_limit_bytes": null, "oom_kills": 0,
 "ended": null | {"how": "clean", "exit_code": 0, "words": "stopped on SIGTERM", "at_us": …}}

`run.alive` is touched every 30 s and holds the resident memory of then; `run.stack` gets the
threads' stacks where a signal such as the watchdog's SIGABRT ends us.
"""

import contextlib
import enum
import os
from pathlib import Path

import attrs
import msgspec

from domain.clock import now_us

FILE_NAME, ALIVE_NAME, STACK_NAME = "run.json", "run.alive", "run.stack"
SERVICE_RESULT_NAME = "service-result"  # written by the unit's ExecStopPost
LAST_STACK_NAME = "run.stack.last"
JOURNAL_LOG_NAME = "journal.db-wal"  # each accepted batch is written there
VERSION = 1
MOST_STACK_BYTES = 64_000
FILE_TIME_US = 1_000_000  # a file's time may be that of the kernel's last tick, or of a coarser file system
ALIVE_BYTES = 32  # always as long, so that it is overwritten in one piece


class End(enum.StrEnum):
    """How a run ended; `last_run.end` in status."""

    FIRST = "first"  # there was none before
    CLEAN = "clean"
    CRASH = "crash"
    OOM = "oom"
    WATCHDOG = "watchdog"
    POWER_LOSS = "power_loss"
    KILLED = "killed"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Ended:
    """An end that the run could still write down itself."""

    how: End
    exit_code: int
    words: str
    at_us: int


@attrs.frozen(kw_only=True)
class RunRecord:
    """One run. `bad_ends` counts the short runs that ended badly just before it, in a row."""

    version: int = VERSION
    pid: int
    boot_id: str  # "" where it cannot be known
    invocation_id: str  # systemd's; "" without it
    started_us: int
    marketd: str
    bad_ends: int
    pause_s: float  # it waited so long before it connected
    memory_limit_bytes: int | None
    oom_kills: int | None  # in its control group, when it began
    ended: Ended | None = None


@attrs.frozen(kw_only=True)
class ServiceResult:
    """What the service manager says of the end: systemd.exec(5), $SERVICE_RESULT and its like."""

    result: str
    code: str  # exited, killed or dumped
    status: str  # exit code, or signal's name without SIG
    at_us: int


@attrs.frozen(kw_only=True)
class SignsOfLife:
    """When a run was certainly alive, and its resident memory at the last look; None where not known."""

    at_us: int | None = None
    rss_bytes: int | None = None


# --- run.json ---------------------------------------------------------------------------------


def read(state_dir: Path) -> RunRecord | None:
    """Return what the last run wrote; None without it. Raises ValueError, OSError."""
    try:
        content = (state_dir / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        record = msgspec.json.decode(content, type=RunRecord)
    except RecursionError as exc:
        raise ValueError(str(exc)) from exc
    if record.version != VERSION:
        raise ValueError(f"version {record.version}, written by another marketd")
    return record


def write(state_dir: Path, record: RunRecord) -> None:
    """Put it on disk for good. Blocks."""
    fresh = _write_fresh(state_dir, record)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.rename(state_dir / FILE_NAME)
    directory = os.open(state_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_end(state_dir: Path, record: RunRecord) -> None:
    """Write it; not synced, because a process that leaves waits for no disk."""
    _write_fresh(state_dir, record).rename(state_dir / FILE_NAME)


def _write_fresh(state_dir: Path, record: RunRecord) -> Path:
    fresh = state_dir / f"{FILE_NAME}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    fresh.chmod(0o640)
    return fresh


def set_aside(state_dir: Path) -> Path:
    """Give a file that cannot be read another name; return it."""
    path = state_dir / FILE_NAME
    return path.rename(path.with_name(f"{FILE_NAME}.unreadable-{now_us()}"))


# --- beside it --------------------------------------------------------------------------------


def read_service_result(state_dir: Path, *, invocation_id: str) -> ServiceResult | None:
    """Return what the service manager said of the end of one run; None where it speaks of another."""
    path = state_dir / SERVICE_RESULT_NAME
    try:
        pairs = (line.partition("=") for line in path.read_text(errors="replace").splitlines())
        words = {name.strip(): value.strip() for name, _, value in pairs}
        at_us = _changed_us(path)
    except OSError:
        return None
    if not invocation_id or words.get("INVOCATION_ID") != invocation_id or at_us is None:
        return None
    return ServiceResult(
        result=words.get("SERVICE_RESULT", ""),
        code=words.get("EXIT_CODE", ""),
        status=words.get("EXIT_STATUS", ""),
        at_us=at_us,
    )


def read_signs_of_life(state_dir: Path, *, since_us: int) -> SignsOfLife:
    """Return the last signs of life of a run that began at a time: its own, and what it accepted."""
    alive = state_dir / ALIVE_NAME
    times = (_changed_us(path) for path in (alive, state_dir / JOURNAL_LOG_NAME))
    after = [
        min(max(at_us, since_us), now_us())
        for at_us in times
        if at_us is not None and at_us >= since_us - FILE_TIME_US
    ]
    text = ""
    with contextlib.suppress(OSError, ValueError):
        text = alive.read_text().strip()
    return SignsOfLife(
        at_us=max(after, default=None), rss_bytes=int(text) if text.isdecimal() and after else None
    )


def write_sign_of_life(descriptor: int, *, rss_bytes: int) -> None:
    """Overwrite `run.alive`, which is open."""
    os.pwrite(descriptor, f"{rss_bytes}\n".rjust(ALIVE_BYTES).encode(), 0)


def take_stack(state_dir: Path) -> str:
    """Return the stacks that the last run left, if it did; the file is kept under another name."""
    path = state_dir / STACK_NAME
    try:
        with path.open("rb") as file:
            content = file.read(MOST_STACK_BYTES)
        if content:
            path.rename(state_dir / LAST_STACK_NAME)
    except OSError:
        return ""
    return content.decode(errors="replace")


def _changed_us(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns // 1_000
    except OSError:
        return None
