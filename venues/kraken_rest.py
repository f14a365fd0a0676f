"""Kraken's history of trades. Source: docs.kraken.com, rest-api, get-recent-trades, seen 2026-11."""

import re
from urllib.parse import quote

import msgspec

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate, check_update
from venues.history_pages import page_of
from venues.offers import History, HistoryKind, HistoryPage, HistoryRequest, HttpRequest, RestHistory
from venues.samples import sample, short

MOST_TRADES = 1_000  # a page
TIME_PATTERN = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?")
# A trade's time is a double here, and up to so much off what the socket told: half the distance of two
# doubles, and as much again for its shortest text.
TIME_ERROR_NS = 240
# The request's fault (docs.kraken.com, error messages): it is not asked again. Any other may pass.
FOR_GOOD = ("EQuery:", "EGeneral:Invalid arguments", "EGeneral:Unknown method", "EGeneral:Permission denied")


class PastTrade(msgspec.Struct, array_like=True, gc=False):
    """One trade: price, volume, time, side, order type, nothing, number.

    Documented: `["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952]`
    """

    price: str
    volume: str
    time: msgspec.Raw
    side: str
    order_type: str
    misc: str
    trade_id: int


class PastTrades(msgspec.Struct, gc=False):
    """`{"error":[],"result":{"XXBTZUSD":[…],"last":"1688671969993150842"}}`.

    The market has a third spelling here. Of several errors, `{"error":["EQuery:Unknown asset pair"]}`
    comes without a result.
    """

    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_decode_answer = msgspec.json.Decoder(PastTrades).decode
_decode_trades = msgspec.json.Decoder(list[PastTrade]).decode


def ask_trades(request: HistoryRequest, base: str) -> HttpRequest:
    """Return what asks for the trades since a gap's beginning; `since` is in nanoseconds.

    Not recorded: that a pair is found by its name without the slash, BTCUSD for BTC/USD. Two clients'
    accounts (2019-2026).
    """
    pair = quote(request.symbol.replace("/", ""), safe="")
    query = f"pair={pair}&since={request.from_us * 1_000}&count={MOST_TRADES}"
    return HttpRequest("GET", f"{base}/0/public/Trades?{query}", {})


def read_trades(request: HistoryRequest, body: bytes) -> HistoryPage:
    """Return the trades of an answer; raise `RemoteProtocolError` for one that cannot be read.

    Times are told a little early rather than late, so that the trade at a gap's beginning is not taken
    for one inside it; for the same reason what comes right before its end is left out.
    """
    try:
        answer = _decode_answer(body)
        lists = [rows for name, rows in answer.result.items() if name != "last"]
        trades = [trade for rows in lists for trade in _decode_trades(rows)]
        ticks = [_tick(request.symbol, trade) for trade in trades]
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise RemoteProtocolError(f"undecodable answer: {exc}", frame=sample(body)) from exc
    if answer.error:
        return _no_page(request, short(", ".join(answer.error)))
    for tick in ticks:
        check_update(tick)
    page = page_of(request, ticks, most=MOST_TRADES, resolution_us=1)
    return page._replace(ticks=tuple(tick for tick in page.ticks if (tick.ts_us or 0) < request.to_us - 1))


def _no_page(request: HistoryRequest, reason: str) -> HistoryPage:
    if any(error in reason for error in FOR_GOOD):
        return HistoryPage(request.id, reason=reason)
    raise RemoteProtocolError(f"no history: {reason}")


def _tick(symbol: str, trade: PastTrade) -> PriceUpdate:
    time = TIME_PATTERN.fullmatch(bytes(trade.time).decode())
    if time is None:
        raise ValueError(f"{bytes(trade.time)[:40]!r} is no time")
    ts_ns = int(time[1]) * 1_000_000_000 + int((time[2] or "0")[:9].ljust(9, "0"))
    ts_us = max(0, ts_ns - TIME_ERROR_NS) // 1_000
    return PriceUpdate(symbol, ts_us, trade.trade_id, float(trade.price), volume=float(trade.volume))


HISTORY = History(
    kind=HistoryKind.TICKS,
    # "1 per second (or less)" of public requests stays within the limits (support article on API rate
    # limits); a request that is on its way for longer than the one before must not come too close.
    spacing_s=1.5,
    rest=RestHistory(request=ask_trades, read=read_trades),
    source="trades",
)
