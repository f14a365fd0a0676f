"""What is accepted and not yet taken for a transaction, in RAM and bounded."""

from domain.clock import now_us
from domain.market import Tick
from domain.messages import ActorEvent
from storage.batches import Batch, EventNumbers, EventRow

EVENTS_A_BATCH = 1_000  # as many as their mailbox holds; 16 MB at the very worst


class Backlog:
    """Ticks and events in the order they came. Its bounds are its user's to keep: ask for room first.

    Two transactions' worth: one can wait whole while another is under way.
    """

    def __init__(self, *, flush_rows: int) -> None:
        self._flush_rows = flush_rows
        self._ticks: list[Tick] = []
        self._events: list[EventRow] = []
        self._numbers = EventNumbers()

    @property
    def ticks(self) -> int:
        """How many ticks wait."""
        return len(self._ticks)

    @property
    def rows(self) -> int:
        """How many ticks and events wait."""
        return len(self._ticks) + len(self._events)

    @property
    def is_due(self) -> bool:
        """Whether a transaction's worth of ticks waits."""
        return len(self._ticks) >= self._flush_rows

    @property
    def has_room_for_ticks(self) -> bool:
        """Whether another list of ticks may be added; the last one may go over the bound."""
        return len(self._ticks) < 2 * self._flush_rows

    @property
    def has_room_for_event(self) -> bool:
        """Whether another event may be added."""
        return len(self._events) < 2 * EVENTS_A_BATCH

    def add_ticks(self, ticks: list[Tick]) -> None:
        """Accept these ticks."""
        self._ticks += ticks

    def add_event(self, event: ActorEvent) -> None:
        """Accept this event: from here on it has its id."""
        self._events.append(self._numbers.row(event, at_us=now_us()))

    def take(self) -> Batch:
        """Take out the oldest, as much as goes into one transaction."""
        batch = Batch(ticks=self._ticks[: self._flush_rows], events=self._events[:EVENTS_A_BATCH])
        del self._ticks[: self._flush_rows]
        del self._events[:EVENTS_A_BATCH]
        return batch
