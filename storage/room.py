"""How much room a file system has, and what we leave of it to others."""

import os
from pathlib import Path

import attrs

FLOOR_PERCENT = 2  # of the file system: we do not fill it further
FLOOR_LEAST = 256 * 1024  # bytes: on a very small one, room for control.json and the like


@attrs.frozen(kw_only=True)
class Room:
    """Bytes of a file system: free for us, and in all."""

    free: int
    total: int

    @property
    def spare(self) -> int:
        """How many bytes we may still fill; below 0 on a file system that is too full already."""
        return self.free - max(FLOOR_LEAST, self.total * FLOOR_PERCENT // 100)


def room(folder: Path) -> Room:
    """Return the room of the file system that holds the folder. Raises OSError."""
    found = os.statvfs(folder)
    return Room(free=found.f_bavail * found.f_frsize, total=found.f_blocks * found.f_frsize)
