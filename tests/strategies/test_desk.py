from collections.abc import Sequence

import attrs
import pytest
from dealing import MARKET, EveryCandle, book_with, gap_of, no_fence, sent, tick_at, us

from domain.errors import BadDecision
from domain.gaps import Gap
from domain.market import Tick
from domain.trades import Direction, Outcome
from strategies.desk import MOST_LATE, Desk, Seat, Wish
from strategies.strategy import Decision, SeenCandle, Strategy, View


@attrs.define(kw_only=True, eq=False)
class Notes(Strategy):
    """Takes note of all it is shown."""

    timeframe_s: int = 10
    ticks: list[float] = attrs.field(factory=list)
    candles: list[SeenCandle] = attrs.field(factory=list)
    gaps: list[Gap] = attrs.field(factory=list)
    ages: list[int] = attrs.field(factory=list)
    has_gap: list[bool] = attrs.field(factory=list)

    @property
    def warm_up_candles(self) -> int:
        return 3

    def on_tick(self, tick: Tick, view: View) -> None:
        self.ticks.append(tick.price)
        self.ages.append(view.age_ms)
        self.has_gap.append(view.has_gap)

    def on_candle(self, candle: SeenCandle, view: View) -> None:
        self.candles.append(candle)

    def on_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)


@attrs.define(kw_only=True, eq=False)
class Wants(Notes):
    """Needs two candles to decide."""

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        super().on_candle(candle, view)
        first, second = view.candles(2)
        return Decision(direction=Direction.UP if second.close > first.close else Direction.DOWN)


def desk_of(*kinds: type[Strategy]) -> Desk:
    seats = [Seat(name=kind.__name__, market=MARKET, expiry_s=60, make=kind) for kind in kinds]
    return Desk(market=MARKET, seats=seats, book=book_with(), fence=no_fence)


def show(desk: Desk, times_s: Sequence[float]) -> list[Outcome | Wish]:
    return [each for at_s in times_s for each in desk.take(tick_at(at_s, 1.0 + at_s / 1_000))]


def notes_of(desk: Desk, number: int = 0) -> Notes:
    strategy = desk.seats[number].strategy
    assert isinstance(strategy, Notes)
    return strategy


def test_a_wish_says_what_it_rests_on() -> None:
    desk = desk_of(EveryCandle)
    assert show(desk, [5, 10, 12]) == []
    assert desk.take(tick_at(20, 1.25, seq=7)) == [
        Wish(
            strategy="EveryCandle",
            market=MARKET,
            ts_us=us(20),
            seq=7,
            direction=Direction.UP,
            expiry_s=60,
            price=1.25,
            price_age_ms=40,
            inputs='{"close": 1.012}',
            now_us=us(20.04),
        )
    ]


def test_a_price_that_did_not_come_live_has_no_age() -> None:
    desk = desk_of(EveryCandle)
    for at_s in (0, 10):
        desk.take(tick_at(at_s, 1.0, source="imported"))
    [wish] = desk.take(tick_at(20, 1.0, source="imported"))
    assert isinstance(wish, Wish)
    assert (wish.price_age_ms, wish.now_us) == (0, us(20))


def test_the_first_candle_is_partial_and_not_shown() -> None:
    desk = desk_of(Notes)
    show(desk, [5, 11, 19, 20, 30])
    assert [candle.open_us for candle in notes_of(desk).candles] == [us(10), us(20)]


def test_candles_that_a_gap_reaches_into_say_so() -> None:
    desk = desk_of(Notes)
    show(desk, [1, 11, 19])
    desk.gap(gap_of(19, 35))
    show(desk, [35, 39, 40, 50])
    notes = notes_of(desk)
    assert [(each.open_us, each.has_gap) for each in notes.candles] == [
        (us(10), True),
        (us(30), True),
        (us(40), False),
    ]
    assert notes.has_gap == [False, False, False, True, True, False, False]
    assert notes.gaps == [gap_of(19, 35)]


def test_a_gap_that_ends_with_the_candle_is_not_in_it() -> None:
    desk = desk_of(Notes)
    show(desk, [1, 11, 19])
    desk.gap(gap_of(19, 20))  # nothing between 19 and 20: of the candle from 10 on
    show(desk, [20, 30])
    assert [each.has_gap for each in notes_of(desk).candles] == [True, False]


@pytest.mark.parametrize("cause", ["downtime", "stopped"])
def test_after_we_were_away_all_starts_over(cause: str) -> None:
    desk = desk_of(Notes)
    show(desk, [1, 11, 21])
    before = notes_of(desk)
    desk.gap(gap_of(21, 45, cause))
    show(desk, [45, 50, 60])
    after = notes_of(desk)
    assert after is not before
    assert [candle.open_us for candle in before.candles] == [us(10)]
    assert [candle.open_us for candle in after.candles] == [us(50)]


def test_a_desk_that_starts_after_a_pause_keeps_its_warm_up() -> None:
    desk = desk_of(Wants)
    candle = SeenCandle(
        market=MARKET,
        timeframe_s=10,
        open_us=us(0),
        open=1.0,
        high=1.0,
        low=1.0,
        close=1.5,
        ticks=3,
        volume=0.0,
    )
    desk.warm_up(desk.seats[0], [candle])
    desk.gap(gap_of(9, 45, "downtime"))
    [wish] = show(desk, [45, 50, 60])
    assert isinstance(wish, Wish)
    assert wish.direction is Direction.DOWN  # 1.05 after the stored candle's 1.5


def test_while_it_warms_up_a_strategy_is_not_asked_and_not_to_blame() -> None:
    desk = desk_of(Wants)
    assert show(desk, [1, 11, 21]) == []
    assert len(show(desk, [31])) == 1
    assert desk.seats[0].set_aside == ""


def test_a_tick_with_an_earlier_time_is_ignored_and_counted() -> None:
    desk = desk_of(Notes)
    show(desk, [1, 11, 12])
    assert desk.take(tick_at(11.5, 9.0)) == []
    show(desk, [20])
    assert desk.late == 1
    assert [candle.high for candle in notes_of(desk).candles] == [1.012]


def test_one_tick_from_the_future_does_not_stop_a_market() -> None:
    desk = desk_of(Notes)
    show(desk, [1, 11, 21, 9_000])
    show(desk, [22 + n / 8 for n in range(300)])
    notes = notes_of(desk)
    assert desk.late == MOST_LATE + 1
    assert [candle.open_us for candle in notes.candles] == [us(10), us(20), us(40)]
    desk.book.place(sent(59, expiry_s=5))
    assert [type(each).__name__ for each in show(desk, [60, 65, 66])] == ["TradeOpened", "TradeSettled"]


def test_a_clock_that_steps_back_begins_new_candles() -> None:
    desk = desk_of(Notes)
    show(desk, [101, 111, 121])
    desk.gap(gap_of(52, 121, "clock"))
    show(desk, [52, 60, 70, 125, 130, 140])
    assert [(each.open_us, each.has_gap) for each in notes_of(desk).candles] == [
        (us(100 + 10), False),
        (us(60), True),
        (us(70), True),
        (us(120), True),
        (us(130), False),
    ]


def test_who_is_set_aside_is_not_asked() -> None:
    desk = desk_of(Notes, EveryCandle)
    desk.seats[1].set_aside = "it is slow"
    assert show(desk, [1, 11, 21, 31]) == []
    assert len(notes_of(desk).candles) == 2


def test_an_answer_that_is_no_decision_is_the_strategys_fault() -> None:
    @attrs.define(kw_only=True, eq=False)
    class SaysYes(Strategy):
        def on_tick(self, tick: Tick, view: View) -> Decision | None:
            return "yes"  # type: ignore[return-value]  # this is the fault

    with pytest.raises(BadDecision, match="yes"):
        show(desk_of(SaysYes), [1])


def test_what_a_tick_settles_comes_before_what_it_makes_a_strategy_wish() -> None:

    desk = desk_of(EveryCandle)
    show(desk, [1])
    desk.book.place(sent(1, expiry_s=5))
    told = show(desk, [2, 11, 21])
    assert [type(each).__name__ for each in told] == ["TradeOpened", "TradeSettled", "Wish"]
