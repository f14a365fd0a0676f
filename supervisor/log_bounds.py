"""Fewer entries: what was just said is folded, and a flood is cut down to what journald takes."""

import logging

import attrs

from domain.events import Event
from domain.states import State

FOLD_S = 600.0  # the same thing said again is counted, and said at most this often

# journald drops what a unit writes beyond 10,000 entries in 30 s (LogRateLimit… of our unit). Ours stays
# below that in any 30 s: these at once, 30 s of the rest, and a full backlog of 2,000 make 9,700.
BURST_ENTRIES = 5_000
ENTRIES_PER_S = 90.0
RESERVED_ENTRIES = 1_000  # of the burst, for warnings and worse


class Folding(logging.Filter):
    """Lets through what an actor did not just say; repeats are counted and said every 10 min.

    That a market is live is always news: what lay between is said at DEBUG only. So is what was asked for.
    A clock that steps back makes news of all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[object, float]] = {}
        self._repeats: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it is to be said."""
        actor = getattr(record, "actor", "")
        is_asked_for = getattr(record, "event", "") == Event.STATUS and record.levelno == logging.INFO
        if not actor or is_asked_for or record.levelno < logging.INFO:
            return True
        said = _what_is_said(record)
        last, at = self._last.get(actor, (None, 0.0))
        is_news = said != last or getattr(record, "fields", {}).get("state") == State.LIVE
        if not is_news and 0 <= record.created - at < FOLD_S:
            self._repeats[actor] = self._repeats.get(actor, 0) + 1
            return False
        self._last[actor] = (said, record.created)
        repeats = self._repeats.pop(actor, 0)
        if repeats and said == last:
            record.msg, record.args = f"{record.getMessage()} (said {repeats} times more meanwhile)", ()
        return True


def _what_is_said(record: logging.LogRecord) -> tuple[object, ...]:
    """Return what makes a record a repeat: its state and reason, else its words.

    No two broken frames are alike, but that they are broken is the same thing.
    """
    event, fields = getattr(record, "event", ""), getattr(record, "fields", {})
    reason = str(fields.get("reason") or "").partition(";")[0]
    if event == Event.FRAME or reason or fields.get("state"):
        return (event, fields.get("state"), reason)
    return (event, record.getMessage())


@attrs.define
class RateBound:
    """Says of each entry whether it may still be written; what it refuses is dropped."""

    _left: float = BURST_ENTRIES
    _at: float = 0.0

    def allows(self, level: int, *, now: float) -> bool:
        """Return whether an entry of this level may go out at `now` (monotonic seconds)."""
        self._left = min(BURST_ENTRIES, self._left + (now - self._at) * ENTRIES_PER_S)
        self._at = now
        kept_back = 0 if level >= logging.WARNING else RESERVED_ENTRIES
        if self._left - 1 < kept_back:
            return False
        self._left -= 1
        return True
