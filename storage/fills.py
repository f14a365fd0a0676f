"""What a venue's history put into gaps: candles of its own, and the word on the gap's row. Repeatable."""

from collections.abc import Mapping, Sequence

from domain.gaps import GapFill
from domain.market import HistoryCandle
from storage.session import Dialect, Session

# Not of a row that is open again or longer than what was filled.
FILL_GAPS = (
    "UPDATE gap SET fill = ?, fill_note = ? WHERE market_id = ? AND from_us = ? AND cause = ? AND to_us <= ?"
)

COLUMNS = ("open", "high", "low", "close", "volume", "ticks", "complete", "source")
# Marks only: so PyMySQL joins the rows into one statement.
INSERT = (
    "INSERT INTO candle "
    "(market_id, timeframe_s, open_us, open, high, low, close, volume, ticks, complete, source) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
)
# In the place of an incomplete one from ticks, or of what the venue said before; never of a complete one
# from ticks, nor of an imported one.
PUT_CANDLES = {
    Dialect.SQLITE: INSERT
    + "ON CONFLICT (market_id, timeframe_s, open_us) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS)
    + " WHERE candle.source = 'venue' OR (candle.source = 'ticks' AND candle.complete = 0)",
    # MySQL assigns from left to right and later ones see the earlier: what decides is last, and the
    # source goes with it, since a row that was replaced is complete by then.
    Dialect.MYSQL: INSERT
    + "ON DUPLICATE KEY UPDATE "
    + ", ".join(
        f"{column} = IF(source = 'venue' OR (source = 'ticks' AND complete = 0), VALUES({column}), {column})"
        for column in (*COLUMNS[:-2], "source", "complete")
    ),
}


def fill_gaps(session: Session, *, fills: Sequence[GapFill], ids: Mapping[str, int]) -> None:
    """Write down what was filled of gaps whose rows are there."""
    rows = [
        (fill, note, ids[market], from_us, cause, to_us)
        for market, from_us, to_us, cause, fill, note in fills
    ]
    if rows:
        session.execute_many(FILL_GAPS, rows)


def put_candles(session: Session, *, candles: Sequence[HistoryCandle], ids: Mapping[str, int]) -> None:
    """Insert candles of a venue's history where there is nothing better."""
    rows = [(ids[each.market], *each[1:], 0, 1, "venue") for each in candles]
    if rows:
        session.execute_many(PUT_CANDLES[session.dialect], rows)
