"""Times without ticks: the causes, the rows of the `gap` table, and who keeps account of them."""

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple

import attrs

from domain.market import Tick

FOLD_US = 60_000_000  # ticks given up within so much of the last ones make the same gap longer
MOST_OWN = 64  # rows of this run that a market knows by name
MOST_CHANGED = 10_000  # rows that wait to be accepted


class Cause(enum.StrEnum):
    """Why ticks are missing; `gap.cause`."""

    DISCONNECT = "disconnect"
    STALE = "stale"
    OVERFLOW = "overflow"
    JOURNAL_FULL = "journal_full"
    DOWNTIME = "downtime"
    STOPPED = "stopped"
    CLOSED = "closed"
    CLOCK = "clock"
    REFUSED = "refused"


# The market was at rest and nothing is wrong: these count neither in status nor against trading.
AT_REST = frozenset({Cause.STOPPED, Cause.CLOSED})

# Ticks that were sent, and that we did not get or could not keep: a venue's history may have them.
FILLABLE = frozenset({Cause.DISCONNECT, Cause.STALE, Cause.OVERFLOW, Cause.JOURNAL_FULL, Cause.DOWNTIME})


class Fill(enum.StrEnum):
    """How far the venue's history filled a gap; `gap.fill`."""

    NONE = "none"
    PARTLY = "partly"
    CANDLES = "candles"  # no ticks, but candles of their own source
    FULL = "full"
    NOT_AVAILABLE = "not_available"


GapKey = tuple[str, int, str]  # market, from_us, cause


class Gap(NamedTuple):
    """A row of `gap` as it stands: no tick of `market` came live between the two times, both exclusive.

    `to_us` is None while the gap is open. A later row of equal `(market, from_us, cause)` replaces
    the earlier one. A NamedTuple, because the journal holds it.
    """

    market: str
    from_us: int
    to_us: int | None
    cause: str
    fill: str = "none"
    fill_note: str = ""

    @property
    def key(self) -> GapKey:
        """What names the row."""
        return self.market, self.from_us, self.cause

    @property
    def is_fillable(self) -> bool:
        """Whether it has ended, and a venue's history may have what is missing in it."""
        return self.to_us is not None and self.to_us - self.from_us > 1 and self.cause in FILLABLE


class GapFill(NamedTuple):
    """What became of a closed gap when it was filled; `note` is for people.

    Neither makes a row nor opens one. It is void where the row has become longer than `to_us` since.
    """

    market: str
    from_us: int
    to_us: int
    cause: str
    fill: str
    note: str

    @property
    def key(self) -> GapKey:
        """What names the row."""
        return self.market, self.from_us, self.cause


def _ignore(_: Gap) -> None:
    """Nobody fills gaps."""


class GapLedger:
    """The rows that changed and are not accepted yet; the latest word on each counts.

    `on_closed` is told each row that has an end, as often as it changes. What was filled of a row is
    a word of its own: it neither waits for a tracker's nor undoes it.
    """

    def __init__(self) -> None:
        self._changed: dict[GapKey, Gap] = {}
        self._fills: dict[GapKey, GapFill] = {}
        self.on_closed: Callable[[Gap], None] = _ignore
        self.has_ended = False

    def end(self) -> None:
        """From now on no gap begins: everybody is being stopped, and the next start sees to that."""
        self.has_ended = True

    def put(self, gap: Gap) -> None:
        """Take note of a new or changed row."""
        key = gap.key
        if len(self._changed) >= MOST_CHANGED and key not in self._changed:
            # Nothing is accepted for long: the market's last gap is said to be longer than it is.
            for other in reversed(self._changed):
                if other[0] == gap.market:
                    self._changed[other] = self._changed[other]._replace(to_us=gap.to_us)
                    return
        self._changed[key] = gap
        if gap.to_us is not None:
            self.on_closed(gap)

    def put_back(self, gap: Gap) -> None:
        """Take back a row that could not be accepted, unless it has changed since."""
        self._changed.setdefault(gap.key, gap)

    def put_fill(self, fill: GapFill) -> None:
        """Take note of what was filled of a gap."""
        self._fills[fill.key] = fill

    def put_back_fill(self, fill: GapFill) -> None:
        """Take back what could not be accepted, unless there is a later word."""
        self._fills.setdefault(fill.key, fill)

    def take_fills(self) -> list[GapFill]:
        """Take out what was filled."""
        fills, self._fills = self._fills, {}
        return list(fills.values())

    def take(self) -> list[Gap]:
        """Take out what changed."""
        changed, self._changed = self._changed, {}
        return list(changed.values())

    def __len__(self) -> int:
        return len(self._changed)


class GapRanges:
    """Ticks that had to be given up, as one gap a market for each stretch of them.

    Within a stretch some ticks may have been kept: what lies in it is not complete.
    """

    def __init__(self, cause: Cause) -> None:
        self._cause = cause
        self._latest: dict[str, Gap] = {}

    def add(self, ticks: Sequence[Tick]) -> list[Gap]:
        """Return the new or longer rows that these lost ticks make."""
        changed: dict[tuple[str, int], Gap] = {}
        for tick in ticks:
            gap = self._with(tick.market, tick.ts_us)
            changed[gap.market, gap.from_us] = gap
        return list(changed.values())

    def _with(self, market: str, ts_us: int) -> Gap:
        latest = self._latest.get(market)
        if latest is None or not latest.from_us < ts_us < (latest.to_us or 0) + FOLD_US:
            latest = Gap(market, ts_us - 1, ts_us + 1, self._cause)
        elif latest.to_us is None or ts_us >= latest.to_us:
            latest = latest._replace(to_us=ts_us + 1)
        self._latest[market] = latest
        return latest


@attrs.frozen(kw_only=True)
class Remembered:
    """What is known of one market from before this run: its last tick, its gaps left open."""

    last: Tick
    open_gaps: Sequence[Gap] = ()


@attrs.define(kw_only=True, eq=False)
class GapTracker:
    """Keeps account of one market's gaps, over every socket and every restart of its actors.

    `last_us` is the time of its last recorded tick, -1 before the first: without one before it
    there is no gap. Of troubles that overlap the first cause stays, unless the venue refuses the
    market for good. `count` is of trouble, in this run, for status. A row that our clock has closed is
    shortened if the venue's is behind it.
    """

    market: str
    ledger: GapLedger
    last_us: int = -1
    first_us: int | None = None  # this run's first tick
    open: Gap | None = None
    count: int = 0
    _rested_until_us: int = -1
    _is_remembered: bool = False
    _left_open: tuple[Gap, ...] = ()  # by the last run, beside `open`
    _closed_by_clock: tuple[Gap, ...] = ()  # since the last tick
    # Rows of this run, the latest: the database may show as open what is closed by now.
    _own: tuple[tuple[int, str], ...] = ()
    _at_start: Gap | None = None  # the row of the pause before this run

    def tick(self, ts_us: int) -> None:
        """Take note of a recorded tick: it ends an open gap. Called for each, so it does little."""
        if self._closed_by_clock:
            self._shorten(ts_us)
        if self.open is not None:
            self._end_by_tick(self.open, ts_us)
        if self.first_us is None:
            self.first_us = ts_us
            self._close_left_open(ts_us)
        if ts_us > self.last_us:
            self.last_us = ts_us

    def trouble(self, cause: Cause) -> None:
        """Begin a gap, unless there is one, or the market is at rest."""
        if self.open is None and self.last_us >= 0:
            self._begin(max(self.last_us, self._rested_until_us), cause)

    def refuse(self, *, at_us: int) -> None:
        """The venue takes no subscription any longer: from now on that is why ticks are missing."""
        if self.open is not None and self.open.cause not in (Cause.REFUSED, Cause.STOPPED):
            since = max(at_us, self.last_us, self.open.from_us)
            self._end_by_clock(self.open, to_us=since)
            self._begin(since, Cause.REFUSED)
        else:
            self.trouble(Cause.REFUSED)

    def rest(self, cause: Cause, *, at_us: int) -> None:
        """The market is stopped or closed from now on: trouble ends here, and is none meanwhile.

        A stopped market stays stopped whether its venue is closed or not.
        """
        since = max(self.last_us, self._rested_until_us)
        if self.open is not None:
            if self.open.cause in (cause, Cause.STOPPED):
                return
            since = max(since, at_us, self.open.from_us)
            # Of trouble one more: what it lacks may be a tick of that very moment.
            more_us = self.open.cause not in AT_REST and since > self.open.from_us
            self._end_by_clock(self.open, to_us=since + more_us)
        if self.last_us >= 0:
            self._begin(since, cause)

    def resume(self, cause: Cause, *, at_us: int) -> None:
        """Its rest of this cause is over, if it has one: what is missing from here on is trouble."""
        if self.open is not None and self.open.cause == cause:
            ends_us = max(at_us, self.open.from_us)
            # Trouble begins just before: what it lacks may be a tick of that very moment.
            self._rested_until_us = max(ends_us - 1, self.open.from_us)
            self._end_by_clock(self.open, to_us=ends_us)
            if cause is Cause.CLOSED and self.first_us is None:
                self.trouble(Cause.DOWNTIME)  # until this run's first tick we may not have been there

    def clock_stepped_back(self, *, ts_us: int) -> None:
        """The next tick, at `ts_us`, is earlier than the last: the time between is told twice."""
        if ts_us < self.last_us:
            self.ledger.put(Gap(self.market, ts_us, self.last_us, Cause.CLOCK))
            self.count += 1
            self.last_us = ts_us
            self._rested_until_us = min(self._rested_until_us, ts_us)

    def remember(
        self, before: Remembered, *, is_at_rest: bool, at_us: int, opened_us: int | None = None
    ) -> None:
        """Take note of what was before this run, at its start or as late as it becomes known.

        The time since then is a gap, of the cause it had when the last run ended, else `downtime`.
        What the journal knew may be told first, and what the database knew after it. A market that
        was closed is taken to have been so until `opened_us`, else until now.
        """
        if self._is_remembered or self.first_us is not None:
            self._remember_late(before)
        else:
            self.last_us = before.last.ts_us
            *others, left_open = sorted(before.open_gaps) or (None,)
            if left_open is not None and left_open.cause == Cause.CLOSED and opened_us is not None:
                at_us = min(at_us, opened_us)
            self._adopt(left_open, is_at_rest=is_at_rest, at_us=at_us)
            for gap in others:
                if gap is not None:
                    self._take_left_open(gap, last_us=before.last.ts_us)
        self._is_remembered = True

    def _adopt(self, left_open: Gap | None, *, is_at_rest: bool, at_us: int) -> None:
        since = self.last_us
        if left_open is not None and left_open.from_us < self.last_us:
            # Its end was lost, with a database that was restored; ticks came after it.
            self._end(left_open, to_us=self.last_us)
        elif left_open is not None:
            goes_on = left_open.cause == Cause.STOPPED if is_at_rest else left_open.cause not in AT_REST
            if goes_on:
                self.open = self._at_start = left_open
                self._own = (*self._own[-MOST_OWN:], _name(left_open))
                self.count += not is_at_rest
                return
            since = max(at_us, left_open.from_us)
            self._end_by_clock(left_open, to_us=since)
        self._begin(since, Cause.STOPPED if is_at_rest else Cause.DOWNTIME)
        self._at_start = self.open

    def _remember_late(self, before: Remembered) -> None:
        own = set(self._own)
        for gap in before.open_gaps:
            if _name(gap) not in own:
                self._take_left_open(gap, last_us=before.last.ts_us)
        if self.first_us is None:
            return
        if not self._left_open and self._at_start is None and before.last.ts_us < self.first_us:
            self._at_start = Gap(self.market, before.last.ts_us, self.first_us, Cause.DOWNTIME)
            self.ledger.put(self._at_start)
            self.count += 1
        self._close_left_open(self.first_us)

    def _take_left_open(self, gap: Gap, *, last_us: int) -> None:
        """Let a row that the last run left open end with this run's first tick.

        Where the pause has a row already, or ticks came after it, nothing is left to it beyond them.
        """
        if self._at_start is not None:
            self.ledger.put(gap._replace(to_us=max(gap.from_us, self._at_start.from_us)))
        elif gap.from_us < last_us:
            self.ledger.put(gap._replace(to_us=last_us))
        else:
            self._left_open += (gap,)

    def _close_left_open(self, first_us: int) -> None:
        for gap in self._left_open:
            self.ledger.put(gap._replace(to_us=max(first_us, gap.from_us)))
        self._left_open = ()

    def _begin(self, from_us: int, cause: Cause) -> None:
        if self.ledger.has_ended:
            return
        self.open = Gap(self.market, from_us, None, cause)
        self._own = (*self._own[-MOST_OWN:], _name(self.open))
        self.ledger.put(self.open)
        self.count += cause not in AT_REST

    def _end(self, gap: Gap, *, to_us: int) -> None:
        self.ledger.put(gap._replace(to_us=to_us))
        self.open = None

    def _end_by_clock(self, gap: Gap, *, to_us: int) -> None:
        self._end(gap, to_us=to_us)
        self._closed_by_clock += (gap._replace(to_us=to_us),)

    def _shorten(self, ts_us: int) -> None:
        """Let no row that our clock closed reach over a tick: it was sent by another clock."""
        for gap in self._closed_by_clock:
            if gap.to_us is not None and gap.from_us < ts_us < gap.to_us:
                self.ledger.put(gap._replace(to_us=ts_us))
        self._closed_by_clock = ()

    def _end_by_tick(self, gap: Gap, ts_us: int) -> None:
        self._end(gap, to_us=max(ts_us, gap.from_us))
        if gap.cause in AT_REST:
            # It was under way when the market was stopped; the rest goes on after it.
            self._begin(max(ts_us, gap.from_us), Cause(gap.cause))


def _name(gap: Gap) -> tuple[int, str]:
    """Return what names a row of one market."""
    return gap.from_us, gap.cause
