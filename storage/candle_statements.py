"""The SQL of stored candles: they are computed in the database, so that a tick costs us nothing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from storage.session import Dialect, Session

SECOND_US = 1_000_000

# MariaDB turns an IN of 1,000 values or more into a join, and reads whole markets for it
# (in_predicate_conversion_threshold).
MARKETS_A_CLAUSE = 500
# Each market is a range of the key; above some 16,000 the optimizer gives ranges up and reads the
# whole table (optimizer_max_sel_args, range_optimizer_max_mem_size).
MARKETS_A_STATEMENT = 4_000
CLAUSES_A_STATEMENT = 1_000  # of gaps: about 100 bytes and two ranges each

COMPUTE = """
INSERT INTO candle (market_id, timeframe_s, open_us, open, high, low, close, ticks, volume, complete, source)
SELECT made.market_id, made.timeframe_s, made.open_us,
    (SELECT price FROM tick WHERE market_id = made.market_id AND ts_us = made.first_us{within}
        ORDER BY seq LIMIT 1),
    made.high, made.low,
    (SELECT price FROM tick WHERE market_id = made.market_id AND ts_us = made.last_us{within}
        ORDER BY seq DESC LIMIT 1),
    made.ticks, made.volume, {complete}, 'ticks'
FROM (
    SELECT market_id, {timeframe_s} AS timeframe_s, ts_us - ts_us % {span_us} AS open_us,
        MIN(ts_us) AS first_us, MAX(ts_us) AS last_us, MAX(price) AS high, MIN(price) AS low,
        COUNT(*) AS ticks, COALESCE(SUM(volume), 0) AS volume
    FROM {tick} WHERE {where} GROUP BY market_id, open_us
) AS made {replace}
"""
COLUMNS = ("open", "high", "low", "close", "ticks", "volume", "complete")

# A venue's or an imported candle gives way only to a complete one. SQLite wants a WHERE before
# ON CONFLICT, or reads the ON as a join's.
REPLACE_SQLITE = (
    "WHERE 1 ON CONFLICT (market_id, timeframe_s, open_us) DO UPDATE SET "
    + "".join(f"{column} = excluded.{column}, " for column in COLUMNS)
    + "source = 'ticks' WHERE candle.source = 'ticks' OR excluded.complete"
)
# MySQL assigns from left to right and later ones see the earlier: the source, which decides, is last.
REPLACE_MYSQL = (
    "ON DUPLICATE KEY UPDATE "
    + "".join(
        f"{column} = IF(candle.source = 'ticks' OR VALUES(complete), VALUES({column}), candle.{column}), "
        for column in COLUMNS
    )
    + "source = IF(VALUES(complete), 'ticks', candle.source)"
)

# No whole microsecond t has from_us < t < to_us and open_us <= t < the end. `row` is what is judged.
# A gap that the venue's history has filled is none.
# SQLite looks up each candle; which key is said, because the other one reads all of a market's gaps.
COMPLETE_SQLITE = """(
    NOT EXISTS (SELECT 1 FROM gap INDEXED BY gap_ended
        WHERE gap.market_id = {row}.market_id AND to_us > {row}.open_us AND fill <> 'full'
        AND from_us + 1 < to_us AND from_us < {row}.open_us + {row}.timeframe_s * 1000000 - 1)
    AND NOT EXISTS (SELECT 1 FROM gap INDEXED BY gap_ended
        WHERE gap.market_id = {row}.market_id AND to_us IS NULL
        AND from_us < {row}.open_us + {row}.timeframe_s * 1000000 - 1))"""
# MySQL cannot: a range that depends on the row is no range there. So the gaps that end after
# `since_us` are found once; a UNION, because any other derived table would be merged into the rest.
COMPLETE_MYSQL = """(
    NOT EXISTS (SELECT 1 FROM (
            SELECT market_id, from_us, to_us FROM gap
            WHERE to_us > {since_us} AND from_us + 1 < to_us AND fill <> 'full'
            UNION ALL SELECT market_id, from_us, 9223372036854775807 FROM gap WHERE to_us IS NULL
        ) AS near
        WHERE near.market_id = {row}.market_id AND near.to_us > {row}.open_us
        AND near.from_us < {row}.open_us + {row}.timeframe_s * 1000000 - 1))"""

JUDGE_SQLITE = """
UPDATE candle SET complete = 1 - complete
WHERE market_id = ? AND timeframe_s = ? AND open_us > ? AND source = 'ticks' AND complete <> {complete}
"""
JUDGE_MYSQL = """
UPDATE candle FORCE INDEX (PRIMARY) SET complete = 1 - complete
WHERE ({where}) AND source = 'ticks' AND complete <> {complete}
"""

# By descending key a market's first row is nearly always the one.
NEWEST = """
SELECT MAX((
    SELECT open_us FROM candle
    WHERE market_id = market.id AND timeframe_s = ? AND source = 'ticks'
    ORDER BY open_us DESC LIMIT 1
)) FROM market
"""
NEXT_TICK = {
    Dialect.SQLITE: "SELECT MIN(ts_us) FROM tick WHERE ts_us >= ?",
    # Grouped, it is one step in the key for each market; a plain MIN reads everything from there on.
    Dialect.MYSQL: "SELECT MIN(ts_us) FROM "
    "(SELECT MIN(ts_us) AS ts_us FROM tick WHERE ts_us >= ? GROUP BY market_id) AS firsts",
}

encode_json = msgspec.json.Encoder().encode


class Run(NamedTuple):
    """Intervals of some markets: whole ones, in `[from_us, to_us)`."""

    from_us: int
    to_us: int
    market_ids: Sequence[int]


def newest_candle(session: Session, *, timeframe_s: int) -> int | None:
    """Return where the newest candle from ticks opens, over all markets."""
    [(open_us,)] = session.query(NEWEST, (timeframe_s,))
    return None if open_us is None else int(open_us)


def next_tick(session: Session, *, from_us: int) -> int | None:
    """Return the time of the first tick of any market at or after `from_us`."""
    [(ts_us,)] = session.query(NEXT_TICK[session.dialect], (from_us,))
    return None if ts_us is None else int(ts_us)


def compute(session: Session, *, timeframe_s: int, runs: Sequence[Run]) -> None:
    """Make the candles of these runs equal to the ticks. Intervals without ticks get none."""
    if session.dialect is Dialect.MYSQL:
        _compute_mysql(session, timeframe_s=timeframe_s, runs=runs)
        return
    # A row of parameters for each: long or many different texts fill the statement cache.
    sql = _compute_sqlite(where="ts_us >= ? AND ts_us < ? AND market_id IN (SELECT value FROM json_each(?))")
    span_us = timeframe_s * SECOND_US
    session.execute_many(
        sql,
        [
            (timeframe_s, span_us, from_us, to_us, encode_json(market_ids).decode())
            for from_us, to_us, market_ids in runs
        ],
    )


def compute_all(session: Session, *, timeframe_s: int, from_us: int, to_us: int) -> None:
    """Make the candles of all markets in `[from_us, to_us)`, whole intervals, equal to the ticks."""
    if session.dialect is Dialect.MYSQL:
        # Market by market, for the key begins with it: a subquery's ids would be no ranges of it.
        market_ids = [int(id_) for (id_,) in session.query("SELECT id FROM market")]
        compute(session, timeframe_s=timeframe_s, runs=[Run(from_us, to_us, market_ids)])
        return
    sql = _compute_sqlite(where="ts_us >= ? AND ts_us < ?")
    session.execute(sql, (timeframe_s, timeframe_s * SECOND_US, from_us, to_us))


def judge(session: Session, *, since_us: Mapping[int, int], timeframes_s: Collection[int]) -> None:
    """Make `complete` of candles from ticks equal to the gaps.

    `since_us` has a time for each market id: candles that end at or before it may stay unread.
    """
    longest_us = max(timeframes_s) * SECOND_US
    opens_after_us = {market_id: time_us - longest_us for market_id, time_us in since_us.items()}
    if session.dialect is Dialect.MYSQL:
        _judge_mysql(session, opens_after_us=opens_after_us, timeframes_s=timeframes_s)
        return
    sql = JUDGE_SQLITE.format(complete=COMPLETE_SQLITE.format(row="candle"))
    session.execute_many(
        sql,
        [
            (market_id, timeframe_s, after_us)
            for market_id, after_us in opens_after_us.items()
            for timeframe_s in timeframes_s
        ],
    )


def _compute_sqlite(*, where: str) -> str:
    return COMPUTE.format(
        timeframe_s="?",
        span_us="?",
        tick="tick",
        where=where,
        within="",
        complete=COMPLETE_SQLITE.format(row="made"),
        replace=REPLACE_SQLITE,
    )


def _compute_mysql(session: Session, *, timeframe_s: int, runs: Sequence[Run]) -> None:
    for portion in _portions(runs):
        from_us = min(run.from_us for run in portion)
        to_us = max(run.to_us for run in portion)
        where = " OR ".join(
            f"(market_id IN ({_listed(run.market_ids)}) AND ts_us >= {run.from_us} AND ts_us < {run.to_us})"
            for run in portion
        )
        sql = COMPUTE.format(
            timeframe_s=timeframe_s,
            span_us=timeframe_s * SECOND_US,
            tick="tick FORCE INDEX (PRIMARY)",
            where=where,
            # For the partitions: without it each of them is looked into.
            within=f" AND ts_us >= {from_us} AND ts_us < {to_us}",
            complete=COMPLETE_MYSQL.format(row="made", since_us=from_us),
            replace=REPLACE_MYSQL,
        )
        session.execute(sql)


def _judge_mysql(
    session: Session, *, opens_after_us: Mapping[int, int], timeframes_s: Collection[int]
) -> None:
    timeframes = _listed(timeframes_s)
    items = list(opens_after_us.items())
    for start in range(0, len(items), CLAUSES_A_STATEMENT):
        part = items[start : start + CLAUSES_A_STATEMENT]
        where = " OR ".join(
            f"(market_id = {market_id} AND timeframe_s IN ({timeframes}) AND open_us > {after_us})"
            for market_id, after_us in part
        )
        complete = COMPLETE_MYSQL.format(row="candle", since_us=min(after_us for _, after_us in part))
        session.execute(JUDGE_MYSQL.format(where=where, complete=complete))


def _portions(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Divide runs into statements, and their markets into clauses, that the optimizer reads by ranges."""
    portion: list[Run] = []
    room = MARKETS_A_STATEMENT
    for from_us, to_us, market_ids in runs:
        for start in range(0, len(market_ids), MARKETS_A_CLAUSE):
            some = market_ids[start : start + MARKETS_A_CLAUSE]
            if len(some) > room:
                yield portion
                portion, room = [], MARKETS_A_STATEMENT
            portion.append(Run(from_us, to_us, some))
            room -= len(some)
    if portion:
        yield portion


def _listed(numbers: Collection[int]) -> str:
    return ",".join(str(number) for number in numbers)
