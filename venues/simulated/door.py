"""How a venue counts those who knock, and what it does to who knocks too often. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from venues.simulated.limits import Limit
from venues.simulated.protocol import HttpAnswer


class Penalty(NamedTuple):
    """What everybody is answered for so long."""

    status: int
    lasts_s: int


class Door:
    """At most so many knocks in a while; beyond, the first penalty, and the next for who insists.

    Who waits as long as he is told begins anew. Each penalty is counted by `on_ban`.
    """

    def __init__(self, *, limit: Limit, penalties: Sequence[Penalty], on_ban: Callable[[], None]) -> None:
        self._on_ban = on_ban
        self._limit = limit
        self._penalties = penalties
        self._level = -1
        self._until_s = 0.0

    def knock(self, *, at_s: float) -> HttpAnswer | None:
        """Count one; return how to refuse it, None to let it in."""
        is_locked = at_s < self._until_s
        is_one_too_many = self._limit.exceeds(at_s)
        if not is_locked and not is_one_too_many:
            self._level = -1
            return None
        if not is_locked or self._level + 1 < len(self._penalties):
            self._level = self._level + 1 if is_locked else 0
            self._until_s = at_s + self._penalties[self._level].lasts_s
            self._on_ban()
        left_s = max(1, round(self._until_s - at_s))
        return HttpAnswer(self._penalties[self._level].status, {"Retry-After": str(left_s)})
