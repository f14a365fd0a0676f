"""Copies a database of MySQL or MariaDB into a new embedded one, as it stood at one moment."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

from storage.light_pymysql import pymysql
from storage.migrations import apply, load_migrations, schema_version
from storage.mysql import MysqlDriver
from storage.own_session import open_session
from storage.session import Dialect, Row, Session
from storage.sqlite import SqliteDriver
from storage.tables import check_version, insert_into, quoted, select_all, tables_of
from storage.target import MysqlTarget, SqliteTarget

PAGE_ROWS = 5_000  # in memory, and in a transaction of the copy; up to 80 MB at the very worst of texts
# Ticks of all markets are merged: so many of them wait, at least a few for each market.
MERGED_ROWS, MERGED_ROWS_EACH = 20_000, 50
SAY_EVERY_ROWS = 1_000_000
BEFORE_ALL = -(2**63)  # a BIGINT's smallest


def copy_mysql(target: MysqlTarget, *, to: Path, tell: Callable[[str], None]) -> None:
    """Copy all tables, row by row, into `to`, an empty file."""
    driver = MysqlDriver(target=target, read_timeout_s=None, cursor_class=pymysql.cursors.SSCursor)
    with (
        open_session(driver) as source,
        open_session(SqliteDriver(target=SqliteTarget(path=to))) as copy,
    ):
        source.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        version = schema_version(source)
        check_version(version, what=str(target))
        tables = tables_of(version)
        for table in tables:
            # Its definition is held from here on: a partition dropped before the first look at a
            # table ends the snapshot with 1412.
            source.query(f"SELECT 1 FROM `{table}` LIMIT 1")  # noqa: S608  # our own names
        _make_schema(copy, version=version)
        for table, columns in tables.items():
            pages = _pages(source, table=table, columns=columns)
            _copy_pages(copy, pages, insert=insert_into(table, columns), table=table, tell=tell)


def _make_schema(copy: Session, *, version: int) -> None:
    # The file is nobody's before it is finished and synced: a copy that was cut off is thrown away.
    copy.query("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    for migration in load_migrations(Dialect.SQLITE):
        if migration.version <= version:
            apply(copy, migration)
    copy.execute("DELETE FROM schema_version")  # the source's rows say when it got there


def _pages(source: Session, *, table: str, columns: tuple[str, ...]) -> Iterator[list[Row]]:
    if table == "tick":
        return _tick_pages(source, columns=columns)
    return source.pages(select_all(table, columns), rows=PAGE_ROWS)


def _copy_pages(
    copy: Session, pages: Iterator[list[Row]], *, insert: str, table: str, tell: Callable[[str], None]
) -> None:
    rows = 0
    for page in pages:
        copy.begin()
        copy.execute_many(insert, page)
        copy.commit()
        if rows // SAY_EVERY_ROWS != (rows + len(page)) // SAY_EVERY_ROWS:
            tell(f"{table}: {rows + len(page):,} rows")
        rows += len(page)


def _tick_pages(source: Session, *, columns: tuple[str, ...]) -> Iterator[list[Row]]:
    """Yield ticks in the order of the embedded table's key, which is not the server's.

    Any other order would touch most pages of the file again and again.
    """
    markets = [id_ for (id_,) in source.query("SELECT DISTINCT market_id FROM tick")]
    rows = max(MERGED_ROWS_EACH, MERGED_ROWS // max(1, len(markets)))
    each = [_ticks_of(source, market=market, columns=columns, rows=rows) for market in markets]
    key = itemgetter(*(columns.index(name) for name in ("ts_us", "market_id", "seq")))
    merged = heapq.merge(*each, key=key)
    while page := list(itertools.islice(merged, PAGE_ROWS)):
        yield page


def _ticks_of(source: Session, *, market: int, columns: tuple[str, ...], rows: int) -> Iterator[Row]:
    """Yield the ticks of one market in order, asking for a few at a time."""
    select = (
        f"SELECT {quoted(columns)} FROM tick FORCE INDEX (PRIMARY) "  # noqa: S608  # our own names
        "WHERE market_id = ? AND (ts_us > ? OR (ts_us = ? AND seq > ?)) ORDER BY ts_us, seq LIMIT ?"
    )
    ts_us_at, seq_at = columns.index("ts_us"), columns.index("seq")
    ts_us, seq = BEFORE_ALL, BEFORE_ALL
    while page := source.query(select, (market, ts_us, ts_us, seq, rows)):
        yield from page
        ts_us, seq = page[-1][ts_us_at], page[-1][seq_at]
