"""How often something may be done in a while: what real venues count, and punish. Pure."""

from collections import deque


class Limit:
    """At most `most` in any `window_s` seconds. Times are seconds of one clock."""

    def __init__(self, *, most: int, window_s: float) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=most)

    def exceeds(self, at_s: float) -> bool:
        """Count one more; return whether that is one too many."""
        is_full = len(self._times) == self._times.maxlen
        oldest = self._times[0] if is_full else None
        self._times.append(at_s)
        return oldest is not None and at_s - oldest < self._window_s
