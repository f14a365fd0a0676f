"""What the kernel lets us have: the memory limits of our own control group and of those above it.

Version 2 (`memory.max`, `memory.high`) and version 1 (`memory.limit_in_bytes`), see the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Under `memory.high` the kernel
does not kill, but slows down who is above it: for us as bad.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import attrs

PROC = Path("/proc/self")
NO_LIMIT_V1 = 2**60  # version 1 says "none" by the largest number of whole pages
# Below this part of a limit it does not matter how much of the use is page cache.
WORTH_A_LOOK = 0.5


@attrs.frozen(kw_only=True)
class Bound:
    """A limit, and how much of it is used by what the kernel cannot take back: no page cache."""

    name: str  # for people
    limit_bytes: int
    used_bytes: int

    @property
    def share(self) -> float:
        """How much of it is used, 1 being all."""
        return self.used_bytes / self.limit_bytes


@attrs.frozen
class GroupV2:
    """A control group of version 2."""

    folder: Path

    def bound(self) -> Bound | None:
        """Return its limit as it is now; None where it has none."""
        names = ("memory.max", "memory.high")
        limits = {number: name for name in names if (number := _number(self.folder / name)) is not None}
        if not limits:
            return None
        limit = min(limits)
        used = _number(self.folder / "memory.current") or 0
        if used > limit * WORTH_A_LOOK:
            stat = _stat(self.folder)
            used -= sum(stat.get(key, 0) for key in ("active_file", "inactive_file", "slab_reclaimable"))
        return Bound(name=f"{self.folder}/{limits[limit]}", limit_bytes=limit, used_bytes=max(0, used))


@attrs.frozen
class GroupV1:
    """A control group of version 1."""

    folder: Path

    def bound(self) -> Bound | None:
        """Return its limit as it is now; None where it has none."""
        path = self.folder / "memory.limit_in_bytes"
        limit = _number(path)
        if limit is None or limit >= NO_LIMIT_V1:
            return None
        used = _number(self.folder / "memory.usage_in_bytes") or 0
        if used > limit * WORTH_A_LOOK:
            stat = _stat(self.folder)
            used = stat.get("total_rss", 0) + stat.get("total_shmem", 0)
        return Bound(name=str(path), limit_bytes=limit, used_bytes=used)


Group = GroupV1 | GroupV2


def own_groups(proc: Path = PROC) -> list[Group]:
    """Return our own control groups and those above, as far as they can be seen from here.

    None where the system has no control groups. Those without a limit are among them: they may be
    given one while we run.
    """
    groups: list[Group] = []
    with contextlib.suppress(OSError, ValueError):
        mounts = list(_mounts(proc))
        for line in (proc / "cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            is_v2 = number == "0" and not controllers
            if not is_v2 and "memory" not in controllers.split(","):
                continue
            for mount in mounts:
                if mount.is_v2 is is_v2:
                    make = GroupV2 if is_v2 else GroupV1
                    groups += [make(folder) for folder in mount.upwards(path)]
                    break
    return groups


@attrs.frozen
class _Mount:
    """Where a hierarchy with memory limits can be seen, and which part of it."""

    is_v2: bool
    root: str
    point: Path

    def upwards(self, path: str) -> Iterator[Path]:
        """Return the folders of a group and of those above it, up to the mount point."""
        with contextlib.suppress(ValueError):
            path = str(PurePosixPath(path).relative_to(self.root))
        folder = self.point / path.lstrip("/")
        if ".." in folder.parts or not folder.is_dir():
            folder = self.point  # a container sees its own group there, by whatever name it has outside
        yield folder
        while folder != self.point:
            folder = folder.parent
            yield folder


def _mounts(proc: Path) -> Iterator[_Mount]:
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")  # proc_pid_mountinfo(5)
        kind, _, options = after.split(" ", 2)
        root, point = before.split(" ")[3:5]
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            yield _Mount(kind == "cgroup2", root, Path(point))


def _number(path: Path) -> int | None:
    """Return the number in a file; None where there is none, such as `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _stat(folder: Path) -> dict[str, int]:
    stat: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, number = line.partition(" ")
            stat[key] = int(number)
    return stat
