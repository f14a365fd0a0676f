"""Opens the log: readable lines on a terminal, JSON lines in a pipe, entries with fields in the journal."""

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from actors.mailbox import Mailbox
from domain.clock import now_us
from domain.events import LOGGER, Event
from domain.messages import ActorEvent
from supervisor.log_bounds import Folding
from supervisor.log_lines import as_coloured_line, as_json, as_line
from supervisor.log_writer import LogWriter, Output


class LogHandler(logging.Handler):
    """Hands records to the log's thread."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Queue it."""
        self._writer.put(record)


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


class StreamOutput:
    """Lines to a terminal or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._as_bytes: Callable[[logging.LogRecord], bytes] = as_json
        if stream.isatty():
            self._as_bytes = as_line if "NO_COLOR" in os.environ else as_coloured_line

    def render(self, record: logging.LogRecord) -> bytes:
        """Return its line."""
        return self._as_bytes(record)

    def write(self, entry: bytes) -> bool:
        """Write it, however long the reader takes."""
        self._stream.write(entry.decode())
        self._stream.flush()
        return True

    def close(self) -> None:
        """Leave it open: it is not ours."""


class _Nowhere(io.StringIO):
    """Where the log goes of a process that was started without stderr."""

    def write(self, text: str, /) -> int:
        return len(text)


def open_log(*, level: str, stream: TextIO | None = None) -> LogWriter:
    """Begin to log to `stream` (stderr, or the journal where that is what stands behind it).

    Return what is to be closed at the very end.
    """
    return _begin(StreamOutput(stream) if stream else _standard_output(), level=level)


def _standard_output() -> Output:
    if "JOURNAL_STREAM" in os.environ:
        from supervisor import journald  # noqa: PLC0415 - under systemd only

        if journald.is_stderr_the_journal(os.environ) and Path(journald.ADDRESS).exists():
            return journald.JournalOutput()
    return StreamOutput(sys.stderr or _Nowhere())  # stderr may be closed


def open_log_file(path: Path, *, level: str) -> LogWriter:
    """Begin to log into a file that is rotated; return what is to be closed at the very end.

    Raises ConfigError where it cannot be opened.
    """
    from supervisor.log_file import FileOutput  # noqa: PLC0415 - in the background only

    return _begin(FileOutput(path), level=level)


def _begin(output: Output, *, level: str) -> LogWriter:
    writer = LogWriter(output)
    writer.start()
    LOGGER.propagate = False
    LOGGER.handlers[:] = [LogHandler(writer)]
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
