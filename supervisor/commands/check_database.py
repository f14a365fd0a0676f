"""The part of `marketd check` that talks to the database, over a connection of its own."""

import contextlib
import os
from pathlib import Path

from domain.errors import StorageBusy
from storage.drivers import make_driver
from storage.migrations import load_migrations, schema_version
from storage.session import Dialect, Driver, Session
from storage.settings import StorageSettings
from storage.target import SqliteTarget, Target
from supervisor.commands.check_machine import nearest_folder
from supervisor.commands.findings import Finding, doubtful, failed, good

WHAT = "database"
FLUSH = "innodb_flush_log_at_trx_commit"


def check_database(target: Target, *, settings: StorageSettings, state: Path) -> Finding:
    """Return whether the database answers, knows our schema and keeps what it commits.

    A database file that is missing is not made here; a start makes it, and of the folders above it
    only `state`, the state directory.
    """
    if isinstance(target, SqliteTarget) and not target.path.exists():
        return _check_missing_file(target.path, state=state)
    try:
        driver = make_driver(target, settings=settings)
        return _check_answers(target, driver=driver)
    except StorageBusy as exc:
        return failed(WHAT, f"{target}: {exc}")


def _check_missing_file(path: Path, *, state: Path) -> Finding:
    folder = path.parent
    if folder != state and not folder.is_dir():
        return failed(WHAT, f"{path} cannot be made: there is no folder {folder}")
    if not os.access(nearest_folder(folder), os.W_OK | os.X_OK):
        return failed(WHAT, f"{path} cannot be made: {nearest_folder(folder)} is not writable")
    return good(WHAT, f"{path} will be made")


def _check_answers(target: Target, *, driver: Driver) -> Finding:
    try:
        with contextlib.closing(driver.connect()) as connection:
            session = Session(connection=connection, driver=driver)
            version = schema_version(session)
            flush = _flush_policy(session)
    except driver.errors as exc:
        raise driver.translate(exc) from exc
    return judge_database(
        str(target), version=version, newest=load_migrations(driver.dialect)[-1].version, flush=flush
    )


def _flush_policy(session: Session) -> str:
    """Return the server's promise for a commit: 1 on disk, 2 with the system, 0 in its memory."""
    if session.dialect is Dialect.SQLITE:
        return "1"
    [(_, value)] = session.query(f"SHOW GLOBAL VARIABLES LIKE '{FLUSH}'")
    return str(value)


def judge_database(target: str, *, version: int, newest: int, flush: str) -> Finding:
    """Return what the answers mean."""
    if flush == "0":
        return failed(WHAT, f"{target}: {FLUSH} = 0: a crash would lose what it committed; set it to 1 or 2")
    if version > newest:
        return failed(WHAT, f"{target}: schema version {version} is newer than this marketd's {newest}")
    if version < newest:
        return doubtful(WHAT, f"{target}: schema version {version}; {newest} comes with the next start")
    return good(WHAT, f"{target}: schema version {version}")
