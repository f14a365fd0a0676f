"""Reads from the ledger what trading has to know of before: which trades there are, what they brought.

Of one mode each time: records of paper, demo and real never mix. Money is summed here and not by the
database, since SQLite has it as text, and would make floats of it.
"""

from decimal import Decimal

from domain.market import market_id
from domain.trades import CENT, Mode, Position, Trade
from storage.session import Row, Session

MOST_NEWEST = 5_000  # a month of a trade every nine minutes; 3 MB
MOST_OLDER = 64  # of a strategy on a market: longer runs of losses and refusals are forgotten in the end

# To be gone on with. Every trade has its market: left joins, so that trades are looked at first, in the
# order of their index. (MariaDB would sort all trades of each market.)
TRADES = (
    "SELECT trade.id, signal_id, symbol, venue, trade.mode, venue_trade_id, trade.direction, stake, "
    "currency, payout_percent, state, intended_us, sent_us, opened_us, open_price, expires_us, settled_us, "
    "close_price, close_source, profit, `signal`.strategy, `signal`.expiry_s, `signal`.ts_us FROM trade "
    "LEFT JOIN market ON market.id = trade.market_id LEFT JOIN `signal` ON `signal`.id = trade.signal_id "
)
UNDER_WAY = TRADES + (
    "WHERE trade.mode = ? AND (state IN ('intended', 'sent', 'open', 'unknown') "
    "OR (state = 'foreign' AND settled_us IS NULL))"
)
RECENT = TRADES + "WHERE trade.mode = ? AND intended_us >= ?"
NEWEST = TRADES + "WHERE trade.mode = ? ORDER BY intended_us DESC, trade.id DESC LIMIT ?"
RANKED = (
    "SELECT trade.id, ROW_NUMBER() OVER "
    "(PARTITION BY strategy, trade.market_id ORDER BY intended_us DESC, trade.id DESC) AS place "
    "FROM trade JOIN `signal` ON `signal`.id = trade.signal_id WHERE trade.mode = ? AND intended_us <= ?"
)
OLDER = TRADES + f"JOIN ({RANKED}) AS ranked ON ranked.id = trade.id WHERE place <= ?"
# There are few amounts, and many trades.
PROFITS = "SELECT profit, COUNT(*) FROM trade WHERE mode = ? AND profit IS NOT NULL GROUP BY profit"


def remembered(
    session: Session, *, mode: Mode, since_us: int, newest: int = MOST_NEWEST, older: int = MOST_OLDER
) -> list[Position]:
    """Return the trades of a mode that limits, ladders and brokers may depend on, as they were intended.

    Those are all whose result is still to come, all since a time, as limits count them by the day, the
    newest, and of before these the last ones of each strategy on each market. A trade without a signal
    was opened elsewhere: its strategy is "".
    """
    positions = [as_position(row) for row in session.query(NEWEST, (mode, newest))]
    if len(positions) == newest:
        until_us = min(position.trade.intended_us for position in positions)
        positions += [as_position(row) for row in session.query(OLDER, (mode, until_us, older))]
        positions += [as_position(row) for row in session.query(RECENT, (mode, since_us))]
    positions += [as_position(row) for row in session.query(UNDER_WAY, (mode,))]
    by_id = {position.trade.id: position for position in positions}
    return sorted(by_id.values(), key=lambda position: (position.trade.intended_us, position.trade.id))


def total_profit(session: Session, *, mode: Mode) -> Decimal:
    """Return what all trades of a mode have brought together, exactly."""
    rows = session.query(PROFITS, (mode,))
    return sum((as_money(profit) * count for profit, count in rows), Decimal("0.00"))


def as_position(row: Row) -> Position:
    """Return the trade of a row of `TRADES`, with what its signal says of it."""
    id_, signal_id, symbol, venue, *rest = row
    *fields, strategy, expiry_s, ts_us = rest
    trade = Trade(id_, signal_id, market_id(symbol=symbol, venue=venue), *fields)
    profit = None if trade.profit is None else as_money(trade.profit)
    return Position(
        trade=trade._replace(stake=as_money(trade.stake), profit=profit),
        strategy=strategy or "",
        expiry_s=expiry_s or 0,
        ts_us=trade.intended_us if ts_us is None else ts_us,
    )


def as_money(value: str | Decimal) -> Decimal:
    """Return an amount, text in SQLite and padded in MySQL, to the cent or as exactly as it is."""
    amount = Decimal(value)
    cents = amount.quantize(CENT)
    return cents if cents == amount else amount.normalize()
