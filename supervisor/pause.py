"""The rising delay of starts: a daemon that keeps dying young waits before it opens sockets again.

The service manager starts us again for ever after a fixed few seconds, so that we can be asked and
looked at; that venues are not asked as often is our own business.
"""

import attrs
import trio

from supervisor.last_run import LastRun
from supervisor.policy import SupervisionSettings
from supervisor.run_record import RunRecord
from wire.backoff import bound_s


def bad_ends_after(last: LastRun, record: RunRecord, settings: SupervisionSettings) -> int:
    """Return how many short runs have ended badly in a row, the last one included.

    A run that went on for `healthy_after_s`, its pause not counted, was not short; an end that
    somebody wanted breaks the row.
    """
    if not last.is_bad:
        return 0
    if last.ended_us is None or last.ended_us - record.started_us < _healthy_us(record, settings):
        return record.bad_ends + 1
    return 1


def _healthy_us(record: RunRecord, settings: SupervisionSettings) -> float:
    return (record.pause_s + settings.healthy_after_s) * 1_000_000


def pause_s(bad_ends: int, settings: SupervisionSettings) -> float:
    """Return how long to wait before the first socket: nothing up to `max_restarts`, then ever more.

    The bound is that of any other trouble, `backoff_max_s`: a daemon that dies at once for days asks a
    venue once a minute, and the venue's own budget of connects holds beside it.
    """
    beyond = bad_ends - settings.max_restarts
    if beyond <= 0:
        return 0.0
    return bound_s(attempt=beyond - 1, min_s=settings.backoff_min_s, max_s=settings.backoff_max_s)


@attrs.define(kw_only=True, eq=False)
class Pause:
    """The wait of one start."""

    wait_s: float = 0.0
    bad_ends: int = 0
    _ends_at: float = -float("inf")  # monotonic

    def begin(self) -> None:
        """Begin to wait."""
        self._ends_at = trio.current_time() + self.wait_s

    async def over(self) -> None:
        """Wait until it is over."""
        await trio.sleep_until(self._ends_at)

    def left_s(self) -> float:
        """Return how long it still lasts; 0 where it is over, or there was none."""
        return max(0.0, self._ends_at - trio.current_time()) if self.wait_s else 0.0

    def reason(self) -> str:
        """Return why nobody connects yet, for people; "" once they may."""
        left_s = self.left_s()
        if not left_s:
            return ""
        return f"the last {self.bad_ends} runs ended badly and soon; first try in {left_s:.0f} s"
