import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import RemoteProtocolError
from domain.gaps import Gap, GapFill
from domain.market import PriceUpdate, Tick
from venues.filling import (
    MOST_PAGES,
    NOTE_LENGTH,
    SECOND_US,
    CandleFilling,
    Filling,
    Portion,
    TickFilling,
    Wish,
    stamped,
)
from venues.offers import HistoryPage, VenueCandle

MARKET = "EURUSD@sim"
MINUTE_US = 60 * SECOND_US
FAR_US = 2**62


def update(ts_us: int | None, seq: int | None = None, price: float = 1.0) -> PriceUpdate:
    return PriceUpdate("frxEURUSD", ts_us, seq, price)


def page(*ticks: PriceUpdate, through_us: int | None = FAR_US, reason: str = "") -> HistoryPage:
    return HistoryPage(7, ticks=ticks, through_us=through_us, reason=reason)


def gap(from_us: int, to_us: int, *, fill: str = "none", note: str = "") -> Gap:
    return Gap(MARKET, from_us, to_us, "disconnect", fill, note)


def tick_filling(from_us: int, to_us: int, *, begins_us: int = 0, reached_us: int = 0) -> TickFilling:
    return TickFilling(gap(from_us, to_us), begins_us=begins_us, reached_us=reached_us)


def times(portion: Portion) -> list[tuple[int, int]]:
    return [(tick.ts_us, tick.seq) for tick in portion.ticks]


def said(filling: Filling) -> tuple[str, str]:
    filled = filling.outcome()
    assert isinstance(filled, GapFill)
    return filled.fill, filled.note


# --- ticks ------------------------------------------------------------------------------------


def test_only_what_lies_strictly_inside_is_taken() -> None:
    filling = tick_filling(100, 200)
    assert filling.wish == Wish(100, 200, None)
    taken = filling.take(page(*map(update, (99, 100, 101, 199, 200, 201))), received_us=5)
    assert times(taken) == [(101, 0), (199, 0)]
    assert said(filling) == ("full", "2 ticks")
    assert filling.wish is None


def test_a_tick_says_where_it_comes_from() -> None:
    filled = PriceUpdate("frxEURUSD", 150, 12, 1.5, 1.4, 1.6, 2.0)
    [tick] = tick_filling(100, 200).take(page(filled), received_us=5).ticks
    assert tick == Tick(MARKET, 150, 12, 1.5, 1.4, 1.6, 2.0, 5, "backfill")


def test_the_next_page_is_asked_for_from_where_the_last_one_is_whole() -> None:
    filling = tick_filling(100, 200)
    # Of those at 130 only one came: they are asked for again.
    taken = filling.take(page(update(120), update(130), through_us=129), received_us=5)
    assert times(taken) == [(120, 0)]
    assert filling.wish == Wish(129, 200, None)
    assert said(filling) == ("partly", "1 tick up to 1970-01-01T00:00:00Z")
    taken = filling.take(page(update(130, price=1.0), update(130, price=2.0)), received_us=5)
    assert times(taken) == [(130, 0), (130, 1)]
    assert said(filling) == ("full", "3 ticks")


def test_a_quiet_time_is_filled_with_nothing() -> None:
    filling = tick_filling(100, 200)
    filling.take(page(through_us=199), received_us=5)
    assert said(filling) == ("full", "0 ticks")


def test_a_venue_that_has_nothing_says_why() -> None:
    filling = tick_filling(100, 200)
    filling.take(page(through_us=None, reason="no history of this market"), received_us=5)
    assert (filling.wish, said(filling)) == (None, ("not_available", "no history of this market"))


def test_what_a_venue_had_before_it_had_nothing_stays() -> None:
    filling = tick_filling(100, 200)
    filling.take(page(update(120), through_us=150), received_us=5)
    filling.take(page(through_us=None, reason="too long ago"), received_us=5)
    assert said(filling) == ("partly", "1 tick up to 1970-01-01T00:00:00Z; too long ago")


def test_answers_that_go_no_further_end_it() -> None:
    filling = tick_filling(100, 200)
    filling.take(page(update(150), through_us=100), received_us=5)
    assert (filling.wish, said(filling)) == (None, ("none", "the venue's answers go no further"))


def test_a_gap_takes_so_many_pages_and_no_more() -> None:
    filling = tick_filling(0, 10 * MOST_PAGES)
    pages = 0
    while (wish := filling.wish) is not None:
        pages += 1
        filling.take(page(update(wish.from_us + 1), through_us=wish.from_us + 1), received_us=5)
    assert pages == MOST_PAGES
    assert said(filling)[0] == "partly"


def test_what_lies_before_the_venues_history_is_not_said_to_be_filled() -> None:
    filling = tick_filling(100, 200, begins_us=150)
    assert filling.wish == Wish(150, 200, None)
    filling.take(page(update(120), update(160)), received_us=5)
    assert said(filling) == ("partly", "1 tick from 1970-01-01T00:00:00Z")


def test_a_gap_that_lies_before_the_venues_history_is_not_asked_for() -> None:
    filling = tick_filling(100, 200, begins_us=199)
    assert filling.wish is None
    assert said(filling) == ("not_available", "the venue's history does not go back so far")


def test_a_gap_that_was_filled_partly_goes_on() -> None:
    filling = TickFilling(gap(100, 200, fill="partly"), begins_us=0, reached_us=150)
    assert filling.wish == Wish(150, 200, None)
    filling.take(page(update(150), update(160)), received_us=5)
    assert said(filling) == ("full", "1 tick")


def test_what_was_filled_before_stays_so_when_nothing_new_comes() -> None:
    filling = TickFilling(gap(100, 200, fill="partly", note="as it was"), begins_us=0, reached_us=150)
    filling.give_up("it fails again and again")
    assert said(filling) == ("partly", "as it was")


def test_a_gap_that_nothing_is_known_of_stays_unfilled_and_says_why() -> None:
    filling = tick_filling(100, 200)
    filling.give_up("x" * 999 + "\0\udcff")
    assert filling.wish is None
    assert said(filling) == ("none", "x" * NOTE_LENGTH)


@pytest.mark.parametrize(
    "wrong",
    [update(None), update(-1), update(2**63), update(5, -1), update(5, price=math.nan), update(5, price=0.0)],
)
def test_a_page_with_a_tick_that_cannot_be_stored_changes_nothing(wrong: PriceUpdate) -> None:
    filling = tick_filling(100, 200)
    with pytest.raises(RemoteProtocolError):
        filling.take(page(update(150), wrong), received_us=5)
    assert filling.wish == Wish(100, 200, None)


def test_ticks_without_a_number_get_one_among_those_of_their_time() -> None:
    told = [update(5, price=2.0), update(4), update(5, price=1.0), update(5, price=2.0)]
    again = [update(5, price=2.0), update(5, price=1.0)]
    assert [tick[1:4] for tick in stamped(told, market=MARKET, received_us=0)] == [
        (4, 0, 1.0),
        (5, 0, 2.0),
        (5, 1, 1.0),
    ]
    assert stamped(again, market=MARKET, received_us=0) == stamped(told, market=MARKET, received_us=0)[1:]


def test_ticks_with_a_number_keep_it_and_come_once() -> None:
    told = [update(5, 8), update(5, 7), update(5, 8), update(4, 6)]
    assert [tick[1:3] for tick in stamped(told, market=MARKET, received_us=0)] == [(4, 6), (5, 7), (5, 8)]


# --- candles ----------------------------------------------------------------------------------


def candle(minute: float, *, high: float = 3.0) -> VenueCandle:
    return VenueCandle(round(minute * MINUTE_US), 1.0, high, 0.5, 2.0)


def candle_page(*candles: VenueCandle, through_us: int | None = FAR_US, reason: str = "") -> HistoryPage:
    return HistoryPage(7, candles=candles, through_us=through_us, reason=reason)


def candle_filling(
    from_us: int, to_us: int, *timeframes_s: int, begins_us: int = 0, fill: str = "none"
) -> CandleFilling:
    return CandleFilling(gap(from_us, to_us, fill=fill), begins_us=begins_us, timeframes_s=timeframes_s)


def test_only_candles_that_lie_wholly_inside_are_taken() -> None:
    filling = candle_filling(MINUTE_US, 4 * MINUTE_US, 60)
    assert filling.wish == Wish(2 * MINUTE_US - 1, 4 * MINUTE_US, 60)
    taken = filling.take(candle_page(*map(candle, range(6))), received_us=5)
    assert [each.open_us // MINUTE_US for each in taken.candles] == [2, 3]
    assert taken.candles[0][:3] == (MARKET, 60, 2 * MINUTE_US)
    assert said(filling) == ("candles", "2 candles of 60 s 1970-01-01T00:02:00Z to 1970-01-01T00:04:00Z")


def test_each_timeframe_is_asked_for() -> None:
    filling = candle_filling(0, 11 * MINUTE_US, 300, 60)
    wishes = []
    while (wish := filling.wish) is not None:
        wishes.append(wish.timeframe_s)
        filling.take(candle_page(candle(5)), received_us=5)
    assert wishes == [60, 300]
    assert said(filling) == (
        "candles",
        "1 candle of 60 s 1970-01-01T00:05:00Z to 1970-01-01T00:06:00Z; "
        "1 candle of 300 s 1970-01-01T00:05:00Z to 1970-01-01T00:10:00Z",
    )


def test_candles_come_page_by_page() -> None:
    filling = candle_filling(0, 5 * MINUTE_US, 60)
    filling.take(candle_page(candle(1), candle(2), through_us=2 * MINUTE_US), received_us=5)
    assert filling.wish == Wish(2 * MINUTE_US, 5 * MINUTE_US, 60)
    taken = filling.take(candle_page(candle(2), candle(3), candle(4)), received_us=5)
    assert [each.open_us // MINUTE_US for each in taken.candles] == [3, 4]
    assert said(filling)[1].startswith("4 candles")


def test_a_gap_that_is_shorter_than_a_candle_cannot_be_filled() -> None:
    filling = candle_filling(MINUTE_US + 1, 3 * MINUTE_US - 1, 60, 300)
    assert filling.wish is None
    assert said(filling) == ("not_available", "no whole candle of 60 s lies inside")


def test_a_venue_without_our_timeframes_is_not_asked() -> None:
    assert said(candle_filling(0, 9 * MINUTE_US)) == (
        "not_available",
        "the venue has no candles of our timeframes",
    )


@pytest.mark.parametrize("through_us", [None, FAR_US])
def test_where_no_candle_comes_there_is_none(through_us: int | None) -> None:
    filling = candle_filling(0, 5 * MINUTE_US, 60)
    filling.take(candle_page(through_us=through_us), received_us=5)
    assert said(filling) == ("not_available", "the venue has no candles of this time")


def test_candles_before_the_venues_history_are_not_asked_for() -> None:
    filling = candle_filling(0, 9 * MINUTE_US, 60, begins_us=4 * MINUTE_US + 1)
    assert filling.wish == Wish(5 * MINUTE_US - 1, 9 * MINUTE_US, 60)
    assert candle_filling(0, MINUTE_US, 60, begins_us=FAR_US).wish is None


@pytest.mark.parametrize(
    "wrong",
    [
        candle(1.5),
        candle(1, high=1.5),
        candle(1)._replace(low=0.0),
        candle(1)._replace(close=math.nan),
        candle(1)._replace(volume=-1.0),
        candle(1, high=math.inf),
        candle(-1),
    ],
)
def test_a_page_with_a_candle_that_is_none_changes_nothing(wrong: VenueCandle) -> None:
    filling = candle_filling(0, 5 * MINUTE_US, 60)
    before = filling.wish
    with pytest.raises(RemoteProtocolError):
        filling.take(candle_page(candle(2), wrong), received_us=5)
    assert filling.wish == before


# --- whatever the venue sends -----------------------------------------------------------------

Answers = Callable[[Wish], HistoryPage]

some_updates = st.lists(
    st.builds(
        update,
        st.integers(90, 210),
        st.none() | st.integers(0, 3),
        st.sampled_from([1.0, 2.0]),
    ),
    max_size=12,
)
some_pages = st.lists(
    st.builds(
        lambda ticks, through_us: page(*ticks, through_us=through_us),
        some_updates,
        st.none() | st.integers(90, 210),
    ),
    max_size=6,
)


@given(some_pages, st.integers(100, 150), st.integers(150, 200), st.integers(90, 200), st.integers(90, 200))
def test_whatever_comes_the_ticks_lie_inside_and_the_word_is_true(
    pages: Sequence[HistoryPage], from_us: int, to_us: int, begins_us: int, reached_us: int
) -> None:
    filling = tick_filling(from_us, to_us, begins_us=begins_us, reached_us=min(reached_us, to_us - 1))
    taken: list[Tick] = []
    whole_to_us = max(from_us, begins_us, min(reached_us, to_us - 1))
    for each in pages:
        if (wish := filling.wish) is None:
            break
        assert wish.from_us >= whole_to_us
        taken += filling.take(each, received_us=0).ticks
        whole_to_us = max(whole_to_us, each.through_us or 0)
    assert all(from_us < tick.ts_us < to_us for tick in taken)
    keys = [(tick.ts_us, tick.seq) for tick in taken]
    assert len(keys) == len(set(keys))
    if filling.outcome().fill == "full":
        assert whole_to_us >= to_us - 1
        assert begins_us <= from_us
