"""What comes of logging, for tests."""

import io
import json
import logging
from collections.abc import Callable

from domain.events import Event
from supervisor import logs

GUARD_S = 30.0  # against hanging


def make_record(message: str, *, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    """Return a record as `emit` makes them."""
    return logging.makeLogRecord(
        {
            "msg": message,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "event": Event.START,
            "actor": "",
            "fields": fields,
        }
    )


def logged(say: Callable[[], None], *, stream: io.StringIO | None = None, level: str = "info") -> list[str]:
    """Return the lines that came of it."""
    stream = stream or io.StringIO()
    writer = logs.open_log(level=level, stream=stream)
    say()
    writer.close()
    return stream.getvalue().splitlines()


def logged_json(say: Callable[[], None], *, level: str = "info") -> list[dict[str, object]]:
    return [json.loads(line) for line in logged(say, level=level)]
