"""What can be seen of a daemon from outside: the venue's ledger, a dead journal, the tables."""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path

from crash_oracle import Handed, as_sent
from daemons import Sent
from databases import AnyDatabase
from expected_candles import Candles
from trade_oracle import EventSeen, SignalSeen, TradeSeen

from domain.gaps import Gap
from storage.payloads import Lane, Money, decode


def read_journal(path: Path) -> frozenset[Sent]:
    """Return the ticks in the journal of a dead daemon."""
    batches = (decode(Lane.TICKS, payload) for payload in _payloads(path, Lane.TICKS))
    return frozenset(as_sent(tick) for ticks in batches if not isinstance(ticks, Money) for tick in ticks)


def read_money(path: Path) -> list[Money]:
    """Return the batches of the money lane in the journal of a dead daemon, in order."""
    batches = (decode(Lane.MONEY, payload) for payload in _payloads(path, Lane.MONEY))
    return [batch for batch in batches if isinstance(batch, Money)]


def _payloads(path: Path, lane: Lane) -> list[bytes]:
    """Return what a lane holds, without touching the journal: SQLite would tidy up."""
    table = f"{lane}_batch"
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.glob(f"{path.name}*"):
            if part.name in (path.name, f"{path.name}-wal"):
                shutil.copy(part, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if (table,) not in tables:
                return []
            rows = connection.execute(f"SELECT payload FROM {table} ORDER BY rowid").fetchall()
    return [payload for (payload,) in rows]


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


def read_signals(database: AnyDatabase) -> list[SignalSeen]:
    """Return the `signal` table."""
    rows = database.query(
        "SELECT signal.id, symbol, venue, strategy, ts_us, direction, expiry_s, price, outcome, reason "
        "FROM `signal` JOIN market ON market.id = market_id"
    )
    return [SignalSeen(id_, f"{symbol}@{venue}", *rest) for id_, symbol, venue, *rest in rows]


def read_trades(database: AnyDatabase) -> list[TradeSeen]:
    """Return the `trade` table."""
    rows = database.query(
        "SELECT trade.id, signal_id, symbol, venue, mode, direction, stake, payout_percent, state, "
        "intended_us, sent_us, opened_us, open_price, expires_us, settled_us, close_price, profit "
        "FROM trade JOIN market ON market.id = market_id"
    )
    return [
        TradeSeen(
            id_, signal_id, f"{symbol}@{venue}", mode, direction, Decimal(stake), *rest,
            None if profit is None else Decimal(profit),
        )
        for id_, signal_id, symbol, venue, mode, direction, stake, *rest, profit in rows
    ]  # fmt: skip


def read_events(database: AnyDatabase) -> list[EventSeen]:
    """Return the `trade_event` table."""
    return [
        EventSeen(*row) for row in database.query("SELECT id, trade_id, ts_us, state, cause FROM trade_event")
    ]
