"""A memory limit of the real kernel: a control group of our own, of version 2 or 1, made by root."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

MOUNT = Path("/sys/fs/cgroup")
MIB = 1024 * 1024


@attrs.frozen(kw_only=True)
class ControlGroup:
    """A control group that counts memory. Its processes are to be ended before it is removed."""

    folder: Path
    is_v2: bool

    def limit(self, limit_bytes: int) -> None:
        """Set the limit from which on the kernel kills."""
        name = "memory.max" if self.is_v2 else "memory.limit_in_bytes"
        (self.folder / name).write_text(str(limit_bytes))
        with contextlib.suppress(OSError):  # where there is no swap there is no such file
            if self.is_v2:
                (self.folder / "memory.swap.max").write_text("0")

    def used_bytes(self) -> int:
        """Return what the processes' own memory is, without page cache."""
        stat = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        keys = ("anon", "shmem") if self.is_v2 else ("total_rss", "total_shmem")
        return sum(int(stat[key]) for key in keys)

    def kills(self) -> int:
        """Return how many processes the kernel has killed here for want of memory."""
        name = "memory.events" if self.is_v2 else "memory.oom_control"
        stat = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(stat["oom_kill"])

    def inside(self, command: Sequence[str | Path]) -> list[str | Path]:
        """Return the command line that runs another one in here."""
        enter = f'echo $$ > {self.folder}/cgroup.procs && exec "$@"'
        return ["/bin/sh", "-c", enter, "sh", *command]


@contextlib.contextmanager
def memory_group() -> Iterator[ControlGroup]:
    """Make a group; skip the test where nobody lets us, but not in CI."""
    try:
        made = _make()
    except OSError as exc:
        if "CI" in os.environ:
            raise
        pytest.skip(f"needs root and a memory control group: {exc}")
    try:
        yield made
    finally:
        made.folder.rmdir()


def _make() -> ControlGroup:
    name = f"marketd-test-{os.getpid()}"
    is_v2 = (MOUNT / "cgroup.controllers").exists()
    if is_v2:
        (MOUNT / "cgroup.subtree_control").write_text("+memory")
    folder = MOUNT / name if is_v2 else MOUNT / "memory" / name
    folder.mkdir()
    return ControlGroup(folder=folder, is_v2=is_v2)
