"""Requests for what is stored of trades; answered as those in `supervisor.reading`.

trades    {"market": null, "is_open": false, "from_us": 0, "to_us": 9, "after": null, "limit": 1000}
←         {"market": null, "columns": ["id", "market", …], "rows": [[…], …], "next": [9, 1] | null}
trade     {"id": 8619505195695294}
←         {"trade": {…}, "signal": {…} | null, "events": [{…}, …], "gaps": [{…}, …],
           "at_opening": [{tick}, …], "at_expiry": [{tick}, …]}
refused   {"market": "EURUSD@sim", "limit": 10}                   the newest first
←         {"market": "EURUSD@sim", "signals": [{…}, …]}
refusals  {"market": null, "from_us": 0, "to_us": 9}
←         {"market": null, "counts": {"stale_price": 3, …}}

Money is text, for no digit of it may be lost. `inputs` of a signal is an object.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import attrs
import msgspec
from attrs import validators

from domain.errors import RejectedError
from domain.market import MAX_INTEGER
from domain.trades import Position, Trade
from storage.history import Position as Place
from storage.markets import find_market
from storage.session import Session
from storage.trades import TRADE_PLACE, newest_refused, refusals, trade_page, whole_trade
from supervisor.requests import (
    MAX_PAGE_ROWS,
    Answer,
    Configured,
    PageRequest,
    SpanRequest,
    Work,
    answer,
    read_page_request,
    read_request,
)

COMMANDS = ("trades", "trade", "refused", "refusals")
PAGE_ROWS = 1_000  # 400 KB of JSON
REFUSED = 10
# A trade, and what its signal says of it.
COLUMNS = (*Trade._fields, "strategy", "expiry_s", "ts_us")


@attrs.frozen(kw_only=True)
class TradesRequest(PageRequest):
    """What `trades` takes; without a market it is for all."""

    market: str | None = None
    is_open: bool = False
    limit: int = attrs.field(default=PAGE_ROWS, validator=[validators.ge(1), validators.le(MAX_PAGE_ROWS)])


@attrs.frozen(kw_only=True)
class TradeRequest:
    """What `trade` takes."""

    id: int = attrs.field(validator=[validators.ge(0), validators.le(MAX_INTEGER)])


@attrs.frozen(kw_only=True)
class RefusedRequest:
    """What `refused` takes."""

    market: str
    limit: int = attrs.field(default=REFUSED, validator=[validators.ge(1), validators.le(PAGE_ROWS)])


@attrs.frozen(kw_only=True)
class RefusalsRequest(SpanRequest):
    """What `refusals` takes; without a market it is for all."""

    market: str | None = None


def plan(command: str, arguments: Mapping[str, Any], *, configured: Configured) -> Work:
    """Return what is to be run on a session for one of `COMMANDS`.

    Raises RejectedError that names a wrong argument and its value.
    """
    match command:
        case "trades":
            trades = read_page_request(TradesRequest, arguments, command=command, numbers=TRADE_PLACE)
            return partial(answer, partial(_trades, trades, configured=configured))
        case "trade":
            return partial(answer, partial(_trade, read_request(TradeRequest, arguments, command=command)))
        case "refused":
            refused = read_request(RefusedRequest, arguments, command=command)
            return partial(answer, partial(_refused, refused, configured=configured))
    counted = read_request(RefusalsRequest, arguments, command=command)
    return partial(answer, partial(_refusals, counted, configured=configured))


def position_of(row: Mapping[str, Any]) -> Position:
    """Return the trade that an answer's columns and their values are."""
    values = {name: row[name] for name in Trade._fields}
    values |= {name: Decimal(values[name]) for name in ("stake", "profit") if values[name] is not None}
    return Position(
        trade=Trade(**values), strategy=row["strategy"], expiry_s=row["expiry_s"], ts_us=row["ts_us"]
    )


def _trades(request: TradesRequest, session: Session, *, configured: Configured) -> Answer:
    name, id_ = _market(session, request.market, configured=configured)
    rows: list[Any] = []
    after: Place | None = None
    if name is None or id_ is not None:
        page = trade_page(
            session,
            market_id=id_,
            is_open=request.is_open,
            span=request.span,
            after=request.after,
            limit=request.limit,
        )
        rows, after = [_row(each) for each in page.trades], page.next
    return {"market": name, "columns": COLUMNS, "rows": rows, "next": after}


def _trade(request: TradeRequest, session: Session) -> Answer:
    whole = whole_trade(session, trade_id=request.id)
    if whole is None:
        raise RejectedError(
            f"trade {request.id} is not in the database: `marketd trades` lists those that are; "
            "a new one takes some seconds to get there"
        )
    return {
        "trade": dict(zip(COLUMNS, _row(whole.position), strict=True)),
        "signal": None if whole.signal is None else _with_inputs(whole.signal._asdict()),
        "events": [each._asdict() for each in whole.events],
        "gaps": [each._asdict() for each in whole.gaps],
        "at_opening": [each._asdict() for each in whole.at_opening],
        "at_expiry": [each._asdict() for each in whole.at_expiry],
    }


def _refused(request: RefusedRequest, session: Session, *, configured: Configured) -> Answer:
    name, id_ = _market(session, request.market, configured=configured)
    signals = [] if id_ is None else newest_refused(session, market_id=id_, limit=request.limit)
    return {"market": name, "signals": [_with_inputs(each._asdict()) for each in signals]}


def _refusals(request: RefusalsRequest, session: Session, *, configured: Configured) -> Answer:
    name, id_ = _market(session, request.market, configured=configured)
    counts = {} if name is not None and id_ is None else refusals(session, market_id=id_, span=request.span)
    return {"market": name, "counts": counts}


def _market(session: Session, name: str | None, *, configured: Configured) -> tuple[str | None, int | None]:
    """Return a market's name and its id, each None for all markets, the id also of one without rows."""
    if name is None:
        return None, None
    market = find_market(session, name=name, configured=configured.markets)
    return market.name, market.id


def _row(position: Position) -> list[Any]:
    trade = [str(value) if isinstance(value, Decimal) else value for value in position.trade]
    return [*trade, position.strategy, position.expiry_s, position.ts_us]


def _with_inputs(signal: dict[str, Any]) -> dict[str, Any]:
    """Return a signal whose inputs are what they say, or the text as it stands where it is no JSON."""
    try:
        return signal | {"inputs": msgspec.json.decode(signal["inputs"])}
    except msgspec.DecodeError:
        return signal
