"""The driver for a target, imported when it is needed: the other one's memory is never spent."""

from storage.session import Driver
from storage.settings import StorageSettings
from storage.target import SqliteTarget, Target


def make_driver(target: Target, *, settings: StorageSettings) -> Driver:
    """Return the driver for this database. Nothing is connected yet."""
    if isinstance(target, SqliteTarget):
        from storage.sqlite import SqliteDriver  # noqa: PLC0415  # see above

        return SqliteDriver(target=target)
    from storage.mysql import MysqlDriver  # noqa: PLC0415  # see above

    return MysqlDriver(target=target, read_timeout_s=settings.read_timeout_s)
