"""Reads what is stored, a page at a time, each page going on after the position of the last one.

A position is a key of the table, and no number of rows to skip: what is inserted or deleted
meanwhile moves nothing, and no page costs more than the first.
"""

from typing import Any

import attrs

from domain.market import MAX_INTEGER, market_id
from storage.session import Dialect, Row, Session

Position = tuple[int, ...]

TICK_COLUMNS = ("ts_us", "seq", "price", "bid", "ask", "volume", "received_us", "source")
CANDLE_COLUMNS = ("open_us", "open", "high", "low", "close", "ticks", "volume", "complete", "source")
GAP_COLUMNS = ("market", "from_us", "to_us", "length_us", "cause", "fill", "fill_note")

# How many numbers a position has: of ticks (ts_us, market_id, seq), of candles (open_us), of gaps
# (from_us, id).
TICK_POSITION, CANDLE_POSITION, GAP_POSITION = 3, 1, 2

# A page of ticks on SQLite looks at no more rows of all markets than this product: its key begins
# with the time, so that a quiet market's ticks lie far apart.
WINDOW_ROWS = 2_000
WINDOWS = 50

TICKS_MYSQL = (
    "SELECT ts_us, seq, price, bid, ask, volume, received_us, source FROM tick "
    "WHERE market_id = ? AND ts_us >= ? AND ts_us < ? AND (ts_us > ? OR seq > ?) ORDER BY ts_us, seq LIMIT ?"
)
WINDOW_END_SQLITE = (
    "SELECT ts_us, market_id, seq FROM tick WHERE (ts_us, market_id, seq) > (?, ?, ?) AND ts_us < ? "
    "ORDER BY ts_us, market_id, seq LIMIT 1 OFFSET ?"
)
# The plus sign keeps SQLite from leaving the market out of the order, and then sorting by itself.
TICKS_SQLITE = (
    "SELECT ts_us, seq, price, bid, ask, volume, received_us, source FROM tick "
    "WHERE (ts_us, market_id, seq) > (?, ?, ?) AND (ts_us, market_id, seq) <= (?, ?, ?) AND +market_id = ? "
    "ORDER BY ts_us, market_id, seq LIMIT ?"
)
CANDLES = (
    "SELECT open_us, open, high, low, close, ticks, volume, complete, source FROM candle "
    "WHERE market_id = ? AND timeframe_s = ? AND open_us > ? AND open_us < ? ORDER BY open_us LIMIT ?"
)
GAPS = (
    "SELECT gap.id, symbol, venue, from_us, to_us, cause, fill, fill_note "
    "FROM gap JOIN market ON market.id = gap.market_id "
    "WHERE from_us >= ? AND (from_us > ? OR gap.id > ?) AND from_us < ? AND (to_us IS NULL OR to_us > ?) "
)
GAPS_OF_ALL = GAPS + "ORDER BY from_us, gap.id LIMIT ?"
GAPS_OF_ONE = GAPS + "AND market_id = ? ORDER BY from_us, gap.id LIMIT ?"


@attrs.frozen(kw_only=True)
class Span:
    """A stretch of time, `from_us` in it and `to_us` not. Without numbers: all of it."""

    from_us: int = 0
    to_us: int = MAX_INTEGER


@attrs.frozen(kw_only=True)
class Page:
    """Some rows in the order of their times, and where to go on.

    `next` is None where nothing follows. A page without rows may have a next one.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    next: Position | None


def tick_page(session: Session, *, market_id: int, span: Span, after: Position | None, limit: int) -> Page:
    """Return up to `limit` ticks of a market; `after` is the last page's `next`, None for the first page.

    On SQLite a page may end early, to bound what it looks at.
    """
    position = after or (span.from_us - 1, MAX_INTEGER, MAX_INTEGER)
    if session.dialect is Dialect.SQLITE:
        return _tick_page_sqlite(session, market_id=market_id, span=span, position=position, limit=limit)
    ts_us, _, seq = position
    rows = session.query(TICKS_MYSQL, (market_id, ts_us, span.to_us, ts_us, seq, limit))
    return Page(
        columns=TICK_COLUMNS,
        rows=rows,
        next=_tick_position(rows[-1], market_id=market_id) if len(rows) == limit else None,
    )


def _tick_page_sqlite(
    session: Session, *, market_id: int, span: Span, position: Position, limit: int
) -> Page:
    """Look through the table window by window until the page is full, or enough was looked at."""
    rows: list[Row] = []
    for _ in range(WINDOWS):
        ends = session.query(WINDOW_END_SQLITE, (*position, span.to_us, WINDOW_ROWS - 1))
        end = ends[0] if ends else (span.to_us - 1, MAX_INTEGER, MAX_INTEGER)
        rows += session.query(TICKS_SQLITE, (*position, *end, market_id, limit - len(rows)))
        if len(rows) == limit:
            position = _tick_position(rows[-1], market_id=market_id)
            break
        if not ends:
            return Page(columns=TICK_COLUMNS, rows=rows, next=None)
        position = end
    return Page(columns=TICK_COLUMNS, rows=rows, next=position)


def _tick_position(row: Row, *, market_id: int) -> Position:
    ts_us, seq = row[:2]
    return (ts_us, market_id, seq)


def candle_page(
    session: Session, *, market_id: int, timeframe_s: int, span: Span, after: Position | None, limit: int
) -> Page:
    """Return up to `limit` candles that open in the span; `after` as in `tick_page`."""
    [open_us] = after or (span.from_us - 1,)
    rows = session.query(CANDLES, (market_id, timeframe_s, open_us, span.to_us, limit))
    return Page(columns=CANDLE_COLUMNS, rows=rows, next=(rows[-1][0],) if len(rows) == limit else None)


def gap_page(
    session: Session, *, market_id: int | None, span: Span, after: Position | None, limit: int
) -> Page:
    """Return up to `limit` gaps that overlap the span, of one market or, with None, of all.

    `after` as in `tick_page`. An open gap has neither end nor length, and overlaps all that follows.
    """
    from_us, id_ = after or (-1, MAX_INTEGER)
    values = (from_us, from_us, id_, span.to_us, span.from_us)
    if market_id is None:
        found = session.query(GAPS_OF_ALL, (*values, limit))
    else:
        found = session.query(GAPS_OF_ONE, (*values, market_id, limit))
    last = (found[-1][3], found[-1][0]) if len(found) == limit else None
    return Page(columns=GAP_COLUMNS, rows=[_gap_row(row) for row in found], next=last)


def _gap_row(row: tuple[Any, ...]) -> Row:
    _, symbol, venue, from_us, to_us, cause, fill, note = row
    length_us = None if to_us is None else to_us - from_us
    return (market_id(symbol=symbol, venue=venue), from_us, to_us, length_us, cause, fill, note)
