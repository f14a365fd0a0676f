"""The days of MariaDB's and MySQL's `tick`. Imported only for those: it needs their driver.

A partition `pYYYYMMDD` ends with its day, UTC, and holds what is older than it and in no earlier
one; `pmax` takes what comes after the last day.
"""

import time

import attrs

from storage.kept import DAY_US, day_start_us
from storage.light_pymysql import pymysql
from storage.progress import Progress
from storage.session import Session

AHEAD_DAYS = 3  # so long a reader may stand in the way of making more
LAST = "pmax"
MOST_AT_ONCE = 1_000  # a server takes 8,192 in all, and each is a file
QUICK_ROWS = 10_000  # dividing so many is a matter of milliseconds
# Lock wait timeout and deadlock: somebody reads the table.
IN_THE_WAY = frozenset({1205, 1213})


@attrs.frozen(kw_only=True)
class Division:
    """How the end of the table is to be divided: the midnights at which new partitions end."""

    names: tuple[str, ...]  # of what is divided: pmax, and days that a wrong wall clock made
    ends_us: tuple[int, ...]
    rows: int  # in these; no more than just above QUICK_ROWS are counted

    @property
    def is_long(self) -> bool:
        """Whether it may take so long that a session without read timeout is needed."""
        return self.rows > QUICK_ROWS


def plan_division(session: Session, *, keep_ticks_days: int, now_us: int) -> Division | None:
    """Return which days are missing up to three ahead, None where none is.

    Days begin with the oldest tick not in one, at most `keep_ticks_days` ago, so ticks with absurd
    times make no partitions: older ones go into the first, later ones stay in `pmax`. Days far
    ahead, made while the wall clock was wrong, are divided anew while they hold little.
    """
    today_us = day_start_us(now_us)
    ahead_us = today_us + (AHEAD_DAYS + 1) * DAY_US
    ends = partition_ends(session)
    last_us = max((end_us for end_us in ends if end_us <= ahead_us), default=0)
    strays = tuple(name_of(end_us) for end_us in ends if end_us > ahead_us)
    if (last_us == ahead_us and not strays) or not _has_last(session):
        return None
    names = (*strays, LAST)
    rows = _count_some(session, names)
    if strays and rows > QUICK_ROWS:
        return None  # or the clock is wrong now, and these are the true ones
    oldest_us = min(_oldest(session, names=names, default_us=now_us), now_us)
    kept_days = min(keep_ticks_days, MOST_AT_ONCE - AHEAD_DAYS - 1)
    first_us = max(day_start_us(oldest_us), today_us - kept_days * DAY_US, last_us)
    return Division(names=names, ends_us=tuple(range(first_us + DAY_US, ahead_us + 1, DAY_US)), rows=rows)


def divide(session: Session, division: Division) -> Progress:
    """Make the partitions of a division; copies what is in those that are divided."""
    parts = [f"PARTITION {name_of(end_us)} VALUES LESS THAN ({end_us})" for end_us in division.ends_us]
    parts.append(f"PARTITION {LAST} VALUES LESS THAN MAXVALUE")
    names = ", ".join(division.names)
    return _alter(session, f"ALTER TABLE tick REORGANIZE PARTITION {names} INTO ({', '.join(parts)})")


def drop_oldest(session: Session, *, before_us: int) -> Progress:
    """Drop one partition that ends at or before that time."""
    old = [end_us for end_us in partition_ends(session) if end_us <= before_us]
    if not old:
        return Progress.DONE
    progress = _alter(session, f"ALTER TABLE tick DROP PARTITION {name_of(min(old))}")
    return Progress.MORE if progress is Progress.DONE and len(old) > 1 else progress


def first_end_with_ticks(session: Session) -> int:
    """Return when the oldest day that holds ticks ends, 0 where none but `pmax` does."""
    for end_us in partition_ends(session):
        if session.query(f"SELECT 1 FROM tick PARTITION ({name_of(end_us)}) LIMIT 1"):  # noqa: S608  # a date
            return end_us
    return 0


def _has_last(session: Session) -> bool:
    """Return whether `tick` is divided at all: somebody may have made it anew, and it works as it is."""
    sql = (
        "SELECT 1 FROM information_schema.partitions WHERE table_schema = DATABASE() "
        "AND table_name = 'tick' AND partition_name = ?"
    )
    return bool(session.query(sql, (LAST,)))


def partition_ends(session: Session) -> list[int]:
    """Return the ends of all days that have a partition, the oldest first."""
    rows = session.query(
        "SELECT partition_description FROM information_schema.partitions WHERE table_schema = DATABASE() "
        "AND table_name = 'tick' AND partition_name <> ? ORDER BY partition_ordinal_position",
        (LAST,),
    )
    return [int(end_us) for (end_us,) in rows]


def name_of(end_us: int) -> str:
    """Return the name of the partition that ends with this midnight: `p20261125`, its day."""
    return time.strftime("p%Y%m%d", time.gmtime((end_us - DAY_US) // 1_000_000))


def _count_some(session: Session, names: tuple[str, ...]) -> int:
    [(rows,)] = session.query(
        f"SELECT COUNT(*) FROM (SELECT 1 FROM tick PARTITION ({', '.join(names)}) "  # noqa: S608  # our own
        f"LIMIT {QUICK_ROWS + 1}) AS counted"
    )
    return int(rows)


def _oldest(session: Session, *, names: tuple[str, ...], default_us: int) -> int:
    # The key begins with the market: one seek for each, where MIN(ts_us) may read every row.
    [(oldest_us,)] = session.query(
        f"SELECT MIN(oldest) FROM (SELECT (SELECT ts_us FROM tick PARTITION ({', '.join(names)}) "  # noqa: S608  # our own
        "WHERE market_id = market.id ORDER BY ts_us LIMIT 1) AS oldest FROM market) AS each_market"
    )
    return default_us if oldest_us is None else int(oldest_us)


def _alter(session: Session, statement: str) -> Progress:
    """Change the table unless somebody holds it for a second: whoever comes later waits behind us."""
    session.execute("SET SESSION lock_wait_timeout = 1")
    progress = Progress.DONE
    try:
        session.execute(statement)
    except pymysql.err.MySQLError as exc:
        if exc.args[:1] == () or exc.args[0] not in IN_THE_WAY:
            raise  # the pool throws the connection away, its settings with it
        progress = Progress.LATER
    session.execute("SET SESSION lock_wait_timeout = DEFAULT")
    return progress
