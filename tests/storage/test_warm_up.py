from collections.abc import Sequence
from pathlib import Path

import pytest
from databases import AnyDatabase, SqliteDatabase
from filled import open_own
from storing import storing

from domain.gaps import Gap
from domain.market import Tick
from storage.past import PastCandle, last_candles
from storage.payloads import Money
from storage.warm_up import latest_candles

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
MARKET = "EURUSD@sim"


def tick(minute: int, second: int) -> Tick:
    at_us = minute * MINUTE_US + second * SECOND_US
    return Tick(MARKET, at_us, 0, 1.0 + (minute * 7 + second * 3) % 11, None, None, 2.0, at_us)


TICKS = [tick(minute, second) for minute in range(1, 6) for second in (0, 20, 40)]


def candles(
    database: AnyDatabase, *, before_us: int, count: int, frame_s: int = 60, stored_s: Sequence[int] = (60,)
) -> list[PastCandle]:
    with open_own(database.target) as session:
        return latest_candles(
            session,
            market=MARKET,
            timeframe_s=frame_s,
            before_us=before_us,
            count=count,
            stored_s=stored_s,
        )


def test_a_candle_that_is_not_stored_yet_is_made_as_it_will_be(database: AnyDatabase, tmp_path: Path) -> None:
    gap = Gap(MARKET, 3 * MINUTE_US + 40 * SECOND_US, 5 * MINUTE_US, "downtime")
    before_us = 6 * MINUTE_US + SECOND_US
    with storing(tmp_path, database.target) as run:
        run.accept(TICKS, Money(gaps=[gap]))
        run.store_all()
        early = candles(database, before_us=before_us, count=3)
        run.accept([tick(9, 0)])
        run.store_all()
    with open_own(database.target) as session:
        stored = last_candles(
            session, market=MARKET, timeframe_s=60, before_us=before_us, count=3, stored_s=(60,)
        )
    assert [each.candle.open_us // MINUTE_US for each in early] == [3, 4, 5]
    assert early == stored


def test_a_candle_that_has_not_ended_is_not_made(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    with storing(tmp_path, sqlite.target) as run:
        run.accept(TICKS)
        run.store_all()
    found = candles(sqlite, before_us=5 * MINUTE_US + 50 * SECOND_US, count=10)
    assert [each.candle.open_us // MINUTE_US for each in found] == [1, 2, 3, 4]


@pytest.mark.parametrize(("timeframe_s", "stored_s"), [(60, (300,)), (90, (60,)), (60, ())])
def test_of_a_timeframe_that_is_not_stored_there_are_none(
    sqlite: SqliteDatabase, tmp_path: Path, timeframe_s: int, stored_s: Sequence[int]
) -> None:
    with storing(tmp_path, sqlite.target) as run:
        run.accept(TICKS)
        run.store_all()
    found = candles(sqlite, before_us=9 * MINUTE_US, count=3, frame_s=timeframe_s, stored_s=stored_s)
    assert found == []


def test_of_a_market_without_prices_there_are_none(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    with storing(tmp_path, sqlite.target) as run:
        run.accept([tick(1, 0)._replace(market="GBPUSD@sim")])
        run.store_all()
    assert candles(sqlite, before_us=9 * MINUTE_US, count=3) == []
