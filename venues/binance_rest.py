"""Binance's history and list of markets. Source: binance-spot-api-docs, rest-api.md, 2026-07-21."""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from domain.errors import RemoteProtocolError
from domain.instruments import Instrument, Listing
from domain.market import SYMBOL_PATTERN, PriceUpdate, check_update
from venues.history_pages import page_of
from venues.offers import (
    History,
    HistoryKind,
    HistoryPage,
    HistoryRequest,
    HttpRequest,
    RestHistory,
    RestListing,
)
from venues.samples import sample

MOST_TRADES = 1_000  # a page
BAD_SYMBOL = -1121  # errors.md, 2026-07-21
FIRST_US = 10**14  # as milliseconds the year 5138, as microseconds 1973: tells the two apart


class PastTrade(msgspec.Struct, gc=False):
    """One aggregated trade of the past; only what a tick needs.

    `{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,
    "M":true}`
    """

    a: int
    p: str
    q: str
    T: int


class ListedPrice(msgspec.Struct, gc=False):
    """One market and its latest price, which is not looked at: `{"symbol":"LTCBTC","price":"4.0"}`."""

    symbol: str


class Problem(msgspec.Struct, gc=False):
    """Why there is no answer: `{"code":-1121,"msg":"Invalid symbol."}`."""

    code: int
    msg: str = ""


_decode_trades = msgspec.json.Decoder(list[PastTrade]).decode
_decode_prices = msgspec.json.Decoder(list[ListedPrice]).decode
_decode_problem = msgspec.json.Decoder(Problem).decode


def to_us(told: int) -> int:
    """Return a time in microseconds that the venue tells in milliseconds or in microseconds."""
    return told * 1_000 if told < FIRST_US else told


def ask_trades(request: HistoryRequest, base: str) -> HttpRequest:
    """Return what asks for the trades inside a gap, the oldest first; both ends are inclusive there.

    Where the session tells microseconds, history must too: the trade at the gap's edge would else
    come again with another time.
    """
    is_fine = _resolution_us(request) == 1
    first_ms = request.from_us // 1_000 if is_fine else request.from_us // 1_000 + 1
    last_ms = max(first_ms, (request.to_us - 1) // 1_000)
    symbol = quote(request.symbol, safe="")
    query = f"symbol={symbol}&startTime={first_ms}&endTime={last_ms}&limit={MOST_TRADES}"
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"} if is_fine else {}
    return HttpRequest("GET", f"{base}/api/v3/aggTrades?{query}", headers)


def read_trades(request: HistoryRequest, body: bytes) -> HistoryPage:
    """Return the trades of an answer; raise `RemoteProtocolError` for one that cannot be read."""
    try:
        trades = _decode_trades(body)
        ticks = [
            PriceUpdate(request.symbol, to_us(trade.T), trade.a, float(trade.p), volume=float(trade.q))
            for trade in trades
        ]
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        problem = _read_problem(body, exc)
        if problem.code == BAD_SYMBOL:
            return HistoryPage(request.id, reason=problem.msg)
        raise RemoteProtocolError(f"no history: {problem.code} {problem.msg}") from exc
    for tick in ticks:
        check_update(tick)
    return page_of(request, ticks, most=MOST_TRADES, resolution_us=_resolution_us(request))


def _resolution_us(request: HistoryRequest) -> int:
    """Return how finely the session that has the gap tells times."""
    return 1 if request.from_us % 1_000 or request.to_us % 1_000 else 1_000


def ask_markets(base: str, symbols: Sequence[str]) -> HttpRequest:
    """Return what asks for all markets, whichever are in question.

    By their latest prices, 150 KB: `exchangeInfo` takes over 10 MB, and none of it at all where one of
    several symbols does not exist. A market that is halted is listed as open, and will be stale.
    """
    return HttpRequest("GET", f"{base}/api/v3/ticker/price", {})


def read_markets(body: bytes) -> Listing:
    """Return all markets; raise `RemoteProtocolError` for an answer that cannot be read.

    Left out are names that no setting can hold: a few are not ASCII.
    """
    try:
        prices = _decode_prices(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        problem = _read_problem(body, exc)
        raise RemoteProtocolError(f"no list of markets: {problem.code} {problem.msg}") from exc
    symbols = (each.symbol for each in prices if SYMBOL_PATTERN.fullmatch(each.symbol))
    return Listing(tuple(map(Instrument, symbols)), is_whole=True)


def _read_problem(body: bytes, cause: Exception) -> Problem:
    """Return why there is no answer; raise `RemoteProtocolError` where the body does not say."""
    try:
        return _decode_problem(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise RemoteProtocolError(f"undecodable answer: {cause}", frame=sample(body)) from cause


# Weight 4 each, of 6,000 a minute and address (rate limits of exchangeInfo, which may change): half a
# second takes 480.
HISTORY = History(
    kind=HistoryKind.TICKS,
    spacing_s=0.5,
    rest=RestHistory(request=ask_trades, read=read_trades),
    source="trades",
)
LISTING = RestListing(request=ask_markets, read=read_markets)
