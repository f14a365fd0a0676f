"""Judges what a daemon that was killed again and again has kept: pure, from what others saw and stored.

Nothing here asks the daemon. What was sent, the simulator's ledger says; what was accepted when the
daemon died, its journal says, read byte by byte after each death; the rest is in the tables.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple

import attrs
from daemons import Sent
from expected_candles import SECOND_US, Candles, candles_of

from domain.gaps import FILLABLE, Cause, Fill, Gap
from domain.market import Tick, split_market_id

# Of these some ticks may have been kept: they name a stretch that is not complete.
LOSSY = frozenset({Cause.JOURNAL_FULL, Cause.OVERFLOW})
SHOWN = 5  # complaints of one kind; the others are counted


class Handed(NamedTuple):
    """A tick that was handed to a socket, and when (wall clock)."""

    sent: Sent
    sent_us: int


@attrs.frozen(kw_only=True)
class Life:
    """One run of the daemon, from its start to its death, by the wall clock."""

    name: str  # what was done to it
    started_us: int
    ended_us: int
    was_killed: bool
    accepted: Set[Sent] = frozenset()  # what its journal held when it was dead


@attrs.frozen(kw_only=True)
class Evidence:
    """All that is known at the end, after an ordered stop with everything at rest."""

    handed: Sequence[Handed]
    stored: Sequence[Tick]
    gaps: Sequence[Gap]
    candles: Candles
    timeframes_s: Sequence[int]
    lives: Sequence[Life]  # in order; no two overlap
    window_us: int  # what was sent longer before a kill must have been kept
    commanded: Set[str] = frozenset()  # ids of markets that were also stopped and started by command


@attrs.frozen(kw_only=True)
class Verdict:
    """What is wrong, and how close it was."""

    complaints: Sequence[str]
    lost: int  # ticks, all of them in the open window of a kill or given up by a full journal
    given_up: int  # of these
    oldest_lost_ms: float  # before its kill, those that were given up aside
    stored: int
    gaps: int


def judge(evidence: Evidence) -> Verdict:
    """Return what is wrong with what was kept."""
    return _Judge(evidence).judge()


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.starts = [life.started_us for life in evidence.lives]
        self.sent_us = {handed.sent: handed.sent_us for handed in evidence.handed}
        self.stored = [as_sent(tick) for tick in evidence.stored]
        # What a venue's history filled in later was lost all the same; much of it was never sent.
        self.filled = {as_sent(tick) for tick in evidence.stored if tick.source == "backfill"}
        self.lost = self.sent_us.keys() - (set(self.stored) - self.filled)
        self.gaps: defaultdict[str, list[Gap]] = defaultdict(list)
        for gap in evidence.gaps:
            self.gaps[_symbol(gap.market)].append(gap)
        self.ticks: defaultdict[str, list[Tick]] = defaultdict(list)
        for tick in sorted(evidence.stored, key=lambda tick: tick[:3]):
            self.ticks[_symbol(tick.market)].append(tick)
        self.given_up = {sent for sent in self.lost if self._covering(sent, LOSSY)}
        # What a venue sends until it hears of a stop by command is not taken.
        self.unwanted = {
            sent
            for sent in self.lost
            if sent.symbol in map(_symbol, evidence.commanded)
            and self._covering(sent, frozenset({Cause.STOPPED}))
        }
        self.oldest_lost_us = 0

    def judge(self) -> Verdict:
        checks = (
            self._nothing_twice_and_nothing_else,
            self._lost_only_in_the_window_of_a_kill,
            self._accepted_is_stored,
            self._each_lost_tick_lies_in_a_gap,
            self._one_gap_between_two_lives,
            self._no_tick_inside_a_gap,
            self._gaps_are_closed,
            self._candles_are_those_of_the_ticks,
        )
        return Verdict(
            complaints=[line for check in checks for line in _few(check())],
            lost=len(self.lost),
            given_up=len(self.given_up),
            oldest_lost_ms=self.oldest_lost_us / 1_000,
            stored=len(self.stored),
            gaps=len(self.evidence.gaps),
        )

    # --- ticks --------------------------------------------------------------------------------

    def _nothing_twice_and_nothing_else(self) -> Iterator[str]:
        seen: set[tuple[str, int]] = set()
        for sent in self.stored:
            if (sent.symbol, sent.seq) in seen:
                yield f"stored twice: {sent}"
            seen.add((sent.symbol, sent.seq))
            if sent in self.filled and not self._covering(sent, FILLABLE):
                yield f"filled in where there is no gap: {sent}"
            if sent not in self.sent_us and sent not in self.filled:
                yield f"stored and never sent: {sent}"

    def _lost_only_in_the_window_of_a_kill(self) -> Iterator[str]:
        for sent in sorted(self.lost - self.given_up - self.unwanted):
            life = self._life_at(self.sent_us[sent])
            if life is None:
                yield f"lost, and nobody was to receive it: {sent}"
                continue
            before_us = life.ended_us - self.sent_us[sent]
            self.oldest_lost_us = max(self.oldest_lost_us, before_us)
            if not life.was_killed:
                yield f"lost {before_us / 1_000:.0f} ms before an ordered stop ({life.name}): {sent}"
            elif before_us > self.evidence.window_us:
                yield f"lost {before_us / 1_000:.0f} ms before the kill ({life.name}): {sent}"

    def _accepted_is_stored(self) -> Iterator[str]:
        for life in self.evidence.lives:
            for sent in sorted(life.accepted & (self.lost - self.given_up - self.filled)):
                yield f"accepted and lost ({life.name}): {sent}"

    # --- gaps ---------------------------------------------------------------------------------

    def _each_lost_tick_lies_in_a_gap(self) -> Iterator[str]:
        for sent in sorted(self.lost):
            ticks = self.ticks.get(sent.symbol, ())
            is_first = not ticks or _time(sent) < ticks[0].ts_us  # before the first there is no gap
            if not is_first and not self._covering(sent, frozenset(Cause)):
                yield f"lost and in no gap: {sent}"

    def _one_gap_between_two_lives(self) -> Iterator[str]:
        """From the last tick of one life to the first of a later one there is one row, and it says so."""
        for symbol, ticks in self.ticks.items():
            if ticks[0].market in self.evidence.commanded:
                continue  # its rows are cut where it was stopped and started
            rows = {(gap.from_us, gap.to_us) for gap in self.gaps[symbol]}
            given_up = sorted(_time(sent) for sent in self.given_up if sent.symbol == symbol)
            live = (tick for tick in ticks if tick.source != "backfill")
            for last, first in itertools.pairwise(live):
                if self._life_at(last.received_us) is self._life_at(first.received_us):
                    continue
                if (last.ts_us, first.ts_us) in rows:
                    continue
                # The last or the first one may have been accepted, and given up after that.
                between = bisect_right(given_up, first.ts_us) - bisect_left(given_up, last.ts_us)
                inner = [row for row in rows if last.ts_us <= row[0] and (row[1] or 0) <= first.ts_us]
                if between == 0 or not inner:
                    yield f"no gap from {last.ts_us} to {first.ts_us} in {symbol}, between two lives"

    def _no_tick_inside_a_gap(self) -> Iterator[str]:
        for symbol, gaps in self.gaps.items():
            times = [tick.ts_us for tick in self.ticks.get(symbol, ()) if tick.source != "backfill"]
            for gap in gaps:
                if gap.cause in LOSSY or gap.to_us is None:
                    continue
                inside = bisect_left(times, gap.to_us) - bisect_right(times, gap.from_us)
                if inside > 0:
                    yield f"{inside} ticks inside of {gap}"

    def _gaps_are_closed(self) -> Iterator[str]:
        for gap in self.evidence.gaps:
            if gap.to_us is None:
                yield f"still open: {gap}"
            elif gap.to_us < gap.from_us:
                yield f"ends before it begins: {gap}"

    def _covering(self, sent: Sent, causes: Set[str]) -> bool:
        """Whether a row of one of these causes holds the tick.

        Its ends count too: ticks of one burst share a millisecond, and the last stored one may have
        been the first of them.
        """
        at_us = _time(sent)
        return any(
            gap.cause in causes and gap.from_us <= at_us and (gap.to_us is None or at_us <= gap.to_us)
            for gap in self.gaps[sent.symbol]
        )

    # --- candles ------------------------------------------------------------------------------

    def _candles_are_those_of_the_ticks(self) -> Iterator[str]:
        stored = self.evidence.candles
        for timeframe_s in self.evidence.timeframes_s:
            opens_us = [key[2] for key in stored if key[1] == timeframe_s]
            if not opens_us:
                yield f"no candles of {timeframe_s} s"
                continue
            # They are computed in the order of time: up to the newest all must be there.
            until_us = max(opens_us) + timeframe_s * SECOND_US
            for symbol, ticks in self.ticks.items():
                yield from self._compare(symbol, ticks, timeframe_s=timeframe_s, until_us=until_us)

    def _compare(
        self, symbol: str, ticks: Sequence[Tick], *, timeframe_s: int, until_us: int
    ) -> Iterator[str]:
        gaps: dict[tuple[str, int], int | None] = {}
        missing = (gap for gap in self.gaps[symbol] if gap.fill != Fill.FULL)
        for gap in missing:  # of two that begin together the longer one counts
            key = gap.market, gap.from_us
            is_longer = key not in gaps or (gaps[key] is not None and (gap.to_us or 2**62) > (gaps[key] or 0))
            if is_longer:
                gaps[key] = gap.to_us
        expected = candles_of(ticks, timeframes_s=[timeframe_s], gaps=gaps, until_us=until_us)
        market = ticks[0].market
        found = {key: row for key, row in self.evidence.candles.items() if key[:2] == (market, timeframe_s)}
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                yield f"candle {key} is {found.get(key)}, and should be {expected.get(key)}"

    def _life_at(self, at_us: int) -> Life | None:
        number = bisect_right(self.starts, at_us)
        return self.evidence.lives[number - 1] if number else None


def as_sent(tick: Tick) -> Sent:
    """Return a tick as the ledger has it."""
    return Sent(_symbol(tick.market), tick.ts_us, tick.seq, tick.price)


def _symbol(market: str) -> str:
    return split_market_id(market)[0]


def _time(sent: Sent) -> int:
    assert sent.ts_us is not None, "trades carry the venue's time"
    return sent.ts_us


def _few(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    more = len(found) - SHOWN
    return found[:SHOWN] + ([f"… and {more} more of this kind"] if more > 0 else [])
