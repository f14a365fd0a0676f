"""Deletes old rows in slices: each call is one short transaction, and can be repeated."""

from collections.abc import Mapping

import attrs

from storage.progress import Progress
from storage.session import Dialect, Session

SLICE_ROWS = 5_000  # about 20 ms on either database
VACUUM_PAGES = 500  # 2 MB moved inside the file in one transaction


def delete_slice(
    session: Session, *, table: str, key: str, before: int, series: Mapping[str, int] | None = None
) -> Progress:
    """Delete the oldest rows whose `key` is below `before`, about `SLICE_ROWS` of them.

    `series` are further columns and their values; with them `key` must go on an index. Rows of
    equal key go together, so that every call gets ahead.
    """
    columns = series or {}
    within = "".join(f" AND {column} = ?" for column in columns)
    values = tuple(columns.values())
    session.begin()
    last = session.query(
        f"SELECT {key} FROM {table} WHERE {key} < ?{within} "  # noqa: S608  # names of our own
        f"ORDER BY {key} LIMIT 1 OFFSET {SLICE_ROWS - 1}",
        (before, *values),
    )
    bound = int(last[0][0]) + 1 if last else before
    session.execute(f"DELETE FROM {table} WHERE {key} < ?{within}", (bound, *values))  # noqa: S608  # as above
    session.commit()
    return Progress.MORE if bound < before else Progress.DONE


def delete_old_gaps(session: Session, *, before_us: int) -> Progress:
    """Delete gaps that ended before, as long as there are some among the oldest rows; open ones stay."""
    session.begin()
    [(last, ended_us)] = session.query(
        "SELECT MAX(id), MIN(to_us) FROM (SELECT id, to_us FROM gap ORDER BY id LIMIT ?) AS oldest",
        (SLICE_ROWS,),
    )
    has_old = ended_us is not None and ended_us < before_us
    if has_old:
        session.execute("DELETE FROM gap WHERE id <= ? AND to_us < ?", (last, before_us))
    session.commit()
    return Progress.MORE if has_old else Progress.DONE


@attrs.define(kw_only=True)
class CandleSweep:
    """Deletes candles that opened before, series after series: their key begins with the market."""

    before_us: int
    _market_id: int = 0  # ids begin at 1
    _timeframe_s: int = 0

    def piece(self, session: Session) -> Progress:
        """Delete a slice of one series, or go on to the next."""
        series = {"market_id": self._market_id, "timeframe_s": self._timeframe_s}
        if self._market_id > 0:
            progress = delete_slice(
                session, table="candle", key="open_us", before=self.before_us, series=series
            )
            if progress is Progress.MORE:
                return progress
        return self._next_series(session)

    def _next_series(self, session: Session) -> Progress:
        """Seek the next series that has old candles. Each question is one seek in the key."""
        while True:
            found = session.query(
                "SELECT market_id, timeframe_s, open_us FROM candle WHERE market_id = ? AND timeframe_s > ? "
                "ORDER BY timeframe_s, open_us LIMIT 1",
                (self._market_id, self._timeframe_s),
            ) or session.query(
                "SELECT market_id, timeframe_s, open_us FROM candle WHERE market_id > ? "
                "ORDER BY market_id, timeframe_s, open_us LIMIT 1",
                (self._market_id,),
            )
            if not found:
                return Progress.DONE
            self._market_id, self._timeframe_s, oldest_us = found[0]
            if oldest_us < self.before_us:
                return Progress.MORE


@attrs.define(kw_only=True)
class RefusedSweep:
    """Deletes refused signals of ticks before, market after market; those of trades stay for ever."""

    before_us: int
    _market_id: int = 0  # ids begin at 1
    _after_us: int = -1

    def piece(self, session: Session) -> Progress:
        """Look at a slice of one market's signals and delete the refused ones, or go on to the next."""
        last_us = self._slice_end_us(session)
        if last_us is None:
            return self._next_market(session)
        session.begin()
        session.execute(
            "DELETE FROM `signal` WHERE market_id = ? AND ts_us > ? AND ts_us <= ? AND outcome = 'refused'",
            (self._market_id, self._after_us, last_us),
        )
        session.commit()
        self._after_us = last_us
        return Progress.MORE

    def _slice_end_us(self, session: Session) -> int | None:
        [(last_us,)] = session.query(
            "SELECT MAX(ts_us) FROM (SELECT ts_us FROM `signal` WHERE market_id = ? AND ts_us > ? "
            "AND ts_us < ? ORDER BY ts_us LIMIT ?) AS slice",
            (self._market_id, self._after_us, self.before_us, SLICE_ROWS),
        )
        return None if last_us is None else int(last_us)

    def _next_market(self, session: Session) -> Progress:
        rows = session.query(
            "SELECT MIN(market_id) FROM `signal` WHERE market_id > ?",
            (self._market_id,),
        )
        if rows[0][0] is None:
            return Progress.DONE
        self._market_id, self._after_us = int(rows[0][0]), -1
        return Progress.MORE


def give_back_slice(session: Session, *, spare_share: float) -> Progress:
    """Give free pages of a SQLite file back to the file system, down to that share of all its pages.

    The file itself gets shorter at a checkpoint, made when all is done.
    """
    free = free_pages(session)
    surplus = free - int(spare_share * _pragma(session, "page_count"))
    if surplus > 0:
        session.run_to_end(f"PRAGMA incremental_vacuum({min(surplus, VACUUM_PAGES)})")
        if free_pages(session) < free:  # else the file was made without auto_vacuum
            return Progress.MORE
    session.query("PRAGMA wal_checkpoint(PASSIVE)")
    return Progress.DONE


def free_pages(session: Session) -> int:
    """Return how many pages of the database's own files could be given back; 0 where that is not ours."""
    return _pragma(session, "freelist_count") if session.dialect is Dialect.SQLITE else 0


def _pragma(session: Session, name: str) -> int:
    [(value,)] = session.query(f"PRAGMA {name}")
    return int(value)
