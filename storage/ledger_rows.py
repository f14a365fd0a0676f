"""Statements that keep the ledger: signals, trades and their steps. Each can be repeated."""

from collections.abc import Mapping, Sequence

from domain.trades import Signal, Trade, TradeEvent
from storage.session import Dialect, Session

SIGNAL_COLUMNS = (
    "id", "market_id", "strategy", "ts_us", "direction", "expiry_s", "price", "price_age_ms", "inputs",
    "outcome", "reason",
)  # fmt: skip
TRADE_COLUMNS = (
    "id", "signal_id", "market_id", "mode", "venue_trade_id", "direction", "stake", "currency",
    "payout_percent", "state", "intended_us", "sent_us", "opened_us", "open_price", "expires_us",
    "settled_us", "close_price", "close_source", "profit",
)  # fmt: skip
EVENT_COLUMNS = ("id", "trade_id", "ts_us", "state", "cause", "detail")


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    # `signal` is a word of MySQL's; both dialects take backticks.
    return f"INSERT INTO `{table}` ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # our own names


# What is there stays.
STAYS = {Dialect.SQLITE: " ON CONFLICT (id) DO NOTHING", Dialect.MYSQL: " ON DUPLICATE KEY UPDATE id = id"}
# The latest word holds, all of it: batches are stored in their order.
REPLACED = {
    Dialect.SQLITE: " ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in TRADE_COLUMNS[1:]),
    Dialect.MYSQL: " ON DUPLICATE KEY UPDATE "
    + ", ".join(f"{column} = VALUES({column})" for column in TRADE_COLUMNS[1:]),
}
INSERT_SIGNALS = {each: _insert("signal", SIGNAL_COLUMNS) + STAYS[each] for each in Dialect}
PUT_TRADES = {each: _insert("trade", TRADE_COLUMNS) + REPLACED[each] for each in Dialect}
INSERT_TRADE_EVENTS = {each: _insert("trade_event", EVENT_COLUMNS) + STAYS[each] for each in Dialect}


def insert_signals(session: Session, *, signals: Sequence[Signal], ids: Mapping[str, int]) -> None:
    """Insert signals; one of equal id never changes."""
    if signals:
        rows = [(each.id, ids[each.market], *each[2:]) for each in signals]
        session.execute_many(INSERT_SIGNALS[session.dialect], rows)


def put_trades(session: Session, *, trades: Sequence[Trade], ids: Mapping[str, int]) -> None:
    """Insert trades, or replace what was said of them before; the last row of a trade holds."""
    if trades:
        latest = {each.id: each for each in trades}
        rows = [(each.id, each.signal_id, ids[each.market], *each[3:]) for each in latest.values()]
        session.execute_many(PUT_TRADES[session.dialect], rows)


def insert_trade_events(session: Session, *, events: Sequence[TradeEvent]) -> None:
    """Insert steps of trades; one of equal id never changes."""
    if events:
        session.execute_many(INSERT_TRADE_EVENTS[session.dialect], events)
