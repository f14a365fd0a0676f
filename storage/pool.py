"""The one pool of database connections. Only the writer builds it; blocking, for its threads."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dbutils.pooled_db import PooledDB, PooledDBError
from dbutils.steady_db import SteadyDBError
from dbutils.steady_db import connect as connect_steadily

from domain.errors import StorageBusy
from storage.session import Driver, Session

Result = TypeVar("Result")


class NeverRaised(Exception):
    """Nobody raises it: given to DBUtils as the failure it may replace a connection for."""


class Pool:
    """Keeps one connection and runs work on it; after any failure everything is made anew.

    The connection is borrowed once and kept: DBUtils spends a rollback on each return. `prepare`
    is called with each new connection before its first work. Everything but `cut()` belongs to
    one thread at a time.
    """

    def __init__(self, *, driver: Driver, prepare: Callable[[Session], None]) -> None:
        self._driver = driver
        self._prepare = prepare
        self._errors = (*driver.errors, PooledDBError, SteadyDBError)
        self._pooled = self._build()
        self._handle: Any = None  # a pooled handle has no type we could name
        self._session: Session | None = None

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Return what `work` makes of the session.

        A database's exception becomes `StorageBusy` or `StorageRefused`. After any exception at
        all the connection is gone, and the whole of `work` is to be run again; it may have been
        applied.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(self._discard)
            try:
                result = work(self._borrowed())
            except self._errors as exc:
                raise self._translate(exc) from exc
            undo.pop_all()
        return result

    @contextlib.contextmanager
    def patient_session(self) -> Iterator[Session]:
        """Open a session of its own, without read timeout, beside the kept one."""
        driver = self._driver.patient()
        connection = connect_steadily(driver, failures=NeverRaised, ping=0)
        try:
            yield Session(connection=connection, driver=driver)
        finally:
            connection.close()

    def cut(self) -> None:
        """From any thread: end the work under way with an error; no connection is begun any more."""
        self._driver.cut()

    def close(self) -> None:
        """Close the connection in an orderly way."""
        handle, self._handle, self._session = self._handle, None, None
        if handle is not None:
            with contextlib.suppress(*self._errors):
                handle.dbapi_connection.close()
        self._pooled.close()

    def _borrowed(self) -> Session:
        if self._session is None:
            self._handle = self._pooled.dedicated_connection()
            session = Session(connection=self._handle, driver=self._driver)
            self._prepare(session)
            self._session = session
        return self._session

    def _discard(self) -> None:
        # The handle's own close() would put the broken connection back into the pool, after a
        # rollback that may hang: so the sockets first, then the raw connection, then the pool.
        self._driver.sever()
        self.close()
        self._pooled = self._build()

    def _build(self) -> Any:
        return PooledDB(
            self._driver,
            mincached=0,  # 1 would connect here, and fail where the database is down
            maxconnections=2,  # the writer's and a reader's: a third one is our bug
            blocking=False,  # True waits for ever for a free one; False raises
            ping=0,  # a kept handle is never looked at again, and begin() makes a loss an error
            failures=NeverRaised,  # DBUtils would reconnect inside the failing call; we decide when
            reset=True,  # a returned connection carries no transaction along
        )

    def _translate(self, exc: Exception) -> StorageBusy:
        if isinstance(exc, self._driver.errors):
            return self._driver.translate(exc)
        return StorageBusy(f"{type(exc).__name__}: {exc}")
