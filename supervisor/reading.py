"""Requests for what is stored, each for one page; answered by the daemon, and without one by the command.

history  {"market": "EURUSD@sim", "kind": "ticks", "from_us": 0, "to_us": 9, "after": null, "limit": 2000}
gaps     {"market": null, …}
last_candles {"market": "EURUSD@sim", "timeframe_s": 60, "before_us": 9, "count": 20}, all on one page
←        {"market": "EURUSD@sim", "columns": ["ts_us", …], "rows": [[…], …], "next": [9, 1, 0] | null}

A client that sends `next` as the next request's `after` gets every row once. Nothing is kept between
two requests, so a client that is slow to ask costs nothing.
"""

import enum
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
from attrs import validators

from domain.errors import RejectedError
from domain.market import MAX_INTEGER
from storage.history import (
    CANDLE_COLUMNS,
    CANDLE_POSITION,
    GAP_COLUMNS,
    GAP_POSITION,
    TICK_COLUMNS,
    TICK_POSITION,
    Page,
    candle_page,
    gap_page,
    tick_page,
)
from storage.markets import find_market
from storage.past import last_candles
from storage.session import Session
from supervisor import trade_reading
from supervisor.requests import (
    MAX_PAGE_ROWS,
    Answer,
    Configured,
    PageRequest,
    Work,
    answer,
    read_page_request,
    read_request,
)

COMMANDS = ("history", "gaps", "last_candles", *trade_reading.COMMANDS)
MAX_TIMEFRAME_S = 2**31 - 1  # an INT


class Kind(enum.StrEnum):
    """What `history` is asked for."""

    TICKS = "ticks"
    CANDLES = "candles"


@attrs.frozen(kw_only=True)
class HistoryRequest(PageRequest):
    """What `history` takes."""

    market: str
    kind: Kind
    timeframe_s: int | None = attrs.field(
        default=None, validator=validators.optional([validators.ge(1), validators.le(MAX_TIMEFRAME_S)])
    )


@attrs.frozen(kw_only=True)
class GapsRequest(PageRequest):
    """What `gaps` takes; without a market it is for all."""

    market: str | None = None


@attrs.frozen(kw_only=True)
class LastCandlesRequest:
    """What `last_candles` takes: the last so many that had ended by a time, as strategies begin with them."""

    market: str
    timeframe_s: int = attrs.field(validator=[validators.ge(1), validators.le(MAX_TIMEFRAME_S)])
    before_us: int = attrs.field(validator=[validators.ge(0), validators.le(MAX_INTEGER)])
    count: int = attrs.field(validator=[validators.ge(1), validators.le(MAX_PAGE_ROWS)])


def plan(command: str, arguments: Mapping[str, Any], *, configured: Configured) -> Work:
    """Return what is to be run on a session for one of `COMMANDS`; `settle` takes its result.

    Raises RejectedError that names a wrong argument and its value.
    """
    if command in trade_reading.COMMANDS:
        return trade_reading.plan(command, arguments, configured=configured)
    if command == "gaps":
        gaps = read_page_request(GapsRequest, arguments, command=command, numbers=GAP_POSITION)
        return partial(answer, partial(_gaps, gaps, configured=configured))
    if command == "last_candles":
        last = read_request(LastCandlesRequest, arguments, command=command)
        return partial(answer, partial(_last_candles, last, configured=configured))
    numbers = TICK_POSITION if arguments.get("kind") == Kind.TICKS else CANDLE_POSITION
    history = read_page_request(HistoryRequest, arguments, command=command, numbers=numbers)
    if history.kind is Kind.TICKS:
        return partial(answer, partial(_ticks, history, configured=configured))
    timeframe_s = history.timeframe_s or min(configured.timeframes_s, default=None)
    if timeframe_s is None:
        raise RejectedError("history timeframe_s: none given, and [storage] timeframes_s = []")
    return partial(answer, partial(_candles, history, timeframe_s, configured=configured))


def _ticks(request: HistoryRequest, session: Session, *, configured: Configured) -> Answer:
    market = find_market(session, name=request.market, configured=configured.markets)
    if market.id is None:
        return _page(market.name, Page(columns=TICK_COLUMNS, rows=[], next=None))
    page = tick_page(
        session, market_id=market.id, span=request.span, after=request.after, limit=request.limit
    )
    return _page(market.name, page)


def _candles(
    request: HistoryRequest, timeframe_s: int, session: Session, *, configured: Configured
) -> Answer:
    market = find_market(session, name=request.market, configured=configured.markets)
    if market.id is None:
        return _page(market.name, Page(columns=CANDLE_COLUMNS, rows=[], next=None))
    page = candle_page(
        session,
        market_id=market.id,
        timeframe_s=timeframe_s,
        span=request.span,
        after=request.after,
        limit=request.limit,
    )
    return _page(market.name, page)


def _last_candles(request: LastCandlesRequest, session: Session, *, configured: Configured) -> Answer:
    market = find_market(session, name=request.market, configured=configured.markets)
    found = last_candles(
        session,
        market=market.name,
        timeframe_s=request.timeframe_s,
        before_us=request.before_us,
        count=request.count,
        stored_s=configured.timeframes_s,
    )
    rows = [
        (each.open_us, each.open, each.high, each.low, each.close, each.ticks, each.volume, past.complete)
        for past in found
        for each in (past.candle,)
    ]
    return _page(market.name, Page(columns=CANDLE_COLUMNS[:-1], rows=rows, next=None))


def _gaps(request: GapsRequest, session: Session, *, configured: Configured) -> Answer:
    if request.market is None:
        return _page(None, _gap_page(request, session, market_id=None))
    market = find_market(session, name=request.market, configured=configured.markets)
    if market.id is None:
        return _page(market.name, Page(columns=GAP_COLUMNS, rows=[], next=None))
    return _page(market.name, _gap_page(request, session, market_id=market.id))


def _gap_page(request: GapsRequest, session: Session, *, market_id: int | None) -> Page:
    return gap_page(session, market_id=market_id, span=request.span, after=request.after, limit=request.limit)


def _page(market: str | None, page: Page) -> Answer:
    return {"market": market, "columns": page.columns, "rows": page.rows, "next": page.next}
