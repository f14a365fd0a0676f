"""Keeps stored candles equal to what the `tick` table says."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import gcd
from operator import itemgetter

import attrs

from domain.clock import now_us
from domain.market import Tick
from storage.candle_statements import SECOND_US, Run, compute, compute_all, judge, newest_candle, next_tick
from storage.session import Session

GRACE_US = 2 * SECOND_US  # ticks are a while under way; what comes later costs a recomputation

BUDGET_S = 0.2  # an update that took so long begins no further statement
SHORT_S = 0.05  # a statement that took less may do twice as much the next time
LONGEST_SLICE_US = 3_600 * SECOND_US  # of ticks in one statement, or one interval where that is longer

# A row of `gap`, new or changed: market id, from_us, to_us (None while it is open).
GapTimes = tuple[int, int, int | None]
Cell = tuple[str, int]  # a market and the number of a step since 1970

time_of = itemgetter(Tick._fields.index("ts_us"))


@attrs.frozen(kw_only=True)
class CandleProgress:
    """By timeframe: every interval that ends at or before this time is up to date."""

    through_us: Mapping[int, int]


class CandleKeeper:
    """Keeps stored candles equal to what the tick table says. One thread at a time.

    The caller begins a transaction, inserts ticks, calls `update()`, commits, and only then hands
    what that returned to `keep()`.
    """

    def __init__(self, *, timeframes_s: Sequence[int]) -> None:
        self._spans_us = {timeframe_s: timeframe_s * SECOND_US for timeframe_s in timeframes_s}
        self._step_us = gcd(*self._spans_us.values())  # an interval of any timeframe is whole steps
        self._progress: CandleProgress | None = None
        self._slices_us = dict(self._spans_us)

    def forget(self) -> None:
        """Find out again how far the candles are: behind a new connection may stand another database."""
        self._progress = None
        # Small again: the connection may have been lost to a statement longer than the read timeout.
        self._slices_us = dict(self._spans_us)

    def is_due(self, *, until_us: int) -> bool:
        """Whether there is something to compute though no tick came: an interval ended by `until_us`."""
        if self._progress is None:
            return True
        return bool(self._behind(self._progress.through_us, until_us=until_us))

    def update(
        self,
        session: Session,
        *,
        ticks: Sequence[Tick],
        ids: Mapping[str, int],
        until_us: int,
        kept_from_us: int,
    ) -> CandleProgress:
        """Compute what these ticks came too late for, then what has ended by `until_us` in the meantime.

        It belongs into the transaction that inserted `ticks`; `ids` has their markets. `until_us` is
        the time up to which ticks are expected to be there; where it goes back, nothing is undone.
        Candles that open before `kept_from_us`, where the kept ticks begin, stay as they are. It
        takes a bounded time and may leave work for the next one: ask `is_due()`.
        """
        through_us = self._through_us(session)
        cells = self._late_cells(ticks, through_us=through_us)
        for timeframe_s in self._spans_us if cells else ():
            runs = self._runs(
                cells,
                ids=ids,
                timeframe_s=timeframe_s,
                from_us=kept_from_us,
                to_us=through_us[timeframe_s],
            )
            if runs:
                compute(session, timeframe_s=timeframe_s, runs=runs)

        started_s = time.monotonic()
        while behind := self._behind(through_us, until_us=until_us):
            # The one furthest behind first: the pages it reads are the next one's too.
            timeframe_s = min(behind, key=through_us.__getitem__)
            through_us[timeframe_s] = self._advance(
                session,
                timeframe_s=timeframe_s,
                from_us=max(through_us[timeframe_s], kept_from_us),
                to_us=behind[timeframe_s],
            )
            if time.monotonic() - started_s >= BUDGET_S:
                break
        return CandleProgress(through_us=through_us)

    def keep(self, progress: CandleProgress) -> None:
        """Take over what an `update()` returned, after its transaction was committed."""
        self._progress = progress

    def _through_us(self, session: Session) -> dict[int, int]:
        if self._progress is not None:
            return dict(self._progress.through_us)
        # All of the older ones are up to date, since late ticks never wait; so nothing but the newest
        # of all will do, also where it lies after what is due now: an older one would let ticks
        # between the two wait, and the next run would not see it. Without any, from the oldest tick on.
        return {
            timeframe_s: newest_candle(session, timeframe_s=timeframe_s) or 0
            for timeframe_s in self._spans_us
        }

    def _end_us(self, timeframe_s: int, *, until_us: int) -> int:
        """Return the end of the last interval that is due."""
        # Our own clock: the newest tick may be one of a venue whose clock is years ahead, and up to
        # there every tick would be a late one.
        due_us = min(until_us, now_us()) - GRACE_US
        return due_us - due_us % self._spans_us[timeframe_s]

    def _behind(self, through_us: Mapping[int, int], *, until_us: int) -> dict[int, int]:
        """Return where each timeframe that is behind should be."""
        ends_us = {
            timeframe_s: self._end_us(timeframe_s, until_us=until_us) for timeframe_s in self._spans_us
        }
        return {
            timeframe_s: end_us for timeframe_s, end_us in ends_us.items() if end_us > through_us[timeframe_s]
        }

    def _late_cells(self, ticks: Sequence[Tick], *, through_us: Mapping[int, int]) -> set[Cell]:
        """Return which markets have ticks in which steps that some timeframe has behind it."""
        latest_us = max(through_us.values(), default=0)
        if min(map(time_of, ticks), default=latest_us) >= latest_us:
            return set()
        step_us = self._step_us
        return {(tick[0], tick[1] // step_us) for tick in ticks if tick[1] < latest_us}

    def _runs(
        self, cells: set[Cell], *, ids: Mapping[str, int], timeframe_s: int, from_us: int, to_us: int
    ) -> list[Run]:
        """Return the intervals of these cells inside of `[from_us, to_us)`.

        By time, and neighbours of the same markets in one: a backfilled stretch is one range of keys.
        """
        span_us = self._spans_us[timeframe_s]
        markets: defaultdict[int, set[int]] = defaultdict(set)
        for market, step in cells:
            ts_us = step * self._step_us
            open_us = ts_us - ts_us % span_us
            if from_us <= open_us < to_us:
                markets[open_us].add(ids[market])
        runs: list[Run] = []
        for open_us in sorted(markets):
            market_ids = sorted(markets[open_us])
            if runs and runs[-1].to_us == open_us and runs[-1].market_ids == market_ids:
                runs[-1] = runs[-1]._replace(to_us=open_us + span_us)
            else:
                runs.append(Run(open_us, open_us + span_us, market_ids))
        return runs

    def _advance(self, session: Session, *, timeframe_s: int, from_us: int, to_us: int) -> int:
        """Compute the next intervals that lie wholly in `[from_us, to_us)`; return how far it got."""
        span_us, slice_us = self._spans_us[timeframe_s], self._slices_us[timeframe_s]
        from_us += -from_us % span_us
        if to_us - from_us > slice_us:  # far behind; maybe there is nothing for a long time
            first_us = next_tick(session, from_us=from_us)
            if first_us is None or first_us >= to_us:
                return to_us
            from_us = first_us - first_us % span_us
        if from_us >= to_us:
            return to_us
        end_us = min(from_us + slice_us, to_us)
        started_s = time.monotonic()
        compute_all(session, timeframe_s=timeframe_s, from_us=from_us, to_us=end_us)
        taken_s = time.monotonic() - started_s
        if taken_s < SHORT_S and 2 * slice_us <= LONGEST_SLICE_US:
            self._slices_us[timeframe_s] = 2 * slice_us
        elif taken_s > BUDGET_S:
            self._slices_us[timeframe_s] = max(span_us, slice_us // 2 // span_us * span_us)
        return end_us


def gaps_changed(session: Session, *, gaps: Sequence[GapTimes], timeframes_s: Sequence[int]) -> None:
    """Make `complete` of stored candles right again, after these rows of `gap` were inserted or changed.

    In the same transaction. From each market's earliest row on, and not only up to its end: a later
    candle may have been computed while the gap was still open.
    """
    since_us: dict[int, int] = {}
    for market_id, from_us, _ in gaps:
        since_us[market_id] = min(from_us, since_us.get(market_id, from_us))
    if since_us:
        judge(session, since_us=since_us, timeframes_s=timeframes_s)
