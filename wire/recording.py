r"""Recordings: the frames of one or more sockets in a file, one JSON object a line.

`{"at_us": 1633998512063357, "dir": "in", "frame": "{\"stream\": …}"}`: `at_us` is the wall clock in
UTC, `dir` is `in` (from the venue) or `out` (to it), `frame` the text as on the wire.
"""

import contextlib
import enum
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs
import msgspec

from domain.clock import now_us
from domain.errors import ConfigError
from domain.events import Event, emit

MAX_BYTES = 512 * 2**20  # of a file; a recording is for looking at, not an archive
FLUSH_EVERY_S = 1.0  # at most so much is lost when the process is killed while frames flow
BUFFER_BYTES = 64 * 2**10
SAMPLE_CHARACTERS = 80  # of a bad line, as an error shows it


class Direction(enum.StrEnum):
    """Which way a frame went."""

    IN = "in"  # from the venue
    OUT = "out"  # to the venue


@attrs.frozen(kw_only=True)
class Frame:
    """One recorded frame; `at_us` is when it was seen, UTC."""

    at_us: int
    direction: Direction
    frame: str


class _Line(msgspec.Struct, forbid_unknown_fields=True, rename={"direction": "dir"}, gc=False):
    at_us: int
    direction: Direction
    frame: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


class Recorder:
    """Appends the frames of a feed to a file, and never disturbs the feed.

    The file is opened by the first frame, with mode 0600: frames may name an account. Recording
    stops for good, with one warning, at 512 MiB and on the first error of the file system.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._flushed_at = 0.0
        self._has_stopped = False

    def record_in(self, frame: str) -> None:
        """Record a frame that came from the venue."""
        self._record(frame, direction=Direction.IN)

    def record_out(self, frame: str) -> None:
        """Record a frame that was sent to the venue."""
        self._record(frame, direction=Direction.OUT)

    def close(self) -> None:
        """Write what is buffered and end the recording."""
        try:
            self._close_file()
        except OSError as exc:
            self._warn(f"cannot be written: {exc.strerror or exc}")

    def _record(self, frame: str, *, direction: Direction) -> None:
        if self._has_stopped:
            return
        line = _encode(_Line(at_us=now_us(), direction=direction, frame=frame)) + b"\n"
        try:
            file = self._file or self._open()
            if self._size + len(line) > MAX_BYTES:
                self._stop(f"has reached its limit of {MAX_BYTES:,} bytes")
                return
            file.write(line)
            self._size += len(line)
            self._flush_sometimes(file)
        except OSError as exc:
            self._stop(f"cannot be written: {exc.strerror or exc}")

    def _open(self) -> BinaryIO:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = file = os.fdopen(handle, "ab", buffering=BUFFER_BYTES)
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode):
            os.fchmod(handle, 0o600)  # a file that was there before may be readable by others
            self._size = status.st_size
            if self._size and os.pread(handle, 1, self._size - 1) != b"\n":
                self._size += file.write(b"\n")  # its last writer was killed inside a line
        return file

    def _flush_sometimes(self, file: BinaryIO) -> None:
        now = time.monotonic()
        if now - self._flushed_at >= FLUSH_EVERY_S:
            file.flush()
            self._flushed_at = now

    def _stop(self, why: str) -> None:
        self._warn(why)
        with contextlib.suppress(OSError):  # said already
            self._close_file()

    def _close_file(self) -> None:
        self._has_stopped = True
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _warn(self, why: str) -> None:
        message = f"recording stopped: {self._path} {why}"
        emit(Event.FRAME, message, level=logging.WARNING, reason=why)


def read(path: Path) -> Iterator[Frame]:
    """Yield the frames of a recording in the file's order, reading as it goes.

    Raises `ConfigError` naming the file, the line and what stands there if a line is not a frame,
    or if the file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _parse(line, where=f"{path}, line {number}")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _parse(line: bytes, *, where: str) -> Frame:
    try:
        parsed = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        seen = line[:SAMPLE_CHARACTERS].decode(errors="replace").rstrip("\n")
        raise ConfigError(f"{where}: not a recorded frame ({exc}): {seen!r}") from exc
    return Frame(at_us=parsed.at_us, direction=parsed.direction, frame=parsed.frame)
