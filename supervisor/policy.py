"""What an exception means, when to try again, and which state is shown. Pure; a specification.

Reads no clock and sleeps for nobody: `supervisor/supervise.py` does what is decided here.
"""

import enum

import attrs
from attrs import validators

from domain.errors import (
    LocalProtocolError,
    PermanentError,
    RemoteProtocolError,
    RetryableError,
    VenueThrottled,
    flatten,
)
from domain.states import ConnectionRow, Desired, MarketRow, State
from wire.backoff import delay_s


@attrs.frozen(kw_only=True)
class SupervisionSettings:
    """`[supervision]`: spacing of starts, backoff for the outside, quarantine for ourselves."""

    start_delay_ms: int = attrs.field(
        default=400,
        validator=[validators.ge(1), validators.le(60_000)],
        metadata={"help": "least time between two connects or subscribes at one venue"},
    )
    starts_per_pass: int = attrs.field(
        default=1,
        validator=[validators.ge(1), validators.le(1000)],
        metadata={"help": "subscribes on one connection that may share a turn at the gate"},
    )
    backoff_min_s: float = attrs.field(
        default=1.0, validator=validators.ge(0.01), metadata={"help": "shortest wait before trying again"}
    )
    backoff_max_s: float = attrs.field(
        default=60.0, validator=validators.ge(0.01), metadata={"help": "longest wait before trying again"}
    )
    healthy_after_s: float = attrs.field(
        default=60.0, validator=validators.ge(0), metadata={"help": "so much data resets the backoff"}
    )
    max_restarts: int = attrs.field(
        default=5,
        validator=validators.ge(0),
        metadata={"help": "crashes allowed within within_s, and short runs that may end badly in a row"},
    )
    within_s: float = attrs.field(
        default=300.0, validator=validators.ge(1), metadata={"help": "time in which crashes are counted"}
    )
    probe_every_s: float = attrs.field(
        default=60.0, validator=validators.ge(0.1), metadata={"help": "one try in this time in quarantine"}
    )


# --- whose fault was it? ----------------------------------------------------------------------


class Blame(enum.IntEnum):
    """Who is to blame for an exception; of several, the greatest decides."""

    OUTSIDE = 1  # the network, the venue, the database: back off, for ever
    PERMANENT = 2  # trying again is no use: failed, with what to do
    OURS = 3  # our bug, or anything unknown: restart, then quarantine


def blame(error: BaseException) -> Blame:
    """Return whose fault one exception (not a group) is."""
    match error:
        case LocalProtocolError():
            return Blame.OURS
        case RetryableError() | RemoteProtocolError():
            return Blame.OUTSIDE
        case PermanentError():
            return Blame.PERMANENT
        case _:
            return Blame.OURS


def worst(error: BaseException) -> BaseException:
    """Return the exception that decides: of the worst class in the group, the first.

    Among failures of the outside, one that asks for patience goes before those that do not.
    """
    return max(flatten(error), key=lambda leaf: (blame(leaf), _patience_s(leaf)))


def _patience_s(error: BaseException) -> float:
    return error.retry_after_s if isinstance(error, VenueThrottled) else 0.0


# --- what to do about it ----------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Decision:
    """What becomes of a child that failed: the state it waits in, and for how long.

    `delay_s` is None where only an operator or a new setting lets it try again.
    """

    hold: State | None
    delay_s: float | None


@attrs.define(kw_only=True, eq=False)
class RestartPolicy:
    """Decides for one child. Times are seconds of one monotonic clock."""

    settings: SupervisionSettings
    _attempt: int = 0
    _crashes: list[float] = attrs.field(factory=list)  # a deque takes 600 bytes even when empty
    _is_probing: bool = False

    def decide(self, error: BaseException, *, now: float, data_s: float, ran_s: float) -> Decision:
        """Return what to do after `error`.

        `data_s` is how long data flowed in the run that failed, `ran_s` how long it ran.
        """
        settings = self.settings
        if data_s >= settings.healthy_after_s:
            self._attempt = 0
        if ran_s >= settings.healthy_after_s:
            self._is_probing = False
        match blame(error):
            case Blame.OUTSIDE:
                return self._back_off(error)
            case Blame.PERMANENT:
                return Decision(hold=State.FAILED, delay_s=None)
            case Blame.OURS:
                return self._count_crash(now)

    def forgive(self) -> None:
        """Forget the past: the operator, or new settings, asked for a fresh start."""
        self._attempt = 0
        self._crashes.clear()
        self._is_probing = False

    def _back_off(self, error: BaseException) -> Decision:
        settings = self.settings
        delay = delay_s(attempt=self._attempt, min_s=settings.backoff_min_s, max_s=settings.backoff_max_s)
        self._attempt += 1
        return Decision(hold=State.BACKING_OFF, delay_s=max(delay, _patience_s(error)))

    def _count_crash(self, now: float) -> Decision:
        settings = self.settings
        self._crashes.append(now)
        while self._crashes[0] <= now - settings.within_s:
            del self._crashes[0]
        if len(self._crashes) > settings.max_restarts or self._is_probing:
            self._is_probing = True
            while len(self._crashes) > settings.max_restarts + 1:
                del self._crashes[0]
            return Decision(hold=State.QUARANTINED, delay_s=settings.probe_every_s)
        return Decision(hold=None, delay_s=0.0)


# --- which state is shown ---------------------------------------------------------------------


def market_state(row: MarketRow, now: float) -> State:
    """Return a market's state at monotonic time `now`: of those that apply, the first."""
    if row.desired is Desired.STOPPED:
        return State.STOPPED
    if row.hold is not None:
        return row.hold
    if row.connection.desired is Desired.RUNNING and row.connection.hold is State.FAILED:
        return State.FAILED
    if not row.connection.is_open or row.is_in_line:
        return State.WAITING
    if row.hours.is_closed:
        return State.CLOSED
    if row.subscribed_at is None:
        return State.WAITING
    if row.is_stale(now):
        return State.STALE
    if row.last_tick_at is None or row.last_tick_at < row.subscribed_at:
        return State.STARTING
    return State.LIVE


def connection_state(row: ConnectionRow) -> State:
    """Return a connection's state: of those that apply, the first."""
    if row.desired is Desired.STOPPED:
        return State.STOPPED
    if row.hold is not None:
        return row.hold
    if row.is_open:
        return State.LIVE
    return State.WAITING if row.is_in_line else State.STARTING
