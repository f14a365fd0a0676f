"""Reads another bot's tables: any schema of MySQL or MariaDB, page by page, without writing a byte."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from domain.errors import ConfigError, StorageBusy
from storage.import_map import TableMap, TimeForm
from storage.light_pymysql import pymysql
from storage.mysql import MysqlDriver
from storage.own_session import open_session
from storage.session import Row, Session
from storage.target import MysqlTarget

READ_TIMEOUT_S = 3600.0  # the server sorts a table before its first row comes
WRITE_WAIT_S = 3600  # the server's patience while we store a page; its default is a minute
PAGE_ROWS = 10_000


@attrs.frozen(kw_only=True)
class Source:
    """The database that is read."""

    target: MysqlTarget
    session: Session

    def check(self, table: TableMap, *, where: str) -> None:
        """Raise `ConfigError` where the table, or a column that the map names, is not there.

        `where` is how messages call this part of the map.
        """
        tables = [str(name) for (name,) in self.session.query("SHOW TABLES")]
        if table.table not in tables:
            raise ConfigError(
                f"{where} table = {table.table!r}: not in {self.target}, which has {_listed(tables)}"
            )
        types = {
            str(row[0]): str(row[1])
            for row in self.session.query(f"SHOW COLUMNS FROM {_quoted(table.table)}")
        }
        for key, name in table.named():
            if name not in types:
                raise ConfigError(f"{where} {key} = {name!r}: {table.table} has the columns {_listed(types)}")
        self._check_time(table, types=types, where=where)

    def _check_time(self, table: TableMap, *, types: dict[str, str], where: str) -> None:
        for name in table.time.columns:
            kind = re.split(r"[ (]", types[name].lower())[0]
            if table.time.form is not TimeForm.DATETIME and kind in ("datetime", "timestamp", "date", "time"):
                raise ConfigError(
                    f'{where} time.form = {str(table.time.form)!r}: {name} is a {kind}, so form = "datetime"'
                )
            if kind == "timestamp" and table.time.zone != "UTC":
                raise ConfigError(
                    f"{where} time.zone = {table.time.zone!r}: {name} is a TIMESTAMP, which is read in UTC"
                )

    def about_rows(self, table: TableMap) -> int | None:
        """Return how many rows the server thinks there are; None where it does not say."""
        rows = self.session.query(
            "SELECT table_rows FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
            (self.target.database, table.table),
        )
        return int(rows[0][0]) if rows and rows[0][0] is not None else None

    def pages(self, table: TableMap) -> Iterator[list[Row]]:
        """Yield all rows in the order of their times, so that rows that are equal in it come together.

        Ordered by every column: what is told apart by nothing else is told apart by its place.
        """
        columns = ", ".join(map(_quoted, table.selected()))
        order = ", ".join(map(_quoted, dict.fromkeys(table.selected())))
        sql = f"SELECT {columns} FROM {_quoted(table.table)} ORDER BY {order}"  # noqa: S608  # quoted
        try:
            yield from self.session.pages(sql, rows=PAGE_ROWS)
        except self.session.errors as exc:
            error = self.session.translate(exc)
            raise type(error)(f"{self.target}: {error}; given again, it goes on") from exc


class LeavingCursor(pymysql.cursors.SSCursor):
    """An unbuffered cursor that may be left amid its rows: PyMySQL's own reads them all to the end.

    Its connection is good for nothing but to be closed then.
    """

    _result: Any

    def close(self) -> None:
        """Let go of the rows that are still to come."""
        result, self._result = self._result, None
        if result is not None:
            result.unbuffered_active = False

    __del__ = close


@contextlib.contextmanager
def open_source(target: MysqlTarget) -> Iterator[Source]:
    """Give the source, open. Whoever stops amid the rows does not wait for the rest of them."""
    driver = MysqlDriver(target=target, read_timeout_s=READ_TIMEOUT_S, cursor_class=LeavingCursor)
    with contextlib.ExitStack() as stack:
        try:
            session = stack.enter_context(open_session(driver))
        except StorageBusy as exc:
            raise type(exc)(f"{target}: {exc}") from exc
        session.execute("SET SESSION TRANSACTION READ ONLY")
        session.execute(f"SET SESSION net_write_timeout = {WRITE_WAIT_S}")
        yield Source(target=target, session=session)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
