import contextlib
import functools
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from databases import AnyDatabase, MariadbDatabase, OpenStore, open_store
from expected_candles import SECOND_US, Candles, candles_of, overlaps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.clock import now_us
from domain.market import CandleBuilder, Tick
from storage import candles
from storage.batches import insert_ticks_mysql, insert_ticks_sqlite, with_new_markets
from storage.candles import CandleKeeper, GapTimes, gaps_changed
from storage.session import Dialect, Session

MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US
BASE_US = 1_700_000_100 * SECOND_US  # whole minutes and whole five minutes
LATER_US = BASE_US + DAY_US
NO_IDS: dict[str, int] = {}

SELECT_CANDLES = """
    SELECT symbol, timeframe_s, open_us, open, high, low, close, ticks, volume, complete
    FROM candle JOIN market ON market.id = candle.market_id
"""


def tick(market: int, at_us: int, seq: int = 0, price: float = 1.0, volume: float | None = None) -> Tick:
    """A tick of market `M<market>@sim`, `at_us` after BASE_US."""
    ts_us = BASE_US + at_us
    return Tick(f"M{market}@sim", ts_us, seq, price, None, None, volume, ts_us)


def insert_ticks(session: Session, ticks: Sequence[Tick]) -> dict[str, int]:
    ids = with_new_markets(session, ids=NO_IDS, markets={each.market for each in ticks})
    insert = insert_ticks_mysql if session.dialect is Dialect.MYSQL else insert_ticks_sqlite
    insert(session, ticks=ticks, ids=ids)
    return ids


def in_a_transaction(session: Session, sql: str) -> list[tuple[Any, ...]]:
    rows = session.query(sql)
    session.commit()
    return rows


class Keeping:
    """What the writer does with a keeper, on this thread."""

    def __init__(self, store: OpenStore, *, timeframes_s: Sequence[int] = (60, 300)) -> None:
        self.store = store
        self.timeframes_s = timeframes_s
        self.keeper = CandleKeeper(timeframes_s=timeframes_s)
        self.kept_from_us = 0
        self.statements = 0  # of the last update alone
        self.through_us: Mapping[int, int] = dict.fromkeys(timeframes_s, 0)

    def put(self, ticks: Sequence[Tick] = (), *, until_us: int, end: str = "COMMIT") -> None:
        """One transaction of the writer; with `end="ROLLBACK"`, one that failed."""
        self.store.pool.run(functools.partial(self._put, ticks=ticks, until_us=until_us, end=end))

    def catch_up(self, *, until_us: int) -> int:
        """Do what is due, and return in how many transactions."""
        for n in itertools.count():
            if not self.keeper.is_due(until_us=until_us):
                return n
            assert n < 1_000, "it never ends"
            self.put(until_us=until_us)
        raise AssertionError

    def set_gaps(self, *gaps: tuple[str, int, int | None], fill: str = "none") -> None:
        """Insert or change rows of `gap`: market, from_us, to_us."""
        self.store.pool.run(functools.partial(self._set_gaps, gaps=gaps, fill=fill))

    def stored(self) -> Candles:
        rows = self.store.pool.run(lambda session: in_a_transaction(session, SELECT_CANDLES))
        return {
            (f"{symbol}@sim", timeframe_s, open_us): tuple(row) for symbol, timeframe_s, open_us, *row in rows
        }

    def _put(self, session: Session, *, ticks: Sequence[Tick], until_us: int, end: str) -> None:
        session.begin()
        ids = insert_ticks(session, ticks)
        before = self.store.driver.counts.statements
        progress = self.keeper.update(
            session, ticks=ticks, ids=ids, until_us=until_us, kept_from_us=self.kept_from_us
        )
        self.statements = self.store.driver.counts.statements - before
        session.execute(end)
        if end == "COMMIT":
            self.keeper.keep(progress)
            self.through_us = progress.through_us

    def _set_gaps(self, session: Session, *, gaps: Sequence[tuple[str, int, int | None]], fill: str) -> None:
        session.begin()
        ids = with_new_markets(session, ids=NO_IDS, markets={market for market, _, _ in gaps})
        changed: list[GapTimes] = []
        for market, from_us, to_us in gaps:
            key = (ids[market], from_us)
            session.execute("DELETE FROM gap WHERE market_id = ? AND from_us = ?", key)
            session.execute(
                "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) "
                "VALUES (?, ?, ?, 'stale', ?, '')",
                (*key, to_us, fill),
            )
            changed.append((*key, to_us))
        before = self.store.driver.counts.statements
        gaps_changed(session, gaps=changed, timeframes_s=self.timeframes_s)
        self.statements = self.store.driver.counts.statements - before
        session.commit()


@contextlib.contextmanager
def keeping(database: AnyDatabase, *, timeframes_s: Sequence[int] = (60, 300)) -> Iterator[Keeping]:
    with open_store(database.target, read_timeout_s=30.0) as store:
        yield Keeping(store, timeframes_s=timeframes_s)


def walk(*, markets: int, seconds: int, from_us: int = 0, every_us: int = SECOND_US // 2) -> list[Tick]:
    """Ticks in order of time, of all markets in turn, that never stand still."""
    numbers = random.Random(7)
    return [
        tick(
            market,
            at_us + market,
            price=numbers.randrange(1, 10_000) / 64,
            volume=numbers.choice([None, 0.25, 3.0]),
        )
        for at_us in range(from_us, from_us + seconds * SECOND_US, every_us)
        for market in range(markets)
    ]


# --- what is computed -------------------------------------------------------------------------


def test_candles_of_ticks_in_order_are_stored(database: AnyDatabase) -> None:
    ticks = walk(markets=3, seconds=900, every_us=7 * SECOND_US)
    with keeping(database) as kept:
        for start in range(0, len(ticks), 20):
            part = ticks[start : start + 20]
            kept.put(part, until_us=part[-1].ts_us)
        kept.catch_up(until_us=LATER_US)
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300))
        assert len(kept.stored()) == 3 * (15 + 3)


def test_they_equal_the_live_candles(database: AnyDatabase) -> None:
    ticks = walk(markets=1, seconds=600)
    with keeping(database) as kept:
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        stored = kept.stored()
    builder = CandleBuilder(market="M0@sim", timeframe_s=60)
    live = [candle for candle in map(builder.add, ticks) if candle is not None]
    assert len(live) == 8  # all but the first, which may be partial, and the last, which is open
    for each in live:
        row = (each.open, each.high, each.low, each.close, each.ticks, each.volume, 1)
        assert stored[each.market, 60, each.open_us] == row


def test_first_and_last_tick_are_told_apart_by_seq_where_their_time_is_the_same(
    database: AnyDatabase,
) -> None:
    ticks = [tick(0, 5, seq, price) for seq, price in ((2, 2.0), (0, 3.0), (9, 4.0), (1, 5.0))]
    with keeping(database) as kept:
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        assert kept.stored()["M0@sim", 60, BASE_US] == (3.0, 5.0, 2.0, 4.0, 4, 0.0, 1)


def test_an_interval_takes_its_first_microsecond_and_not_its_end(database: AnyDatabase) -> None:
    ticks = [
        tick(0, at_us, price=price)
        for at_us, price in ((-1, 1.0), (0, 2.0), (MINUTE_US - 1, 3.0), (MINUTE_US, 4.0))
    ]
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        opens = {open_us - BASE_US: row[:4] for (_, _, open_us), row in kept.stored().items()}
    assert opens == {
        -MINUTE_US: (1.0, 1.0, 1.0, 1.0),
        0: (2.0, 3.0, 2.0, 3.0),
        MINUTE_US: (4.0, 4.0, 4.0, 4.0),
    }


def test_an_interval_is_not_computed_before_it_has_ended_and_a_grace_has_passed(
    database: AnyDatabase,
) -> None:
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put([tick(0, 5)], until_us=BASE_US + 10)
        end_us = BASE_US + MINUTE_US + candles.GRACE_US
        kept.put(until_us=end_us - 1)
        assert not kept.keeper.is_due(until_us=end_us - 1)
        assert kept.stored() == {}
        assert kept.keeper.is_due(until_us=end_us)
        kept.put(until_us=end_us)
        assert not kept.keeper.is_due(until_us=end_us)
        assert list(kept.stored()) == [("M0@sim", 60, BASE_US)]


def test_a_late_tick_changes_the_candle_in_its_own_transaction(database: AnyDatabase) -> None:
    ticks = walk(markets=2, seconds=600)
    late = [tick(0, 61 * SECOND_US + 3, price=999.0), tick(1, 599 * SECOND_US + 3, price=0.001, volume=8.0)]
    with keeping(database) as kept:
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.put(late, until_us=LATER_US)
        assert kept.stored() == candles_of(ticks + late, timeframes_s=(60, 300))


def test_a_tick_that_comes_late_leaves_the_candles_of_other_markets_alone(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.put([tick(0, 5), tick(1, 5)], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        database.query("UPDATE candle SET ticks = 77")
        kept.put([tick(0, 6)], until_us=LATER_US)
        assert {key: row[4] for key, row in kept.stored().items()} == {
            ("M0@sim", 60, BASE_US): 2,
            ("M0@sim", 300, BASE_US): 2,
            ("M1@sim", 60, BASE_US): 77,
            ("M1@sim", 300, BASE_US): 77,
        }


def test_a_day_backfilled_for_one_market_is_recomputed_in_one_statement_a_timeframe(
    database: AnyDatabase,
) -> None:
    day = [tick(0, n * 20 * SECOND_US, price=1 + n / 64) for n in range(4_320)]
    with keeping(database) as kept:
        kept.put([tick(1, 5)], until_us=LATER_US + DAY_US)
        kept.catch_up(until_us=LATER_US + DAY_US)
        kept.put(day, until_us=LATER_US + DAY_US)
        assert kept.statements == 2
        assert kept.stored() == candles_of(
            [*day, tick(1, 5)], timeframes_s=(60, 300), until_us=LATER_US + DAY_US
        )


# --- where it goes on -------------------------------------------------------------------------


def test_a_restart_goes_on_where_the_stored_candles_end(database: AnyDatabase) -> None:
    ticks = walk(markets=2, seconds=1_200, every_us=11 * SECOND_US)
    with keeping(database) as kept:
        kept.put(ticks[:100], until_us=ticks[99].ts_us)
        kept.catch_up(until_us=ticks[99].ts_us)
    with keeping(database) as restarted:
        restarted.put(ticks[100:], until_us=LATER_US)
        restarted.catch_up(until_us=LATER_US)
        assert restarted.stored() == candles_of(ticks, timeframes_s=(60, 300))


def test_a_restart_computes_no_old_candle_again(database: AnyDatabase) -> None:
    ticks = walk(markets=2, seconds=1_200, every_us=11 * SECOND_US)
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        database.query("UPDATE candle SET ticks = 77")
        kept.keeper.forget()
        kept.catch_up(until_us=LATER_US)
        recomputed = {open_us for (_, _, open_us), row in kept.stored().items() if row[4] != 77}
    assert recomputed == {BASE_US + 19 * MINUTE_US}


def test_a_restart_that_lags_behind_lets_no_late_tick_wait_for_the_next_restart(
    database: AnyDatabase,
) -> None:
    ticks = [tick(0, 0), tick(0, MINUTE_US), tick(0, 1)]
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put(ticks[:2], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.keeper.forget()
        kept.put(ticks[2:], until_us=BASE_US)
        kept.keeper.forget()
        kept.catch_up(until_us=LATER_US)
        assert kept.stored() == candles_of(ticks, timeframes_s=[60])


def test_a_database_of_version_1_gets_all_its_candles_in_slices(
    database: AnyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candles, "BUDGET_S", 0.0)  # one statement an update
    ticks = walk(markets=3, seconds=4 * 3_600, every_us=60 * SECOND_US)
    with keeping(database) as kept:
        kept.store.pool.run(lambda session: (session.begin(), insert_ticks(session, ticks), session.commit()))
        assert kept.catch_up(until_us=LATER_US) > 5
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300))


def test_two_months_of_nothing_are_passed_over(database: AnyDatabase) -> None:
    ticks = [tick(0, 5), tick(0, 60 * DAY_US)]
    until_us = BASE_US + 120 * DAY_US
    with keeping(database) as kept:
        kept.put(ticks, until_us=BASE_US)
        before = kept.store.driver.counts.statements
        kept.catch_up(until_us=until_us)
        assert kept.store.driver.counts.statements - before < 40
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300), until_us=until_us)


def test_ticks_of_clocks_that_are_years_wrong_cost_a_few_statements(database: AnyDatabase) -> None:
    ticks = [tick(0, 5 - BASE_US), tick(1, 5), tick(0, 80 * 365 * DAY_US)]
    with keeping(database) as kept:
        kept.put(ticks, until_us=ticks[-1].ts_us)
        before = kept.store.driver.counts.statements
        kept.catch_up(until_us=ticks[-1].ts_us)
        assert kept.store.driver.counts.statements - before < 40
        assert max(kept.through_us.values()) <= now_us()  # else all ticks from now on were late ones
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300), until_us=now_us())


def test_a_candle_of_the_future_does_not_hide_the_present_from_a_restart(database: AnyDatabase) -> None:
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put([tick(0, 5), tick(0, DAY_US)], until_us=LATER_US + DAY_US)
        kept.catch_up(until_us=LATER_US + DAY_US)
        kept.keeper.forget()  # and our clock was set right
        kept.put([tick(0, MINUTE_US)], until_us=BASE_US + 5 * MINUTE_US)
        kept.catch_up(until_us=BASE_US + 5 * MINUTE_US)
        assert ("M0@sim", 60, BASE_US + MINUTE_US) in kept.stored()


def test_nothing_is_due_in_an_empty_database(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.catch_up(until_us=LATER_US)
        assert kept.stored() == {}


def test_what_was_rolled_back_is_computed_again(database: AnyDatabase) -> None:
    ticks = walk(markets=2, seconds=300)
    with keeping(database) as kept:
        kept.put(ticks[:10], until_us=BASE_US)
        kept.put(ticks[10:], until_us=LATER_US, end="ROLLBACK")
        assert kept.stored() == {}
        assert kept.keeper.is_due(until_us=LATER_US)
        kept.put(ticks[10:], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300))


def test_a_clock_that_goes_back_undoes_nothing(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.put([tick(0, 5)], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.put([tick(0, 6)], until_us=BASE_US)
        assert not kept.keeper.is_due(until_us=BASE_US)
        assert kept.stored() == candles_of([tick(0, 5), tick(0, 6)], timeframes_s=(60, 300))


# --- only inside the kept ticks ---------------------------------------------------------------


def test_candles_that_begin_before_the_kept_ticks_stay_as_they_are(database: AnyDatabase) -> None:
    ticks = walk(markets=1, seconds=600)
    with keeping(database) as kept:
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.kept_from_us = BASE_US + 90 * SECOND_US
        database.query(f"DELETE FROM tick WHERE ts_us < {kept.kept_from_us}")
        late = [
            tick(0, at_us, price=999.0)
            for at_us in (61 * SECOND_US + 1, 91 * SECOND_US + 1, 121 * SECOND_US + 1)
        ]
        kept.put(late, until_us=LATER_US)
        changed = candles_of(ticks + late, timeframes_s=(60, 300), from_us=kept.kept_from_us)
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300)) | changed


def test_an_interval_that_is_kept_only_in_part_gets_no_candle(database: AnyDatabase) -> None:
    ticks = walk(markets=1, seconds=600)
    with keeping(database) as kept:
        kept.kept_from_us = BASE_US + 90 * SECOND_US
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        assert kept.stored() == candles_of(ticks, timeframes_s=(60, 300), from_us=kept.kept_from_us)


def test_ticks_kept_from_later_than_now_make_nothing_due_for_ever(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.kept_from_us = LATER_US + 1
        kept.put([tick(0, 5)], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        assert kept.stored() == {}


# --- gaps -------------------------------------------------------------------------------------

EDGES = [-2, -1, 0, 1, MINUTE_US - 2, MINUTE_US - 1, MINUTE_US, MINUTE_US + 1]
ALL_GAPS = [
    (from_us, to_us) for from_us in EDGES for to_us in (*EDGES, None) if to_us is None or to_us > from_us
]


@pytest.mark.parametrize("order", ["gaps first", "candles first"])
def test_a_candle_is_complete_where_no_gap_overlaps_it(database: AnyDatabase, order: str) -> None:
    ticks = [tick(market, 5) for market in range(len(ALL_GAPS))]
    gaps = [
        (f"M{market}@sim", BASE_US + from_us, None if to_us is None else BASE_US + to_us)
        for market, (from_us, to_us) in enumerate(ALL_GAPS)
    ]
    with keeping(database, timeframes_s=[60]) as kept:
        if order == "gaps first":
            kept.set_gaps(*gaps)
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        if order == "candles first":
            kept.set_gaps(*gaps)
        complete = [kept.stored()[each.market, 60, BASE_US][-1] for each in ticks]
    expected = [int(not overlaps(gap, open_us=0, end_us=MINUTE_US)) for gap in ALL_GAPS]
    assert complete == expected
    assert 0 < sum(expected) < len(expected)


def test_candles_computed_while_a_gap_was_open_are_complete_after_it_closed_before_them(
    database: AnyDatabase,
) -> None:
    ticks = walk(markets=2, seconds=900)
    with keeping(database) as kept:
        kept.set_gaps(("M0@sim", BASE_US + 30 * SECOND_US, None))
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        assert sum(row[-1] for row in kept.stored().values()) == 15 + 3  # M1's
        gap = ("M0@sim", BASE_US + 30 * SECOND_US)
        kept.set_gaps((*gap, BASE_US + 150 * SECOND_US))
        assert kept.stored() == candles_of(
            ticks, timeframes_s=(60, 300), gaps={gap: BASE_US + 150 * SECOND_US}
        )


def test_a_thousand_changed_gaps_cost_at_most_two_statements(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.put([tick(market, 5) for market in range(1_000)], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.set_gaps(*((f"M{market}@sim", BASE_US + market, None) for market in range(1_000)))
        assert kept.statements <= 2
        assert {row[-1] for row in kept.stored().values()} == {0}


def test_without_changed_gaps_there_is_no_statement(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.set_gaps()
        assert kept.statements == 0


# --- candles that are not ours ----------------------------------------------------------------


@pytest.mark.parametrize("source", ["venue", "imported"])
@pytest.mark.parametrize("how", ["in time", "late"])
def test_a_foreign_candle_gives_way_only_to_a_complete_one(
    database: AnyDatabase, source: str, how: str
) -> None:
    ticks = [tick(0, 5, price=3.0), tick(1, 5, price=3.0)]
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put([tick(0, -1), tick(1, -1)], until_us=LATER_US if how == "late" else BASE_US)
        kept.catch_up(until_us=LATER_US if how == "late" else BASE_US)
        kept.set_gaps(("M0@sim", BASE_US + 6, BASE_US + 8))
        foreign = f"60, {BASE_US}, 9, 9, 9, 9, 9, 9, 1, '{source}'"
        for (market,) in database.query("SELECT id FROM market"):
            database.query(f"INSERT INTO candle VALUES ({market}, {foreign})")
        kept.put(ticks, until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.keeper.forget()  # nor does the next run think otherwise
        kept.catch_up(until_us=LATER_US)
    rows = database.query(
        "SELECT symbol, open, high, low, close, ticks, volume, complete, source FROM candle "
        f"JOIN market ON market.id = market_id WHERE open_us = {BASE_US} ORDER BY symbol"
    )
    assert rows == [("M0", 9, 9, 9, 9, 9, 9, 1, source), ("M1", 3, 3, 3, 3, 1, 0, 1, "ticks")]


def test_an_incomplete_candle_from_ticks_is_replaced_by_an_incomplete_one(database: AnyDatabase) -> None:
    with keeping(database, timeframes_s=[60]) as kept:
        kept.set_gaps(("M0@sim", BASE_US + 10, BASE_US + 20))
        kept.put([tick(0, 5)], until_us=LATER_US)
        kept.catch_up(until_us=LATER_US)
        kept.put([tick(0, 6, price=4.0)], until_us=LATER_US)
        assert kept.stored()["M0@sim", 60, BASE_US] == (1.0, 4.0, 1.0, 4.0, 2, 0.0, 0)


def test_the_gaps_do_not_judge_foreign_candles(database: AnyDatabase) -> None:
    with keeping(database, timeframes_s=[60]) as kept:
        kept.put([tick(0, -1)], until_us=BASE_US)
        database.query(f"INSERT INTO candle VALUES (1, 60, {BASE_US}, 9, 9, 9, 9, 9, 9, 1, 'venue')")
        kept.set_gaps(("M0@sim", BASE_US, None))
        assert kept.stored()["M0@sim", 60, BASE_US][-1] == 1


# --- what it costs ----------------------------------------------------------------------------


def test_two_statements_a_timeframe_when_it_is_due_and_none_when_not(database: AnyDatabase) -> None:
    with keeping(database) as kept:
        kept.catch_up(until_us=BASE_US)
        for at_us in range(0, 900 * SECOND_US, 2 * SECOND_US):
            now = BASE_US + at_us
            due = [at_us % span_us == candles.GRACE_US for span_us in (MINUTE_US, 5 * MINUTE_US)]
            kept.put([tick(market, at_us) for market in range(3)], until_us=now)
            assert kept.statements <= 2 * sum(due)
        assert len(kept.stored()) == 3 * (14 + 2)


def key_reads(session: Session) -> int:
    rows = session.query("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(value) for _, value in rows)


@pytest.mark.parametrize("markets", [1_000, 4_500])  # 4,500: more than one statement takes
def test_mariadb_reads_only_the_interval_and_not_whole_markets(
    mariadb: MariadbDatabase, markets: int
) -> None:
    old = [
        tick(market, n * SECOND_US - DAY_US) for n in range(60_000 // markets) for market in range(markets)
    ]
    new = [tick(market, n) for n in range(2) for market in range(markets)]
    with keeping(mariadb, timeframes_s=[60]) as kept:
        kept.put(old, until_us=BASE_US - DAY_US)
        kept.put(new, until_us=BASE_US)
        kept.catch_up(until_us=BASE_US + candles.GRACE_US)
        before = kept.store.pool.run(key_reads)
        kept.put(until_us=BASE_US + MINUTE_US + candles.GRACE_US)
        assert kept.store.pool.run(key_reads) - before < 15 * markets
        assert kept.stored() == candles_of(old + new, timeframes_s=[60])


def test_mariadb_recomputes_late_ticks_of_a_thousand_markets_by_their_ranges(
    mariadb: MariadbDatabase,
) -> None:
    ticks = [tick(market, n * MINUTE_US) for n in range(60) for market in range(1_000)]
    late = [tick(market, market % 60 * MINUTE_US + 5, price=7.0) for market in range(1_000)]
    with keeping(mariadb, timeframes_s=[60]) as kept:
        kept.put(ticks, until_us=BASE_US)
        kept.keeper.keep(candles.CandleProgress(through_us={60: LATER_US}))
        before = kept.store.pool.run(key_reads)
        kept.put(late, until_us=LATER_US)
        assert kept.statements == 1
        assert kept.store.pool.run(key_reads) - before < 15_000
        expected = candles_of(ticks + late, timeframes_s=[60])
        assert kept.stored() == {key: row for key, row in expected.items() if row[4] == 2}


def test_more_late_markets_than_a_statement_takes_are_recomputed(database: AnyDatabase) -> None:
    late = [tick(market, market % 7 * MINUTE_US) for market in range(4_500)]
    with keeping(database, timeframes_s=[60]) as kept:
        kept.keeper.keep(candles.CandleProgress(through_us={60: LATER_US}))
        kept.put(late, until_us=LATER_US)
        assert kept.stored() == candles_of(late, timeframes_s=[60])


# --- whatever happens -------------------------------------------------------------------------

TIMEFRAMES_S = (60, 90)  # neither is made of the other
some_ticks = st.lists(
    st.builds(
        tick,
        st.integers(0, 2),
        st.integers(0, 40).map(lambda n: n * 15 * SECOND_US) | st.integers(0, 600 * SECOND_US),
        st.integers(0, 1),
        st.integers(1, 64).map(lambda n: n / 64),
        st.none() | st.integers(0, 64).map(lambda n: n / 64),  # sums of these are exact in any order
    ),
    max_size=12,
)
some_times = st.integers(-60, 700).map(lambda n: BASE_US + n * SECOND_US)
steps = st.one_of(
    st.tuples(st.just("store"), some_ticks, some_times),
    st.tuples(st.just("store in order"), st.integers(1, 40), st.integers(0, 400)),
    st.tuples(st.just("roll back"), some_ticks, some_times),
    st.tuples(st.just("gap"), st.integers(0, 2), st.integers(0, 600), st.none() | st.integers(1, 300)),
    st.tuples(st.just("fill"), st.integers(0, 9), st.sampled_from(["full", "partly", "candles", "none"])),
    st.tuples(st.just("forget")),
)


class Story:
    """Does one step after the other, and knows what the tables should hold then."""

    def __init__(self, kept: Keeping) -> None:
        self.kept = kept
        self.ticks: list[Tick] = []
        self.gaps: dict[tuple[str, int], int | None] = {}
        self.filled: set[tuple[str, int]] = set()
        self.until_us = BASE_US  # of the ticks in order

    def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case "store", ticks, until_us:
                self._store(ticks, until_us=until_us)
            case "store in order", count, further_s:
                ticks = [
                    tick(n % 3, self.until_us - BASE_US + n * SECOND_US, 0, (n + 1) / 4) for n in range(count)
                ]
                self.until_us += max(count, further_s) * SECOND_US
                self._store(ticks, until_us=self.until_us)
            case "roll back", ticks, until_us:
                self.kept.put(ticks, until_us=until_us, end="ROLLBACK")
            case "gap", market, from_s, length_s:
                key = (f"M{market}@sim", BASE_US + from_s * SECOND_US)
                self.gaps[key] = None if length_s is None else key[1] + length_s * SECOND_US
                self.filled.discard(key)
                self.kept.set_gaps((*key, self.gaps[key]))
            case "fill", number, fill:
                closed = [key for key, to_us in self.gaps.items() if to_us is not None]
                if closed:
                    self._fill(closed[number % len(closed)], fill)
            case ("forget",):
                self.kept.keeper.forget()

    def check(self) -> None:
        """All candles that the keeper says are up to date are what they should be."""
        self._compare(self.kept.through_us)

    def finish(self) -> None:
        """So is the whole table, once the time has passed."""
        self.kept.catch_up(until_us=LATER_US)
        self._compare(dict.fromkeys(TIMEFRAMES_S, LATER_US))

    def _store(self, ticks: list[Tick], *, until_us: int) -> None:
        self.kept.put(ticks, until_us=until_us)
        self.ticks += ticks

    def _fill(self, key: tuple[str, int], fill: str) -> None:
        self.kept.set_gaps((*key, self.gaps[key]), fill=fill)
        (self.filled.add if fill == "full" else self.filled.discard)(key)

    def _compare(self, through_us: Mapping[int, int]) -> None:
        def ended(rows: Candles) -> Candles:
            return {
                key: row for key, row in rows.items() if key[2] + key[1] * SECOND_US <= through_us[key[1]]
            }

        missing = {key: to_us for key, to_us in self.gaps.items() if key not in self.filled}
        expected = candles_of(self.ticks, timeframes_s=TIMEFRAMES_S, gaps=missing)
        assert ended(self.kept.stored()) == ended(expected)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=10))
def test_whatever_happens_the_candles_are_those_of_the_ticks(
    database: AnyDatabase, story_steps: list[tuple[Any, ...]]
) -> None:
    with keeping(database, timeframes_s=TIMEFRAMES_S) as kept:
        kept.store.pool.run(lambda _: None)
        for table in ("candle", "tick", "gap", "market"):
            database.query(f"DELETE FROM {table}")
        story = Story(kept)
        for step in story_steps:
            story.take(step)
            story.check()
        story.finish()
