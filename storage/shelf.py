"""Batches that are accepted and wait in RAM to be stored: while the database keeps up, all of them."""

from collections import deque
from collections.abc import Sequence

from storage.payloads import JournalBatch


class Shelf:
    """One lane's newest batches, in order. Beyond its bound it lets go of all: the journal has them."""

    def __init__(self, *, max_rows: int) -> None:
        self._max_rows = max_rows
        self._batches: deque[JournalBatch] = deque()
        self.rows = 0

    def put(self, batches: Sequence[JournalBatch]) -> None:
        """Add accepted batches."""
        for batch in batches:
            self._batches.append(batch)
            self.rows += len(batch.rows)
        if self.rows > self._max_rows:
            self._batches.clear()
            self.rows = 0

    def begins_at(self, position: int) -> bool:
        """Return whether the batch at this position is the first one here."""
        return bool(self._batches) and self._batches[0].position == position

    def drop_through(self, position: int) -> None:
        """Forget what is stored."""
        while self._batches and self._batches[0].position <= position:
            self.rows -= len(self._batches.popleft().rows)

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
