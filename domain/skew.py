"""How far our clock and a venue's are apart, from what the venue says of its own. Pure."""

import enum
from typing import NamedTuple

WINDOW_US = 300_000_000  # a measurement counts for 5 to 10 minutes: clocks drift, and are set
LIMIT_US = 2_000_000  # beyond it, and beyond the error, somebody should look at the clock
# How long a message may be on its way where nobody knows: half way round the world and some queues.
ONE_WAY_US = 500_000


class ClockNews(enum.Enum):
    """What has changed about a venue's clock and ours."""

    OFF = "off"  # they are too far apart
    GOOD_AGAIN = "good again"


class _Measured(NamedTuple):
    skew_us: int
    error_us: int


class ClockSkew:
    """Measures one venue's clock against ours; positive: ours is ahead.

    An answer to a ping bounds it from both sides: what the venue said, it said between our sending
    and our receiving. Elsewhere only the way here is seen: of several the least delayed one tells
    most. The best measurement of the last minutes holds, unless a new one contradicts it: then a
    clock was set.
    """

    def __init__(self) -> None:
        self._best: _Measured | None = None
        self._previous: _Measured | None = None  # the best of the window before
        self._window_began_us: int | None = None
        self._is_both_ways = False
        self._is_off = False

    def heard(
        self, *, server_us: int, resolution_us: int, sent_us: int | None, received_us: int
    ) -> ClockNews | None:
        """Take what the venue's clock said; return what has changed by it.

        `sent_us` is our wall clock when the ping went out that this answers, None where it answers
        none. `resolution_us` is how coarsely the venue tells its time: it cuts off or rounds.
        """
        if sent_us is None:
            if self._is_both_ways:
                return None  # we know better
            delay_us = 0
            error_us = ONE_WAY_US + resolution_us
        else:
            if sent_us > received_us:
                return None  # our clock was set back meanwhile
            if not self._is_both_ways:
                self._forget()
                self._is_both_ways = True
            delay_us = (received_us - sent_us) // 2
            error_us = delay_us + resolution_us
        skew_us = received_us - delay_us - (server_us + resolution_us // 2)
        self._take(_Measured(skew_us, error_us), at_us=received_us)
        return self._judge()

    @property
    def skew_ms(self) -> float | None:
        """How far our clock is ahead; None before the venue has told its time."""
        found = self._found()
        return None if found is None else found.skew_us / 1000

    @property
    def error_ms(self) -> float | None:
        """How far `skew_ms` may be wrong."""
        found = self._found()
        return None if found is None else found.error_us / 1000

    def _take(self, measured: _Measured, *, at_us: int) -> None:
        began = self._window_began_us
        if began is None or not 0 <= at_us - began < WINDOW_US:
            is_next = began is not None and 0 <= at_us - began < 2 * WINDOW_US
            self._previous = self._best if is_next else None
            self._best = None
            self._window_began_us = at_us
        found = self._found()
        if found is not None and abs(measured.skew_us - found.skew_us) > measured.error_us + found.error_us:
            self._forget()
            self._window_began_us = at_us
        self._best = measured if self._best is None else self._better(measured, self._best)

    def _found(self) -> _Measured | None:
        if self._best is None or self._previous is None:
            return self._best or self._previous
        return self._better(self._best, self._previous)

    def _better(self, one: _Measured, other: _Measured) -> _Measured:
        """Return which tells more: of both ways the quicker, of one way the less delayed."""
        if self._is_both_ways:
            return one if one.error_us <= other.error_us else other
        return one if one.skew_us <= other.skew_us else other

    def _forget(self) -> None:
        self._best = self._previous = self._window_began_us = None

    def _judge(self) -> ClockNews | None:
        """Say once that it is too much, and once that it is not any more: at half of that."""
        found = self._found()
        assert found is not None
        limit_us = LIMIT_US // 2 if self._is_off else LIMIT_US
        is_off = abs(found.skew_us) > limit_us + found.error_us
        if is_off == self._is_off:
            return None
        self._is_off = is_off
        return ClockNews.OFF if is_off else ClockNews.GOOD_AGAIN
