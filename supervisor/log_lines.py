"""A record as text: JSON for machines, readable lines for people."""

import logging
import time
from typing import Any

import msgspec

from domain.clock import as_text

COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
# From this level on, syslog's priority. Never 0 or 1: some systems write these to every terminal.
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
LOWEST_PRIORITY = 7


def priority_of(level: int) -> int:
    """Return journald's and syslog's priority of a level: 2 critical to 7 debug."""
    return next((priority for least, priority in PRIORITIES if level >= least), LOWEST_PRIORITY)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record says beside its message: event, actor, market, state, reason and so on."""
    own: dict[str, Any] = {"event": getattr(record, "event", "log"), "actor": getattr(record, "actor", "")}
    own.update(getattr(record, "fields", {}))
    return {name: value for name, value in own.items() if value not in (None, "")}


def as_json(record: logging.LogRecord) -> bytes:
    """Return one line for a machine."""
    line = {
        "time": as_text(int(record.created * 1_000_000)),
        "level": record.levelname.lower(),
        "priority": priority_of(record.levelno),
        "message": record.getMessage(),
        **fields_of(record),
    }
    return msgspec.json.encode({name: _in_unicode(value) for name, value in line.items()}) + b"\n"


def _in_unicode(value: object) -> object:
    """Return text without what UTF-8 cannot hold: a file's name may have any bytes in it."""
    return as_utf8(value).decode() if isinstance(value, str) else value


def as_utf8(text: str) -> bytes:
    """Return text as bytes; what UTF-8 cannot hold is spelt out."""
    return text.encode(errors="backslashreplace")


def as_line(record: logging.LogRecord) -> bytes:
    """Return one line for a person who watches, in local time; a crash's traceback below it."""
    return as_utf8(_line(record, form="%H:%M:%S"))


def as_dated_line(record: logging.LogRecord) -> bytes:
    """Return one line for a person who looks days later."""
    return as_utf8(_line(record, form="%Y-%m-%d %H:%M:%S%z"))


def as_coloured_line(record: logging.LogRecord) -> bytes:
    """Return one line for a person's terminal: warnings yellow, errors red."""
    colour, line = COLOURS.get(record.levelno), _line(record, form="%H:%M:%S")
    return as_utf8(f"{colour}{line.rstrip()}\x1b[0m\n" if colour else line)


def _line(record: logging.LogRecord, *, form: str) -> str:
    clock = time.strftime(form, time.localtime(record.created))
    level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
    below = getattr(record, "fields", {}).get("traceback", "")
    return f"{clock}  {level}{record.getMessage()}\n" + (f"{below.rstrip()}\n" if below else "")
