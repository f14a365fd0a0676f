"""The client's side of Kraken over HTTP, alone and against the simulated venue's."""

import contextlib
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hosts import HostKeepsAll
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate
from venues.kraken_rest import ask_trades, read_trades
from venues.offers import HistoryPage, HistoryRequest, HttpRequest
from venues.simulated.kraken import SimulatedKraken
from venues.simulated.prices import PricePath
from venues.simulated.protocol import HttpAnswer, Request

BASE = "https://api.kraken.com"
START_US = 1_785_000_000_000_000
# docs.kraken.com, get-recent-trades, 2026-11
DOCUMENTED = b"""{"error":[],"result":{"XXBTZUSD":[
    ["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952],
    ["30243.30000","0.00376960",1688669598.2804112,"s","l","",61044953],
    ["30243.30000","0.01235716",1688669602.698379,"s","m","",61044956]],
    "last":"1688671969993150842"}}"""


def gap(from_us: int, to_us: int, *, symbol: str = "BTC/USD") -> HistoryRequest:
    return HistoryRequest(id=7, symbol=symbol, from_us=from_us, to_us=to_us, timeframe_s=None)


def body_of(*times: str) -> bytes:
    rows = ",".join(f'["1.5","2.5",{time},"b","m","",{number}]' for number, time in enumerate(times))
    return f'{{"error":[],"result":{{"XXBTZUSD":[{rows}],"last":"0"}}}}'.encode()


def test_trades_are_asked_for_since_the_gaps_beginning_in_nanoseconds() -> None:
    request = ask_trades(gap(START_US, START_US + 5), BASE)
    assert request.url == f"{BASE}/0/public/Trades?pair=BTCUSD&since={START_US}000&count=1000"


def test_a_symbol_cannot_write_into_the_address() -> None:
    query = parse_qs(urlsplit(ask_trades(gap(0, 1, symbol="A&since=9#"), BASE).url).query)
    assert query["pair"] == ["A&since=9#"]
    assert query["since"] == ["0"]


def test_the_documented_answer_is_read() -> None:
    page = read_trades(gap(0, START_US), DOCUMENTED)
    assert page.ticks[0] == PriceUpdate(
        "BTC/USD", 1_688_669_597_827_736, 61044952, 30243.4, volume=0.34507674
    )
    assert [tick.seq for tick in page.ticks] == [61044952, 61044953, 61044956]
    assert page.through_us == START_US


@given(at_ns=st.integers(1_600_000_000 * 10**9, 2_000_000_000 * 10**9))
def test_a_trades_time_is_never_later_than_the_socket_told_it_and_a_microsecond_early_at_most(
    at_ns: int,
) -> None:
    told_us = at_ns // 1_000  # as the socket tells it
    (tick,) = read_trades(gap(0, 2**62), body_of(repr(at_ns / 10**9))).ticks
    assert tick.ts_us is not None
    assert told_us - 1 <= tick.ts_us <= told_us


@given(at_ns=st.integers(1_600_000_000 * 10**9, 2_000_000_000 * 10**9))
def test_the_trades_at_a_gaps_edges_are_never_told_as_inside_it(at_ns: int) -> None:
    edge_us, body = at_ns // 1_000, body_of(repr(at_ns / 10**9))
    assert read_trades(gap(edge_us, edge_us + 10**6), body).ticks == ()
    assert read_trades(gap(edge_us - 10**6, edge_us), body).ticks == ()


def test_a_full_page_leaves_its_last_moment_to_the_next() -> None:
    page = read_trades(gap(0, START_US), body_of(*[f"{second}.5" for second in range(999)], "998.5"))
    assert len(page.ticks) == 998
    assert page.through_us is not None
    assert 997_500_000 <= page.through_us < 998_500_000


def test_an_empty_answer_says_that_there_was_nothing() -> None:
    assert read_trades(gap(0, START_US), body_of()) == HistoryPage(7, through_us=START_US)


def test_an_unknown_pair_has_no_history() -> None:
    page = read_trades(gap(0, 1), b'{"error":["EQuery:Unknown asset pair"]}')
    assert page == HistoryPage(7, reason="EQuery:Unknown asset pair")


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":["EGeneral:Too many requests"]}',
        b'{"error":["EService:Unavailable"]}',
        b'{"error":["EGeneral:Temporary lockout"]}',
        b'{"error":["EGeneral:Internal error"]}',
        b'{"error":["moon phase"]}',
        b"<html>502</html>",
        b"",
        b"[]",
        b'{"error":[],"result":{"XXBTZUSD":{}}}',
        b"[" * 100_000,
        body_of("1e9"),
        body_of('"1.5"'),
        body_of("-1.5"),
        body_of("9" * 5_000),
        DOCUMENTED.replace(b'"30243.40000"', b'"nan"'),
        DOCUMENTED.replace(b'"30243.40000"', b'"-1"'),
        DOCUMENTED.replace(b"61044952", str(2**63).encode()),
    ],
)
def test_what_is_no_history_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_trades(gap(0, 1), body)


@given(body=st.binary(), position=st.integers(0, 200), text=st.binary(max_size=4))
def test_nothing_but_a_protocol_error_escapes(body: bytes, position: int, text: bytes) -> None:
    mutated = DOCUMENTED[:position] + text + DOCUMENTED[position + len(text) :]
    for each in (body, mutated):
        with contextlib.suppress(RemoteProtocolError):
            read_trades(gap(0, 1), each)


# --- against the simulated venue --------------------------------------------------------------


def answer(venue: SimulatedKraken, request: HttpRequest, *, at_us: int) -> HttpAnswer:
    parts = urlsplit(request.url)
    return venue.answer(Request(request.method, f"{parts.path}?{parts.query}", {}), at_us=at_us)


def moved_venue(*, ticks: int) -> SimulatedKraken:
    """A venue whose EURUSD ticked every 137,001 µs."""
    prices = {"EURUSD": PricePath(seed=7, symbol="EURUSD")}
    venue = SimulatedKraken(prices=prices, started_us=0, accepts=lambda _: False)
    for number in range(ticks):
        venue.tick("EURUSD", at_us=START_US + number * 137_001)
    return venue


@pytest.mark.parametrize(("first", "last"), [(0, 1_999), (5, 7), (-1, 2_500), (3, 4)])
def test_pages_of_the_simulated_venue_hold_all_that_is_inside_a_gap(first: int, last: int) -> None:
    venue = moved_venue(ticks=2_000)
    wanted = gap(START_US + first * 137_001, START_US + last * 137_001, symbol="EUR/USD")
    found: list[PriceUpdate] = []
    request = wanted
    for number in range(10):
        body = answer(venue, ask_trades(request, BASE), at_us=START_US + number * 1_500_000).body
        page = read_trades(request, body)
        assert page.through_us is not None
        found += page.ticks
        if page.through_us >= wanted.to_us:
            break
        request = wanted._replace(from_us=page.through_us)
    # Each fifth move makes three trades: 7 numbers for 5 moves.
    numbers = [
        number
        for move in range(max(first + 1, 0), min(last, 2_000))
        for number in range(
            move // 5 * 7 + move % 5 + 1, move // 5 * 7 + move % 5 + (4 if move % 5 == 4 else 2)
        )
    ]
    assert [tick.seq for tick in found] == numbers
    assert venue.bans == 0


def test_past_and_present_tell_a_trade_alike() -> None:
    venue, host = moved_venue(ticks=0), HostKeepsAll()
    venue.open_session(request=Request("GET", "/v2", {}), host=host, at_us=START_US).receive(
        '{"method":"subscribe","params":{"channel":"trade","symbol":["EUR/USD"]}}'
    )
    for number in range(6):
        venue.tick("EURUSD", at_us=START_US + number)
    live = [(each.seq, each.price) for tick in host.ticks for each in (tick, *tick.more)]
    request = gap(START_US - 10, START_US + 10**9, symbol="EUR/USD")
    page = read_trades(request, answer(venue, ask_trades(request, BASE), at_us=START_US).body)
    assert [(tick.seq, tick.price) for tick in page.ticks] == live


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/0/public/Trades?pair=NOSUCH", "EQuery:Unknown asset pair"),
        ("/0/public/Trades", "EQuery:Unknown asset pair"),
        ("/0/public/Trades?pair=EURUSD&since=soon", "EGeneral:Invalid arguments"),
        ("/0/public/Dance", "EGeneral:Unknown method"),
    ],
)
def test_the_simulated_venue_words_its_errors_as_the_real_one_does(target: str, error: str) -> None:
    answered = moved_venue(ticks=1).answer(Request("GET", target, {}), at_us=START_US)
    assert answered.status == 200
    assert json.loads(answered.body)["error"] == [error]


def test_the_simulated_venue_counts_who_asks_too_often() -> None:
    venue = moved_venue(ticks=1)
    asked = Request("GET", "/0/public/Trades?pair=EUR/USD&count=1", {})
    bodies = [venue.answer(asked, at_us=START_US + number).body for number in range(16)]
    assert b"Too many" not in bodies[14]
    assert b"Too many" in bodies[15]
    assert venue.bans == 1
