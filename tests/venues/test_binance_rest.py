"""The client's side of Binance over HTTP, alone and against the simulated venue's."""

import contextlib
import json
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate
from venues.binance_rest import ask_markets, ask_trades, read_markets, read_trades
from venues.offers import HistoryPage, HistoryRequest, HttpRequest
from venues.simulated.binance import SimulatedBinance
from venues.simulated.prices import PricePath
from venues.simulated.protocol import HttpAnswer, Request

BASE = "https://data-api.binance.vision"
START_US = 1_785_000_000_000_000
# rest-api.md, 2026-07-21
TRADE = {
    "a": 26129,
    "p": "0.01633102",
    "q": "4.70443515",
    "f": 27781,
    "l": 27781,
    "T": 1498793709153,
    "m": True,
    "M": True,
}


def gap(from_us: int, to_us: int, *, symbol: str = "BNBBTC") -> HistoryRequest:
    return HistoryRequest(id=7, symbol=symbol, from_us=from_us, to_us=to_us, timeframe_s=None)


def query_of(request: HttpRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


# --- what is asked ----------------------------------------------------------------------------


def test_the_trades_of_a_gap_are_asked_for_from_the_next_millisecond_to_the_last() -> None:
    request = ask_trades(gap(START_US, START_US + 5_000), BASE)
    assert request.url.startswith(f"{BASE}/api/v3/aggTrades?")
    assert query_of(request) == {
        "symbol": "BNBBTC",
        "startTime": str(START_US // 1_000 + 1),
        "endTime": str(START_US // 1_000 + 4),
        "limit": "1000",
    }
    assert request.headers == {}


@pytest.mark.parametrize(
    ("from_us", "to_us"), [(START_US + 1, START_US + 5_000), (START_US, START_US + 5_001)]
)
def test_a_session_of_microseconds_gets_a_history_of_microseconds(from_us: int, to_us: int) -> None:
    request = ask_trades(gap(from_us, to_us), BASE)
    assert request.headers == {"X-MBX-TIME-UNIT": "MICROSECOND"}
    assert int(query_of(request)["startTime"]) * 1_000 <= from_us + 1_000
    assert int(query_of(request)["endTime"]) * 1_000 + 999 >= to_us - 1


def test_a_gap_within_a_millisecond_is_no_backward_question() -> None:
    query = query_of(ask_trades(gap(START_US, START_US + 1), BASE))
    assert int(query["startTime"]) <= int(query["endTime"])


def test_a_symbol_cannot_write_into_the_address() -> None:
    request = ask_trades(gap(0, 1, symbol="A&limit=1#"), BASE)
    assert query_of(request)["symbol"] == "A&limit=1#"
    assert query_of(request)["limit"] == "1000"


# --- what is answered -------------------------------------------------------------------------


def body_of(*times_ms: int) -> bytes:
    return json.dumps([{**TRADE, "a": number, "T": ms} for number, ms in enumerate(times_ms)]).encode()


def test_a_trade_of_the_past_is_told_like_one_of_now() -> None:
    page = read_trades(gap(0, START_US), json.dumps([TRADE]).encode())
    tick = PriceUpdate("BNBBTC", 1_498_793_709_153_000, 26129, 0.01633102, volume=4.70443515)
    assert page == HistoryPage(7, ticks=(tick,), through_us=START_US)


def test_an_empty_answer_says_that_there_was_nothing() -> None:
    assert read_trades(gap(0, START_US), b"[]") == HistoryPage(7, through_us=START_US)


def test_a_full_page_leaves_its_last_moment_to_the_next() -> None:
    page = read_trades(gap(0, START_US), body_of(*range(1_000, 1_999), 1_998))
    assert page.through_us == 1_997_000
    assert len(page.ticks) == 998


def test_a_full_page_of_one_moment_goes_on_behind_it() -> None:
    page = read_trades(gap(0, START_US), body_of(*[1_000] * 1_000))
    assert page.through_us == 1_000_000
    assert len(page.ticks) == 1_000


def test_a_full_page_that_reaches_the_end_is_the_last() -> None:
    page = read_trades(gap(0, 1_500_000), body_of(*range(501, 1_501)))
    assert page.through_us == 1_500_000


def test_trades_out_of_order_are_put_in_order() -> None:
    page = read_trades(gap(0, START_US), body_of(3, 1, 2))
    assert [tick.ts_us for tick in page.ticks] == [1_000, 2_000, 3_000]


@given(times=st.lists(st.integers(0, 3), max_size=1_000, min_size=990))
def test_every_full_page_goes_further(times: list[int]) -> None:
    page = read_trades(gap(1_500, 10_000), body_of(*times))
    assert page.through_us is not None
    assert page.through_us > 1_500


def test_an_unknown_symbol_has_no_history() -> None:
    page = read_trades(gap(0, 1), b'{"code":-1121,"msg":"Invalid symbol."}')
    assert page == HistoryPage(7, reason="Invalid symbol.")


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":-1003,"msg":"Too many requests; current limit is 6000 request weight per 1 MINUTE."}',
        b"<html>502</html>",
        b"",
        b"[[]]",
        b"[" * 100_000,
        json.dumps([{**TRADE, "p": "nan"}]).encode(),
        json.dumps([{**TRADE, "p": "-1"}]).encode(),
        json.dumps([{**TRADE, "T": -1}]).encode(),
        json.dumps([{**TRADE, "a": 2**63}]).encode(),
    ],
)
def test_what_is_no_history_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_trades(gap(0, 1), body)


@given(
    body=st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_nothing_but_a_protocol_error_escapes(body: bytes) -> None:
    for read in (read_markets, lambda each: read_trades(gap(0, 1), each)):
        with contextlib.suppress(RemoteProtocolError):
            read(body)


def test_the_list_holds_every_market_that_a_setting_can_name() -> None:
    names = ("LTCBTC", "币安人生USDT", "1INCHUSDT")
    listing = read_markets(json.dumps([{"symbol": name, "price": "4.00000200"} for name in names]).encode())
    assert listing.is_whole
    assert [each.symbol for each in listing.instruments] == ["LTCBTC", "1INCHUSDT"]


def test_a_list_that_is_refused_is_a_protocol_error_that_says_why() -> None:
    with pytest.raises(RemoteProtocolError, match="-1003 Too many"):
        read_markets(b'{"code":-1003,"msg":"Too many requests"}')


# --- against the simulated venue --------------------------------------------------------------


def answer(venue: SimulatedBinance, request: HttpRequest, *, at_us: int = START_US) -> HttpAnswer:
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return venue.answer(Request(request.method, f"{parts.path}?{parts.query}", headers), at_us=at_us)


def moved_venue(*, ticks: int) -> SimulatedBinance:
    """A venue whose EURUSD ticked every half a millisecond."""
    prices = {symbol: PricePath(seed=7, symbol=symbol) for symbol in ("EURUSD", "USDJPY")}
    venue = SimulatedBinance(prices=prices, started_us=1, accepts=lambda _: False)
    for number in range(ticks):
        venue.tick("EURUSD", at_us=START_US + number * 500)
    return venue


@pytest.mark.parametrize(("from_us", "to_us"), [(0, 2_000_000), (1_000, 3_000), (-500, 700_500), (5, 5_000)])
def test_pages_of_the_simulated_venue_hold_all_that_is_inside_a_gap(from_us: int, to_us: int) -> None:
    venue = moved_venue(ticks=3_000)
    wanted = gap(START_US + from_us, START_US + to_us, symbol="EURUSD")
    found: list[PriceUpdate] = []
    request = wanted
    for _ in range(10):
        page = read_trades(request, answer(venue, ask_trades(request, BASE)).body)
        found += page.ticks
        assert page.through_us is not None
        if page.through_us >= wanted.to_us:
            break
        request = wanted._replace(from_us=page.through_us)
    inside = [tick.seq for tick in found if tick.ts_us and wanted.from_us < tick.ts_us < wanted.to_us]
    times = [START_US + number * 500 // 1_000 * 1_000 for number in range(3_000)]
    expected = [number + 2 for number, at in enumerate(times) if wanted.from_us < at < wanted.to_us]
    assert inside == expected


def test_the_simulated_venue_tells_microseconds_when_asked() -> None:
    venue = moved_venue(ticks=3)
    request = ask_trades(gap(START_US - 1, START_US + 5_000, symbol="EURUSD"), BASE)
    (first, *_) = msgspec.json.decode(answer(venue, request).body)
    assert first["T"] == START_US


def test_the_simulated_venue_lists_its_markets() -> None:
    listing = read_markets(answer(moved_venue(ticks=1), ask_markets(BASE, ["EURUSD"])).body)
    assert [each.symbol for each in listing.instruments] == ["EURUSD", "USDJPY"]


def test_the_simulated_venue_refuses_an_unknown_symbol_as_the_real_one_does() -> None:
    refused = answer(moved_venue(ticks=1), ask_trades(gap(0, 1, symbol="NOSUCH"), BASE))
    assert refused.status == 400
    assert read_trades(gap(0, 1), refused.body).through_us is None


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v3/aggTrades?symbol=EURUSD&fromId=2&limit=2", 200),
        ("/api/v3/aggTrades?symbol=EURUSD", 200),
        ("/api/v3/aggTrades", 400),
        ("/api/v3/aggTrades?symbol=EURUSD&startTime=x", 400),
        ("/api/v3/exchangeInfo?symbols=%5B%22EURUSD%22%5D", 200),
        ("/api/v3/exchangeInfo?symbols=EURUSD", 400),
        ("/api/v3/exchangeInfo?symbol=NOSUCH", 400),
        ("/api/v3/exchangeInfo", 200),
        ("/api/v3/depth", 404),
    ],
)
def test_the_simulated_venue_answers_what_it_serves(target: str, status: int) -> None:
    venue = moved_venue(ticks=5)
    assert venue.answer(Request("GET", target, {}), at_us=START_US).status == status


def test_the_simulated_venue_bans_who_asks_too_often() -> None:
    venue = moved_venue(ticks=1)
    asked = Request("GET", "/api/v3/ticker/price", {})
    statuses = [venue.answer(asked, at_us=START_US + number).status for number in range(1_502)]
    assert statuses[-3:] == [200, 429, 418]
    assert venue.bans == 2
