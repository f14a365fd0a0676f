import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spoilt import spoil

from domain.errors import RemoteProtocolError
from domain.instruments import Catalog, Instrument, Listing
from domain.market import PriceUpdate, check_update
from venues import find_venue
from venues.events import NewFields, Refused, Send, ServerTime, Subscribed, Throttled, Unknown, VenueEvent
from venues.kraken import VENUE, KrakenAdapter
from venues.kraken_wire import read_time
from venues.offers import HistoryRequest
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from wire.recording import Direction, read

RECORDINGS = Path(__file__).parent.parent / "recordings"

# Recorded 2026-09-25; the trade's timestamp in microseconds is 1790358506844359.
TRADE = (
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":83744.3,'
    '"qty":0.00044780,"ord_type":"limit","trade_id":109116693,"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
)
TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":83744.2,"bid_qty":0.56251979,'
    '"ask":83744.3,"ask_qty":0.00044780,"last":83744.3,"volume":3156.84782110,"vwap":84174.6,"low":83163.6,'
    '"high":85247.4,"change":-429.3,"change_pct":-0.51,"trades":135262,'
    '"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
)
STATUS = (
    '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    '"connection_id":18111111111111111111,"upcoming_maintenance":[],"emergency":[]}]}'
)
TOLD_US = 1_790_358_506_844_359


def adapter(*symbols: str, source: str | None = "trades") -> KrakenAdapter:
    """An adapter that asked for the list (request 1) and then subscribed these (request 2)."""
    made = KrakenAdapter(SessionContext(settings=VenueSettings(protocol="kraken", source=source)))
    made.opening()
    if symbols:
        made.subscribe(symbols)
    return made


def only(events: Sequence[VenueEvent]) -> VenueEvent:
    (event,) = events
    return event


def confirmation(symbol: str, *, request: int, method: str = "subscribe", channel: str = "trade") -> str:
    result = {"channel": channel, "symbol": symbol}
    return json.dumps({"method": method, "result": result, "success": True, "req_id": request})


def refusal(symbol: str | None, reason: str, *, request: int, method: str = "subscribe") -> str:
    answer = {"method": method, "error": reason, "success": False, "req_id": request}
    return json.dumps(answer if symbol is None else {**answer, "symbol": symbol})


def listing(*pairs: dict[str, str], kind: str = "snapshot") -> str:
    return json.dumps({"channel": "instrument", "type": kind, "data": {"assets": [], "pairs": list(pairs)}})


def pair(symbol: str, status: str = "online") -> dict[str, str]:
    base, _, quote = symbol.partition("/")
    return {"symbol": symbol, "base": base, "quote": quote, "status": status}


# --- what goes out ----------------------------------------------------------------------------


def test_the_registry_knows_it() -> None:
    assert find_venue("kraken") is VENUE


def test_it_asks_for_the_list_of_markets_first() -> None:
    (frame,) = KrakenAdapter(SessionContext(settings=VenueSettings(protocol="kraken"))).opening()
    assert json.loads(frame) == {
        "method": "subscribe",
        "req_id": 1,
        "params": {"channel": "instrument", "snapshot": True},
    }
    assert VENUE.lists_markets


def test_trades_are_the_default_and_come_without_those_of_the_past() -> None:
    (frame,) = adapter(source=None).subscribe(["EUR/USD", "BTC/USD"])
    assert json.loads(frame)["params"] == {
        "channel": "trade",
        "symbol": ["EUR/USD", "BTC/USD"],
        "snapshot": False,
    }


def test_quotes_come_at_each_change_of_the_best_prices() -> None:
    (frame,) = adapter(source="quotes").subscribe(["EUR/USD"])
    assert json.loads(frame)["params"] == {
        "channel": "ticker",
        "symbol": ["EUR/USD"],
        "event_trigger": "bbo",
        "snapshot": True,
    }


def test_many_symbols_are_asked_for_by_the_hundred() -> None:
    symbols = [f"A{number}/USD" for number in range(250)]
    frames = [json.loads(frame) for frame in adapter().subscribe(symbols)]
    assert [len(frame["params"]["symbol"]) for frame in frames] == [100, 100, 50]
    assert len({frame["req_id"] for frame in frames}) == 3


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_a_goodbye_names_the_channel_that_was_subscribed(source: str) -> None:
    asked = adapter("EUR/USD", source=source)
    (frame,) = asked.unsubscribe(["EUR/USD"])
    assert json.loads(frame)["method"] == "unsubscribe"
    assert json.loads(frame)["params"]["channel"] == ("trade" if source == "trades" else "ticker")


def test_changes_of_the_list_and_history_need_no_frames() -> None:
    request = HistoryRequest(id=1, symbol="EUR/USD", from_us=0, to_us=1, timeframe_s=None)
    assert adapter().refresh() == adapter().ask_history(request) == []


# --- prices -----------------------------------------------------------------------------------


def test_a_trade_carries_the_venues_time_number_price_and_quantity() -> None:
    event = only(adapter("BTC/USD").receive(TRADE))
    assert event == PriceUpdate("BTC/USD", TOLD_US, 109116693, 83744.3, volume=0.0004478)


def test_a_quote_carries_both_sides_their_middle_and_its_time_but_no_number() -> None:
    event = only(adapter("BTC/USD", source="quotes").receive(TICKER))
    middle = (83744.2 + 83744.3) / 2
    assert event == PriceUpdate("BTC/USD", TOLD_US, None, middle, bid=83744.2, ask=83744.3)


def test_several_trades_of_one_message_are_told_in_its_order() -> None:
    message = json.loads(TRADE)
    (trade,) = message["data"]
    message["data"] = [{**trade, "trade_id": number, "price": 1.0 + number} for number in range(1, 4)]
    events = adapter("BTC/USD").receive(json.dumps(message))
    assert [(event.seq, event.price) for event in events if isinstance(event, PriceUpdate)] == [
        (1, 2.0),
        (2, 3.0),
        (3, 4.0),
    ]


@given(units=st.integers(1, 10**17), places=st.integers(0, 12))
def test_a_price_is_the_float_that_its_text_means(units: int, places: int) -> None:
    text = f"{units // 10**places}.{units % 10**places:0{places}d}" if places else str(units)
    event = only(adapter("BTC/USD").receive(TRADE.replace("83744.3", text)))
    assert isinstance(event, PriceUpdate)
    assert event.price == float(text)


@given(at_us=st.integers(0, 4 * 10**15), digits=st.integers(1, 9))
def test_a_time_is_cut_to_microseconds_however_finely_it_is_told(at_us: int, digits: int) -> None:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    fraction = f"{at_us % 1_000_000:06d}999"[:digits]
    expected = at_us // 1_000_000 * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    assert read_time(f"{time:%Y-%m-%dT%H:%M:%S}.{fraction}Z") == expected


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("2026-09-25T17:48:26Z", 1_790_358_506_000_000),
        ("2026-09-25T17:48:26.844359+00:00", TOLD_US),
        ("2026-09-25T19:48:26.844359+02:00", TOLD_US),
    ],
)
def test_other_ways_to_write_a_time_are_read_too(text: str, at_us: int) -> None:
    assert read_time(text) == at_us


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-09-25T17:48:26.844359", "2026-13-25T17:48:26.8Z", "1790358506"]
)
def test_what_is_no_time_is_no_time(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        adapter("BTC/USD").receive(TRADE.replace("2026-09-25T17:48:26.844359Z", text))


@pytest.mark.parametrize("bid", ["0", "0.0", "null"])
def test_a_quote_that_lacks_a_side_is_no_price(bid: str) -> None:
    frame = TICKER.replace('"bid":83744.2', f'"bid":{bid}')
    assert only(adapter("BTC/USD", source="quotes").receive(frame)) == Unknown("ticker without both sides")


def test_a_quote_of_1970_has_no_time() -> None:
    frame = TICKER.replace("2026-09-25T17:48:26.844359Z", "1970-01-01T00:00:00.000000Z")
    update = only(adapter("BTC/USD", source="quotes").receive(frame))
    assert isinstance(update, PriceUpdate)
    assert update.ts_us is None


@pytest.mark.parametrize(("source", "frame"), [("trades", TICKER), ("quotes", TRADE)])
def test_prices_of_a_channel_that_was_not_subscribed_are_unknown(source: str, frame: str) -> None:
    assert isinstance(only(adapter("BTC/USD", source=source).receive(frame)), Unknown)


def test_a_symbol_that_was_unsubscribed_is_unknown_and_known_again_after_a_subscribe() -> None:
    left = adapter("BTC/USD")
    left.unsubscribe(["BTC/USD"])
    assert only(left.receive(TRADE)) == Unknown("trade")
    left.subscribe(["BTC/USD"])
    assert isinstance(only(left.receive(TRADE)), PriceUpdate)


def test_prices_are_told_until_the_session_is_closed() -> None:
    leaving = adapter("BTC/USD")
    leaving.leave(["BTC/USD"])
    assert isinstance(only(leaving.receive(TRADE)), PriceUpdate)


@pytest.mark.parametrize(
    ("source", "frame", "old", "new"),
    [("trades", TRADE, "83744.3", '"much"'), ("quotes", TICKER, '"ask":83744.3', '"ask":"much"')],
)
def test_one_price_that_cannot_be_read_does_not_hide_the_others(
    source: str, frame: str, old: str, new: str
) -> None:
    item = frame[frame.index('[{"symbol"') + 1 : -2]
    several = frame.replace(item, f"{item.replace(old, new)},{item}")
    good = only(adapter("BTC/USD", source=source).receive(frame))
    channel = frame.split('"')[3]
    told = adapter("BTC/USD", source=source).receive(several)
    assert told == [good, Unknown(f"unreadable {channel}")]


def test_a_frame_of_bytes_says_the_same_as_one_of_text() -> None:
    assert adapter("BTC/USD").receive(TRADE.encode()) == adapter("BTC/USD").receive(TRADE)


# --- answers ----------------------------------------------------------------------------------


def test_each_symbol_is_confirmed_by_itself_and_in_any_order() -> None:
    asked = adapter("EUR/USD", "BTC/USD")
    assert only(asked.receive(confirmation("BTC/USD", request=2))) == Subscribed(("BTC/USD",))
    assert only(asked.receive(confirmation("EUR/USD", request=2))) == Subscribed(("EUR/USD",))


def test_one_symbol_is_refused_while_another_is_confirmed() -> None:
    asked = adapter("XBT/USD", "BTC/USD")
    refused = refusal("XBT/USD", "Currency pair not supported XBT/USD", request=2)
    assert only(asked.receive(refused)) == Refused(("XBT/USD",), "Currency pair not supported XBT/USD")
    assert only(asked.receive(confirmation("BTC/USD", request=2))) == Subscribed(("BTC/USD",))


def test_a_request_that_is_refused_whole_refuses_all_its_symbols() -> None:
    asked = adapter("EUR/USD", "BTC/USD")
    asked.subscribe(["ETH/USD"])
    assert only(asked.receive(refusal(None, "Malformed request", request=2))) == Refused(
        ("EUR/USD", "BTC/USD"), "Malformed request"
    )
    assert only(asked.receive(confirmation("ETH/USD", request=3))) == Subscribed(("ETH/USD",))


@pytest.mark.parametrize("reason", ["Service unavailable", "Internal error", "moon phase"])
def test_a_reason_that_may_pass_refuses_nobody_for_good(reason: str) -> None:
    asked = adapter("EUR/USD")
    assert only(asked.receive(refusal("EUR/USD", reason, request=2))) == Unknown(f"error: {reason}")
    assert only(asked.receive(refusal(None, reason, request=2))) == Unknown(f"error: {reason}")
    asked.subscribe(["EUR/USD"])
    assert only(asked.receive(confirmation("EUR/USD", request=3))) == Subscribed(("EUR/USD",))


def test_a_reason_of_the_venue_is_shortened() -> None:
    refused = only(adapter("X/Y").receive(refusal("X/Y", "not supported" + "x" * 10_000, request=2)))
    assert isinstance(refused, Refused)
    assert len(refused.reason) <= 200


def test_what_is_subscribed_already_is_subscribed() -> None:
    frame = refusal("EUR/USD", "Already subscribed", request=2)
    assert only(adapter("EUR/USD").receive(frame)) == Subscribed(("EUR/USD",))


def test_an_answer_that_a_goodbye_overtook_confirms_nothing() -> None:
    asked = adapter("EUR/USD")
    asked.unsubscribe(["EUR/USD"])
    assert isinstance(only(asked.receive(confirmation("EUR/USD", request=2))), Unknown)
    asked.subscribe(["EUR/USD"])
    assert isinstance(only(asked.receive(confirmation("EUR/USD", request=2))), Unknown)
    assert only(asked.receive(confirmation("EUR/USD", request=4))) == Subscribed(("EUR/USD",))


def test_a_goodbye_is_confirmed_when_its_last_symbol_is() -> None:
    asked = adapter("EUR/USD", "BTC/USD")
    asked.leave(["EUR/USD", "BTC/USD"])
    goodbye = [confirmation(symbol, request=3, method="unsubscribe") for symbol in ("BTC/USD", "EUR/USD")]
    assert asked.receive(goodbye[0]) == ()
    assert only(asked.receive(goodbye[1])) == Subscribed(())


def test_a_goodbye_of_several_frames_is_confirmed_once() -> None:
    symbols = [f"A{number}/USD" for number in range(150)]
    asked = adapter(*symbols)
    requests = [json.loads(frame) for frame in asked.leave(symbols)]
    said = [
        event
        for request in requests
        for symbol in request["params"]["symbol"]
        for event in asked.receive(confirmation(symbol, request=request["req_id"], method="unsubscribe"))
    ]
    assert said == [Subscribed(())]


def test_a_goodbye_of_what_is_not_subscribed_is_said_all_the_same() -> None:
    asked = adapter("EUR/USD")
    asked.leave(["EUR/USD"])
    frame = refusal("EUR/USD", "Subscription Not Found", request=3, method="unsubscribe")
    assert only(asked.receive(frame)) == Subscribed(())


def test_a_pong_tells_the_venues_clock_and_whether_it_answers_the_last_ping() -> None:
    asked = adapter()
    (first,), (second,) = asked.ping(), asked.ping()
    assert json.loads(second)["method"] == "ping"
    for ping, is_last in ((first, False), (second, True)):
        pong = {"method": "pong", "req_id": json.loads(ping)["req_id"], "time_in": "2026-09-25T17:48:26.1Z"}
        event = only(asked.receive(json.dumps({**pong, "time_out": "2026-09-25T17:48:26.844359Z"})))
        assert event == ServerTime(TOLD_US, 1, answers_ping=is_last)


@pytest.mark.parametrize(
    "frame",
    ['{"Error":"Exceeded msg rate"}', '{"error":"Exceeded msg rate","method":"subscribe","success":false}'],
)
def test_too_many_messages_ask_for_patience(frame: str) -> None:
    event = only(adapter("EUR/USD").receive(frame))
    assert isinstance(event, Throttled)
    assert event.retry_after_s >= 10


# --- the list of markets ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_open", "is_tradable"),
    [
        ("online", True, True),
        ("limit_only", True, True),
        ("post_only", True, False),
        ("reduce_only", True, False),
        ("cancel_only", False, False),
        ("maintenance", False, False),
        ("work_in_progress", False, False),
    ],
)
def test_a_markets_status_says_whether_it_is_open(status: str, *, is_open: bool, is_tradable: bool) -> None:
    event = only(adapter().receive(listing(pair("EUR/USD", status))))
    assert event == Listing(
        (
            Instrument(
                "EUR/USD", title="EUR/USD", is_open=is_open, is_tradable=is_tradable, aliases=("EURUSD",)
            ),
        ),
        is_whole=True,
    )


def test_one_market_that_cannot_be_read_does_not_hide_the_others() -> None:
    spoilt = {**pair("GBP/USD"), "status": 7}
    told, unknown = adapter().receive(listing(spoilt, pair("EUR/USD")))  # type: ignore[arg-type]
    assert isinstance(told, Listing)
    assert (told.is_whole, [each.symbol for each in told.instruments]) == (True, ["EUR/USD"])
    assert unknown == Unknown("unreadable instrument")


def test_what_a_market_does_not_say_of_itself_may_be_null() -> None:
    item = {"symbol": "EUR/USD", "base": None, "quote": None, "status": None}
    told, unknown = adapter().receive(listing(item))  # type: ignore[arg-type]
    assert isinstance(told, Listing)
    assert told.instruments == (Instrument("EUR/USD", title="EUR/USD", is_tradable=False),)
    assert unknown == Unknown("pair status None")


def test_a_status_that_nobody_knows_is_told_and_leaves_the_market_open() -> None:
    told, unknown = adapter().receive(listing(pair("EUR/USD", "sunset")))
    assert isinstance(told, Listing)
    assert told.instruments[0].is_open
    assert unknown == Unknown("pair status sunset")


def test_a_delisted_market_is_not_listed_and_closes_when_that_happens_later() -> None:
    whole = only(adapter().receive(listing(pair("EUR/USD"), pair("LUNA/USD", "delisted"))))
    assert isinstance(whole, Listing)
    assert [each.symbol for each in whole.instruments] == ["EUR/USD"]
    change = only(adapter().receive(listing(pair("LUNA/USD", "delisted"), kind="update")))
    assert isinstance(change, Listing)
    assert not change.is_whole
    assert not change.instruments[0].is_open


@pytest.mark.parametrize("name", ["EURUSD", "EUR/USD", "eurusd", "EUR-USD"])
def test_a_market_is_found_by_the_name_that_other_venues_use(name: str) -> None:
    listed = only(adapter().receive(listing(pair("EUR/USD"), pair("EUR/USDT"))))
    assert isinstance(listed, Listing)
    catalog = Catalog(venue="kraken", instruments={each.symbol: each for each in listed.instruments})
    assert catalog.find(name).symbol == "EUR/USD"


def test_the_venues_own_maintenance_closes_its_markets_and_asks_for_the_list_when_it_is_over() -> None:
    session = adapter("EUR/USD")
    assert session.receive(STATUS) == []
    maintained = STATUS.replace("online", "maintenance")
    whole = only(session.receive(listing(pair("EUR/USD"))))
    again = only(session.receive(maintained))
    assert isinstance(again, Send)
    assert [json.loads(frame)["method"] for frame in again.frames] == ["unsubscribe", "subscribe"]
    closed = only(session.receive(listing(pair("EUR/USD"))))
    assert session.receive(maintained) == []
    assert isinstance(only(session.receive(STATUS)), Send)
    opened = only(session.receive(listing(pair("EUR/USD"))))
    assert [each.instruments[0].is_open for each in (whole, closed, opened) if isinstance(each, Listing)] == [
        True,
        False,
        True,
    ]


def test_a_session_that_begins_in_maintenance_lists_its_markets_as_closed() -> None:
    session = adapter()
    assert session.receive(STATUS.replace("online", "maintenance")) == []
    listed = only(session.receive(listing(pair("EUR/USD"))))
    assert isinstance(listed, Listing)
    assert not listed.instruments[0].is_open


def test_the_answers_about_the_list_itself_say_nothing() -> None:
    assert adapter().receive(confirmation("", request=1, channel="instrument")) == ()


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 10**40])
def test_a_connection_id_of_any_size_is_not_looked_at(number: int) -> None:
    assert adapter().receive(STATUS.replace("18111111111111111111", str(number))) == []


# --- what is not known ------------------------------------------------------------------------


def test_a_heartbeat_says_nothing() -> None:
    assert adapter().receive('{"channel":"heartbeat"}') == ()


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ('{"channel":"ohlc","type":"update","data":[]}', "ohlc"),
        ('{"method":"dance","success":true}', "dance"),
        ('{"error":"Malformed request"}', "error: Malformed request"),
        ('{"event":"heartbeat"}', "v1 heartbeat"),
        ('[1668,{"a":["13.253900",35,"35.7"]},"ticker","WAVES/EUR"]', "v1 ticker"),
        ('[1,{"a":[]},{"b":[]},"book-1000","XBT/USD"]', "v1 book-1000"),
        (json.dumps({"channel": "x" * 1_000}), "x" * 40),
    ],
)
def test_what_means_nothing_to_us_is_unknown(frame: str, kind: str) -> None:
    assert only(adapter("EUR/USD").receive(frame)) == Unknown(kind)


@pytest.mark.parametrize(
    ("source", "frame", "kind"),
    [("trades", TRADE, "trade"), ("quotes", TICKER, "ticker"), ("trades", STATUS, "status")],
)
def test_a_new_field_is_told_at_the_first_message_and_then_at_each_thousandth(
    source: str, frame: str, kind: str
) -> None:
    watching = adapter("BTC/USD", source=source)
    changed = frame.replace('"data":[{', '"data":[{"mood":"good",')
    told = [number for number in range(2_001) if NewFields(kind, ("mood",)) in watching.receive(changed)]
    assert told == [0, 1_000, 2_000]


def test_a_new_part_of_the_list_is_told() -> None:
    frame = listing(pair("EUR/USD")).replace('"assets"', '"rules": [], "assets"')
    assert adapter().receive(frame)[1:] == [NewFields("instrument", ("rules",))]


def test_a_recording_says_what_a_reader_sees_in_it() -> None:
    replayed = adapter("BTC/USD", "XBT/USD")
    said = [
        event
        for frame in read(RECORDINGS / "kraken-v2.jsonl")
        if frame.direction is Direction.IN
        for event in replayed.receive(frame.frame)
    ]
    assert said == [
        Listing(
            (
                Instrument("EUR/USD", title="EUR/USD", aliases=("EURUSD",)),
                Instrument("BTC/USD", title="BTC/USD", is_tradable=False, aliases=("BTCUSD",)),
            ),
            is_whole=True,
        ),
        Subscribed(("BTC/USD",)),
        Refused(("XBT/USD",), "Currency pair not supported XBT/USD"),
        Unknown("ticker"),
        PriceUpdate("BTC/USD", TOLD_US, 109116693, 83744.3, volume=0.0004478),
        Unknown("ohlc"),
    ]


def test_frames_of_the_older_protocol_are_skipped() -> None:
    frames = [frame.frame for frame in read(RECORDINGS / "kraken-v1.jsonl")]
    kinds = [only(adapter("XMR/USD").receive(frame)) for frame in frames]
    assert kinds == [
        Unknown("v1 systemStatus"),
        Unknown("v1 subscriptionStatus"),
        Unknown("v1 ticker"),
        Unknown("v1 heartbeat"),
    ]


# --- garbage ----------------------------------------------------------------------------------

DEEP = "[" * 100_000
BROKEN = [
    "",
    "not json",
    "null",
    "[]",
    "[1,2,3]",
    "{}",
    "7",
    '{"channel":7}',
    '{"channel":"trade"}',
    '{"channel":"trade","data":null}',
    '{"channel":"trade","data":[7]}',
    '{"channel":"trade","data":[{}]}',
    '{"channel":"instrument","data":[]}',
    '{"channel":"status","data":{}}',
    '{"req_id":1}',
    '{"method":"subscribe","success":"yes"}',
    '{"method":"pong","time_out":"soon"}',
    TRADE[:-1],
    TRADE.replace("83744.3", '"83744.3"'),
    TRADE.replace("83744.3", "NaN"),
    TRADE.replace("83744.3", "1e999"),
    TRADE.replace("109116693", "1.5"),
    TRADE.replace("109116693", "9" * 5000),
    '{"channel":"trade","data":' + DEEP,
    '{"channel":' + '{"a":' * 100_000,
    DEEP,
    "\ud800",
    '{"channel":"\ud800"}',
    b"\xff\xfe",
    b'{"channel":"\xff"}',
    b"\x00" * 1000,
]


@pytest.mark.parametrize("frame", BROKEN, ids=lambda frame: repr(frame[:40]))
def test_what_cannot_be_read_is_a_protocol_error_with_a_short_sample(frame: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        adapter("BTC/USD").receive(frame)
    assert len(error.value.frame) < 1000


def take(receiver: KrakenAdapter, frame: str | bytes) -> None:
    """Decode and check, as the connection does."""
    for event in receiver.receive(frame):
        if isinstance(event, PriceUpdate):
            check_update(event)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("83744.3", "-1"),
        ("83744.3", "0"),
        ("0.00044780", "-1"),
        ("109116693", "-1"),
        ("109116693", str(2**63)),
        ("2026-09", "1926-09"),
    ],
)
def test_a_number_that_cannot_be_stored_does_not_get_past_the_check(old: str, new: str) -> None:
    with pytest.raises(RemoteProtocolError):
        take(adapter("BTC/USD"), TRADE.replace(old, new))


def mutate(frame: str, position: int, text: str) -> str:
    """A real frame with a few characters written over."""
    return frame[:position] + text + frame[position + len(text) :]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = [
    "channel",
    "type",
    "data",
    "method",
    "success",
    "result",
    "error",
    "Error",
    "symbol",
    "req_id",
    "event",
]
KEYS = st.sampled_from(
    [*NAMES, "bid", "ask", "price", "qty", "trade_id", "timestamp", "time_out", "pairs", "status", "system"]
)
WORDS = st.sampled_from(
    [
        "trade",
        "ticker",
        "instrument",
        "status",
        "subscribe",
        "unsubscribe",
        "pong",
        "BTC/USD",
        "0001-01-01T00:00Z",
    ]
)
LIKELY = st.dictionaries(
    KEYS, JSON | WORDS | st.lists(st.dictionaries(KEYS, JSON | WORDS)) | st.dictionaries(KEYS, JSON | WORDS)
)
FRAMES = [
    TRADE,
    TICKER,
    STATUS,
    listing(pair("EUR/USD")),
    confirmation("BTC/USD", request=2),
    refusal("BTC/USD", "no", request=2),
    '[1668,{"a":["13.253900",35,"35.7"]},"ticker","WAVES/EUR"]',
    '{"method":"pong","req_id":3,"time_out":"2026-09-25T17:48:26.844359Z"}',
]
REAL = st.sampled_from(FRAMES)
GARBAGE = (
    st.text()
    | st.text(alphabet='{}[]":,0123456789eE+-.\\udnul', max_size=60)
    | st.binary()
    | JSON.map(json.dumps)
    | LIKELY.map(json.dumps)
    | LIKELY.map(lambda value: json.dumps(value).encode())
    | st.builds(mutate, REAL, st.integers(0, 350), st.text(max_size=3))
    | st.builds(mutate, REAL, st.integers(0, 350), st.text(alphabet='0123456789.-+eTZ:"{}[]', max_size=5))
)


@given(source=st.sampled_from(["trades", "quotes"]), frame=GARBAGE)
@example(source="trades", frame=TRADE.replace("2026-09-25T17:48:26.844359Z", "0001-01-01T00:00:00+23:59"))
def test_nothing_but_a_protocol_error_escapes(source: str, frame: str | bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        take(adapter("BTC/USD", source=source), frame)


@pytest.mark.soak
@pytest.mark.parametrize("source", ["trades", "quotes"])
@pytest.mark.parametrize("part", range(2))
def test_a_million_spoilt_frames(part: int, source: str) -> None:
    random = Random(part)
    for number in range(250_000):
        if number % 10 == 0:
            client = adapter("BTC/USD", source=source)
        with contextlib.suppress(RemoteProtocolError):
            take(client, spoil(random.choice(FRAMES), random))
