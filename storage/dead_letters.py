"""Rows that a database refuses for their data: found by bisection, put aside, the rest is stored."""

from collections.abc import Mapping, Sequence

from domain.clock import now_us
from domain.errors import RowRefused, StorageRefused
from domain.market import Tick
from storage.batches import ROWS_A_STATEMENT, encode_json, insert_ticks
from storage.session import Dialect, Session

MOST_REFUSED = 100  # rows in one transaction: more is no bad row, but a wrong database
ERROR_LENGTH = 512  # characters, as in the schema

INSERT_DEAD_LETTER = {
    Dialect.SQLITE: 'INSERT INTO dead_letter (ts_us, table_name, "row", error) VALUES (?, ?, ?, ?)',
    Dialect.MYSQL: "INSERT INTO dead_letter (ts_us, table_name, `row`, error) VALUES (?, ?, ?, ?)",
}


def insert_or_set_aside(session: Session, *, ticks: Sequence[Tick], ids: Mapping[str, int]) -> list[str]:
    """Insert ticks; those that the database refuses for their data go into `dead_letter`.

    Returns why, a row each. Raises `StorageRefused` where there are too many of them.
    """
    refused: list[str] = []
    for start in range(0, len(ticks), ROWS_A_STATEMENT):
        _bisect(session, ticks[start : start + ROWS_A_STATEMENT], ids=ids, refused=refused)
    return refused


def _bisect(session: Session, ticks: Sequence[Tick], *, ids: Mapping[str, int], refused: list[str]) -> None:
    try:
        insert_ticks(session, ticks=ticks, ids=ids)
    except session.errors as exc:
        error = session.translate(exc)
        if not isinstance(error, RowRefused):
            raise
        if len(ticks) > 1:
            middle = len(ticks) // 2
            _bisect(session, ticks[:middle], ids=ids, refused=refused)
            _bisect(session, ticks[middle:], ids=ids, refused=refused)
            return
        refused.append(f"{ticks[0].market} at {ticks[0].ts_us}: {error}")
        if len(refused) > MOST_REFUSED:
            raise StorageRefused(f"over {MOST_REFUSED} rows refused, the last: {error}") from exc
        row = encode_json(ticks[0]).decode()
        letter = (now_us(), "tick", row, str(error)[:ERROR_LENGTH])
        session.execute(INSERT_DEAD_LETTER[session.dialect], letter)
