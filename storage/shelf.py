"""Batches that are accepted and wait in RAM to be stored: while the database keeps up, all of them."""

from collections import deque
from collections.abc import Sequence

from storage.payloads import JournalBatch

ALMOST = 20  # batches: those of two seconds, or a few large ones


class Shelf:
    """One lane's newest batches, in order.

    Beyond its bound it lets go of all, for the journal has them, and takes nothing more until what
    is stored has almost caught up.
    """

    def __init__(self, *, max_rows: int) -> None:
        self._max_rows = max_rows
        self._batches: deque[JournalBatch] = deque()
        self._is_idle = False
        self.rows = 0

    def put(self, batches: Sequence[JournalBatch]) -> None:
        """Add accepted batches."""
        if self._is_idle:
            return
        for batch in batches:
            self._batches.append(batch)
            self.rows += len(batch.rows)
        self._keep_bound()

    def bound(self, *, max_rows: int) -> None:
        """Keep to another bound from now on."""
        self._max_rows = max_rows
        self._keep_bound()

    def _keep_bound(self) -> None:
        if self.rows > self._max_rows:
            self._batches.clear()
            self.rows = 0
            self._is_idle = True

    def begins_at(self, position: int) -> bool:
        """Return whether the batch at this position is the first one here."""
        return bool(self._batches) and self._batches[0].position == position

    def stored(self, *, through: int, accepted_through: int) -> None:
        """Forget what is stored; take what comes from now on, where storing has almost caught up."""
        while self._batches and self._batches[0].position <= through:
            self.rows -= len(self._batches.popleft().rows)
        if accepted_through - through <= ALMOST:
            self._is_idle = False

    def first(self, *, max_rows: int) -> list[JournalBatch]:
        """Return the oldest batches, at least one if there is any, up to so many rows."""
        taken: list[JournalBatch] = []
        count = 0
        for batch in self._batches:
            count += len(batch.rows)
            if taken and count > max_rows:
                break
            taken.append(batch)
        return taken
