"""Small files written at once: for tests in which no loop waits."""

from collections.abc import Callable
from pathlib import Path

from supervisor.small_files import say_failed


def keep_at_once(path: Path, write: Callable[[], None]) -> None:
    """Write now; a file that cannot be written is said."""
    try:
        write()
    except OSError as exc:
        say_failed(path, exc)
