"""The log: readable lines on a terminal, JSON lines in a pipe. Writing never stalls the loop.

A thread writes what a bounded queue holds, because a pipe whose reader hangs would otherwise
stop every market; what does not fit is dropped, counted, and the count is said later.
"""

import io
import logging
import os
import sys
import threading
import time
from collections import deque
from typing import Any, TextIO

import attrs
import msgspec

from actors.mailbox import Mailbox
from domain.clock import as_text, now_us
from domain.events import LOGGER, Event
from domain.messages import ActorEvent
from domain.states import State

BACKLOG_LINES = 2_000
FOLD_S = 600.0  # the same thing said again is counted, and said at most this often
DRAIN_S = 1.0  # at the end we wait this long for whoever reads
COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
# journald's and syslog's levels, for machines
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


# --- one line ---------------------------------------------------------------------------------


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record says beside its message: event, actor, market, state, reason and so on."""
    own: dict[str, Any] = {"event": getattr(record, "event", "log"), "actor": getattr(record, "actor", "")}
    own.update(getattr(record, "fields", {}))
    return {name: value for name, value in own.items() if value not in (None, "")}


def as_json(record: logging.LogRecord) -> str:
    """Return one line for a machine."""
    line = {
        "time": as_text(int(record.created * 1_000_000)),
        "level": record.levelname.lower(),
        "priority": PRIORITIES.get(record.levelno, 6),
        "message": record.getMessage(),
        **fields_of(record),
    }
    return msgspec.json.encode({name: _in_unicode(value) for name, value in line.items()}).decode()


def _in_unicode(value: object) -> object:
    """Return text without what UTF-8 cannot hold: a file's name may have any bytes in it."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def as_line(record: logging.LogRecord) -> str:
    """Return one line for a person, in local time; a crash's traceback below it."""
    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
    level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
    below = getattr(record, "fields", {}).get("traceback", "")
    return f"{clock}  {level}{record.getMessage()}" + (f"\n{below.rstrip()}" if below else "")


def as_coloured_line(record: logging.LogRecord) -> str:
    """Return one line for a person's terminal: warnings yellow, errors red."""
    colour = COLOURS.get(record.levelno)
    return f"{colour}{as_line(record)}\x1b[0m" if colour else as_line(record)


# --- fewer lines ------------------------------------------------------------------------------


class Folding(logging.Filter):
    """Lets through what an actor did not just say; repeats are counted and said every 10 min.

    That a market is live is always news: what lay between is said at DEBUG only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[object, float]] = {}
        self._repeats: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it is to be said."""
        actor = getattr(record, "actor", "")
        if not actor or record.levelno < logging.INFO:
            return True
        said = _what_is_said(record)
        last, at = self._last.get(actor, (None, 0.0))
        is_news = said != last or getattr(record, "fields", {}).get("state") == State.LIVE
        if not is_news and record.created - at < FOLD_S:
            self._repeats[actor] = self._repeats.get(actor, 0) + 1
            return False
        self._last[actor] = (said, record.created)
        repeats = self._repeats.pop(actor, 0)
        if repeats and said == last:
            record.msg, record.args = f"{record.getMessage()} (said {repeats} times more meanwhile)", ()
        return True


def _what_is_said(record: logging.LogRecord) -> tuple[object, ...]:
    """Return what makes a record a repeat: its state and reason, else its words.

    No two broken frames are alike, but that they are broken is the same thing.
    """
    event, fields = getattr(record, "event", ""), getattr(record, "fields", {})
    reason = str(fields.get("reason") or "").partition(";")[0]
    if event == Event.FRAME or reason or fields.get("state"):
        return (event, fields.get("state"), reason)
    return (event, record.getMessage())


# --- out of the process -----------------------------------------------------------------------


@attrs.define(eq=False)
class LineWriter:
    """Writes lines to a stream from a thread of its own."""

    stream: TextIO
    dropped: int = 0
    _lines: deque[str] = attrs.field(factory=deque)
    _ready: threading.Condition = attrs.field(factory=threading.Condition)
    _is_closing: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; it does not keep the process alive."""
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Queue a line; the oldest is dropped and counted where nobody reads."""
        with self._ready:
            if len(self._lines) >= BACKLOG_LINES:
                self._lines.popleft()
                self.dropped += 1
            self._lines.append(line)
            self._ready.notify()

    def close(self) -> None:
        """Wait, for at most a second, until everything is written."""
        with self._ready:
            self._is_closing = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join(DRAIN_S)

    def _write_lines(self) -> None:
        while True:
            with self._ready:
                while not self._lines and not self._is_closing:
                    self._ready.wait()
                lines = list(self._lines)
                self._lines.clear()
                dropped, self.dropped = self.dropped, 0
            if not lines:
                return
            if dropped:
                lines.insert(0, f"{dropped} log lines were dropped because nobody read them")
            try:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
            except (OSError, ValueError):
                return  # the reader is gone or the stream closed: there is nobody to tell


class LineHandler(logging.Handler):
    """Formats records in the calling task and leaves the writing to the thread."""

    def __init__(self, writer: LineWriter, formatter: Any) -> None:
        super().__init__()
        self._writer = writer
        self._as_text = formatter

    def emit(self, record: logging.LogRecord) -> None:
        """Queue its line."""
        self._writer.put(self._as_text(record))


class EventRecorder(logging.Handler):
    """Hands events to the writer, as rows of `actor_event`, whatever level is logged. Never waits.

    Every change of a state is kept there, also those that the log leaves out because they are the
    ordinary way from waiting to live.
    """

    def __init__(self, mailbox: Mailbox[ActorEvent]) -> None:
        super().__init__()
        self._mailbox = mailbox

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it to the writer, which may drop it."""
        event = getattr(record, "event", None)
        if event is None or (record.levelno < logging.INFO and event != Event.STATE):
            return
        self._mailbox.put_nowait(
            ActorEvent(
                ts_us=now_us(), actor=getattr(record, "actor", ""), event=event, detail=record.getMessage()
            )
        )


class _Nowhere(io.StringIO):
    """Where the log goes of a process that was started without stderr."""

    def write(self, text: str, /) -> int:
        return len(text)


def open_log(*, level: str, stream: TextIO | None = None) -> LineWriter:
    """Begin to log to `stream` (stderr); return what is to be closed at the very end."""
    stream = stream or sys.stderr or _Nowhere()  # stderr may be closed
    writer = LineWriter(stream)
    writer.start()
    for_people = as_line if "NO_COLOR" in os.environ else as_coloured_line
    handler = LineHandler(writer, for_people if stream.isatty() else as_json)
    LOGGER.propagate = False
    LOGGER.handlers[:] = [handler]
    LOGGER.filters[:] = [Folding()]
    LOGGER.setLevel(logging.DEBUG)  # each handler decides for itself
    set_level(level)
    return writer


def set_level(level: str) -> None:
    """Log from this level on: debug, info, warning or error."""
    LOGGER.handlers[0].setLevel(level.upper())


def record_events(mailbox: Mailbox[ActorEvent]) -> None:
    """From now on what is logged is stored too."""
    LOGGER.handlers[1:] = [EventRecorder(mailbox)]
