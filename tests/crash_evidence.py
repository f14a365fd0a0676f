"""What can be seen of a daemon from outside: the venue's ledger, a dead journal, the tables."""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path

from crash_oracle import Handed, as_sent
from daemons import Sent
from databases import AnyDatabase
from expected_candles import Candles

from domain.gaps import Gap
from storage.payloads import Lane, decode


def read_journal(path: Path) -> frozenset[Sent]:
    """Return the ticks in the journal of a dead daemon, without touching it: SQLite would tidy up."""
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.glob(f"{path.name}*"):
            if part.name in (path.name, f"{path.name}-wal"):
                shutil.copy(part, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if ("ticks_batch",) not in tables:
                return frozenset()
            payloads = connection.execute("SELECT payload FROM ticks_batch").fetchall()
    return frozenset(as_sent(tick) for (payload,) in payloads for tick in decode(Lane.TICKS, payload))


def read_handed(ledger: Path) -> list[Handed]:
    """Return what the venue handed to sockets, and when."""
    lines = ledger.read_text(encoding="utf-8").splitlines()
    return [Handed(Sent.parse(line), json.loads(line)["sent_us"]) for line in lines]


def read_gaps(database: AnyDatabase) -> list[Gap]:
    """Return the `gap` table."""
    rows = database.query(
        "SELECT symbol, venue, from_us, to_us, cause, fill FROM gap JOIN market ON market.id = gap.market_id"
    )
    return [Gap(f"{symbol}@{venue}", *rest) for symbol, venue, *rest in rows]


def read_candles(database: AnyDatabase) -> Candles:
    """Return the `candle` table."""
    rows = database.query(
        "SELECT symbol, venue, timeframe_s, open_us, open, high, low, close, ticks, volume, complete "
        "FROM candle JOIN market ON market.id = candle.market_id"
    )
    return {(f"{row[0]}@{row[1]}", row[2], row[3]): (row[4:11]) for row in rows}
