import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spoilt import spoil

from domain.errors import ConfigError, RemoteProtocolError
from domain.market import PriceUpdate, check_update
from venues import find_venue
from venues.binance import VENUE, BinanceAdapter
from venues.events import Leaving, NewFields, Refused, ServerTime, Subscribed, Unknown, VenueEvent
from venues.offers import HistoryRequest
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.binance_session import FRAMES_A_SECOND
from venues.simulated.limits import Limit
from wire.recording import Direction, read

RECORDING = Path(__file__).parent.parent / "recordings" / "binance.jsonl"

TRADE = (
    '{"stream":"bnbbtc@aggTrade","data":{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,'
    '"p":"0.001","q":"100","f":100,"l":105,"T":1672515782135,"m":true,"M":true}}'
)
QUOTE = (
    '{"stream":"bnbusdt@bookTicker","data":{"u":400900217,"s":"BNBUSDT","b":"25.35190000",'
    '"B":"31.21000000","a":"25.36520000","A":"40.66000000"}}'
)


def context(source: str | None) -> SessionContext:
    return SessionContext(settings=VenueSettings(protocol="binance", source=source))


def adapter(*symbols: str, source: str = "trades") -> BinanceAdapter:
    """An adapter whose first request, of id 1, subscribed these."""
    made = BinanceAdapter(context(source))
    if symbols:
        made.subscribe(symbols)
    return made


def only(events: Sequence[VenueEvent]) -> VenueEvent:
    (event,) = events
    return event


# --- what goes out ----------------------------------------------------------------------------


def test_the_registry_knows_it() -> None:
    assert find_venue("binance") is VENUE


def test_a_protocol_that_the_registry_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match=r"'bynance' is not known; known: .*binance"):
        find_venue("bynance")


def test_public_streams_need_no_opening() -> None:
    assert adapter().opening() == []


@pytest.mark.parametrize(("source", "stream"), [("trades", "aggTrade"), ("quotes", "bookTicker")])
def test_one_frame_subscribes_all_in_lower_case(source: str, stream: str) -> None:
    (frame,) = adapter(source=source).subscribe(["EURUSDT", "BTCUSDT"])
    assert json.loads(frame) == {
        "method": "SUBSCRIBE",
        "params": [f"eurusdt@{stream}", f"btcusdt@{stream}"],
        "id": 1,
    }


def test_trades_are_the_default() -> None:
    default = BinanceAdapter(context(None))
    assert "eurusdt@aggTrade" in default.subscribe(["EURUSDT"])[0]


def test_one_frame_unsubscribes_all() -> None:
    (frame,) = adapter("EURUSDT", "BTCUSDT").unsubscribe(["EURUSDT", "BTCUSDT"])
    assert json.loads(frame) == {
        "method": "UNSUBSCRIBE",
        "params": ["eurusdt@aggTrade", "btcusdt@aggTrade"],
        "id": 2,
    }


# --- prices -----------------------------------------------------------------------------------


def test_a_trade_carries_the_venues_time_number_price_and_volume() -> None:
    event = only(adapter("BNBBTC").receive(TRADE))
    assert event == PriceUpdate("BNBBTC", 1_672_515_782_135_000, 12345, 0.001, volume=100.0)


def test_a_quote_carries_its_number_both_sides_and_their_middle_but_no_time() -> None:
    event = only(adapter("BNBUSDT", source="quotes").receive(QUOTE))
    assert event == PriceUpdate("BNBUSDT", None, 400900217, 25.35855, bid=25.3519, ask=25.3652)


def test_a_symbol_is_told_as_the_settings_write_it() -> None:
    event = only(adapter("bnbBTC").receive(TRADE))
    assert isinstance(event, PriceUpdate)
    assert event.symbol == "bnbBTC"


def test_a_frame_of_bytes_says_the_same_as_one_of_text() -> None:
    assert adapter("BNBBTC").receive(TRADE.encode()) == adapter("BNBBTC").receive(TRADE)


def test_a_stream_that_nobody_subscribed_is_unknown() -> None:
    assert only(adapter("EURUSDT").receive(TRADE)) == Unknown("aggTrade")


def test_a_stream_that_was_unsubscribed_is_unknown() -> None:
    left = adapter("BNBBTC")
    left.unsubscribe(["BNBBTC"])
    assert only(left.receive(TRADE)) == Unknown("aggTrade")


def test_a_symbol_that_was_subscribed_again_is_known_again() -> None:
    back = adapter("BNBBTC")
    back.unsubscribe(["BNBBTC"])
    back.subscribe(["BNBBTC"])
    assert isinstance(only(back.receive(TRADE)), PriceUpdate)


@pytest.mark.parametrize(
    ("source", "events"),
    [
        (
            "trades",
            [
                Subscribed(("BNBBTC", "BNBUSDT")),
                PriceUpdate("BNBBTC", 1_785_000_000_097_000, 12345, 0.001, volume=100.0),
                Unknown("bookTicker"),
                Unknown("kline_1m"),
                PriceUpdate("BNBUSDT", 1_785_000_000_247_000, 991, 25.36, volume=0.5),
                Leaving("the server is about to shut down"),
                Subscribed(()),
            ],
        ),
        (
            "quotes",
            [
                Subscribed(("BNBBTC", "BNBUSDT")),
                Unknown("aggTrade"),
                PriceUpdate("BNBUSDT", None, 400900217, 25.35855, bid=25.3519, ask=25.3652),
                Unknown("kline_1m"),
                Unknown("aggTrade"),
                Leaving("the server is about to shut down"),
                Subscribed(()),
            ],
        ),
    ],
)
def test_a_recording_says_what_a_reader_sees_in_it(source: str, events: list[VenueEvent]) -> None:
    replayed = adapter("BNBBTC", "BNBUSDT", source=source)
    said: list[VenueEvent] = []
    for frame in read(RECORDING):
        if frame.direction is Direction.IN:
            said += replayed.receive(frame.frame)
        elif "UNSUBSCRIBE" in frame.frame:
            replayed.unsubscribe(["BNBBTC", "BNBUSDT"])
    assert said == events


# --- answers ----------------------------------------------------------------------------------


def test_an_answer_confirms_the_symbols_of_its_request() -> None:
    asked = adapter("EURUSDT", "BTCUSDT")
    asked.subscribe(["BNBUSDT"])
    assert only(asked.receive('{"result":null,"id":2}')) == Subscribed(("BNBUSDT",))
    assert only(asked.receive('{"result":null,"id":1}')) == Subscribed(("EURUSDT", "BTCUSDT"))


def test_a_second_answer_confirms_nothing() -> None:
    asked = adapter("EURUSDT")
    asked.receive('{"result":null,"id":1}')
    assert only(asked.receive('{"result":null,"id":1}')) == Unknown("answer to nobody")


def test_prices_are_told_until_the_session_is_closed() -> None:
    left = adapter("BNBBTC")
    (frame,) = left.leave(["BNBBTC"])
    assert json.loads(frame)["method"] == "UNSUBSCRIBE"
    assert isinstance(only(left.receive(TRADE)), PriceUpdate)
    assert only(left.receive('{"result":null,"id":2}')) == Subscribed(())


def test_the_answer_to_an_unsubscribe_confirms_no_symbol() -> None:
    asked = adapter("EURUSDT")
    asked.unsubscribe(["EURUSDT"])
    assert only(asked.receive('{"result":null,"id":2}')) == Subscribed(())


@pytest.mark.parametrize("frame", ['{"result":null,"id":99}', '{"result":null,"id":"1"}'])
def test_an_answer_to_nobody_is_unknown(frame: str) -> None:
    assert only(adapter("EURUSDT").receive(frame)) == Unknown("answer to nobody")


@pytest.mark.parametrize(
    "frame",
    [
        '{"error":{"code":2,"msg":"Invalid request: no such stream"},"id":1}',
        '{"code":2,"msg":"Invalid request: no such stream","id":1}',
    ],
)
def test_an_error_refuses_the_symbols_of_its_request(frame: str) -> None:
    refused = only(adapter("NONSUCH").receive(frame))
    assert refused == Refused(("NONSUCH",), "Invalid request: no such stream")


@pytest.mark.parametrize(
    "frame",
    ['{"error":{"code":2},"id":1}', '{"code":2,"id":1}', '{"code":2,"msg":"","id":1}'],
)
def test_an_error_without_a_reason_is_no_confirmation(frame: str) -> None:
    assert isinstance(only(adapter("NONSUCH").receive(frame)), Refused)


@pytest.mark.parametrize("code", ["-1000", "7", "null", '"2"', "[]", "2.5"])
def test_an_error_that_may_pass_refuses_nobody_for_good(code: str) -> None:
    frame = f'{{"error":{{"code":{code},"msg":"come back later"}},"id":1}}'
    assert only(adapter("BNBBTC").receive(frame)) == Unknown("error: come back later")


def test_a_reason_of_the_venue_is_shortened() -> None:
    frame = '{"error":{"code":2,"msg":"' + "x" * 10_000 + '"},"id":1}'
    refused = only(adapter("NONSUCH").receive(frame))
    assert isinstance(refused, Refused)
    assert len(refused.reason) <= 200


def test_an_error_that_names_no_request_refuses_nobody() -> None:
    event = only(adapter("EURUSDT").receive('{"code":2,"msg":"Invalid request: too many"}'))
    assert event == Unknown("error: Invalid request: too many")


def test_an_error_about_an_unsubscribe_refuses_nobody() -> None:
    asked = adapter("EURUSDT")
    asked.unsubscribe(["EURUSDT"])
    assert isinstance(only(asked.receive('{"code":2,"msg":"Invalid request","id":2}')), Unknown)


# --- the clock, new fields, shutdown ------------------------------------------------------------


def test_the_first_trade_after_a_ping_tells_the_venues_clock_and_the_next_does_not() -> None:
    asked = adapter("BNBBTC")
    assert asked.ping() == []
    assert asked.receive(TRADE)[1:] == (ServerTime(1_672_515_782_136_000, 1_000, answers_ping=False),)
    assert isinstance(only(asked.receive(TRADE)), PriceUpdate)


def test_a_quote_never_tells_the_clock() -> None:
    asked = adapter("BNBUSDT", source="quotes")
    asked.ping()
    assert isinstance(only(asked.receive(QUOTE)), PriceUpdate)


@pytest.mark.parametrize(
    ("source", "symbol", "frame"), [("trades", "BNBBTC", TRADE), ("quotes", "BNBUSDT", QUOTE)]
)
def test_a_new_field_is_told_at_the_first_message_and_then_at_each_thousandth(
    source: str, symbol: str, frame: str
) -> None:
    watching = adapter(symbol, source=source)
    changed = frame.replace('"s":', '"zone":"EEA","s":')
    kind = frame.partition("@")[2].partition('"')[0]
    told = [number for number in range(2_001) if NewFields(kind, ("zone",)) in watching.receive(changed)]
    assert told == [0, 1_000, 2_000]


def test_a_shutdown_notice_says_that_the_venue_leaves() -> None:
    notice = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}'
    assert isinstance(only(adapter("BNBBTC").receive(notice)), Leaving)


def test_a_shutdown_notice_without_its_wrapping_says_the_same() -> None:
    assert isinstance(only(adapter("BNBBTC").receive('{"e":"serverShutdown","E":1770123456789}')), Leaving)


def test_five_frames_a_second_are_kept_to_with_a_ping_a_pong_and_a_bunching_way() -> None:
    budget = Limit(most=FRAMES_A_SECOND, window_s=1.0)
    ours = [number * VENUE.frame_spacing_s for number in range(100)]
    late = [max(at, 10.1) if at >= 10.0 else at for at in ours]  # a packet that was sent again
    theirs = [10.5, 10.6]
    assert not any(budget.exceeds(at) for at in sorted(late + theirs))


def test_a_socket_is_replaced_before_the_venue_ends_it() -> None:
    assert VENUE.rotate_after_s is not None
    assert 23.5 * 3600 < VENUE.rotate_after_s < 24 * 3600


def test_its_lists_come_over_http_and_not_in_frames() -> None:
    asked = adapter("BNBBTC")
    request = HistoryRequest(id=1, symbol="BNBBTC", from_us=0, to_us=1, timeframe_s=None)
    assert asked.refresh() == asked.ask_history(request) == []


# --- garbage ----------------------------------------------------------------------------------

DEEP = "[" * 100_000
BROKEN = [
    "",
    "not json",
    "null",
    "[]",
    "{}",
    '{"stream":"bnbbtc@aggTrade"}',
    '{"stream":"bnbbtc@aggTrade","data":null}',
    '{"stream":"bnbbtc@aggTrade","data":{}}',
    '{"stream":7,"data":{}}',
    TRADE[:-1],
    TRADE.replace('"0.001"', "0.001"),
    TRADE.replace('"0.001"', '"a lot"'),
    TRADE.replace('"0.001"', '""'),
    TRADE.replace("12345", "1.5"),
    TRADE.replace("12345", "9" * 5000),
    TRADE.replace("1672515782135", '"soon"'),
    '{"id":true}',
    '{"error":' + '{"a":' * 100_000,
    '{"stream":"bnbbtc@aggTrade","data":' + DEEP,
    DEEP,
    "\ud800",
    '{"stream":"\ud800"}',
    b"\xff\xfe",
    b'{"stream":"\xff"}',
    b"\x00" * 1000,
]


@pytest.mark.parametrize("frame", BROKEN, ids=lambda frame: repr(frame[:40]))
def test_what_cannot_be_read_is_a_protocol_error_with_a_short_sample(frame: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        adapter("BNBBTC").receive(frame)
    assert len(error.value.frame) < 1000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"p":"0.001"', '"p":"nan"'),
        ('"p":"0.001"', '"p":"inf"'),
        ('"p":"0.001"', '"p":"1e999"'),
        ('"p":"0.001"', '"p":"-1"'),
        ('"p":"0.001"', '"p":"0"'),
        ('"q":"100"', '"q":"-1"'),
        ('"q":"100"', '"q":"nan"'),
        ('"a":12345', '"a":-1'),
        ('"a":12345', '"a":1000000000000000000000000000000'),
        ('"T":1672515782135', '"T":9223372036854775808'),
        ('"T":1672515782135', '"T":-1'),
    ],
)
def test_a_number_that_cannot_be_stored_does_not_get_past_the_check(old: str, new: str) -> None:
    with pytest.raises(RemoteProtocolError):
        take(adapter("BNBBTC"), TRADE.replace(old, new))


@pytest.mark.parametrize("bid", ["nan", "inf", "0", "-1", "1e999"])
def test_a_quote_with_one_impossible_side_does_not_get_past_the_check(bid: str) -> None:
    with pytest.raises(RemoteProtocolError):
        take(adapter("BNBUSDT", source="quotes"), QUOTE.replace("25.35190000", bid))


def mutate(frame: str, position: int, text: str) -> str:
    """A real frame with a few characters written over."""
    return frame[:position] + text + frame[position + len(text) :]


def take(receiver: BinanceAdapter, frame: str | bytes) -> None:
    """Decode and check, as the connection does."""
    for event in receiver.receive(frame):
        if isinstance(event, PriceUpdate):
            check_update(event)


FRAMES = [TRADE, QUOTE, '{"result":null,"id":1}', '{"error":{"code":2,"msg":"no"},"id":1}']
MUTATED = st.builds(
    mutate,
    st.sampled_from(FRAMES),
    st.integers(0, 250),
    st.text(max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["stream", "data", "id", "result", "error", "code", "msg", "u", "b", "a", "p", "q", "T"]
)
STREAMS = st.sampled_from(["bnbbtc@aggTrade", "bnbbtc@bookTicker", "bnbbtc", "@", ""])
LIKELY = st.dictionaries(KEYS, JSON | STREAMS | st.dictionaries(KEYS, JSON))
GARBAGE = (
    st.text()
    | st.text(alphabet='{}[]":,0123456789eE+-.\\udnul', max_size=60)
    | st.binary()
    | JSON.map(json.dumps)
    | LIKELY.map(json.dumps)
    | LIKELY.map(lambda value: json.dumps(value).encode())
    | MUTATED
)


@given(source=st.sampled_from(["trades", "quotes"]), frame=GARBAGE)
@example(source="quotes", frame=QUOTE.replace("bnbusdt", "bnbbtc").replace('"25.36520000"', '"1e308"'))
def test_nothing_but_a_protocol_error_escapes(source: str, frame: str | bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        take(adapter("BNBBTC", "BNBUSDT", source=source), frame)


@pytest.mark.soak
@pytest.mark.parametrize("source", ["trades", "quotes"])
@pytest.mark.parametrize("part", range(2))
def test_a_million_spoilt_frames(part: int, source: str) -> None:
    random = Random(part)
    for number in range(250_000):
        if number % 10 == 0:
            client = adapter("BNBBTC", "BNBUSDT", source=source)
        with contextlib.suppress(RemoteProtocolError):
            take(client, spoil(random.choice(FRAMES), random))


@given(data=st.fixed_dictionaries({"a": st.integers(), "p": st.text(), "q": st.text(), "T": st.integers()}))
def test_a_trade_of_any_content_is_stored_whole_or_refused(data: dict[str, int | str]) -> None:
    frame = json.dumps({"stream": "bnbbtc@aggTrade", "data": data})
    try:
        take(adapter("BNBBTC"), frame)
    except RemoteProtocolError:
        return
    assert float(data["p"]) > 0


def test_what_we_send_is_json_that_the_venues_side_can_read() -> None:
    (frame,) = adapter().subscribe(["EURUSDT"])
    assert msgspec.json.decode(frame)["method"] == "SUBSCRIBE"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, "wss://data-stream.binance.vision/stream"),
        ("ws://127.0.0.1:9000", "ws://127.0.0.1:9000/stream"),
        ("ws://127.0.0.1:9000/", "ws://127.0.0.1:9000/stream"),
        ("wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND",) * 2,
    ],
)
def test_an_address_without_a_path_gets_that_of_the_combined_streams(url: str | None, address: str) -> None:
    assert VENUE.address(url) == address


@pytest.mark.parametrize("told", [1672515782136, 1672515782136000])
def test_a_trades_time_is_read_in_milliseconds_and_in_microseconds(told: int) -> None:
    adapter = BinanceAdapter(context("trades"))
    adapter.subscribe(["BNBBTC"])
    data = {"e": "aggTrade", "s": "BNBBTC", "a": 1, "p": "0.001", "q": "100", "T": told}
    [update] = adapter.receive(json.dumps({"stream": "bnbbtc@aggTrade", "data": data}))
    assert isinstance(update, PriceUpdate)
    assert update.ts_us == 1672515782136000
