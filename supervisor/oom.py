"""Whom the kernel killed in our own control group for want of memory."""

import contextlib

from supervisor.cgroups import own_groups

# Where version 2 and version 1 count them, see the kernel's documentation of either.
COUNTERS = ("memory.events", "memory.oom_control")


def kills() -> int | None:
    """Return how many so far; None where nobody counts. A group made anew counts from 0."""
    for group in own_groups()[:1]:
        for name in COUNTERS:
            with contextlib.suppress(OSError, ValueError):
                for line in (group.folder / name).read_text().splitlines():
                    word, _, count = line.partition(" ")
                    if word == "oom_kill":
                        return int(count)
    return None


def limit_bytes() -> int | None:
    """Return the least of the limits that hold for us; None without one."""
    bounds = (group.bound() for group in own_groups())
    return min((bound.limit_bytes for bound in bounds if bound is not None), default=None)
