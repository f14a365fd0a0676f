"""What the commands that move a whole database share: their lines, their words for a disk's errors."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from domain.errors import PermanentError


def say(line: str) -> None:
    """Tell how far it is, on standard error: the result alone goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def rows_in_words(rows: Mapping[str, int]) -> str:
    """Return `tick 1,234, market 27` for the tables that have rows of ours, the largest first."""
    there = sorted((-count, table) for table, count in rows.items() if count and table != "schema_version")
    return ", ".join(f"{table} {-count:,}" for count, table in there) or "no rows"


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise our error, which names the file, for what the file system refuses in the block."""
    try:
        yield
    except BrokenPipeError:
        raise  # of who reads what we print
    except OSError as exc:
        raise PermanentError(f"{exc.filename or 'disk'}: {exc.strerror or exc}") from exc
