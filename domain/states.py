"""Who is in which state: the words, and the rows of the board.

A row has one writer per field, named in its docstring; everybody may read. The state itself is
not stored: `supervisor/policy.py` reads it off the row.
"""

import enum

import attrs

from domain.hours import MarketHours


class State(enum.StrEnum):
    """The states a market or a connection is shown in; of those that apply, the first holds."""

    STOPPED = "stopped"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    BACKING_OFF = "backing_off"
    WAITING = "waiting"
    CLOSED = "closed"
    STALE = "stale"
    STARTING = "starting"
    LIVE = "live"


class Desired(enum.StrEnum):
    """What the operator wants of a market."""

    RUNNING = "running"
    STOPPED = "stopped"


@attrs.define(kw_only=True, eq=False)
class ChildRow:
    """What supervision knows of one child. Written by `supervisor/supervise.py` only.

    `hold` is why it does not run now (FAILED, QUARANTINED or BACKING_OFF), `next_try_at` the
    monotonic time of the next try, `restarts` how often it had to start over.
    """

    name: str
    desired: Desired = Desired.RUNNING
    hold: State | None = None
    reason: str = ""
    next_try_at: float | None = None
    restarts: int = 0


@attrs.define(kw_only=True, eq=False)
class ConnectionRow(ChildRow):
    """One venue socket. The connection actor writes everything below."""

    venue: str
    is_in_line: bool = False  # waiting for its turn at the gate
    is_open: bool = False
    data_since: float | None = None  # monotonic; first datum of this session
    data_until: float | None = None  # monotonic; latest datum of this session
    frames: int = 0
    unknown_frames: int = 0
    new_fields: int = 0
    rtt_ms: float | None = None


@attrs.define(kw_only=True, eq=False)
class MarketRow(ChildRow):
    """One market. Its actor writes the first group, its connection the second.

    `hours` has rules of its own. A crashed market actor loses no recorded tick, so what was recorded
    is counted by the connection. `restarts` is raised by the actor too: once for each session it lost.
    """

    symbol: str
    venue: str
    stale_after_s: float
    connection: ConnectionRow
    hours: MarketHours
    is_in_line: bool = False
    subscribed_at: float | None = None  # monotonic; None while not subscribed

    last_tick_at: float | None = None  # monotonic
    last_tick_us: int | None = None
    price: float | None = None
    ticks: int = 0

    def silent_since(self) -> float | None:
        """Return since when a subscribed market has had no datum: its last, or the subscribing."""
        if self.subscribed_at is None:
            return None
        return max(self.subscribed_at, self.last_tick_at or self.subscribed_at)

    def is_stale(self, now: float) -> bool:
        """Return whether a subscribed market has gone `stale_after_s` without a datum.

        Only a datum ends staleness: subscribing again because of it leaves `subscribed_at`.
        """
        since = self.silent_since()
        return since is not None and now >= since + self.stale_after_s
