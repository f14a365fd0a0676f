"""Fills one gap from a venue's history, page by page: what to ask for, what of an answer belongs in.

Pure. Only what lies strictly inside the gap is taken, each tick once, from the gap's beginning on;
`outcome()` says how far that got, and no more than that.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from domain.clock import as_text
from domain.errors import RemoteProtocolError
from domain.gaps import Fill, Gap, GapFill
from domain.market import HistoryCandle, PriceUpdate, Tick, check_update
from venues.offers import HistoryPage, VenueCandle

MOST_PAGES = 200  # of a gap: then it stays partly filled until the next time somebody looks for such
NOTE_LENGTH = 255  # characters, as in the schema
SECOND_US = 1_000_000
NO_CANDLES = "the venue has no candles of this time"


class Wish(NamedTuple):
    """What is to be asked for next: what lies in `(from_us, to_us)`; `timeframe_s` is None for ticks."""

    from_us: int
    to_us: int
    timeframe_s: int | None


class Portion(NamedTuple):
    """What of a page belongs into the gap."""

    ticks: Sequence[Tick] = ()
    candles: Sequence[HistoryCandle] = ()


class Filling(Protocol):
    """One gap on its way to be filled."""

    @property
    def wish(self) -> Wish | None:
        """What to ask for next; None when there is nothing more to ask for."""

    def take(self, page: HistoryPage, *, received_us: int) -> Portion:
        """Take the answer to the wish. Raises `RemoteProtocolError` and is unchanged then."""

    def give_up(self, reason: str) -> None:
        """Ask for nothing more."""

    def outcome(self) -> GapFill:
        """Return how far it is filled."""


class TickFilling:
    """Fills a gap with ticks.

    `begins_us` is from where on (exclusive) the venue still has them, `reached_us` up to where
    (inclusive) the gap is filled from there.
    """

    def __init__(self, gap: Gap, *, begins_us: int, reached_us: int) -> None:
        assert gap.to_us is not None
        self._gap, self._to_us = gap, gap.to_us
        self._begins_us = max(begins_us, gap.from_us)
        self._reached_us = max(self._begins_us, reached_us)
        self._is_over = False
        self._count = self._pages = 0
        self._reason = self._not_available = ""
        if self._begins_us >= self._to_us - 1:
            self._not_available = "the venue's history does not go back so far"
            self._is_over = True

    @property
    def wish(self) -> Wish | None:
        """What to ask for next."""
        if self._is_over or self._is_reached:
            return None
        return Wish(self._reached_us, self._to_us, None)

    @property
    def _is_reached(self) -> bool:
        return self._reached_us >= self._to_us - 1

    def take(self, page: HistoryPage, *, received_us: int) -> Portion:
        """Take one page of ticks."""
        if page.through_us is None:
            self._is_over = True
            self._reason = self._not_available = page.reason or "the venue has no history of this time"
            return Portion()
        ticks = stamped(page.ticks, market=self._gap.market, received_us=received_us)
        # What lies behind is asked for again: of several ticks with one time some may be missing.
        through_us = min(page.through_us, self._to_us - 1)
        inside = [tick for tick in ticks if self._reached_us < tick.ts_us <= through_us]
        self._count += len(inside)
        self._pages += 1
        if through_us <= self._reached_us:
            self.give_up("the venue's answers go no further")
        elif self._pages >= MOST_PAGES:
            self.give_up(f"after {MOST_PAGES} pages")
        self._reached_us = max(self._reached_us, through_us)
        return Portion(ticks=inside)

    def give_up(self, reason: str) -> None:
        """Ask for nothing more."""
        self._is_over = True
        self._reason = reason

    def outcome(self) -> GapFill:
        """Return how far it is filled."""
        if self._is_reached and self._begins_us == self._gap.from_us:
            return _filled(self._gap, Fill.FULL, _counted(self._count, "tick"))
        if self._reached_us > self._begins_us and self._pages:
            note = _counted(self._count, "tick")
            if self._begins_us > self._gap.from_us:
                note += f" from {_second(self._begins_us)}"
            if not self._is_reached:
                note += f" up to {_second(self._reached_us)}"
            return _filled(self._gap, Fill.PARTLY, f"{note}; {self._reason}" if self._reason else note)
        return _nothing(self._gap, reason=self._reason, not_available=self._not_available)


class CandleFilling:
    """Fills a gap with the venue's candles: those whose whole interval lies inside."""

    def __init__(self, gap: Gap, *, begins_us: int, timeframes_s: Sequence[int]) -> None:
        assert gap.to_us is not None
        self._gap = gap
        self._wishes: list[Wish] = []
        self._done: list[str] = []  # notes
        self._first_us = self._last_us = self._count = self._pages = 0  # of the timeframe under way
        self._reason = self._not_available = ""
        begins_us = max(begins_us, gap.from_us)
        for timeframe_s in sorted(timeframes_s):
            span_us = timeframe_s * SECOND_US
            first_us = (begins_us // span_us + 1) * span_us
            end_us = gap.to_us // span_us * span_us
            if first_us < end_us:
                self._wishes.append(Wish(first_us - 1, end_us, timeframe_s))
        if not timeframes_s:
            self._not_available = "the venue has no candles of our timeframes"
        elif begins_us >= gap.to_us - 1:
            self._not_available = "the venue's history does not go back so far"
        elif not self._wishes:
            self._not_available = f"no whole candle of {min(timeframes_s)} s lies inside"

    @property
    def wish(self) -> Wish | None:
        """What to ask for next."""
        return self._wishes[0] if self._wishes else None

    def take(self, page: HistoryPage, *, received_us: int) -> Portion:
        """Take one page of candles; `received_us` is of no use to them."""
        wish = self._wishes[0]
        assert wish.timeframe_s is not None
        span_us = wish.timeframe_s * SECOND_US
        if page.through_us is None:
            self._not_available = page.reason or NO_CANDLES
            self._end_timeframe()
            return Portion()
        for candle in page.candles:
            check_candle(candle, span_us=span_us)
        opens = {
            each.open_us: each
            for each in page.candles
            if wish.from_us < each.open_us <= min(wish.to_us - span_us, page.through_us)
        }
        self._note(opens, span_us=span_us)
        self._pages += 1
        is_stuck = page.through_us <= wish.from_us
        if is_stuck or page.through_us >= wish.to_us - span_us or self._pages >= MOST_PAGES:
            self._end_timeframe()
        else:
            self._wishes[0] = wish._replace(from_us=page.through_us)
        in_order = (opens[open_us] for open_us in sorted(opens))
        return Portion(
            candles=[HistoryCandle(self._gap.market, wish.timeframe_s, *candle) for candle in in_order]
        )

    def give_up(self, reason: str) -> None:
        """Ask for nothing more."""
        self._reason = reason
        if self._wishes:
            self._end_timeframe()
        self._wishes = []

    def outcome(self) -> GapFill:
        """Return how far it is filled."""
        if self._done:
            return _filled(self._gap, Fill.CANDLES, "; ".join(filter(None, (*self._done, self._reason))))
        if not self._reason and not self._not_available:
            self._not_available = NO_CANDLES
        return _nothing(self._gap, reason=self._reason, not_available=self._not_available)

    def _note(self, opens: Mapping[int, VenueCandle], *, span_us: int) -> None:
        if opens:
            self._first_us = self._first_us or min(opens)
            self._last_us = max(opens) + span_us
            self._count += len(opens)

    def _end_timeframe(self) -> None:
        wish = self._wishes.pop(0)
        if self._count:
            first, last = _second(self._first_us), _second(self._last_us)
            self._done.append(f"{_counted(self._count, 'candle')} of {wish.timeframe_s} s {first} to {last}")
        self._first_us = self._count = self._pages = 0


def stamped(updates: Sequence[PriceUpdate], *, market: str, received_us: int) -> list[Tick]:
    """Return the ticks of a page in order of time, each once.

    `seq` is the venue's number, else 0, 1, 2 … among equal times, so that asking again gives the same.
    Of those without a number that are equal in time and price one is kept. Raises
    `RemoteProtocolError` for what cannot be stored.
    """
    found: dict[tuple[int, int], Tick] = {}
    told: set[tuple[int, float]] = set()
    numbers: dict[int, int] = {}
    for update in updates:
        check_update(update)
        _, ts_us, seq, price, bid, ask, volume = update
        if ts_us is None:
            raise RemoteProtocolError(f"{market}: a tick of the venue's history has no time")
        if seq is None:
            if (ts_us, price) in told:
                continue
            told.add((ts_us, price))
            seq = numbers.get(ts_us, 0)
            numbers[ts_us] = seq + 1
        found.setdefault(
            (ts_us, seq), Tick(market, ts_us, seq, price, bid, ask, volume, received_us, "backfill")
        )
    return [found[key] for key in sorted(found)]


def check_candle(candle: VenueCandle, *, span_us: int) -> None:
    """Raise `RemoteProtocolError` unless it is a candle of this length that can be stored."""
    open_us, first, high, low, last, volume = candle
    are_prices = all(0.0 < price < math.inf for price in (first, high, low, last))
    is_candle = are_prices and low <= min(first, last) and max(first, last) <= high
    if not is_candle or not 0.0 <= volume < math.inf or open_us < 0 or open_us % span_us:
        raise RemoteProtocolError(f"not a candle of {span_us // SECOND_US} s: {candle!r}")


def _nothing(gap: Gap, *, reason: str, not_available: str) -> GapFill:
    """Return the word on a gap that nothing new was found for; what was filled before stays so."""
    if gap.fill == Fill.PARTLY:
        return _filled(gap, Fill.PARTLY, gap.fill_note)
    if not_available:
        return _filled(gap, Fill.NOT_AVAILABLE, not_available)
    return _filled(gap, Fill.NONE, reason)


def _filled(gap: Gap, fill: Fill, note: str) -> GapFill:
    assert gap.to_us is not None
    storable = note.encode("utf-8", "replace").decode().replace("\0", "?")
    return GapFill(gap.market, gap.from_us, gap.to_us, gap.cause, fill, storable[:NOTE_LENGTH])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _second(ts_us: int) -> str:
    return as_text(ts_us)[:19] + "Z"
