"""Opens a database only to read it, for a command that finds no daemon. Writes nothing, not even a schema."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import attrs

from domain.errors import SchemaNewer, StorageRefused
from storage.drivers import make_driver
from storage.migrations import load_migrations, schema_version
from storage.session import Dialect, Driver, Session
from storage.settings import StorageSettings
from storage.target import SqliteTarget, Target

Result = TypeVar("Result")


class Reader(Protocol):
    """Runs reads, each in a transaction of its own."""

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Return what `work` makes of the session, which it may be given twice. Raises `StorageBusy`."""


@contextlib.contextmanager
def open_reader(target: Target, *, settings: StorageSettings) -> Iterator[Reader]:
    """Give a reader of a database that has this marketd's schema.

    Raises `StorageBusy`, `SchemaNewer`, and `StorageRefused` where there is no database to read.
    """
    with _opened(target, settings=settings) as reader:
        check_schema(
            reader.run(schema_version), newest=load_migrations(_dialect_of(target))[-1].version, target=target
        )
        yield reader


@contextlib.contextmanager
def open_if_there(target: Target, *, settings: StorageSettings) -> Iterator[Reader | None]:
    """Give the same, or None where there is no database of marketd yet."""
    if isinstance(target, SqliteTarget) and not target.path.exists():
        yield None
        return
    with _opened(target, settings=settings) as reader:
        version = reader.run(schema_version)
        if version > 0:
            check_schema(version, newest=load_migrations(_dialect_of(target))[-1].version, target=target)
        yield reader if version > 0 else None


def check_schema(version: int, *, newest: int, target: Target) -> None:
    """Raise where a schema is not the one that our statements are written for."""
    if version == 0:
        raise StorageRefused(f"{target} is not a database of marketd yet")
    if version < newest:
        raise StorageRefused(
            f"{target} has schema version {version}, this marketd reads version {newest}: "
            "run `marketd migrate`, or start marketd"
        )
    if version > newest:
        raise SchemaNewer(
            f"{target} has schema version {version}, this marketd knows versions up to {newest}"
        )


def _dialect_of(target: Target) -> Dialect:
    return Dialect.SQLITE if isinstance(target, SqliteTarget) else Dialect.MYSQL


@contextlib.contextmanager
def _opened(target: Target, *, settings: StorageSettings) -> Iterator[Reader]:
    if isinstance(target, SqliteTarget):
        from storage.sqlite_reader import SqliteReader  # noqa: PLC0415  # as in storage.drivers

        with contextlib.closing(SqliteReader(target)) as file_reader:
            yield file_reader
        return
    driver = make_driver(target, settings=settings)
    with contextlib.closing(_connect(driver)) as connection:
        session = Session(connection=connection, driver=driver)
        reader = ServerReader(driver=driver, session=session)
        reader.run(_forbid_writing)
        yield reader


def _connect(driver: Driver) -> Any:
    try:
        return driver.connect()
    except driver.errors as exc:
        raise driver.translate(exc) from exc


def _forbid_writing(session: Session) -> None:
    session.execute("SET SESSION TRANSACTION READ ONLY")


@attrs.frozen(kw_only=True)
class ServerReader:
    """A session that the server lets only read."""

    driver: Driver
    session: Session

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Return what `work` makes of the session. Raises `StorageBusy`."""
        try:
            result = work(self.session)
            self.session.commit()  # the first SELECT opened a transaction
        except self.driver.errors as exc:
            raise self.driver.translate(exc) from exc
        return result
