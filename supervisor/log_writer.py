"""The log's thread and its backlog: nobody who logs waits for whoever reads.

A pipe whose reader hangs, a stopped journald or a full disk hold up this thread and nothing else. What
the backlog cannot hold is dropped, counted, and the count is said as soon as something gets through.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import attrs

from domain.events import Event
from supervisor.log_bounds import RateBound

BACKLOG_ENTRIES = 2_000
TELL_EVERY_S = 10.0  # how much was dropped is said at most this often
RETRY_S = 0.1  # after an entry was not taken
DRAIN_S = 1.0  # at the end we wait this long for whoever reads


class Output(Protocol):
    """Where entries go."""

    def render(self, record: logging.LogRecord) -> bytes:
        """Return a record as an entry; called where it is logged, so it never waits."""
        ...

    def write(self, entry: bytes) -> bool:
        """Write it, in the log's thread; return whether it was taken, else it is offered again.

        Raises OSError or ValueError where nothing will ever be taken again.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds; the thread's last word."""
        ...


@attrs.frozen(kw_only=True)
class LogFigures:
    """How the log does: what waits to be written, and what was dropped since the start."""

    waiting: int
    dropped: int


class Backlog:
    """Entries in their order; where it is full the oldest below WARNING goes first."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._ordinary: deque[tuple[int, bytes]] = deque()
        self._urgent: deque[tuple[int, bytes]] = deque()  # WARNING and worse

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._urgent)

    def put(self, entry: bytes, *, level: int) -> None:
        """Add an entry."""
        entries = self._urgent if level >= logging.WARNING else self._ordinary
        entries.append((next(self._numbers), entry))

    def drop_one(self) -> None:
        """Make room."""
        (self._ordinary or self._urgent).popleft()

    def take(self) -> bytes | None:
        """Take out the oldest; None where there is none."""
        filled = [entries for entries in (self._ordinary, self._urgent) if entries]
        return min(filled, key=lambda entries: entries[0]).popleft()[1] if filled else None


@attrs.define(eq=False)
class LogWriter:
    """Hands records to an output from a thread of its own."""

    output: Output
    dropped: int = 0
    _untold: int = 0  # of `dropped`, what nobody was told of yet
    _tell_at: float = 0.0  # monotonic
    _backlog: Backlog = attrs.field(factory=Backlog)
    _in_hand: int = 0  # entries that the thread tries to write just now: none or one
    _rate: RateBound = attrs.field(factory=RateBound)
    _ready: threading.Condition = attrs.field(factory=threading.Condition)
    _give_up_at: float | None = None  # monotonic; None while the log is open
    _is_over: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; it does not keep the process alive."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop and count one; never waits."""
        with self._ready:
            if self._is_over or not self._rate.allows(record.levelno, now=time.monotonic()):
                self._count_dropped()
            else:
                self._backlog.put(self.output.render(record), level=record.levelno)
                if len(self._backlog) + self._in_hand > BACKLOG_ENTRIES:
                    self._backlog.drop_one()
                    self._count_dropped()
            self._ready.notify()

    def figures(self) -> LogFigures:
        """Return how the log does."""
        return LogFigures(waiting=len(self._backlog) + self._in_hand, dropped=self.dropped)

    def close(self) -> None:
        """Wait, for at most a second, until everything is written."""
        with self._ready:
            self._give_up_at = time.monotonic() + DRAIN_S
            self._ready.notify()
        if self._thread is not None:
            self._thread.join(DRAIN_S)

    # --- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader is gone: there is nobody to tell
            for entry in self._entries():
                if not self._insist(entry):
                    break
        self.output.close()
        with self._ready:
            self._is_over = True
            for _ in range(self._in_hand + len(self._backlog)):
                self._count_dropped()
            self._in_hand, self._backlog = 0, Backlog()

    def _entries(self) -> Iterator[bytes]:
        """Yield what is to be written, waiting for it, until the log is closed and nothing is left."""
        while True:
            with self._ready:
                self._in_hand = 0
                notice, told = self._notice()
                entry = notice or self._backlog.take()
                if entry is None:
                    if self._give_up_at is not None:
                        return
                    self._ready.wait(TELL_EVERY_S if self._untold else None)
                    continue
                self._in_hand = 1
            yield entry
            if notice:
                with self._ready:
                    self._untold -= told
                    self._tell_at = time.monotonic() + TELL_EVERY_S

    def _insist(self, entry: bytes) -> bool:
        """Write it, however long that takes; return False where the log was closed before it was taken."""
        while not self.output.write(entry):
            if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
                return False
            time.sleep(RETRY_S)
        return True

    def _notice(self) -> tuple[bytes, int]:
        """Return an entry that says how many were dropped, and their number; nothing while it is not due."""
        is_due = time.monotonic() >= self._tell_at or self._give_up_at is not None
        if not self._untold or not is_due:
            return b"", 0
        record = logging.makeLogRecord(
            {
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": f"{self._untold} entries of this log were dropped: not taken, or too many",
                "event": Event.LOG,
                "actor": "log",
                "fields": {"dropped": self._untold},
            }
        )
        return self.output.render(record), self._untold

    def _count_dropped(self) -> None:
        self.dropped += 1
        self._untold += 1
