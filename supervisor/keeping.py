"""Keeps on disk what the operator wants, as often as it changes."""

import logging
from functools import partial
from pathlib import Path

import attrs
import trio

from domain.clock import now_us
from domain.events import Event, emit
from supervisor import desired
from supervisor.desired import DesiredState, KillSwitch


class Keeper:
    """What is wanted, and its file. One in the tree; who changes a wish saves it.

    While `is_held` nothing is written: whether a missing file is a first start or a loss is not known yet.
    """

    def __init__(self, *, state_dir: Path, wanted: DesiredState) -> None:
        self.wanted = wanted
        self.is_held = False
        self._state_dir = state_dir
        self._saving = trio.CapacityLimiter(1)  # a thread that a hung disk keeps holds up the next save only

    def kill(self, *, who: str, reason: str) -> None:
        """Switch all trading off at once; `save` keeps it. The first reason counts."""
        if self.wanted.kill_switch is None:
            self.wanted.kill_switch = KillSwitch(who=who, when_us=now_us(), reason=reason)
        emit(
            Event.DESIRED,
            f"kill switch on: {reason}",
            level=logging.WARNING,
            actor="control",
            who=who,
            reason=reason,
        )

    def release(self, *, who: str, reason: str) -> None:
        """Let trading go on; `save` keeps it. Only ever on an operator's word."""
        self.wanted.kill_switch = None
        emit(Event.DESIRED, f"kill switch off: {reason}", actor="control", who=who, reason=reason)

    async def save(self) -> bool:
        """Put what is wanted on disk; return False, and say so, where that fails."""
        if self.is_held:
            return False  # saved with all else once it is known
        snapshot = attrs.evolve(
            self.wanted, stopped=list(self.wanted.stopped), started=list(self.wanted.started)
        )
        write = partial(desired.write, self._state_dir, snapshot)
        try:
            await trio.to_thread.run_sync(write, limiter=self._saving, abandon_on_cancel=True)
        except OSError as exc:
            emit(
                Event.DESIRED,
                f"{desired.FILE_NAME} cannot be written: {exc}; in force, but not over a restart",
                level=logging.ERROR,
                actor="control",
            )
            return False
        return True
