"""One market's strategies at work: prices in, wishes and what became of its trades out. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol

import attrs

from domain.errors import BadDecision, ConfigError, StillWarmingUp
from domain.gaps import Cause, Gap
from domain.market import CandleBuilder, Tick
from domain.trades import Direction, Outcome
from strategies.known_gaps import KnownGaps
from strategies.paper import PaperBook, our_time
from strategies.strategy import Decision, SeenCandle, Strategy, View, wants_ticks

SECOND_US = 1_000_000
MOST_LATE = 100  # ticks in a row: then the last one's time was a mistake of the venue's

# We were not there to see: whoever starts anew has candles that are partial.
RESTARTING = frozenset({Cause.DOWNTIME, Cause.STOPPED})


@attrs.frozen(kw_only=True)
class Wish:
    """A strategy's decision, with all that is known of it at that tick.

    `(strategy, market, ts_us, seq)` names it; `now_us` is the decision's time by our clock, and
    `inputs` is a JSON object.
    """

    strategy: str
    market: str
    ts_us: int
    seq: int
    direction: Direction
    expiry_s: int
    price: float
    price_age_ms: int
    inputs: str
    now_us: int


@attrs.define(kw_only=True, eq=False)
class Seat:
    """A strategy's place at one market. While `set_aside` says why, the strategy is not asked."""

    name: str
    market: str
    expiry_s: int
    make: Callable[[], Strategy]
    set_aside: str = ""
    strategy: Strategy = attrs.field(init=False)
    view: View = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Begin with a new strategy that has seen nothing."""
        self.strategy = self.make()
        self.view = View.for_strategy(self.strategy, market=self.market)


class Fence(Protocol):
    """Calls a strategy's method with its arguments, whatever the method does.

    Returns None where it fails or is too slow, and then sets `seat.set_aside` once it has had enough.
    """

    def __call__(self, seat: Seat, method: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the method returns."""


@attrs.define(kw_only=True, eq=False)
class Track:
    """One timeframe: its open candle, and the seats that it is built for."""

    timeframe_s: int
    builder: CandleBuilder
    seats: tuple[Seat, ...]
    end_us: int = -1  # of the open candle


class Desk:
    """Takes one market's ticks and gaps in their order; owns its seats, open candles and paper book.

    A tick with an earlier time than the last one is ignored (but not a hundred in a row), and left out
    where stored ticks are taken again (`strategies.arrival`); a gap of cause `clock` lets the time
    begin anew. After a gap of cause `downtime` or `stopped` strategies and candles start over, unless
    nothing came since they did.
    """

    __slots__ = (
        "_fence",
        "_gaps",
        "_last_us",
        "_late_in_a_row",
        "_tick_seats",
        "_tracks",
        "book",
        "late",
        "market",
        "seats",
    )

    def __init__(self, *, market: str, seats: Sequence[Seat], book: PaperBook, fence: Fence) -> None:
        self.market = market
        self.seats = tuple(seats)
        self.book = book
        self.late = 0  # ticks that were ignored
        self._fence = fence
        self._gaps = KnownGaps()
        self._last_us = -1
        self._late_in_a_row = 0
        self._begin()

    def restart(self) -> None:
        """Let strategies and candles start over; whoever was set aside is asked again."""
        for seat in self.seats:
            try:
                seat.start_over()
                seat.set_aside = ""
            except ConfigError as error:  # a user's own class that cannot be made any longer
                seat.set_aside = str(error)
        self._last_us = -1
        self._begin()

    def show_payout(self, percent: float | None) -> None:
        """Take note of what a won trade brings now."""
        for seat in self.seats:
            seat.view.payout_percent = percent

    def warm_up(self, seat: Seat, candles: Iterable[SeenCandle]) -> None:
        """Show a strategy stored candles, the oldest first, before the first tick.

        They are of its timeframe; what it decides on them is not traded.
        """
        view = seat.view
        view.forget_candles()
        for candle in candles:
            if seat.set_aside:
                return
            view.price, view.ts_us, view.now_us = candle.close, candle.end_us, candle.end_us
            view.show_candle(candle)
            self._fence(seat, _decide, seat.strategy.on_candle, candle, view)

    def gap(self, gap: Gap) -> list[Outcome]:
        """Take note of a gap that has an end, before the first tick at or after it.

        A later word on the same gap replaces it until then. Returns what it decides at once.
        """
        self._gaps.put(gap)
        if gap.cause == Cause.CLOCK and gap.to_us is not None:
            self._begin()
            self._pass_gaps(self._gaps.pass_time(gap.to_us))
            self._last_us = min(self._last_us, gap.from_us)
        return list(self.book.gap(gap))

    def take(self, tick: Tick) -> list[Outcome | Wish]:
        """Take the next tick; return what it settles and opens, and then what strategies wish for."""
        if tick.ts_us < self._last_us and self._is_late(tick):
            return []
        happened = self.build(tick)
        for seat in self._tick_seats:
            happened += self._ask(seat, seat.strategy.on_tick, tick, tick)
        return happened

    def _is_late(self, tick: Tick) -> bool:
        """Count a tick with an earlier time; many in a row say that the last one's was absurd."""
        self.late += 1
        self._late_in_a_row += 1
        if self._late_in_a_row <= MOST_LATE:
            return True
        self._begin()
        self.book.step_back(tick.ts_us)
        return False

    def build(self, tick: Tick) -> list[Outcome | Wish]:
        """Take a price that is none of its own, for the book and the candles: a recorded candle's, say."""
        ts_us = tick.ts_us
        passed = self._gaps.pass_time(ts_us) if self._gaps.has_news else None
        if passed:
            self._pass_gaps(passed)
        self._last_us = ts_us
        self._late_in_a_row = 0
        happened: list[Outcome | Wish] = list(self.book.take(tick))
        for track in self._tracks:
            if ts_us >= track.end_us or passed:
                happened += self._turn(track, tick)
            else:
                track.builder.add(tick)
        return happened

    # --- within ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        by_timeframe = sorted(self.seats, key=_timeframe_s)
        self._tracks = [
            Track(
                timeframe_s=timeframe_s,
                builder=CandleBuilder(market=self.market, timeframe_s=timeframe_s),
                seats=tuple(seats),
            )
            for timeframe_s, seats in groupby(by_timeframe, key=_timeframe_s)
        ]
        self._tick_seats = tuple(seat for seat in self.seats if wants_ticks(seat.strategy))

    def _pass_gaps(self, gaps: Sequence[Gap]) -> None:
        if self._last_us >= 0 and any(gap.cause in RESTARTING for gap in gaps):
            self.restart()
        for gap in gaps:
            for seat in self.seats:
                if not seat.set_aside:
                    self._fence(seat, seat.strategy.on_gap, gap)

    def _turn(self, track: Track, tick: Tick) -> Iterator[Wish]:
        """Let a tick end a candle, or come after a gap."""
        candle = track.builder.add(tick)
        span_us = track.timeframe_s * SECOND_US
        open_us = tick.ts_us - tick.ts_us % span_us
        track.end_us = open_us + span_us
        has_gap = self._gaps.within(open_us, track.end_us) is not None
        for seat in track.seats:
            seat.view.has_gap = has_gap
        if candle is None:
            return
        had_gap = self._gaps.within(candle.open_us, candle.open_us + span_us) is not None
        seen = SeenCandle.of(candle, has_gap=had_gap)
        for seat in track.seats:
            seat.view.show_candle(seen)
            yield from self._ask(seat, seat.strategy.on_candle, seen, tick)

    def _ask(
        self, seat: Seat, method: Callable[..., Decision | None], moment: Tick | SeenCandle, tick: Tick
    ) -> Iterator[Wish]:
        if seat.set_aside:
            return
        view = seat.view
        view.show_tick(tick, now_us=our_time(tick))
        answer = self._fence(seat, _decide, method, moment, view)
        if answer is not None:
            direction, inputs = answer
            yield Wish(
                strategy=seat.name,
                market=self.market,
                ts_us=tick.ts_us,
                seq=tick.seq,
                direction=direction,
                expiry_s=seat.expiry_s,
                price=tick.price,
                price_age_ms=view.age_ms,
                inputs=inputs,
                now_us=view.now_us,
            )


def _timeframe_s(seat: Seat) -> int:
    return seat.strategy.timeframe_s


def _decide(
    method: Callable[..., Decision | None], moment: Tick | SeenCandle, view: View
) -> tuple[Direction, str] | None:
    """Ask a strategy, inside of its fence, and read its answer there too."""
    try:
        decision = method(moment, view)
    except StillWarmingUp:
        return None
    if decision is None:
        return None
    if not isinstance(decision, Decision):
        raise BadDecision(f"{decision!r:.60}: expected a Decision or None")
    return decision.direction, decision.inputs_json
