"""A connection beside the pool's, for a command in a process of its own."""

import contextlib
from collections.abc import Iterator

from dbutils.steady_db import connect as connect_steadily

from storage.pool import NeverRaised
from storage.session import Driver, Session


@contextlib.contextmanager
def open_session(driver: Driver) -> Iterator[Session]:
    """Open a connection for the block; what the database raises in it becomes `StorageBusy`.

    Not for the daemon, where the pool's own connections are all there are.
    """
    try:
        with contextlib.closing(connect_steadily(driver, failures=NeverRaised, ping=0)) as connection:
            yield Session(connection=connection, driver=driver)
    except driver.errors as exc:
        raise driver.translate(exc) from exc
