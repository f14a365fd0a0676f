r"""Recordings: the frames of one or more sockets in a file, one JSON object a line.

`{"at_us": 1633998512063357, "dir": "in", "frame": "{\"stream\": …}"}`: `at_us` is the wall clock in
UTC, `dir` is `in` (from the venue) or `out` (to it), `frame` the text as on the wire, but for what
`wire/blanking.py` takes out of it.
"""

import contextlib
import enum
import gzip
import logging
import os
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import attrs
import msgspec

from domain.clock import now_us
from domain.errors import ConfigError
from domain.events import Event, emit
from wire import rotation
from wire.blanking import blank, blank_literally
from wire.rotation import Rotation

FLUSH_EVERY_S = 1.0  # at most so much is lost when the process is killed while frames flow
BUFFER_BYTES = 64 * 2**10
MOST_SECRETS = 16  # the latest; of a venue whose token changes daily the oldest is two weeks old
GZIP_MAGIC = b"\x1f\x8b"
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

    The file is opened by the first frame, with mode 0600. What names an account or opens it is
    blanked. At 64 MiB the file is put aside and compressed, the oldest beyond 512 MiB goes (see
    `wire/rotation.py`). Recording stops for good, with one warning, on the first error of the file
    system.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._flushed_at = 0.0
        self._has_stopped = False
        self._rotation: Rotation | None = None  # none where the path is no file: a pipe, /dev/stdout
        self._secrets: dict[str, None] = {}

    def keep_secret(self, secret: str) -> None:
        """Blank this text from now on, wherever it stands in a frame."""
        self._secrets[secret] = None
        if len(self._secrets) > MOST_SECRETS:
            del self._secrets[next(iter(self._secrets))]

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
        frame = blank(frame)
        for secret in self._secrets:
            frame = blank_literally(frame, secret)
        line = _encode(_Line(at_us=now_us(), direction=direction, frame=frame)) + b"\n"
        try:
            file = self._file or self._open()
            if self._size + len(line) > rotation.PART_BYTES and self._rotation is not None and self._size:
                file = self._begin_another(file)
            file.write(line)
            self._size += len(line)
            self._flush_sometimes(file)
        except OSError as exc:
            self._stop(f"cannot be written: {exc.strerror or exc}")

    def _begin_another(self, file: BinaryIO) -> BinaryIO:
        """Put the full file aside; return the new one."""
        assert self._rotation is not None
        file.close()
        self._rotation.put_aside()
        return self._open()

    def _open(self) -> BinaryIO:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = file = os.fdopen(handle, "ab", buffering=BUFFER_BYTES)
        status = os.fstat(handle)
        self._size = 0
        if stat.S_ISREG(status.st_mode):
            os.fchmod(handle, 0o600)  # a file that was there before may be readable by others
            self._size = status.st_size
            if self._size and os.pread(handle, 1, self._size - 1) != b"\n":
                self._size += file.write(b"\n")  # its last writer was killed inside a line
            if self._rotation is None:
                self._rotation = Rotation(self._path)
                self._rotation.tidy()  # what another process left behind
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
    """Yield the frames of a recording in the file's order, reading as it goes; one may be compressed.

    Raises `ConfigError` naming the file, the line and what stands there if a line is not a frame,
    or if the file cannot be read.
    """
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, start=1):
                yield _parse(line, where=f"{path}, line {number}")
    except (OSError, EOFError, zlib.error) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ConfigError(f"{path}: cannot be read: {reason}") from exc


def _opened(path: Path) -> BinaryIO:
    """Open it for reading lines; whether it is compressed says its beginning, not its name."""
    file = path.open("rb")
    if file.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] != GZIP_MAGIC:
        return file
    file.close()
    return cast(BinaryIO, gzip.open(path))


def _parse(line: bytes, *, where: str) -> Frame:
    try:
        parsed = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        seen = line[:SAMPLE_CHARACTERS].decode(errors="replace").rstrip("\n")
        raise ConfigError(f"{where}: not a recorded frame ({exc}): {seen!r}") from exc
    return Frame(at_us=parsed.at_us, direction=parsed.direction, frame=parsed.frame)
