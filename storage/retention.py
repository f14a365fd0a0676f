"""What is deleted, and when: old days, and with a disk that fills up one more. Blocking, in small pieces.

One object for the writer's life. `prepare()` belongs to each new connection, before storing begins;
`step()` stands between transactions and does about a tenth of a second's work.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import attrs

from domain.clock import as_text
from storage.disk import Disk, DiskBudget, Fullness, Verdict
from storage.kept import DAY_US, Kept, day_start_us, kept_from_us, raise_kept_from
from storage.oldest import first_day_end_us, newest_tick_us
from storage.progress import Progress
from storage.session import Dialect, Session
from storage.settings import StorageSettings
from storage.slices import (
    CandleSweep,
    RefusedSweep,
    delete_old_gaps,
    delete_slice,
    free_pages,
    give_back_slice,
)

STEP_S = 0.1  # a piece that is under way then is still finished
PAUSE_S = 0.4  # for storing, while there is more to delete: a duty of a fifth
LOOK_EVERY_S = 10.0  # at the disk, which costs microseconds
RETRY_S = 60.0  # where a reader held the table
# Free pages of the embedded file that are left for tomorrow's ticks: a page given back is moved.
SPARE_SHARE = 0.05

Piece = Callable[[Session], Progress]


@attrs.frozen(kw_only=True)
class Notice:
    """Something the operator should know; `emit()` it as `Event.RETENTION`."""

    message: str
    state: str  # divides, divided, drops, gives_up
    level: int = logging.INFO


class Retention:
    """Keeps the database within its days and the disk's room; knows whether the disk is full.

    `tell` is called in the thread that calls `prepare()` and `step()`.
    """

    def __init__(
        self,
        *,
        settings: StorageSettings,
        look_at_disk: Callable[[Session], Disk | None],
        patient_session: Callable[[], AbstractContextManager[Session]],
        tell: Callable[[Notice], None],
    ) -> None:
        self._settings = settings
        self._look_at_disk = look_at_disk
        self._patient_session = patient_session
        self._tell = tell
        self._fullness = Fullness()
        self._budget = DiskBudget()
        self.disk: Disk | None = None  # as last seen
        self._pieces: deque[Piece] = deque()  # what is still to be done, each until it says so
        self._day_us = 0  # for which a round was begun
        self._next_look_s = self._retry_s = float("-inf")
        self._is_held_up = False

    @property
    def is_full(self) -> bool:
        """Whether ticks should not be stored now: under 2 % free, until there is more than 3 %."""
        return self._fullness.is_full

    def prepare(self, session: Session, *, now_us: int) -> None:
        """Make the days that ticks will go into; the first time this may copy the whole table."""
        self._day_us = 0  # a round for this database, too
        self._pieces.clear()
        self._budget.forget_drop()
        if session.dialect is Dialect.MYSQL:
            self._make_days(session, now_us=now_us)

    def step(self, session: Session, *, now_us: int, monotonic_s: float) -> float:
        """Do a piece of work, outside of any transaction; return in how many seconds there is more."""
        if day_start_us(now_us) != self._day_us or (self._is_held_up and monotonic_s >= self._retry_s):
            self._begin_round(session, now_us=now_us)
        if monotonic_s >= self._next_look_s:
            self._next_look_s = monotonic_s + LOOK_EVERY_S
            self._look(session, now_us=now_us, monotonic_s=monotonic_s)
        self._work(session, monotonic_s=monotonic_s)
        session.commit()  # MySQL opened a transaction at the first SELECT, and it holds the tables
        return PAUSE_S if self._pieces else LOOK_EVERY_S

    # --- old days -----------------------------------------------------------------------------

    def _begin_round(self, session: Session, *, now_us: int) -> None:
        """Everything that a new day asks for, from the start; what was under way is part of it."""
        self._day_us = day_start_us(now_us)
        self._is_held_up = False
        self._pieces.clear()
        if session.dialect is Dialect.MYSQL:
            self._pieces.append(partial(self._make_days, now_us=now_us))
        # Not the wall clock alone: one that is wrong by a year would delete everything.
        today_us = day_start_us(min(now_us, newest_tick_us(session) or now_us))
        ticks_us = today_us - self._settings.keep_ticks_days * DAY_US
        self._delete_ticks(to_us=ticks_us, now_us=now_us)
        candles_us = today_us - self._settings.keep_candles_days * DAY_US
        self._pieces += [
            partial(_raise, table=Kept.CANDLES, to_us=candles_us, now_us=now_us),
            CandleSweep(before_us=candles_us).piece,
            partial(delete_old_gaps, before_us=candles_us),
            # What nothing came of is looked into, if ever, beside the ticks of that day.
            RefusedSweep(before_us=ticks_us).piece,
            # An event's id is the time it was accepted at, and the table has no other key.
            partial(delete_slice, table="actor_event", key="id", before=candles_us),
            self._give_back,
        ]

    def _make_days(self, session: Session, *, now_us: int) -> Progress:
        from storage.partitions import divide, plan_division  # noqa: PLC0415  # needs the driver

        division = plan_division(session, keep_ticks_days=self._settings.keep_ticks_days, now_us=now_us)
        session.commit()
        if division is None:
            return Progress.DONE
        if not division.is_long:
            return divide(session, division)
        days = len(division.ends_us)
        self._tell(Notice(message=f"tick is divided into {days} days: this may take long", state="divides"))
        with self._patient_session() as patient:
            progress = divide(patient, division)
        if progress is Progress.DONE:
            self._tell(Notice(message=f"tick is divided into {days} days", state="divided"))
        return progress

    def _delete_ticks(self, *, to_us: int, now_us: int) -> None:
        """First say so, in a transaction of its own, then delete what is older than was said."""
        self._pieces += [
            partial(_raise, table=Kept.TICKS, to_us=to_us, now_us=now_us),
            partial(_delete_older_ticks, now_us=now_us),
        ]

    # --- a full disk --------------------------------------------------------------------------

    def _look(self, session: Session, *, now_us: int, monotonic_s: float) -> None:
        self.disk = disk = self._look_at_disk(session)
        self._fullness.look(disk)
        if self._pieces or self._is_held_up:
            return  # what goes now is not free yet
        if disk is not None and disk.is_low and free_pages(session) > 0:
            self._pieces.append(self._give_back)  # that may be enough
            return
        verdict = self._budget.look(disk, monotonic_s=monotonic_s)
        if verdict is Verdict.GIVE_UP:
            self._say_gives_up("deleting the last day of ticks did not help")
        elif verdict is Verdict.DROP_DAY and disk is not None:
            self._drop_day(session, disk=disk, now_us=now_us, monotonic_s=monotonic_s)

    def _drop_day(self, session: Session, *, disk: Disk, now_us: int, monotonic_s: float) -> None:
        end_us = first_day_end_us(session)
        if end_us == 0 or end_us > _last_two_days_us(now_us):
            self._budget.give_up()
            self._say_gives_up("only the last two days of ticks are left")
            return
        self._budget.drops(disk, monotonic_s=monotonic_s)
        self._delete_ticks(to_us=end_us, now_us=now_us)
        self._pieces.append(self._give_back)
        day = as_text(end_us - DAY_US)[:10]
        message = f"the disk fills up ({disk}): the ticks of {day} are deleted before their time"
        self._tell(Notice(message=message, state="drops", level=logging.WARNING))

    def _say_gives_up(self, why: str) -> None:
        message = f"the disk fills up ({self.disk}) and no more days of ticks are deleted: {why}"
        self._tell(Notice(message=message, state="gives_up", level=logging.WARNING))

    def _give_back(self, session: Session) -> Progress:
        if session.dialect is not Dialect.SQLITE:
            return Progress.DONE  # a dropped partition is a file less
        is_low = self.disk is not None and self.disk.is_low
        return give_back_slice(session, spare_share=0.0 if is_low else SPARE_SHARE)

    # --- both ---------------------------------------------------------------------------------

    def _work(self, session: Session, *, monotonic_s: float) -> None:
        until = time.monotonic() + STEP_S
        while self._pieces:
            progress = self._pieces[0](session)
            if progress is Progress.LATER:
                self._is_held_up, self._retry_s = True, monotonic_s + RETRY_S
            if progress is not Progress.MORE:
                self._pieces.popleft()
            if time.monotonic() >= until:
                return


def _raise(session: Session, *, table: Kept, to_us: int, now_us: int) -> Progress:
    raise_kept_from(session, table=table, to_us=to_us, now_us=now_us)
    return Progress.DONE


def _delete_older_ticks(session: Session, *, now_us: int) -> Progress:
    # Whatever the row says: a wall clock that was wrong may have written it.
    before_us = min(kept_from_us(session, table=Kept.TICKS), _last_two_days_us(now_us))
    if session.dialect is Dialect.SQLITE:
        return delete_slice(session, table="tick", key="ts_us", before=before_us)
    from storage.partitions import drop_oldest  # noqa: PLC0415  # needs the driver

    return drop_oldest(session, before_us=before_us)


def _last_two_days_us(now_us: int) -> int:
    return day_start_us(now_us) - DAY_US
