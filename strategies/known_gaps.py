"""The gaps of one market as they become known, and what lies inside of them."""

from collections import deque

from domain.gaps import Gap

MOST_KNOWN = 64  # the latest; older ones decide nothing any longer


class KnownGaps:
    """Gaps that have an end. One counts from the first tick at or after its end on.

    Until then a later word on it may replace it: what our clock closed is shortened where the venue's
    is behind.
    """

    __slots__ = ("_known", "_waiting")

    def __init__(self) -> None:
        self._known: deque[Gap] = deque(maxlen=MOST_KNOWN)
        self._waiting: dict[tuple[int, str], Gap] = {}

    def put(self, gap: Gap) -> None:
        """Take note of a gap; of one without an end there is nothing to note yet."""
        if gap.to_us is not None:
            self._waiting[gap.from_us, gap.cause] = gap

    @property
    def has_news(self) -> bool:
        """Whether any waits to count."""
        return bool(self._waiting)

    def pass_time(self, ts_us: int) -> list[Gap]:
        """Let those count that end by then; return them in the order of their beginnings."""
        ended = sorted(gap for gap in self._waiting.values() if gap.to_us is not None and gap.to_us <= ts_us)
        for gap in ended:
            del self._waiting[gap.from_us, gap.cause]
            self._known.append(gap)
        return ended

    def within(self, from_us: int, to_us: int) -> Gap | None:
        """Return a gap that counts and shares a microsecond with `[from_us, to_us)`."""
        return next((gap for gap in self._known if shares(gap, from_us, to_us)), None)


def shares(gap: Gap, from_us: int, to_us: int) -> bool:
    """Return whether a gap, its own ends left out, shares a microsecond with `[from_us, to_us)`."""
    end_us = to_us if gap.to_us is None else min(gap.to_us, to_us)
    return max(gap.from_us + 1, from_us) < end_us
