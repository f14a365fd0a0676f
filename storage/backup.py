"""Writes a backup: a consistent copy of the database, in the embedded one's schema whatever it is."""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from domain.clock import now_us
from domain.errors import PermanentError
from domain.gaps import Cause
from domain.market import market_id
from storage.backup_file import (
    MANIFEST,
    Manifest,
    add_papers,
    encode_manifest,
    new_file,
    seal,
    sync_folder,
)
from storage.faults import sqlite_fault
from storage.migrations import schema_version
from storage.own_session import open_session
from storage.session import Dialect, Session
from storage.sqlite import LOCK_TIMEOUT_S, SqliteDriver
from storage.tables import check_version, count_rows, tables_of
from storage.target import SqliteTarget, Target

INSERT_GAP = (
    "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES (?, ?, ?, ?, 'none', '')"
)
END_GAP = "UPDATE gap SET to_us = ? WHERE market_id = ? AND to_us IS NULL"
COVERING = "SELECT 1 FROM gap WHERE market_id = ? AND from_us >= ? AND (to_us IS NULL OR to_us >= ?)"
REPEATABLE = {
    Dialect.SQLITE: " ON CONFLICT (market_id, from_us, cause) DO NOTHING",
    Dialect.MYSQL: " ON DUPLICATE KEY UPDATE id = id",
}


def write_backup(
    source: Target, *, file: Path, papers: Mapping[str, bytes], made_by: str, tell: Callable[[str], None]
) -> Manifest:
    """Write the database and the papers into a new file, whole or not at all; return its manifest.

    The daemon may run. `made_by` is marketd's version; `tell` is called with lines for people.
    Raises `PermanentError` where the file is there already, `StorageBusy` and OSError.
    """
    if file.exists():
        raise PermanentError(f"{file} is there already; a backup takes no other file's place")
    fresh = file.with_name(f"{file.name}.new")
    try:
        with new_file(fresh):
            _copy_database(source, to=fresh, tell=tell)
            manifest = _finish(fresh, source=source, papers=papers, made_by=made_by)
            fresh.rename(file)
    except FileExistsError as exc:
        raise PermanentError(
            f"{fresh} is there already: another backup is under way, or one was interrupted; then remove it"
        ) from exc
    sync_folder(file.parent)
    return manifest


def _copy_database(source: Target, *, to: Path, tell: Callable[[str], None]) -> None:
    if isinstance(source, SqliteTarget):
        _copy_sqlite(source.path, to=to, tell=tell)
        return
    # Not at the top: PyMySQL's memory is spent only where a server is used.
    from storage.backup_mysql import copy_mysql  # noqa: PLC0415

    copy_mysql(source, to=to, tell=tell)


def _copy_sqlite(path: Path, *, to: Path, tell: Callable[[str], None]) -> None:
    """Copy by one statement, which reads one snapshot and keeps page size and auto_vacuum."""
    if not path.exists():
        raise PermanentError(f"there is nothing to back up: {path} is missing")
    tell(f"copying {path}, {path.stat().st_size / 2**20:,.0f} MiB")
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None
            )
        ) as connection:
            driver = SqliteDriver(target=SqliteTarget(path=path))
            reading = Session(connection=connection, driver=driver)
            check_version(schema_version(reading), what=str(path))
            reading.execute("VACUUM INTO ?", (str(to),))
    except sqlite3.Error as exc:
        raise sqlite_fault(code=getattr(exc, "sqlite_errorcode", None), text=f"{exc} ({path})") from exc


def _finish(path: Path, *, source: Target, papers: Mapping[str, bytes], made_by: str) -> Manifest:
    """Add manifest and papers to the copy, and seal it."""
    with open_session(SqliteDriver(target=SqliteTarget(path=path))) as session:
        version = schema_version(session)
        manifest = Manifest(
            marketd=made_by,
            schema_version=version,
            made_us=now_us(),
            source=str(source),
            rows=count_rows(session, tables_of(version)),
        )
        add_papers(session, {MANIFEST: encode_manifest(manifest), **papers})
        session.query("PRAGMA journal_mode = DELETE")  # all of it in the one file
    seal(path)
    return manifest


def record_hole(session: Session, *, first_after: Mapping[str, int]) -> int:
    """Record, as gaps of cause `downtime`, what lies between restored ticks and a newer journal.

    `first_after` has, by market, the time of its first tick that is still to be stored. Each gap
    begins at the market's last stored tick; a gap that was open then is that gap, and one that was
    open before it, whose end was not restored, ends there. A market without any tick has none.
    Returns how many there are; to be repeated adds nothing.
    """
    names = session.query("SELECT id, symbol, venue FROM market")
    ids = {market_id(symbol=symbol, venue=venue): id_ for id_, symbol, venue in names}
    last: dict[int, int] = dict(session.query("SELECT market_id, MAX(ts_us) FROM tick GROUP BY market_id"))
    holes = [
        (ids[market], last[ids[market]], to_us)
        for market, to_us in first_after.items()
        if ids.get(market) in last and last[ids[market]] < to_us
    ]
    rows = [(*hole, Cause.DOWNTIME.value) for hole in holes if not session.query(COVERING, hole)]
    session.begin()
    for id_, last_us, to_us in holes:
        session.execute(END_GAP + " AND from_us < ?", (last_us, id_, last_us))
        session.execute(END_GAP, (to_us, id_))
    if rows:
        session.execute_many(INSERT_GAP + REPEATABLE[session.dialect], rows)
    session.commit()
    return len(holes)
