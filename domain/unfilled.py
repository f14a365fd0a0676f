"""The closed gaps of one venue that wait for its history."""

from collections.abc import Callable

from domain.gaps import Gap, GapKey

MOST_UNFILLED = 10_000  # gaps of a venue that wait; later ones are found in the database another time


def _ignore() -> None:
    """Nobody waits for gaps."""


class UnfilledGaps:
    """Bounded; the latest word on a gap counts. Owned by the tree, so that a crash forgets none.

    `reached_us` of a gap is up to where (inclusive) it is filled already. `on_new` is called for each
    word on one.
    """

    def __init__(self, *, bound: int = MOST_UNFILLED) -> None:
        self._bound = bound
        self._gaps: dict[GapKey, Gap] = {}
        self._reached_us: dict[GapKey, int] = {}
        self.on_new: Callable[[], None] = _ignore

    def put(self, gap: Gap) -> None:
        """Take note of a gap that has ended, or of its new end; it is to be filled from its beginning on."""
        key = gap.key
        self._reached_us.pop(key, None)
        if not gap.is_fillable or (key not in self._gaps and len(self._gaps) >= self._bound):
            self._gaps.pop(key, None)
            return
        self._gaps[key] = gap
        self.on_new()

    def recall(self, gap: Gap, *, reached_us: int) -> None:
        """Take what the database knows of a gap; what was said of it meanwhile is newer."""
        if gap.key not in self._gaps:
            self.put(gap)
            self._reached_us[gap.key] = reached_us

    def reached_us(self, gap: Gap) -> int:
        """Return up to where the gap is filled already."""
        return self._reached_us.get(gap.key, gap.from_us)

    def newest(self, is_wanted: Callable[[Gap], bool]) -> Gap | None:
        """Return the gap of those wanted that ended last, which matters most to whoever trades."""
        return max(filter(is_wanted, self._gaps.values()), key=_end, default=None)

    def has(self, gap: Gap) -> bool:
        """Return whether this is still the latest word on a gap that waits."""
        return self._gaps.get(gap.key) == gap

    def remove(self, gap: Gap) -> None:
        """Forget a gap that is done with, unless there is a later word on it."""
        if self.has(gap):
            del self._gaps[gap.key]
            self._reached_us.pop(gap.key, None)

    def __len__(self) -> int:
        return len(self._gaps)


def _end(gap: Gap) -> int:
    return gap.to_us or 0
