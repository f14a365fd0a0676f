"""Reads what is stored of trades: pages of them, one of them with all that belongs to it, refused signals.

Times are microseconds, UTC; a span is of `intended_us` of trades, of `ts_us` of signals.
"""

from collections.abc import Sequence

import attrs

from domain.gaps import Gap
from domain.market import MAX_INTEGER, Tick, market_id
from domain.trades import Position, Signal, TradeEvent, TradeState
from storage.history import Position as Place
from storage.history import Span
from storage.ledger import TRADES, as_position
from storage.session import Dialect, Row, Session

UNDER_WAY = (TradeState.INTENDED, TradeState.SENT, TradeState.OPEN, TradeState.UNKNOWN)
TRADE_PLACE = 2  # how many numbers say where a page ends: (intended_us, id)
AROUND = 3  # ticks on either side of a moment
# Nobody trades on a price that is older; it bounds what SQLite looks at, whose ticks are in order of time.
AROUND_US = 600_000_000

PAGE = (
    "WHERE intended_us >= ? AND (intended_us > ? OR trade.id > ?) AND intended_us < ? {more}"
    "ORDER BY intended_us, trade.id LIMIT ?"
)
OF_MARKET = "AND trade.market_id = ? "
IS_UNDER_WAY = f"AND state IN ({', '.join(repr(str(state)) for state in UNDER_WAY)}) "
SIGNALS = (
    "SELECT `signal`.id, symbol, venue, strategy, ts_us, direction, expiry_s, price, price_age_ms, inputs, "
    "outcome, reason FROM `signal` JOIN market ON market.id = market_id "
)
NEWEST_REFUSED = (
    SIGNALS + "WHERE market_id = ? AND outcome = 'refused' ORDER BY ts_us DESC, `signal`.id DESC LIMIT ?"
)
REFUSALS = (
    "SELECT reason, COUNT(*) FROM `signal` WHERE outcome = 'refused' AND ts_us >= ? AND ts_us < ? {more}"
    "GROUP BY reason"
)
EVENTS = "SELECT id, trade_id, ts_us, state, cause, detail FROM trade_event WHERE trade_id = ? ORDER BY ts_us"
GAPS = (
    "SELECT from_us, to_us, cause, fill, fill_note FROM gap WHERE market_id = ? AND from_us < ? "
    "AND (to_us IS NULL OR to_us > ?) ORDER BY from_us, id"
)
TICKS = (
    "SELECT ts_us, seq, price, bid, ask, volume, received_us, source FROM tick "
    "WHERE market_id = ? AND ts_us >= ? AND ts_us <= ? ORDER BY {order} LIMIT ?"
)
# The order of each one's key; SQLite must not sort a market's ticks by itself.
ORDERS = {Dialect.SQLITE: ("ts_us", "market_id", "seq"), Dialect.MYSQL: ("market_id", "ts_us", "seq")}
STEPS_IN_ORDER = tuple(TradeState)


@attrs.frozen(kw_only=True)
class TradePage:
    """Some trades in the order in which they were intended; `next` as in `storage.history.Page`."""

    trades: list[Position]
    next: Place | None


@attrs.frozen(kw_only=True)
class WholeTrade:
    """A trade with all that belongs to it.

    `signal` is None where the database does not have it. `gaps` are those between the tick that was
    decided on and the expiry; `at_opening` and `at_expiry` are the ticks around these moments.
    """

    position: Position
    signal: Signal | None
    events: Sequence[TradeEvent]
    gaps: Sequence[Gap]
    at_opening: Sequence[Tick]
    at_expiry: Sequence[Tick]


def trade_page(
    session: Session, *, market_id: int | None, is_open: bool, span: Span, after: Place | None, limit: int
) -> TradePage:
    """Return up to `limit` trades, of one market or, with None, of all; `is_open`: only those under way."""
    intended_us, id_ = after or (span.from_us - 1, MAX_INTEGER)
    values: list[int] = [intended_us, intended_us, id_, span.to_us]
    more = IS_UNDER_WAY if is_open else ""
    if market_id is not None:
        more += OF_MARKET
        values.append(market_id)
    rows = session.query(TRADES + PAGE.format(more=more), (*values, limit))
    trades = [as_position(row) for row in rows]
    last = trades[-1].trade if len(trades) == limit else None
    return TradePage(trades=trades, next=None if last is None else (last.intended_us, last.id))


def whole_trade(session: Session, *, trade_id: int) -> WholeTrade | None:
    """Return a trade with all that belongs to it, None where none has this id."""
    rows = session.query(TRADES + "WHERE trade.id = ?", (trade_id,))
    if not rows:
        return None
    position = as_position(rows[0])
    trade = position.trade
    signals = session.query(SIGNALS + "WHERE `signal`.id = ?", (trade.signal_id,))
    [(place,)] = session.query("SELECT market_id FROM trade WHERE id = ?", (trade_id,))
    until_us = trade.expires_us or trade.opened_us or trade.intended_us
    gaps = session.query(GAPS, (place, until_us, position.ts_us))
    return WholeTrade(
        position=position,
        signal=_signal(signals[0]) if signals else None,
        events=sorted((TradeEvent(*row) for row in session.query(EVENTS, (trade_id,))), key=_step),
        gaps=[Gap(trade.market, *row) for row in gaps],
        at_opening=ticks_around(session, market=trade.market, id_=place, at_us=trade.opened_us),
        at_expiry=ticks_around(session, market=trade.market, id_=place, at_us=trade.expires_us),
    )


def ticks_around(session: Session, *, market: str, id_: int, at_us: int | None) -> list[Tick]:
    """Return the last ticks of a market at or before a moment and the first ones after it, in order."""
    if at_us is None:
        return []
    order = ORDERS[session.dialect]
    before = TICKS.format(order=", ".join(f"{column} DESC" for column in order))
    after = TICKS.format(order=", ".join(order))
    rows = session.query(before, (id_, at_us - AROUND_US, at_us, AROUND))[::-1]
    rows += session.query(after, (id_, at_us + 1, at_us + AROUND_US, AROUND))
    return [Tick(market, *row) for row in rows]


def newest_refused(session: Session, *, market_id: int, limit: int) -> list[Signal]:
    """Return the last signals of a market that were refused, the newest first."""
    return [_signal(row) for row in session.query(NEWEST_REFUSED, (market_id, limit))]


def refusals(session: Session, *, market_id: int | None, span: Span) -> dict[str, int]:
    """Return how many signals each limit refused, by its name."""
    values = [span.from_us, span.to_us]
    if market_id is not None:
        values.append(market_id)
    more = "" if market_id is None else "AND market_id = ? "
    counts: dict[str, int] = {}
    for reason, count in session.query(REFUSALS.format(more=more), values):
        name = reason.partition(":")[0]
        counts[name] = counts.get(name, 0) + int(count)
    return counts


def _step(event: TradeEvent) -> tuple[int, int]:
    """Return where an event stands: several may have the same time, and their ids have no order."""
    return event.ts_us, STEPS_IN_ORDER.index(TradeState(event.state))


def _signal(row: Row) -> Signal:
    id_, symbol, venue, *rest = row
    return Signal(id_, market_id(symbol=symbol, venue=venue), *rest)
