from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, open_store, stored_ticks
from storing import Storing

from domain.gaps import Gap, GapFill
from domain.market import HistoryCandle, Tick
from storage.payloads import Lane, Money
from storage.session import Session
from storage.unfilled import MOST_AT_ONCE, UNFILLED, unfilled_gaps

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
BASE_US = 1_700_000_100 * SECOND_US  # whole minutes
LATER_US = BASE_US + 3_600 * SECOND_US
MARKET = "EURUSD@sim"


def gap(from_us: int, to_us: int | None, cause: str = "disconnect", *, market: str = MARKET) -> Gap:
    return Gap(market, BASE_US + from_us, None if to_us is None else BASE_US + to_us, cause)


def filled(row: Gap, fill: str = "full", note: str = "3 ticks") -> GapFill:
    assert row.to_us is not None
    return GapFill(row.market, row.from_us, row.to_us, row.cause, fill, note)


def tick(at_us: int, *, price: float = 1.0, source: str = "live", market: str = MARKET) -> Tick:
    return Tick(market, BASE_US + at_us, 0, price, None, None, None, BASE_US + at_us, source)


def candle(minute: int, *, price: float = 7.0, timeframe_s: int = 60) -> HistoryCandle:
    open_us = BASE_US + minute * MINUTE_US
    return HistoryCandle(MARKET, timeframe_s, open_us, price, price, price, price, 2.0)


class Kept:
    """A journal and a database, and what is in the latter."""

    def __init__(self, folder: Path, database: AnyDatabase) -> None:
        self.run = Storing(folder, database.target)
        self.database = database

    def store(self, *lots: Money | Sequence[Tick], until_us: int | None = None) -> None:
        """Accept each lot as a batch of its own, and store them all."""
        self.run.accept(*lots)
        for lane in Lane:
            while self.run.has_work(lane):
                self.run.step(lane, until_us=until_us)

    def rows(self) -> list[tuple[int | None, str, str]]:
        return self.database.query("SELECT to_us, fill, fill_note FROM gap ORDER BY from_us")

    def candles(self) -> dict[int, tuple[float, float, int, int, str]]:
        rows = self.database.query("SELECT open_us, open, volume, ticks, complete, source FROM candle")
        return {(open_us - BASE_US) // MINUTE_US: tuple(rest) for open_us, *rest in rows}

    def unfilled(self, *, venue: str = "sim", since_us: int = 0) -> dict[Gap, int]:
        return self.run.pool.run(
            lambda session: committed(session, unfilled_gaps(session, venue=venue, since_us=since_us))
        )


def committed(session: Session, found: dict[Gap, int]) -> dict[Gap, int]:
    session.commit()
    return found


@pytest.fixture
def kept(tmp_path: Path, database: AnyDatabase) -> Iterator[Kept]:
    kept = Kept(tmp_path, database)
    yield kept
    kept.run.close()


# --- the word on a gap ------------------------------------------------------------------------


def test_a_filled_gap_says_so(kept: Kept) -> None:
    row = gap(10, 90)
    kept.store(Money(gaps=[row]), Money(fills=[filled(row)]))
    assert kept.rows() == [(row.to_us, "full", "3 ticks")]


def test_what_a_tracker_says_later_does_not_wipe_the_fill(kept: Kept) -> None:
    row = gap(10, 90)
    kept.store(Money(gaps=[row], fills=[filled(row)]))
    kept.store(Money(gaps=[row]))
    assert kept.rows() == [(row.to_us, "full", "3 ticks")]
    kept.store(Money(gaps=[gap(10, 40)]))
    assert kept.rows() == [(BASE_US + 40, "full", "3 ticks")]


def test_a_gap_that_becomes_longer_is_not_filled_any_more(kept: Kept) -> None:
    row = gap(10, 90)
    kept.store(Money(gaps=[row], fills=[filled(row)]))
    kept.store(Money(gaps=[gap(10, 99)]))
    assert kept.rows() == [(BASE_US + 99, "none", "")]


@pytest.mark.parametrize("later", [gap(10, 99), gap(10, None)])
@pytest.mark.parametrize("transactions", ["one", "two"])
def test_a_fill_of_what_the_gap_was_before_says_nothing(kept: Kept, later: Gap, transactions: str) -> None:
    row = gap(10, 90)
    lots = [Money(gaps=[row]), Money(gaps=[later]), Money(fills=[filled(row)])]
    if transactions == "one":
        kept.store(*lots)
    else:
        for lot in lots:
            kept.store(lot)
    assert kept.rows() == [(later.to_us, "none", "")]


def test_a_fill_makes_no_row(kept: Kept) -> None:
    kept.store(Money(fills=[filled(gap(10, 90))]))
    assert kept.rows() == []


def test_filling_one_gap_leaves_others_alone(kept: Kept) -> None:
    rows = [gap(10, 90), gap(10, 90, "stale"), gap(10, 90, market="B@sim"), gap(95, 99)]
    kept.store(Money(gaps=rows, fills=[filled(rows[0])]))
    assert sorted(fill for _, fill, _ in kept.rows()) == ["full", "none", "none", "none"]


# --- candles ----------------------------------------------------------------------------------


def test_candles_of_ticks_are_complete_once_their_gap_is_filled(kept: Kept) -> None:
    row = gap(5 * SECOND_US, 30 * SECOND_US)
    kept.store(Money(gaps=[row]), [tick(0), tick(40 * SECOND_US), tick(70 * SECOND_US)], until_us=LATER_US)
    assert kept.candles()[0] == (1.0, 0.0, 2, 0, "ticks")
    kept.store([tick(10 * SECOND_US, source="backfill")], until_us=LATER_US)
    assert kept.candles()[0] == (1.0, 0.0, 3, 0, "ticks")
    kept.store(Money(fills=[filled(row, "partly")]))
    assert kept.candles()[0] == (1.0, 0.0, 3, 0, "ticks")
    kept.store(Money(fills=[filled(row)]))
    assert kept.candles()[0] == (1.0, 0.0, 3, 1, "ticks")


def test_a_candle_computed_after_its_gap_was_filled_is_complete(kept: Kept) -> None:
    row = gap(5 * SECOND_US, 30 * SECOND_US)
    kept.store(Money(gaps=[row], fills=[filled(row)]), [tick(0), tick(40 * SECOND_US)], until_us=LATER_US)
    assert kept.candles()[0] == (1.0, 0.0, 2, 1, "ticks")


def test_a_venues_candle_stands_where_there_is_none(kept: Kept) -> None:
    kept.store(Money(candles=[candle(1), candle(2)]), Money(candles=[candle(2, price=8.0)]))
    assert kept.candles() == {1: (7.0, 2.0, 0, 1, "venue"), 2: (8.0, 2.0, 0, 1, "venue")}


def test_a_venues_candle_replaces_an_incomplete_one_and_no_other(kept: Kept) -> None:
    row = gap(MINUTE_US + 5, 2 * MINUTE_US)
    ticks = [tick(0), tick(MINUTE_US), tick(3 * MINUTE_US)]
    kept.store(Money(gaps=[row]), ticks, until_us=LATER_US)
    kept.database.query(
        "INSERT INTO candle "
        "(market_id, timeframe_s, open_us, open, high, low, close, ticks, volume, complete, source) "
        f"VALUES (1, 60, {BASE_US + 5 * MINUTE_US}, 1, 1, 1, 1, 9, 0, 0, 'imported')"
    )
    kept.store(Money(candles=[candle(0), candle(1), candle(5)]))
    assert kept.candles() == {
        0: (1.0, 0.0, 1, 1, "ticks"),
        1: (7.0, 2.0, 0, 1, "venue"),
        3: (1.0, 0.0, 1, 1, "ticks"),
        5: (1.0, 0.0, 9, 0, "imported"),
    }


def test_a_venues_candle_gives_way_to_a_complete_one_only(kept: Kept) -> None:
    row = gap(5 * SECOND_US, 4 * MINUTE_US)
    kept.store(Money(gaps=[row]), [tick(0), tick(10 * MINUTE_US)], until_us=LATER_US)
    kept.store(Money(candles=[candle(1)]))
    kept.store([tick(MINUTE_US, source="backfill")], until_us=LATER_US)
    assert kept.candles()[1] == (7.0, 2.0, 0, 1, "venue")
    kept.store(Money(fills=[filled(row)]))
    kept.store([tick(MINUTE_US + 5, source="backfill")], until_us=LATER_US)
    assert kept.candles()[1] == (1.0, 0.0, 2, 1, "ticks")


# --- what is not filled yet -------------------------------------------------------------------


def test_only_ended_trouble_of_the_venue_that_is_not_filled_is_found(kept: Kept) -> None:
    rows = [
        gap(10, 20),
        gap(30, 40, "stale"),
        gap(50, 51),
        gap(60, 70, "closed"),
        gap(60, 70, "clock"),
        gap(80, None),
        gap(10, 20, market="A@other"),
    ]
    done = [gap(100, 110), gap(120, 130), gap(140, 150)]
    words = [
        filled(each, fill) for each, fill in zip(done, ("full", "candles", "not_available"), strict=True)
    ]
    kept.store(Money(gaps=[*rows, *done], fills=words))
    assert list(kept.unfilled()) == [rows[1], rows[0]]  # the newest first
    assert list(kept.unfilled(since_us=BASE_US + 20)) == [rows[1]]
    assert list(kept.unfilled(venue="other")) == [rows[6]]


def test_a_partly_filled_gap_goes_on_just_before_its_last_tick(kept: Kept) -> None:
    row, other = gap(10, 90), gap(110, 190)
    ticks = [tick(at_us, source="backfill") for at_us in (20, 30, 40, 120)]
    words = [filled(row, "partly", "as it was")]
    kept.store(Money(gaps=[row, other], fills=words), [tick(10), *ticks, tick(90)])
    kept.store([tick(50, source="backfill", market="B@sim")])
    assert kept.unfilled() == {
        other: BASE_US + 110,
        row._replace(fill="partly", fill_note="as it was"): BASE_US + 39,
    }


def test_no_more_than_so_many_are_found(kept: Kept) -> None:
    rows = [gap(10 * n, 10 * n + 5) for n in range(MOST_AT_ONCE + 5)]
    kept.store(Money(gaps=rows))
    assert list(kept.unfilled()) == rows[:4:-1]


def test_old_gaps_are_not_read_on_sqlite(sqlite: SqliteDatabase) -> None:
    with open_store(sqlite.target) as store:
        plan = store.pool.run(
            lambda session: session.query(
                "EXPLAIN QUERY PLAN " + UNFILLED[session.dialect], ("sim", BASE_US, MOST_AT_ONCE)
            )
        )
    assert any("gap_ended (market_id=? AND to_us>?)" in row[-1] for row in plan)


def test_old_gaps_are_not_read_on_mariadb(mariadb: MariadbDatabase) -> None:
    with open_store(mariadb.target) as store:
        plan = store.pool.run(
            lambda session: session.query(
                "EXPLAIN " + UNFILLED[session.dialect], ("sim", BASE_US, MOST_AT_ONCE)
            )
        )
    assert [row[3] for row in plan if row[2] == "gap"] == ["range"]


# --- what fills gaps is no news ---------------------------------------------------------------


def test_backfilled_ticks_are_not_what_a_journal_ends_with(tmp_path: Path, sqlite: SqliteDatabase) -> None:
    kept = Kept(tmp_path, sqlite)
    kept.store([tick(90)], [tick(20, source="backfill")])
    found = kept.run.journal.open().found  # as the next start does
    kept.run.close()
    assert found.last_ticks[MARKET] == tick(90)
    assert [each.source for each in stored_ticks(sqlite)] == ["backfill", "live"]
