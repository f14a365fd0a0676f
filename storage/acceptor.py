"""The accepting thread's part of the writer: the journal, and what to do when it is in trouble."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from domain.errors import JournalBroken, JournalFull
from domain.market import Tick
from storage.journal import ROWS_A_BATCH, Appended, Journal, Opened
from storage.payloads import JournalBatch, Lane, Money, Rows
from storage.room import Room, room

OPEN_EVERY_S = 10.0  # a journal that cannot be opened is tried again


@attrs.frozen(kw_only=True)
class Accepted:
    """What became of some rows. `refused` found no place in the journal; `shed` ticks had to go for them.

    `opened` is set where the journal was opened anew, `trouble` says why something was refused.
    """

    batches: Sequence[JournalBatch] = ()
    refused_money: Money | None = None
    refused_ticks: Sequence[Tick] = ()
    shed: int = 0
    opened: Opened | None = None
    trouble: str = ""


class Acceptor:
    """Appends to the journal; opens it anew after trouble. Blocking; belongs to one thread."""

    def __init__(self, folder: Path, *, max_bytes: int, room_of: Callable[[Path], Room] = room) -> None:
        self.journal = Journal(folder, max_bytes=max_bytes, room_of=room_of)
        self._may_open_at = 0.0  # monotonic

    def open(self) -> Accepted:
        """Open the journal, if it can be; rows are refused until it is."""
        self._may_open_at = time.monotonic() + OPEN_EVERY_S
        try:
            return Accepted(opened=self.journal.open())
        except (JournalBroken, JournalFull) as exc:
            self.journal.close()
            return Accepted(trouble=str(exc))

    def accept(self, *, money: Money, ticks: Sequence[Tick]) -> Accepted:
        """Append these rows; what cannot be appended is handed back."""
        entries: list[tuple[Lane, Rows]] = [(Lane.MONEY, money)] if len(money) else []
        entries += [
            (Lane.TICKS, ticks[start : start + ROWS_A_BATCH]) for start in range(0, len(ticks), ROWS_A_BATCH)
        ]
        opened, trouble = None, ""
        for _ in range(2):
            if not self.journal.is_open and not trouble and time.monotonic() < self._may_open_at:
                trouble = f"{self.journal.path} could not be opened"
                break
            if not self.journal.is_open:
                outcome = self.open()
                opened, trouble = outcome.opened or opened, outcome.trouble or trouble
            if not self.journal.is_open:
                break
            try:
                return self._accepted(self.journal.append(entries), opened=opened)
            except JournalFull as exc:
                trouble = str(exc)
                break
            except JournalBroken as exc:
                trouble = str(exc)
                self.journal.close()
        if not self.journal.is_open:  # what has no room is rolled back for sure, and needs no new name
            self.journal.begin_anew(entries)
        return Accepted(refused_money=money, refused_ticks=ticks, opened=opened, trouble=trouble)

    def trim_slice(self, lane: Lane, *, through: int) -> bool:
        """Delete some batches that are stored for good; return whether there are more to delete now."""
        try:
            return self.journal.is_open and self.journal.trim_slice(lane, through=through)
        except JournalFull:
            return False  # another time
        except JournalBroken:
            self.journal.close()  # the next append opens it anew
            return False

    def tidy(self) -> None:
        """Make a file small again whose backlog is stored, and the reserve anew."""
        try:
            if self.journal.is_open:
                self.journal.tidy()
        except JournalFull:
            pass  # another time
        except JournalBroken:
            self.journal.close()

    def _accepted(self, appended: Appended, *, opened: Opened | None) -> Accepted:
        return Accepted(
            batches=appended.batches,
            refused_ticks=appended.refused,
            shed=appended.shed,
            opened=opened,
            trouble="no room for ticks" if appended.refused else "",
        )
