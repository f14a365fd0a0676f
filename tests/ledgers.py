"""Rows of the ledger for tests, and the ledger as a database has it."""

from decimal import Decimal

from databases import AnyDatabase

from domain.trades import LedgerRow, Signal, Trade, TradeEvent, stable_id
from storage.payloads import JournalBatch, Money

MARKET = "EURUSD@sim"
SECOND_US = 1_000_000
SIGNALS = """SELECT s.id, symbol, venue, strategy, ts_us, direction, expiry_s, price, price_age_ms, inputs,
    outcome, reason FROM `signal` AS s JOIN market ON market.id = market_id ORDER BY s.id"""
TRADES = """SELECT t.id, signal_id, symbol, venue, mode, venue_trade_id, direction, stake, currency,
    payout_percent, state, intended_us, sent_us, opened_us, open_price, expires_us, settled_us, close_price,
    close_source, profit FROM trade AS t JOIN market ON market.id = market_id ORDER BY t.id"""
STEPS = "SELECT id, trade_id, ts_us, state, cause, detail FROM trade_event ORDER BY trade_id, ts_us, id"


def a_signal(number: int, *, market: str = MARKET, strategy: str = "mine") -> Signal:
    """Return the approved wish of that second."""
    return Signal(
        id=stable_id("signal", strategy, market, number),
        market=market,
        strategy=strategy,
        ts_us=number * SECOND_US,
        direction="up" if number % 2 else "down",
        expiry_s=60,
        price=1.0 + number / 7,
        price_age_ms=number,
        inputs=f'{{"rsi": {number / 3}}}',
        outcome="approved",
    )


def a_trade(signal: Signal, *, mode: str = "paper", stake: str = "10.10") -> Trade:
    """Return the trade of a signal, intended a second later."""
    return Trade(
        id=stable_id("trade", mode, signal.id),
        signal_id=signal.id,
        market=signal.market,
        mode=mode,
        venue_trade_id=None,
        direction=signal.direction,
        stake=Decimal(stake),
        currency="USD",
        payout_percent=82.5,
        state="intended",
        intended_us=signal.ts_us + SECOND_US,
    )


def settled(trade: Trade, *, state: str = "won", profit: str = "8.33") -> Trade:
    """Return the trade a minute after its opening, which was half a second after it was intended."""
    opened_us = trade.intended_us + SECOND_US // 2
    return trade._replace(
        state=state,
        sent_us=trade.intended_us + 1_000,
        opened_us=opened_us,
        open_price=1.1,
        expires_us=opened_us + 60 * SECOND_US,
        settled_us=opened_us + 60 * SECOND_US + 7,
        close_price=1.2,
        close_source="ticks",
        profit=Decimal(profit),
    )


def a_step(trade: Trade, number: int, *, state: str = "", detail: str = "") -> TradeEvent:
    """Return a step of a trade, the first one has number 1."""
    return TradeEvent(
        id=stable_id(trade.id, number),
        trade_id=trade.id,
        ts_us=trade.intended_us + number,
        state=state or trade.state,
        cause="",
        detail=detail,
    )


def intent(number: int) -> tuple[LedgerRow, ...]:
    """Return what the ledger gets when a trade is intended."""
    signal = a_signal(number)
    trade = a_trade(signal)
    return signal, trade, a_step(trade, 1)


def as_money(*rows: LedgerRow) -> Money:
    """Return a batch of these rows."""
    return Money(
        signals=[each for each in rows if isinstance(each, Signal)],
        trades=[each for each in rows if isinstance(each, Trade)],
        trade_events=[each for each in rows if isinstance(each, TradeEvent)],
    )


def rows_of(batch: JournalBatch) -> list[LedgerRow]:
    """Return the ledger's rows of a batch."""
    rows = batch.rows
    return [*rows.signals, *rows.trades, *rows.trade_events] if isinstance(rows, Money) else []


def stored_ledger(database: AnyDatabase) -> Money:
    """Return all that the ledger holds: signals and trades by id, steps in their order."""
    return Money(
        signals=[
            Signal(id_, f"{symbol}@{venue}", *rest) for id_, symbol, venue, *rest in database.query(SIGNALS)
        ],
        trades=[_trade(*row) for row in database.query(TRADES)],
        trade_events=[TradeEvent(*row) for row in database.query(STEPS)],
    )


def in_order(money: Money) -> Money:
    """Return a batch's rows of the ledger in the order of `stored_ledger`, the latest of each trade."""
    latest = {trade.id: trade for trade in money.trades}
    return Money(
        signals=sorted(set(money.signals)),
        trades=sorted(latest.values(), key=lambda trade: trade.id),
        trade_events=sorted(set(money.trade_events), key=lambda each: (each.trade_id, each.ts_us, each.id)),
    )


def _trade(id_: int, signal_id: int, symbol: str, venue: str, *rest: object) -> Trade:
    *others, profit = rest
    trade = Trade(id_, signal_id, f"{symbol}@{venue}", *others)  # type: ignore[arg-type]
    return trade._replace(stake=Decimal(trade.stake), profit=None if profit is None else Decimal(str(profit)))
