from collections.abc import Sequence
from pathlib import Path

import pytest
from databases import AnyDatabase, some_ticks
from filled import open_own
from storing import storing

from domain.gaps import Gap
from domain.market import Tick
from storage.past import PastCandle, Place, last_candles, past_gaps, past_ticks
from storage.payloads import Money

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
MARKET = "EURUSD@sim"


def keep(database: AnyDatabase, folder: Path, *lots: Sequence[Tick] | Money) -> None:
    """Store these, and the candles of all minutes that ended with them."""
    with storing(folder, database.target) as run:
        run.accept(*lots)
        run.store_all()


def tick(minute: int, second: int = 0, *, market: str = MARKET) -> Tick:
    at_us = minute * MINUTE_US + second * SECOND_US
    return Tick(market, at_us, 0, 1.0 + minute + second / 7, None, None, 1.0, at_us)


def candles(
    database: AnyDatabase, *, timeframe_s: int, before: int, count: int, stored_s: Sequence[int] = (60,)
) -> list[PastCandle]:
    with open_own(database.target) as session:
        return last_candles(
            session,
            market=MARKET,
            timeframe_s=timeframe_s,
            before_us=before * MINUTE_US + 5 * SECOND_US,
            count=count,
            stored_s=stored_s,
        )


def minutes(found: Sequence[PastCandle]) -> list[int]:
    return [each.candle.open_us // MINUTE_US for each in found]


# --- ticks and gaps ---------------------------------------------------------------------------------


def test_ticks_behind_a_place_come_in_order_a_page_at_a_time(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = [each._replace(seq=n % 2) for n, each in enumerate(some_ticks(markets=1, each=20))]
    mine = [each._replace(market=MARKET, ts_us=ticks[n - n % 2].ts_us) for n, each in enumerate(ticks)]
    keep(database, tmp_path, mine, some_ticks(markets=3, each=20))
    found: list[Tick] = []
    place: Place | None = (mine[4].ts_us, mine[4].seq)
    with open_own(database.target) as session:
        while place is not None:
            page = past_ticks(session, market=MARKET, after=place, limit=4)
            found += page.ticks
            place = page.next
    assert found == mine[5:]


def test_of_a_market_that_the_database_does_not_know_there_is_nothing(
    database: AnyDatabase, tmp_path: Path
) -> None:
    keep(database, tmp_path, [tick(1, market="eurusd@sim")])
    with open_own(database.target) as session:
        assert past_ticks(session, market=MARKET, after=(0, 0), limit=4).ticks == ()
        assert past_gaps(session, market=MARKET, from_us=0) == []
    assert candles(database, timeframe_s=60, before=9, count=5) == []


def test_gaps_that_reach_beyond_a_moment_are_found(database: AnyDatabase, tmp_path: Path) -> None:
    gaps = [
        Gap(MARKET, 1, 100, "stale"),
        Gap(MARKET, 50, 101, "disconnect"),
        Gap(MARKET, 60, None, "closed"),
        Gap(MARKET, 100, 120, "overflow"),
        Gap(MARKET, 300, 400, "downtime", "partly", "3 ticks"),
    ]
    keep(database, tmp_path, Money(gaps=[*gaps, Gap("GBPUSD@sim", 60, 500, "stale")]))
    with open_own(database.target) as session:
        assert past_gaps(session, market=MARKET, from_us=100) == gaps[1:]


# --- candles ----------------------------------------------------------------------------------------


def test_the_last_candles_that_had_ended_come_oldest_first(database: AnyDatabase, tmp_path: Path) -> None:
    keep(database, tmp_path, [tick(minute, second) for minute in range(10) for second in (1, 30, 50)])
    found = candles(database, timeframe_s=60, before=7, count=3)
    assert minutes(found) == [4, 5, 6]
    last = found[-1].candle
    assert (last.open, last.high, last.low, last.close) == (7 + 1 / 7, 7 + 50 / 7, 7 + 1 / 7, 7 + 50 / 7)
    assert (last.ticks, last.volume, last.timeframe_s, last.market) == (3, 3.0, 60, MARKET)


def test_a_quiet_market_has_no_candle_for_some_minutes(database: AnyDatabase, tmp_path: Path) -> None:
    keep(database, tmp_path, [tick(minute) for minute in (1, 2, 8, 20)])
    assert minutes(candles(database, timeframe_s=60, before=12, count=3)) == [1, 2, 8]


def test_a_candle_with_a_gap_in_it_says_so(database: AnyDatabase, tmp_path: Path) -> None:
    gap = Gap(MARKET, 3 * MINUTE_US + 1, 3 * MINUTE_US + 9, "stale")
    keep(database, tmp_path, Money(gaps=[gap]), [tick(minute, 30) for minute in range(9)])
    found = candles(database, timeframe_s=60, before=6, count=4)
    assert [each.complete for each in found] == [True, False, True, True]
    whole = candles(database, timeframe_s=120, before=6, count=2)
    assert (minutes(whole), [each.complete for each in whole]) == ([2, 4], [False, True])


@pytest.mark.parametrize(("before", "expected"), [(7, [0, 3]), (8, [0, 3]), (9, [3, 6]), (10, [3, 6])])
def test_a_timeframe_that_is_not_stored_is_put_together(
    database: AnyDatabase, tmp_path: Path, before: int, expected: list[int]
) -> None:
    keep(database, tmp_path, [tick(minute, second) for minute in range(12) for second in (1, 50)])
    found = candles(database, timeframe_s=180, before=before, count=2, stored_s=(7, 60, 3_600))
    assert minutes(found) == expected
    candle, first = found[-1].candle, expected[-1]
    assert (candle.timeframe_s, candle.ticks, candle.volume) == (180, 6, 6.0)
    assert (candle.open, candle.close) == (1 + first + 1 / 7, 3 + first + 50 / 7)
    assert (candle.high, candle.low) == (candle.close, candle.open)


def test_one_that_is_not_there_as_a_whole_is_left_out(database: AnyDatabase, tmp_path: Path) -> None:
    """More parts are asked for than the last ones have: the oldest candle would lack its beginning."""
    keep(database, tmp_path, [tick(minute) for minute in (0, 1, 2, 3, 5, 6, 7, 8, 11)])
    assert minutes(candles(database, timeframe_s=180, before=9, count=2)) == [3, 6]
    assert minutes(candles(database, timeframe_s=180, before=9, count=9)) == [0, 3, 6]


def test_a_timeframe_that_nothing_stored_divides_has_no_candles(
    database: AnyDatabase, tmp_path: Path
) -> None:
    keep(database, tmp_path, [tick(minute) for minute in range(9)])
    assert candles(database, timeframe_s=90, before=8, count=3) == []
