"""Keeps the process within its memory: near the limit it does without what can be done without.

Backfill waits, and what is kept in RAM only to be quick is given up. Feeds and trading go on.
"""

import gc
import logging
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from domain.events import Event, emit
from supervisor.cgroups import Bound, Group, own_groups

LOOK_EVERY_S = 1.0
SHORT_FROM, WELL_BELOW = 0.85, 0.75  # of a limit
CALM_S = 30.0  # below the second of them for so long, before more is used again
TRY_AGAIN_S = 10.0  # while it stays short, garbage is collected this often
MIB = 1024 * 1024
# What is kept in RAM to be quick grows faster than we look: 40 MiB in a second's flood. Under a limit
# so low it never gets so large.
TIGHT_BYTES = 96 * MIB

GIVES_UP = "backfill waits, less is kept in RAM; feeds go on"


@attrs.define(eq=False)
class Shortage:
    """Whether memory is short, with a distance between on and off. Pure: fed with figures."""

    is_short: bool = False
    _calm_since: float | None = None

    def look(self, share: float, *, at: float) -> bool:
        """Take note of how much of a limit is used at a time (monotonic); return whether it is short."""
        if share >= SHORT_FROM:
            self.is_short = True
        if share >= WELL_BELOW:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = at
        if self.is_short and self._calm_since is not None and at - self._calm_since >= CALM_S:
            self.is_short = False
        return self.is_short


@attrs.define(kw_only=True, eq=False)
class Memory:
    """Looks at our memory every second. One in the tree.

    `max_mb` is the setting, 0 for none; it counts against resident memory. `use_less` and `use_more`
    are called when that changes.
    """

    max_mb: int
    use_less: Callable[[], None]
    use_more: Callable[[], None]
    bounds: Callable[[], Sequence[Bound]] = attrs.field(factory=lambda: KernelBounds().look)
    limit_bytes: int | None = None  # the least; None where there is none
    _shortage: Shortage = attrs.field(factory=Shortage)
    _uses_less: bool = False
    _try_again_at: float = -float("inf")

    @property
    def is_short(self) -> bool:
        """Whether we do without what can be done without."""
        return self._shortage.is_short

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await trio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Look once, and do what follows from it."""
        bounds = [*self.bounds(), *self._own_bounds()]
        self.limit_bytes = min((bound.limit_bytes for bound in bounds), default=None)
        tightest = max(bounds, key=lambda bound: bound.share, default=NO_BOUND)
        was_short, now = self.is_short, trio.current_time()
        self._shortage.look(tightest.share, at=now)
        if self.is_short and not was_short:
            _say(f"memory is short: {GIVES_UP}", tightest, state="short", level=logging.WARNING)
        elif was_short and not self.is_short:
            _say("memory has room again: backfill goes on", tightest, state="well", level=logging.INFO)
        self._choose_how_much()
        if tightest.share >= SHORT_FROM and now >= self._try_again_at:
            self._try_again_at = now + TRY_AGAIN_S
            give_back()

    def _choose_how_much(self) -> None:
        is_tight = self.limit_bytes is not None and self.limit_bytes < TIGHT_BYTES
        wants_less = self.is_short or is_tight
        if wants_less and not self._uses_less:
            self.use_less()
        elif self._uses_less and not wants_less:
            self.use_more()
        self._uses_less = wants_less

    def _own_bounds(self) -> list[Bound]:
        if not self.max_mb:
            return []
        return [Bound(name="[service] memory_max_mb", limit_bytes=self.max_mb * MIB, used_bytes=rss_bytes())]


NO_BOUND = Bound(name="", limit_bytes=1, used_bytes=0)


@attrs.define(eq=False)
class KernelBounds:
    """The limits of our control groups. Which these are is found out once, what they say each time."""

    _groups: Sequence[Group] | None = None

    def look(self) -> list[Bound]:
        """Return those that there are now."""
        if self._groups is None:
            self._groups = own_groups()
        return [bound for group in self._groups if (bound := group.bound()) is not None]


def _say(text: str, bound: Bound, *, state: str, level: int) -> None:
    rss = rss_bytes()
    emit(
        Event.MEMORY,
        f"{text} ({bound.used_bytes / MIB:.0f} of {bound.limit_bytes / MIB:.0f} MiB used "
        f"by {bound.name}, {rss / MIB:.0f} MiB resident)",
        level=level,
        actor="memory",
        state=state,
        used_bytes=bound.used_bytes,
        limit_bytes=bound.limit_bytes,
        rss_bytes=rss,
    )


def give_back() -> None:
    """Collect garbage, and give the allocator's free pages back to the kernel where it can do that."""
    gc.collect()
    try:
        import ctypes  # noqa: PLC0415  # 0.9 MiB, and only in need

        ctypes.CDLL(None).malloc_trim(0)  # glibc's; see malloc_trim(3)
    except (ImportError, OSError, AttributeError, MemoryError):
        pass  # another C library, or a sandbox that forbids it: then it is as it is


def rss_bytes() -> int:
    """Return the resident memory of this process; where /proc is missing, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
