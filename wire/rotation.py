"""Keeps a recording bounded on disk: what is full is put aside and compressed beside the feed.

FILE is the one that is written. Put aside it is FILE.1, FILE.2 … and soon FILE.1.gz, FILE.2.gz …:
the highest number is the newest, and no name ever changes its content.
"""

import contextlib
import gzip
import os
import queue
import re
import shutil
import threading
import zlib
from pathlib import Path

PART_BYTES = 64 * 2**20  # of FILE, uncompressed
MOST_PARTS = 7  # beside FILE: so 512 MiB in all even where nothing compresses
COMPRESS_LEVEL = 3  # JSON of ticks: a tenth of its size, at twice the speed of the usual 6
COPY_BYTES = 256 * 2**10
LOWEST_PRIORITY = 19  # of Unix: whatever else wants the processor goes first


class Rotation:
    """Puts full files aside. `put_aside` is quick; a thread of its own compresses, at lowest priority.

    A process that ends before it is done leaves a FILE.N, which the next one compresses. The thread
    ends with the last file, and never holds the process back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put_aside(self) -> None:
        """Give FILE its number; the oldest beyond the bound goes. Raises OSError."""
        parts = self._parts()
        self._path.rename(self._path.with_name(f"{self._path.name}.{max(parts, default=0) + 1}"))
        self.tidy()

    def tidy(self) -> None:
        """Delete what is beyond the bound; compress what is not compressed yet. Raises OSError."""
        parts = self._parts()
        for number in sorted(parts)[: -MOST_PARTS or None]:
            for file in parts.pop(number):
                file.unlink(missing_ok=True)
        for files in parts.values():
            for file in files:
                if file.suffix != ".gz":
                    self._compress_soon(file)

    def _parts(self) -> dict[int, list[Path]]:
        """Return the files that were put aside, by number; one may be there in both forms."""
        pattern = re.compile(re.escape(self._path.name) + r"\.(\d{1,9})(?:\.gz)?")
        parts: dict[int, list[Path]] = {}
        for file in self._path.parent.iterdir():
            if found := pattern.fullmatch(file.name):
                parts.setdefault(int(found[1]), []).append(file)
        return parts

    def _compress_soon(self, file: Path) -> None:
        with self._lock:
            self._waiting.put(file)
            if self._thread is None:
                name = f"compress {self._path.name}"
                self._thread = threading.Thread(target=self._compress_all, name=name, daemon=True)
                self._thread.start()

    def _compress_all(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # Linux: of this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while True:
            with self._lock:
                if self._waiting.empty():
                    self._thread = None
                    return
                file = self._waiting.get()
            # Where it fails the file stays as it is, is read as well, and counts against the bound.
            with contextlib.suppress(OSError, zlib.error):
                compress(file)


def compress(file: Path) -> None:
    """Replace a file by its compressed form, mode 0600, whole or not at all. Raises OSError."""
    half = file.with_name(f"{file.name}.gz.half")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with (
            os.fdopen(descriptor, "wb") as raw,
            gzip.GzipFile("", "wb", COMPRESS_LEVEL, raw, mtime=0) as packed,
            file.open("rb") as plain,
        ):
            shutil.copyfileobj(plain, packed, COPY_BYTES)
        half.rename(file.with_name(f"{file.name}.gz"))
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    file.unlink()
