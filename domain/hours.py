"""Whether one market is open: by the venue's word, by its hours, and by its data. Pure.

Data are the truth: a tick opens a closed market, whatever was said. The venue's word closes and opens
at once. Hours only explain a silence, and say when a closed market opens.
"""

import attrs

from domain.gaps import Cause, GapTracker
from domain.instruments import Instrument

GRACE_US = 5_000_000  # a tick so shortly after the close was under way; an opening so late is in time


@attrs.define(kw_only=True, eq=False)
class MarketHours:
    """One market's hours, and the gaps that they explain. Lives as long as the market's tracker.

    `opens_us` of a closed market is when it opens, None where nobody knows. Times are the wall
    clock's, microseconds, UTC. Methods that may change `is_closed` return whether they did.
    """

    gaps: GapTracker
    is_closed: bool = False
    closes_us: int | None = None
    opens_us: int | None = None
    _closed_us: int = -1

    def listed(self, instrument: Instrument, *, at_us: int) -> bool:
        """Take the venue's word."""
        opened_us = self._opening(at_us)
        self.closes_us, self.opens_us = instrument.closes_us, instrument.opens_us
        if instrument.is_open:
            return self._open(at_us if opened_us is None else opened_us, at_us=at_us)
        if self.is_closed and opened_us is not None and self._is_after(self.opens_us, opened_us):
            # It was open in between, and we were not there.
            self._open(opened_us, at_us=at_us)
            self._close(self._closing(at_us), at_us=at_us)
            return False
        return self._close(self._closing(at_us), at_us=at_us)

    def refused(self, *, at_us: int) -> bool:
        """The venue took no subscription of it, because it is closed."""
        return self._close(at_us, at_us=at_us)

    def tick(self, *, at_us: int) -> bool:
        """Take note of a tick, where it is closed: it is not."""
        if not self.is_closed or at_us - self._closed_us <= GRACE_US:
            return False
        opened_us = self._opening(at_us)
        return self._open(at_us if opened_us is None else opened_us, at_us=at_us)

    def silent(self, *, at_us: int) -> bool:
        """The market has been silent for long: it is closed if its hours say so."""
        closes_us = self.closes_us
        if self.is_closed or closes_us is None or not closes_us <= at_us:
            return False
        if self.opens_us is None or at_us >= self.opens_us or self.gaps.last_us > closes_us + GRACE_US:
            return False
        return self._close(closes_us, at_us=at_us)

    def pass_time(self, *, at_us: int) -> bool:
        """Open it if its time has come."""
        opened_us = self._opening(at_us)
        return opened_us is not None and self._open(opened_us, at_us=at_us)

    def recalled(self) -> None:
        """Its gaps of before are known by now: that of a market which has closed meanwhile is a close."""
        if self.is_closed:
            self.gaps.rest(Cause.CLOSED, at_us=self._closing(self._closed_us))

    def opened_before(self, at_us: int) -> int | None:
        """Return when it opened last before that time, as far as its hours tell."""
        return self.opens_us if self.opens_us is not None and self.opens_us <= at_us else None

    def _opening(self, at_us: int) -> int | None:
        """Return when a closed market opened, if its time has come."""
        opens_us = self.opens_us
        if not self.is_closed or opens_us is None or not self._closed_us < opens_us <= at_us:
            return None
        return opens_us

    def _closing(self, at_us: int) -> int:
        """Return when a market that is closed now closed: when it should have, if that is past."""
        return at_us if self.closes_us is None else min(self.closes_us, at_us)

    @staticmethod
    def _is_after(one_us: int | None, other_us: int) -> bool:
        return one_us is not None and one_us > other_us

    def _open(self, since_us: int, *, at_us: int) -> bool:
        if not self.is_closed:
            return False
        self.is_closed = False
        self.gaps.resume(Cause.CLOSED, at_us=since_us)
        if at_us - since_us > GRACE_US:
            self.gaps.trouble(Cause.DISCONNECT)  # it opened and we were not there
        return True

    def _close(self, since_us: int, *, at_us: int) -> bool:
        if self.is_closed:
            return False
        self.is_closed = True
        self._closed_us = at_us
        self.gaps.rest(Cause.CLOSED, at_us=since_us)
        return True
