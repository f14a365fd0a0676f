import attrs
import pytest
import trio
from dealing import MARKET, EveryCandle, gap_of, no_fence, sent, tick_at, us
from desks import Told, told_by

from actors.desks import DeskPlace
from domain.gaps import Cause, Gap
from domain.market import Tick
from domain.trades import OrderRefused, TradeOpened, TradeSettled, TradeState
from strategies.desk import Desk, Wish

RISE = {1: 1.0, 11: 1.1, 21: 1.2, 31: 1.3}


def show(told: Told, prices: dict[float, float]) -> None:
    told.place.follow([tick_at(at_s, price) for at_s, price in prices.items()])


# --- what happens ---------------------------------------------------------------------------------


def test_wishes_and_outcomes_are_told_in_their_order() -> None:
    told = told_by(EveryCandle)
    show(told, {1: 1.0})
    told.place.place(sent(1, expiry_s=10))
    show(told, {11: 1.1, 21: 1.2})
    kinds = [type(item) for item in told.items()]
    assert kinds == [TradeOpened, TradeSettled, Wish]


def test_a_gap_reaches_strategies_before_the_first_tick_after_it() -> None:
    told = told_by()
    told.place.gap(gap_of(2, 5))
    show(told, {1: 1.0})
    assert told.notes.gaps == []
    show(told, {5: 1.0})
    assert told.notes.gaps == [gap_of(2, 5)]


def test_a_step_back_of_the_clock_waits_for_the_tick_that_tells_it() -> None:
    told = told_by()
    told.place.gap(Gap(MARKET, us(3), us(20), Cause.CLOCK))  # told while ticks from before are on their way
    show(told, {19: 1.0, 20: 1.0})
    show(told, {3: 1.0, 4: 1.0})
    assert [tick.ts_us for tick in told.notes.ticks] == [us(19), us(20), us(3), us(4)]


def test_strategies_know_what_a_trade_pays_and_that_it_has_changed() -> None:
    pays = [80.0]
    told = told_by(payout=lambda: pays[0])
    show(told, {1: 1.0})
    pays[0] = 75.0
    show(told, {2: 1.0})
    assert told.place.desk.seats[0].view.payout_percent == 75.0


async def test_before_the_first_tick_strategies_are_shown_candles_until_then() -> None:
    asked: list[int] = []

    async def note(_: object, before_us: int) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(before_us)

    told = told_by(show_stored=note, is_warm=False)
    for at_s in (7, 8):
        await told.place.begin_with(tick_at(at_s, 1.0))
        show(told, {at_s: 1.0})
    assert asked == [us(7)]


async def test_after_we_were_away_strategies_start_over_with_candles_from_before() -> None:
    asked: list[int] = []

    async def note(_: object, before_us: int) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(before_us)

    told = told_by(show_stored=note)
    show(told, {1: 1.0})
    before = told.notes
    told.place.gap(gap_of(1, 100, Cause.STOPPED))
    await told.place.begin_with(tick_at(100, 1.0))
    show(told, {100: 1.0})
    assert asked == [us(1)]
    assert told.notes is not before
    assert [tick.ts_us for tick in told.notes.ticks] == [us(100)]


async def test_who_takes_a_seat_while_candles_are_read_is_shown_them_too() -> None:
    asked: list[int] = []

    async def note(place: DeskPlace, _: int) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(len(asked))
        if len(asked) == 1:  # settings are read again
            seats = [attrs.evolve(seat) for seat in place.desk.seats]
            place.replace(Desk(market=MARKET, seats=seats, book=place.desk.book, fence=no_fence))

    told = told_by(show_stored=note, is_warm=False)
    await told.place.begin_with(tick_at(1, 1.0))
    assert asked == [0, 1]
    assert told.place.is_warm


# --- crashes of the market's actor ----------------------------------------------------------------


class CrashesAtTwo:
    """A desk with a bug."""

    def __init__(self, told: Told) -> None:
        self._take = told.place.desk.take

    def __call__(self, tick: Tick) -> object:
        if tick.ts_us == us(2):
            raise ZeroDivisionError
        return self._take(tick)


def crash(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(told.place.desk), "take", CrashesAtTwo(told))
    with pytest.raises(ZeroDivisionError):
        show(told, {1: 1.0, 2: 1.0, 3: 1.0, 15: 1.5, 16: 1.5})
    monkeypatch.undo()


def test_a_crash_loses_no_trade_and_no_tick_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_by()
    told.place.place(sent(0.5, expiry_s=10))
    crash(told, monkeypatch)
    told.place.pick_up()
    assert [tick.ts_us for tick in told.notes.ticks] == [us(3), us(15), us(16)]
    assert [type(item) for item in told.items()][-1] is TradeSettled
    assert told.place.book.positions == ()


def test_after_a_crash_of_the_desk_its_strategies_start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_by()
    before = told.notes
    crash(told, monkeypatch)
    told.place.pick_up()
    assert told.notes is not before


def test_a_market_that_crashed_elsewhere_leaves_its_strategies_as_they_were() -> None:
    told = told_by()
    show(told, {1: 1.0})
    before = told.notes
    told.place.pick_up()
    assert told.notes is before


# --- a full mailbox -------------------------------------------------------------------------------


def test_a_wish_that_finds_no_room_is_refused() -> None:
    told = told_by(EveryCandle, bound=1)
    show(told, {1: 1.0, 11: 1.1, 21: 1.2, 31: 1.3})  # the first candle is partial
    assert [wish.ts_us for wish in told.busy] == [us(31)]
    assert len(told.items()) == 1


def test_an_outcome_that_finds_no_room_is_kept_and_told_later() -> None:
    told = told_by(bound=1)
    for number in range(1, 4):
        told.place.tell([OrderRefused(trade_id=number, at_us=0, cause="no_price")])
    found = []
    while items := told.items():
        found += [item.trade_id for item in items if isinstance(item, OrderRefused)]
    assert found == [1, 2, 3]


def test_a_wish_does_not_overtake_an_outcome_that_is_kept() -> None:
    told = told_by(EveryCandle, bound=1)
    refused = [OrderRefused(trade_id=number, at_us=0, cause="no_price") for number in (1, 2)]
    told.place.tell(refused)
    told.place.box.mailbox.get_nowait()  # there is room, but the second outcome waits for it
    show(told, {1: 1.0, 11: 1.1, 21: 1.2})
    assert len(told.busy) == 1
    told.place.offer()
    assert told.items() == [refused[1]]


# --- ticks that were lost on the way here ---------------------------------------------------------

OPEN_AND_LOST = {3.0: 1.2, 8.0: 1.3, 12.0: 1.1, 13.0: 1.0}


def lose(told: Told) -> list[Tick]:
    """Have a trade open, and the ticks lost that would settle it."""
    told.place.place(sent(0.5, expiry_s=10))
    show(told, {0.7: 1.0, 1.5: 1.1})
    lost = [tick_at(at_s, price) for at_s, price in OPEN_AND_LOST.items()]
    told.place.dropped(lost)
    return lost


def test_strategies_are_told_of_a_gap_where_ticks_were_lost() -> None:
    told = told_by()
    lose(told)
    show(told, {14: 1.0})
    assert told.notes.gaps == [Gap(MARKET, us(1.5), us(13) + 1, Cause.OVERFLOW)]
    assert told.lost == [told.place]


def test_what_is_lost_before_the_first_tick_is_read_from_there_and_not_from_the_beginning() -> None:
    told = told_by()
    told.place.dropped([tick_at(7, 1.0), tick_at(8, 1.0)])
    assert told.place.recovers_from_us == us(7) - 1


def test_a_trade_ends_by_the_ticks_that_were_lost_once_they_are_read() -> None:
    told = told_by()
    lost = lose(told)
    show(told, {14: 1.7})
    assert [type(item) for item in told.items()] == [TradeOpened]
    told.place.keep_tail()
    told.place.recover(lost)
    show(told, {15: 1.8})
    assert told.place.end_recovery()
    [settled] = told.items()
    assert isinstance(settled, TradeSettled)
    assert (settled.close_price, settled.state) == (1.3, TradeState.WON)


def test_a_trade_that_is_placed_meanwhile_is_not_lost() -> None:
    told = told_by()
    lost = lose(told)
    told.place.keep_tail()
    told.place.place(sent(14, trade_id=2, expiry_s=10))
    show(told, {14: 1.7, 15: 1.7, 26: 1.9})
    told.place.recover(lost)
    assert told.place.end_recovery()
    ended = [item.trade_id for item in told.items() if isinstance(item, TradeSettled)]
    assert ended == [1, 2]
    assert told.place.recovering is None


def test_what_is_lost_while_it_is_read_is_read_again() -> None:
    told = told_by()
    lost = lose(told)
    told.place.keep_tail()
    told.place.dropped([tick_at(16, 1.4)])
    told.place.recover(lost)
    assert not told.place.end_recovery()
    told.place.keep_tail()
    told.place.recover([*lost, tick_at(16, 1.4)])
    assert told.place.end_recovery()


def test_more_than_can_be_kept_meanwhile_is_read_again() -> None:
    told = told_by()
    lose(told)
    told.place.keep_tail()
    show(told, {14 + number / 100: 1.0 for number in range(1_100)})
    assert not told.place.end_recovery()
