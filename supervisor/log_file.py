"""The log in a file, for a daemon in the background: readable lines, and the four files before this one."""

import contextlib
import logging
import os
from pathlib import Path

from domain.errors import ConfigError
from supervisor.log_lines import as_dated_line

MOST_BYTES = 10 * 1024 * 1024
KEPT_FILES = 4  # PATH.1, the latest, to PATH.4


class FileOutput:
    """Appends lines to a file, and begins a new one when it is full or was taken away.

    A line is written whole or not at all. One that cannot be written (a full disk, say) is offered again
    by the log's thread; meanwhile lines wait in the backlog, and those that it cannot hold are counted.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._file = -1
        try:
            self._open()
        except OSError as exc:
            raise ConfigError(f"the log {path} cannot be written: {exc.strerror or exc}") from exc

    def render(self, record: logging.LogRecord) -> bytes:
        """Return its line."""
        return as_dated_line(record)

    def write(self, entry: bytes) -> bool:
        """Append a line; return whether it is in the file."""
        try:
            if self._is_gone():
                self._open()
            if os.fstat(self._file).st_size + len(entry) > self._most_bytes:
                self._rotate()
            return self._append(entry)
        except OSError:
            return False

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _append(self, entry: bytes) -> bool:
        size = os.fstat(self._file).st_size
        written = 0
        with contextlib.suppress(OSError):
            written = os.write(self._file, entry)
        if written < len(entry) and written:
            os.ftruncate(self._file, size)  # there was room for half a line
        return written == len(entry)

    def _is_gone(self) -> bool:
        """Whether somebody moved or deleted the file, whose lines nobody would find any longer."""
        try:
            return not os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return True

    def _rotate(self) -> None:
        for number in range(KEPT_FILES, 0, -1):
            older = self._numbered(number)
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number - 1).rename(older)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
