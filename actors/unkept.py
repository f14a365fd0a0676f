"""The ledger's rows that are not on disk yet."""

from collections.abc import Sequence

import trio

from actors.mailbox import Answer, Mailbox
from domain.errors import RetryableError
from domain.messages import KeepLedger
from domain.trades import LedgerRow

AGAIN_S = 1.0  # rows that could not be kept are offered again
MOST_UNKEPT = 1_000  # rows: while they cannot be kept, signals beyond that are refused are not recorded


class Unkept:
    """The ledger's rows that are not on disk yet, in their order. Owned by the tree.

    They are offered to the writer as one lot, and the next lot only once that is answered: a row never
    overtakes an earlier one of its trade. What cannot be kept is offered again, for ever.
    """

    def __init__(self, ledger: Mailbox[KeepLedger]) -> None:
        self._ledger = ledger
        self._rows: list[LedgerRow] = []
        self._added = self._kept = 0
        self._waits_since: float | None = None  # monotonic
        self._changed = trio.Event()

    def add(self, rows: Sequence[LedgerRow]) -> int:
        """Add rows; return what `kept` and `has_kept` call them."""
        if not self._rows and rows:
            self._waits_since = trio.current_time()
        self._rows += rows
        self._added += len(rows)
        self._notify()
        return self._added

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_room(self) -> bool:
        """Whether signals that are refused are recorded; a disk may be full for days."""
        return len(self._rows) < MOST_UNKEPT

    @property
    def waits_s(self) -> float:
        """How long the oldest of them has waited."""
        return 0.0 if self._waits_since is None else trio.current_time() - self._waits_since

    def has_kept(self, number: int) -> bool:
        """Return whether these rows, and all before them, are on disk."""
        return self._kept >= number

    async def kept(self, number: int) -> None:
        """Wait until they are."""
        while not self.has_kept(number):
            await self._changed.wait()

    async def keep(self) -> None:
        """Offer them to the writer, for ever."""
        while True:
            while not self._rows:
                await self._changed.wait()
            lot = tuple(self._rows)
            answer = Answer[None]()
            await self._ledger.put(KeepLedger(rows=lot, answer=answer))
            try:
                await answer.wait()
            except RetryableError:
                await trio.sleep(AGAIN_S)
                continue
            del self._rows[: len(lot)]
            self._kept += len(lot)
            self._waits_since = trio.current_time() if self._rows else None
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
