"""What is done between transactions: retention, and the figures that status shows of the disk."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from domain.clock import now_us
from storage.disk import DataDisk, Disk
from storage.forecast import days_left
from storage.kept import Kept, kept_from_us
from storage.retention import Notice, Retention
from storage.session import Session
from storage.settings import StorageSettings
from storage.target import Target

FORECAST_EVERY_S = 300.0


class Upkeep:
    """Belongs to the storing thread; its figures may be read by anybody."""

    def __init__(
        self,
        *,
        settings: StorageSettings,
        target: Target,
        patient_session: Callable[[], AbstractContextManager[Session]],
        tell: Callable[[Notice], None],
    ) -> None:
        self._keep_ticks_days = settings.keep_ticks_days
        self._data_disk = DataDisk(target)
        self._retention = Retention(
            settings=settings, look_at_disk=self._data_disk.look, patient_session=patient_session, tell=tell
        )
        self._forecast_at_s = float("-inf")
        self.kept_from_us = 0
        self.days_until_full: float | None = None

    @property
    def is_full(self) -> bool:
        """Whether ticks should not be stored now, for want of room."""
        return self._retention.is_full

    @property
    def disk(self) -> Disk | None:
        """The file system that holds the data, as last seen; None where it cannot be."""
        return self._retention.disk

    def prepare(self, session: Session) -> None:
        """With each new connection, before storing begins: the first time this may copy the whole table."""
        self._data_disk.forget()
        self._forecast_at_s = float("-inf")
        self._retention.prepare(session, now_us=now_us())
        self.kept_from_us = kept_from_us(session, table=Kept.TICKS)
        session.commit()

    def step(self, session: Session, *, monotonic_s: float) -> float:
        """Do a piece of work, outside of any transaction; return in how many seconds there is more."""
        wait_s = self._retention.step(session, now_us=now_us(), monotonic_s=monotonic_s)
        self.kept_from_us = kept_from_us(session, table=Kept.TICKS)
        if monotonic_s >= self._forecast_at_s:
            self._forecast_at_s = monotonic_s + FORECAST_EVERY_S
            self.days_until_full = days_left(
                session, disk=self.disk, keep_ticks_days=self._keep_ticks_days, now_us=now_us()
            )
        session.commit()  # MySQL opened a transaction at the first SELECT
        return wait_s
