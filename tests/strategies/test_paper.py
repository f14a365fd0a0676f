from decimal import Decimal

import attrs
import pytest
from dealing import book_with, gap_of, result_of, sent, show, tick_at, us

from domain.contracts import OpensAt, Tie
from domain.gaps import Gap
from domain.trades import OrderRefused, TradeOpened, TradeSettled, TradeState
from strategies.paper import Offer, find_refusal
from strategies.tick_ring import MOST_TICKS


def test_it_opens_at_the_latest_tick_by_its_opening_once_a_later_one_comes() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    assert show(book, {0.4: 1.1, 0.5: 1.2}) == []
    assert book.take(tick_at(0.6, 1.3)) == [
        TradeOpened(trade_id=1, at_us=us(0.64), opened_us=us(0.5), open_price=1.2, expires_us=us(60.5))
    ]


def test_of_equal_times_the_last_tick_counts() -> None:
    book = book_with(latency_us=0)
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    for seq, price in ((1, 1.1), (2, 1.2)):
        assert book.take(tick_at(0, price, seq=seq)) == ()
    [opened] = book.take(tick_at(1, 9.0))
    assert isinstance(opened, TradeOpened)
    assert opened.open_price == 1.2


def test_it_opens_at_the_first_tick_after_where_the_venue_has_it_so() -> None:
    book = book_with(opens_at=OpensAt.FIRST_AFTER)
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    assert show(book, {0.5: 1.1}) == []  # at its opening, not after it
    [opened] = show(book, {0.75: 1.2})
    assert isinstance(opened, TradeOpened)
    assert (opened.opened_us, opened.open_price) == (us(0.5), 1.2)


@pytest.mark.parametrize(
    ("direction", "close", "state"),
    [
        ("up", 1.1, TradeState.WON),
        ("up", 0.9, TradeState.LOST),
        ("down", 0.9, TradeState.WON),
        ("down", 1.1, TradeState.LOST),
        ("up", 1.0, TradeState.TIED),
    ],
)
def test_it_ends_at_the_latest_tick_by_its_expiry(direction: str, close: float, state: TradeState) -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0, direction=direction))
    show(book, {1: 5.0, 60.5: close})
    [settled] = book.take(tick_at(60.75, 7.0))
    assert isinstance(settled, TradeSettled)
    assert (settled.state, settled.close_price, settled.at_us) == (state, close, us(60.79))
    assert book.positions == ()


def test_a_tie_is_lost_where_the_venue_has_it_so() -> None:
    book = book_with(tie=Tie.LOST)
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    assert result_of(show(book, {1: 2.0, 60: 1.0, 61: 2.0})) is TradeState.LOST


def test_nothing_settles_twice() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    show(book, {1: 1.0, 60: 2.0, 61: 2.0})
    assert show(book, {62: 3.0, 600: 4.0}) == []


@pytest.mark.parametrize("late_s", [0.1, 1, 30, 59, 61, 90])
def test_a_late_order_has_the_result_of_a_prompt_one(late_s: float) -> None:
    prices = {0.25 * n: 1.0 + (n * 7919 % 101) / 1_000 for n in range(400)}
    prompt, late = book_with(), book_with()
    expected, found = list(prompt.take(tick_at(0, 1.0))), []
    prompt.place(sent(0))
    for at_s, price in prices.items():
        expected += prompt.take(tick_at(at_s, price))
        if at_s >= late_s and not found and not late.positions:
            found += late.place(sent(0))
        found += late.take(tick_at(at_s, price))
    assert [type(each) for each in expected] == [TradeOpened, TradeSettled]
    assert found == expected


def test_an_order_that_comes_when_its_ticks_are_forgotten_is_refused() -> None:
    book = book_with()
    for n in range(MOST_TICKS + 2):
        book.take(tick_at(n, 1.0))
    [refused] = book.place(sent(0))
    assert isinstance(refused, OrderRefused)
    assert refused.cause == "no_price"
    assert book.positions == ()


def test_an_open_one_whose_end_is_forgotten_is_void() -> None:
    book = book_with()
    for n in range(MOST_TICKS):
        book.take(tick_at(100 + n, 1.0))
    position = sent(0)
    trade = position.trade._replace(
        state=TradeState.OPEN, opened_us=us(0.5), open_price=1.0, expires_us=us(60.5)
    )
    assert result_of(book.place(attrs.evolve(position, trade=trade))) is TradeState.VOID


def test_a_late_tick_changes_nothing() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    show(book, {1: 1.0, 60: 1.5})
    assert show(book, {60.25: 1.5, 60.125: 0.5}) == []
    assert result_of(show(book, {61: 1.0})) is TradeState.WON


def test_a_tick_told_twice_counts_once() -> None:
    book = book_with(latency_us=0)
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    assert book.take(tick_at(0, 8.0)) == ()
    [opened] = book.take(tick_at(1, 2.0))
    assert isinstance(opened, TradeOpened)
    assert opened.open_price == 1.0


# --- gaps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_s", "to_s", "state"),
    [
        (50, 70, TradeState.VOID),
        (60.4, 60.6, TradeState.VOID),
        (60.5, 70, TradeState.WON),  # ends with the last tick before it
        (50, 60.5, TradeState.WON),  # ends with the first tick after it
        (10, 20, TradeState.WON),
        (61, 70, TradeState.WON),
    ],
)
def test_what_ends_inside_a_gap_is_void(from_s: float, to_s: float, state: TradeState) -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    outcomes = show(book, {1: 1.0, 5: 2.0, from_s: 2.0})
    outcomes += book.gap(gap_of(from_s, to_s))
    outcomes += show(book, {to_s: 2.0, 80: 2.0})
    assert result_of(outcomes) is state
    if state is TradeState.VOID:
        assert outcomes[-1].at_us == us(60.5)


def test_a_gap_does_not_count_before_a_tick_from_beyond_it() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    show(book, {1: 1.0, 55: 2.0})
    assert book.gap(gap_of(55, 70)) == ()
    assert book.gap(gap_of(55, 59)) == ()  # it is shortened: a tick came after all
    assert result_of(show(book, {59: 0.5, 61: 3.0})) is TradeState.LOST


def test_a_gap_told_after_later_ticks_counts_at_once() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    show(book, {1: 1.0, 59: 2.0})
    book.take(tick_at(60.5, 2.0))
    assert result_of(list(book.gap(gap_of(60, 60.5))) + show(book, {61: 1.0})) is TradeState.WON
    book.place(sent(61, trade_id=2, expiry_s=5))
    show(book, {62: 1.0, 66.25: 1.0})
    assert result_of(list(book.gap(gap_of(66, 66.25))) + show(book, {67: 1.0})) is TradeState.TIED


@pytest.mark.parametrize("opens_at", OpensAt)
def test_what_would_open_inside_a_gap_is_refused(opens_at: OpensAt) -> None:
    book = book_with(opens_at=opens_at)
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    book.gap(gap_of(0, 30))
    [refused] = show(book, {30: 1.0})
    assert isinstance(refused, OrderRefused)
    assert (refused.cause, refused.at_us) == ("no_price", us(0.5))


def test_a_first_tick_from_beyond_a_gap_is_no_opening_price() -> None:
    book = book_with(opens_at=OpensAt.FIRST_AFTER)
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    show(book, {0.5: 1.0})
    book.gap(gap_of(0.5, 30))
    [refused] = show(book, {30: 1.0})
    assert isinstance(refused, OrderRefused)


def test_one_over_another_and_the_end_of_both() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    book.place(sent(0))
    book.place(sent(0, trade_id=2, expiry_s=30))
    show(book, {1: 1.0, 20: 2.0})
    book.gap(gap_of(20, 40, "disconnect"))
    book.gap(gap_of(25, 70, "stopped"))
    outcomes = show(book, {70: 2.0})
    assert [(each.trade_id, each.at_us) for each in outcomes] == [(1, us(60.5)), (2, us(30.5))]
    assert {each.state for each in outcomes if isinstance(each, TradeSettled)} == {TradeState.VOID}


def test_an_open_gap_ends_what_has_passed_by_then_and_no_more() -> None:
    book = book_with()
    book.take(tick_at(0, 1.0))
    for trade_id, expiry_s in ((1, 10), (2, 30), (3, 60)):
        book.place(sent(0, trade_id=trade_id, expiry_s=expiry_s))
    show(book, {1: 1.0, 20: 2.0})
    open_gap = Gap("EURUSD@sim", us(20), None, "disconnect")
    assert book.expire(open_gap, until_us=us(30)) == []
    [void] = book.expire(open_gap, until_us=us(40))
    assert (void.trade_id, void.at_us) == (2, us(30.5))
    [position] = book.positions
    assert position.trade.id == 3
    assert result_of(show(book, {50: 2.0, 70: 2.0})) is TradeState.WON


def test_in_a_time_that_is_told_twice_nothing_opens() -> None:
    book = book_with()
    book.take(tick_at(100, 1.0))
    book.place(sent(100, expiry_s=30))
    show(book, {101: 1.0, 105: 1.0})
    assert book.gap(gap_of(80, 105, "clock")) == []
    show(book, {80: 1.0, 85: 1.0})
    [refused] = book.place(sent(85, trade_id=2))
    assert isinstance(refused, OrderRefused)
    assert result_of(show(book, {104: 1.0, 105: 2.0, 131: 2.0})) is TradeState.WON


# --- what the venue refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "cause"),
    [
        (Offer(payout_percent=80.0), None),
        (Offer(payout_percent=80.0, least_stake=Decimal(10), most_stake=Decimal(10)), None),
        (Offer(payout_percent=80.0, is_open=False), "closed"),
        (Offer(payout_percent=None), "payout"),
        (Offer(payout_percent=0.0), "payout"),
        (Offer(payout_percent=80.0, least_stake=Decimal("10.01")), "stake"),
        (Offer(payout_percent=80.0, most_stake=Decimal("9.99")), "stake"),
    ],
)
def test_an_order_is_refused_as_the_venue_would(offer: Offer, cause: str | None) -> None:
    refused = find_refusal(sent(0), offer, at_us=7)
    assert (refused and refused.cause) == cause
    assert refused is None or refused.at_us == 7
