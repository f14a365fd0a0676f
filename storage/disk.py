"""How full the file system is that holds the data, and what follows from it."""

import enum
import shutil
import socket
from pathlib import Path

import attrs

from storage.session import Session
from storage.target import SqliteTarget, Target

LOW_SHARE = 0.10  # below it one more day of ticks goes
FULL_SHARE = 0.02  # below it ticks are no longer stored …
ROOM_SHARE = 0.03  # … until there is more than this
DROP_EVERY_S = 3_600.0
# A daemon that crashes and starts in a loop must not give up a day each time.
FIRST_DROP_AFTER_S = 600.0


@attrs.frozen(kw_only=True)
class Disk:
    """What a file system has for us, in bytes."""

    free_bytes: int
    total_bytes: int

    @property
    def free_share(self) -> float:
        """The free part of all, from 0 to 1."""
        return self.free_bytes / self.total_bytes if self.total_bytes else 1.0

    @property
    def is_low(self) -> bool:
        """Whether it is time to delete more than the settings say."""
        return self.free_share < LOW_SHARE

    def __str__(self) -> str:
        return f"{100 * self.free_share:.1f} % free, {self.free_bytes / 2**30:.2f} GiB"


class DataDisk:
    """Looks at the file system that holds a database's data."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._folder: Path | None = None  # asked for once; a server's does not change while it runs

    def forget(self) -> None:
        """Ask for the folder again: behind a new connection may stand another server."""
        self._folder = None

    def look(self, session: Session) -> Disk | None:
        """Return how full it is; None where it is not of this machine, or cannot be looked at."""
        self._folder = self._folder or self._find(session)
        if self._folder is None:
            return None
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:
            return None
        return Disk(free_bytes=usage.free, total_bytes=usage.total)

    def _find(self, session: Session) -> Path | None:
        target = self._target
        if isinstance(target, SqliteTarget):
            return target.path.parent
        from storage.mysql import is_on_this_machine  # noqa: PLC0415  # needs the driver

        if not is_on_this_machine(target):
            return None
        [(folder, machine)] = session.query("SELECT @@datadir, @@hostname")
        # A container or a tunnel looks like this machine, but its folders are others.
        return Path(folder) if machine == socket.gethostname() else None


class Fullness:
    """Whether the disk is too full to store ticks. What is unknown is not full."""

    def __init__(self) -> None:
        self.is_full = False

    def look(self, disk: Disk | None) -> None:
        """Take a look into account."""
        share = 1.0 if disk is None else disk.free_share
        self.is_full = share <= ROOM_SHARE if self.is_full else share < FULL_SHARE


class Verdict(enum.Enum):
    """What a look at the disk asks for."""

    NOTHING = "nothing"
    DROP_DAY = "drop_day"
    GIVE_UP = "give_up"  # the last day that went did not help; said once


class DiskBudget:
    """Decides whether one more day of ticks goes: one an hour, and only while that helps. Pure.

    Look only while nothing is being deleted. A restart forgets that it gave up.
    """

    def __init__(self) -> None:
        self._next_drop_s: float | None = None
        self._free_before: int | None = None  # of a drop whose use is not judged yet
        self._has_given_up = False

    def look(self, disk: Disk | None, *, monotonic_s: float) -> Verdict:
        """Return what is to be done."""
        if self._next_drop_s is None:
            self._next_drop_s = monotonic_s + FIRST_DROP_AFTER_S
        if disk is None:
            return Verdict.NOTHING
        free_before, self._free_before = self._free_before, None
        if not disk.is_low:
            self._has_given_up = False
            return Verdict.NOTHING
        if self._has_given_up:
            return Verdict.NOTHING
        if free_before is not None and disk.free_bytes <= free_before:
            self._has_given_up = True
            return Verdict.GIVE_UP
        return Verdict.DROP_DAY if monotonic_s >= self._next_drop_s else Verdict.NOTHING

    def drops(self, disk: Disk, *, monotonic_s: float) -> None:
        """A day goes now, with so much free before."""
        self._free_before = disk.free_bytes
        self._next_drop_s = monotonic_s + DROP_EVERY_S

    def forget_drop(self) -> None:
        """Do not judge the last drop: it may have been interrupted."""
        self._free_before = None

    def give_up(self) -> None:
        """Nothing may go any more; wait until there is room, or a restart."""
        self._has_given_up = True
