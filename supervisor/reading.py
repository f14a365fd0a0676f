"""Requests for what is stored, each for one page; answered by the daemon, and without one by the command.

history  {"market": "EURUSD@sim", "kind": "ticks", "from_us": 0, "to_us": 9, "after": null, "limit": 2000}
gaps     {"market": null, …}
←        {"market": "EURUSD@sim", "columns": ["ts_us", …], "rows": [[…], …], "next": [9, 1, 0] | null}

A client that sends `next` as the next request's `after` gets every row once. Nothing is kept between
two requests, so a client that is slow to ask costs nothing.
"""

import enum
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import attrs
from attrs import validators

from domain.errors import ConfigError, RejectedError
from domain.market import MAX_INTEGER
from storage.history import (
    CANDLE_COLUMNS,
    CANDLE_POSITION,
    GAP_COLUMNS,
    GAP_POSITION,
    TICK_COLUMNS,
    TICK_POSITION,
    Page,
    Position,
    Span,
    candle_page,
    gap_page,
    tick_page,
)
from storage.markets import find_market
from storage.session import Session
from supervisor.read_section import read_section, shown

PAGE_ROWS = 2_000  # of ticks 200 KB of JSON, encoded in 0.3 ms of the daemon's loop
MAX_PAGE_ROWS = 10_000
MAX_TIMEFRAME_S = 2**31 - 1  # an INT

Answer = dict[str, Any]


class Kind(enum.StrEnum):
    """What `history` is asked for."""

    TICKS = "ticks"
    CANDLES = "candles"


@attrs.frozen(kw_only=True)
class Configured:
    """What the settings say that a request leaves out."""

    markets: tuple[str, ...]
    timeframes_s: tuple[int, ...]


_time = [validators.ge(0), validators.le(MAX_INTEGER)]


def _check_position(_: object, __: object, value: Position | None) -> None:
    if any(not 0 <= number <= MAX_INTEGER for number in value or ()):
        raise ValueError(f"expected numbers from 0 to {MAX_INTEGER}")


@attrs.frozen(kw_only=True)
class PageRequest:
    """What both commands take."""

    from_us: int = attrs.field(default=0, validator=_time)
    to_us: int = attrs.field(default=MAX_INTEGER, validator=_time)
    after: Position | None = attrs.field(default=None, validator=_check_position)
    limit: int = attrs.field(default=PAGE_ROWS, validator=[validators.ge(1), validators.le(MAX_PAGE_ROWS)])


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


Request = TypeVar("Request", bound=PageRequest)


def plan(
    command: str, arguments: Mapping[str, Any], *, configured: Configured
) -> Callable[[Session], Answer | RejectedError]:
    """Return what is to be run on a session for `history` or `gaps`; `settle` takes its result.

    Raises RejectedError that names a wrong argument and its value.
    """
    if command == "gaps":
        gaps = _read_request(GapsRequest, arguments, command=command, numbers=GAP_POSITION)
        return partial(_answer, partial(_gaps, gaps, configured=configured))
    numbers = TICK_POSITION if arguments.get("kind") == Kind.TICKS else CANDLE_POSITION
    history = _read_request(HistoryRequest, arguments, command=command, numbers=numbers)
    if history.kind is Kind.TICKS:
        return partial(_answer, partial(_ticks, history, configured=configured))
    timeframe_s = history.timeframe_s or min(configured.timeframes_s, default=None)
    if timeframe_s is None:
        raise RejectedError("history timeframe_s: none given, and [storage] timeframes_s = []")
    return partial(_answer, partial(_candles, history, timeframe_s, configured=configured))


def settle(result: Answer | RejectedError) -> Answer:
    """Return the answer, or raise the refusal it is."""
    if isinstance(result, RejectedError):
        raise result
    return result


def _read_request(cls: type[Request], arguments: Mapping[str, Any], *, command: str, numbers: int) -> Request:
    try:
        request = read_section(cls, dict(arguments), where=command)
    except ConfigError as exc:
        raise RejectedError(str(exc)) from exc
    if request.after is not None and len(request.after) != numbers:
        raise RejectedError(f"{command} after = {shown(list(request.after))}: expected {numbers} numbers")
    return request


def _answer(read: Callable[[Session], Answer], session: Session) -> Answer | RejectedError:
    """Hand a refusal back as a value: an exception would cost the pool its connection."""
    try:
        return read(session)
    except RejectedError as exc:
        return exc


def _ticks(request: HistoryRequest, session: Session, *, configured: Configured) -> Answer:
    market = find_market(session, name=request.market, configured=configured.markets)
    if market.id is None:
        return _page(market.name, Page(columns=TICK_COLUMNS, rows=[], next=None))
    page = tick_page(
        session, market_id=market.id, span=_span(request), after=request.after, limit=request.limit
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
        span=_span(request),
        after=request.after,
        limit=request.limit,
    )
    return _page(market.name, page)


def _gaps(request: GapsRequest, session: Session, *, configured: Configured) -> Answer:
    if request.market is None:
        return _page(None, _gap_page(request, session, market_id=None))
    market = find_market(session, name=request.market, configured=configured.markets)
    if market.id is None:
        return _page(market.name, Page(columns=GAP_COLUMNS, rows=[], next=None))
    return _page(market.name, _gap_page(request, session, market_id=market.id))


def _gap_page(request: GapsRequest, session: Session, *, market_id: int | None) -> Page:
    return gap_page(
        session, market_id=market_id, span=_span(request), after=request.after, limit=request.limit
    )


def _span(request: PageRequest) -> Span:
    return Span(from_us=request.from_us, to_us=request.to_us)


def _page(market: str | None, page: Page) -> Answer:
    return {"market": market, "columns": page.columns, "rows": page.rows, "next": page.next}
