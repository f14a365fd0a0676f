from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.market import PriceUpdate, Tick
from domain.stamping import REMEMBERED_TIMES, Stamper

MARKET = "EURUSD@sim"
NOON = 1_700_000_000_000_000
SECOND = 1_000_000


def update(*, ts_us: int | None = None, seq: int | None = None, price: float = 1.1) -> PriceUpdate:
    return PriceUpdate("EURUSD", ts_us, seq, price)


def stamp(stamper: Stamper, *, at: int = NOON, ts_us: int | None = None, seq: int | None = None) -> Tick:
    tick = stamper.stamp(update(ts_us=ts_us, seq=seq), received_us=at)
    assert tick is not None
    return tick


# --- numbers ----------------------------------------------------------------------------------


def test_a_venues_own_time_and_number_are_kept() -> None:
    tick = stamp(Stamper(market=MARKET), ts_us=NOON - 5, seq=77)
    assert (tick.market, tick.ts_us, tick.seq, tick.received_us) == (MARKET, NOON - 5, 77, NOON)


def test_all_that_the_venue_told_is_kept() -> None:
    told = PriceUpdate("EURUSD", NOON, 1, 1.5, bid=1.4, ask=1.6, volume=3.0)
    tick = Stamper(market=MARKET).stamp(told, received_us=NOON)
    assert tick == Tick(MARKET, NOON, 1, 1.5, 1.4, 1.6, 3.0, NOON, "live")


def test_what_a_numbering_venue_sends_again_is_a_duplicate() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, seq=5)
    assert stamper.stamp(update(seq=5), received_us=NOON) is None
    assert stamper.stamp(update(seq=4), received_us=NOON) is None
    assert stamper.duplicates == 2


def test_a_duplicate_changes_nothing_else() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, seq=5)
    stamper.stamp(update(ts_us=NOON + SECOND, seq=5), received_us=NOON + SECOND)
    assert (stamper.last_ts_us, stamper.last_seq) == (NOON, 5)


def test_a_venues_first_number_may_be_zero() -> None:
    assert stamp(Stamper(market=MARKET), seq=0).seq == 0


def test_equal_prices_of_a_running_stream_are_kept() -> None:
    stamper = Stamper(market=MARKET)
    assert [stamp(stamper, ts_us=NOON).seq for _ in range(3)] == [0, 1, 2]
    assert stamper.duplicates == 0


def test_another_time_is_numbered_from_zero() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, ts_us=NOON)
    assert stamp(stamper, ts_us=NOON + 1).seq == 0


def test_a_time_that_comes_back_goes_on_counting() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, ts_us=NOON)
    stamp(stamper, ts_us=NOON + 1)
    assert stamp(stamper, ts_us=NOON).seq == 1


# --- the clock --------------------------------------------------------------------------------


def test_a_price_without_a_time_gets_that_of_its_receipt() -> None:
    assert stamp(Stamper(market=MARKET), at=NOON).ts_us == NOON


def test_a_clock_that_steps_back_two_seconds_is_not_believed() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, at=NOON)
    assert stamp(stamper, at=NOON - 2 * SECOND).ts_us == NOON
    assert stamper.clock_steps == 0


def test_a_clock_that_steps_back_further_is_believed_and_counted_once() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, at=NOON)
    assert stamp(stamper, at=NOON - 2 * SECOND - 1).ts_us == NOON - 2 * SECOND - 1
    stamp(stamper, at=NOON - 2 * SECOND)
    assert stamper.clock_steps == 1


def test_receipts_held_at_the_last_time_are_numbered() -> None:
    stamper = Stamper(market=MARKET)
    ticks = [stamp(stamper, at=at) for at in (NOON, NOON - 3, NOON - 2, NOON)]
    assert [(tick.ts_us, tick.seq) for tick in ticks] == [(NOON, 0), (NOON, 1), (NOON, 2), (NOON, 3)]


def test_received_is_what_the_clock_said_whatever_the_stamp() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, at=NOON)
    assert stamp(stamper, at=NOON - SECOND).received_us == NOON - SECOND


# --- the run before ---------------------------------------------------------------------------


def remembering(*, ts_us: int = NOON, seq: int = 7) -> Stamper:
    stamper = Stamper(market=MARKET)
    stamper.remember(Tick(MARKET, ts_us, seq, 1.1, None, None, None, ts_us))
    return stamper


def test_what_the_run_before_had_is_a_duplicate() -> None:
    stamper = remembering(seq=7)
    assert stamper.stamp(update(seq=7), received_us=NOON) is None
    assert stamp(stamper, seq=8).seq == 8


def test_the_number_of_an_imported_tick_makes_no_live_one_a_duplicate() -> None:
    stamper = Stamper(market=MARKET)
    stamper.remember(Tick(MARKET, NOON, 5_000_000, 1.1, None, None, None, NOON, "imported"))
    assert stamp(stamper, seq=7).seq == 7
    assert stamper.stamp(update(seq=7), received_us=NOON) is None


def test_numbers_of_equal_times_go_on_after_the_run_before() -> None:
    assert stamp(remembering(seq=7), ts_us=NOON).seq == 8


def test_what_is_remembered_after_the_first_tick_changes_nothing() -> None:
    stamper = Stamper(market=MARKET)
    stamp(stamper, seq=3)
    stamper.remember(Tick(MARKET, NOON + SECOND, 99, 1.1, None, None, None, NOON))
    assert stamp(stamper, seq=4).seq == 4


# --- for any stream ---------------------------------------------------------------------------

# Close together, so that equal times, small and large steps back all happen.
TIMES = st.integers(min_value=NOON - 3 * SECOND, max_value=NOON + 3 * SECOND) | st.sampled_from(
    [NOON, NOON + 1, NOON - 2 * SECOND]
)


@given(receipts=st.lists(TIMES, max_size=REMEMBERED_TIMES))
def test_receipts_never_collide(receipts: list[int]) -> None:
    stamper = Stamper(market=MARKET)
    keys = [(tick.ts_us, tick.seq) for tick in (stamp(stamper, at=at) for at in receipts)]
    assert len(set(keys)) == len(keys)


@given(stream=st.lists(st.tuples(TIMES, TIMES), max_size=REMEMBERED_TIMES))
def test_a_venues_times_never_collide(stream: list[tuple[int, int]]) -> None:
    stamper = Stamper(market=MARKET)
    keys = [(tick.ts_us, tick.seq) for tick in (stamp(stamper, at=at, ts_us=ts_us) for at, ts_us in stream)]
    assert len(set(keys)) == len(keys)


@given(numbers=st.lists(st.integers(min_value=0, max_value=20)))
def test_of_a_numbered_stream_exactly_the_rising_numbers_are_kept(numbers: list[int]) -> None:
    stamper = Stamper(market=MARKET)
    kept = [number for number in numbers if stamper.stamp(update(seq=number), received_us=NOON)]
    highest = -1
    rising = []
    for number in numbers:
        if number > highest:
            rising.append(number)
            highest = number
    assert kept == rising
    assert stamper.duplicates == len(numbers) - len(rising)


@given(receipts=st.lists(TIMES, min_size=1))
def test_time_only_runs_back_where_a_step_is_counted(receipts: list[int]) -> None:
    stamper = Stamper(market=MARKET)
    stamped = [stamp(stamper, at=at).ts_us for at in receipts]
    steps_back = sum(later < earlier for earlier, later in pairwise(stamped))
    assert steps_back == stamper.clock_steps
