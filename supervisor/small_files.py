"""Small files that are written while the loop goes on: a disk may take as long as it likes."""

import logging
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from domain.events import Event, emit

# Has something written to a file, sooner or later: `write` is blocking and may raise OSError.
Keep = Callable[[Path, Callable[[], None]], None]


@attrs.define(eq=False)
class SmallFiles:
    """The child that writes them, in a thread of its own, one after the other.

    Reads: what is put. Writes: the files. Owns: what waits, one write a file. Crashes on: nothing
    expected; a file that cannot be written is said. A restart forgets nothing.
    """

    _due: dict[Path, Callable[[], None]] = attrs.field(factory=dict)
    _put: trio.Event = attrs.field(factory=trio.Event)
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _is_writing: bool = False

    def put(self, path: Path, write: Callable[[], None]) -> None:
        """Write soon, instead of what was put for the same path and is not written yet."""
        self._due[path] = write
        self._put.set()

    async def run(self) -> None:
        """Write what is put, for ever."""
        while True:
            await self._put.wait()
            self._put = trio.Event()
            while self._due:
                path = next(iter(self._due))
                await self._write(path, self._due.pop(path))

    async def _write(self, path: Path, write: Callable[[], None]) -> None:
        self._is_writing = True
        try:
            await trio.to_thread.run_sync(write, limiter=self._thread, abandon_on_cancel=True)
        except OSError as exc:
            say_failed(path, exc)
        finally:
            self._is_writing = False

    async def written(self, *, deadline_s: float) -> None:
        """Wait until nothing is left to write, or the deadline is over."""
        with trio.move_on_after(deadline_s):
            # Looked at for a moment once in a life: not worth an event.
            while self._due or self._is_writing:  # noqa: ASYNC110
                await trio.sleep(0.01)


def say_failed(path: Path, error: OSError) -> None:
    """Tell the operator."""
    why = error.strerror or f"{error}"
    emit(
        Event.STATUS,
        f"{path} cannot be written: {why}",
        level=logging.WARNING,
        actor="files",
        reason=why,  # the same for each file on a full disk: said once
    )
