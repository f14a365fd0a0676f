"""The ends of the `tick` table, found by seeks in its key whatever its size."""

from storage.kept import DAY_US, day_start_us
from storage.session import Dialect, Session


def oldest_tick_us(session: Session, *, from_us: int = 0) -> int:
    """Return the time of the oldest tick from `from_us` on, 0 where there is none."""
    return _end(session, function="MIN", order="ASC", from_us=from_us)


def newest_tick_us(session: Session) -> int:
    """Return the time of the newest tick, 0 where there is none."""
    return _end(session, function="MAX", order="DESC", from_us=0)


def first_day_end_us(session: Session) -> int:
    """Return when the first day that can be deleted ends, 0 where there is none that holds ticks."""
    if session.dialect is Dialect.SQLITE:
        oldest_us = oldest_tick_us(session)
        return day_start_us(oldest_us) + DAY_US if oldest_us else 0
    from storage.partitions import first_end_with_ticks  # noqa: PLC0415  # needs the driver

    return first_end_with_ticks(session)


def _end(session: Session, *, function: str, order: str, from_us: int) -> int:
    if session.dialect is Dialect.SQLITE:
        sql = f"SELECT {function}(ts_us) FROM tick WHERE ts_us >= ?"  # noqa: S608  # the key begins with it
    else:
        # The key begins with the market: one seek for each, where MIN(ts_us) may read every row.
        sql = (
            f"SELECT {function}(ts_us) FROM (SELECT (SELECT ts_us FROM tick WHERE market_id = market.id "  # noqa: S608  # our own
            f"AND ts_us >= ? ORDER BY ts_us {order} LIMIT 1) AS ts_us FROM market) AS each_market"
        )
    [(ts_us,)] = session.query(sql, (from_us,))
    return 0 if ts_us is None else int(ts_us)
