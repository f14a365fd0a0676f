import json
from collections.abc import Sequence
from typing import Any

import pytest
from deriv_pair import STARTED_US, Clock, Pair, check_received, make_venue
from hosts import HostKeepsAll
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError, RemoteProtocolError
from domain.instruments import Instrument, Listing
from domain.market import PriceUpdate, check_update
from venues.deriv import VENUE
from venues.events import (
    Balances,
    Closed,
    Denied,
    NewFields,
    Refused,
    ServerTime,
    Subscribed,
    Throttled,
    Unknown,
    VenueEvent,
)
from venues.offers import HistoryPage, HistoryRequest
from venues.simulated.deriv import SimulatedDeriv
from venues.simulated.deriv_limits import UserLimits
from venues.simulated.hours import Hours
from venues.simulated.protocol import Request, SimulatedTick

SYMBOLS = ("EURUSD", "USDJPY", "R_50")
WIRES = ("frxEURUSD", "frxUSDJPY", "R_50")
DIALECTS = pytest.mark.parametrize("dialect", ["legacy", "new"])
LEGACY = Request("GET", "/websockets/v3?app_id=1089", {})
NEW = Request("GET", "/trading/v1/options/ws/public", {})
SECOND_US = 1_000_000


@pytest.fixture
def venue() -> SimulatedDeriv:
    return make_venue(*SYMBOLS)


def of(kind: type, events: Sequence[VenueEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def raw(venue: SimulatedDeriv, *frames: object, request: Request = LEGACY) -> list[dict[str, Any]]:
    """Return what a socket of its own is answered, late answers included."""
    host = HostKeepsAll()
    session = venue.open_session(request=request, host=host, at_us=STARTED_US)
    answers = []
    for number, frame in enumerate(frames):
        session.take_frame(at_s=number * 0.5)
        text = frame if isinstance(frame, str) else json.dumps(frame)
        answers += session.receive(text)
        host.pass_time(0.5)
        answers += host.take_sent()
    session.close()
    return [json.loads(answer) for answer in answers]


# --- prices -----------------------------------------------------------------------------------


@DIALECTS
def test_the_adapter_understands_what_it_subscribed(venue: SimulatedDeriv, dialect: str) -> None:
    pair = Pair(venue, dialect=dialect)
    confirmed = of(Subscribed, pair.subscribe(*WIRES))
    assert sorted(symbol for event in confirmed for symbol in event.symbols) == sorted(WIRES)
    for _ in range(20):
        updates = of(PriceUpdate, pair.tick())
        assert [update.symbol for update in updates] == list(WIRES)
        for update in updates:
            check_update(update)
    assert of(Unknown, pair.events) == []
    assert of(NewFields, pair.events) == []


@DIALECTS
def test_the_ledger_says_what_the_adapter_decodes(venue: SimulatedDeriv, dialect: str) -> None:
    pair = Pair(venue, dialect=dialect)
    pair.subscribe(*WIRES)
    names = dict(zip(WIRES, SYMBOLS, strict=True))
    for _ in range(50):
        pair._pass(1.0)
        for symbol in SYMBOLS:
            venue.tick(symbol, at_us=pair.clock.at_us)
        sent = list(pair.host.ticks)
        before = len(pair.events)
        pair.hear_ticks()
        told = of(PriceUpdate, pair.events[before:])
        assert [(names[each.symbol], *each[1:4]) for each in told] == [tick[2:6] for tick in sent]


def test_no_two_prices_of_a_market_share_a_second(venue: SimulatedDeriv) -> None:
    pair = Pair(venue)
    pair.subscribe(*WIRES)
    for number in range(100):
        venue.tick("EURUSD", at_us=pair.clock.at_us + number * 100_000)
    times = [tick.ts_us for tick in pair.host.ticks]
    assert len(times) == len(set(times))
    assert len(times) in (10, 11)


def test_a_confirmations_price_is_not_told_as_a_new_one(venue: SimulatedDeriv) -> None:
    Pair(venue).subscribe(*WIRES)
    again = Pair(venue, clock=Clock())
    assert of(PriceUpdate, again.subscribe(*WIRES)) == []
    assert [answer["tick"]["symbol"] for answer in again.answers if answer["msg_type"] == "tick"]


def test_markets_move_while_nobody_listens_and_history_has_it(venue: SimulatedDeriv) -> None:
    pair = Pair(venue)
    assert not venue.is_moving("EURUSD")
    pair.subscribe("frxEURUSD")
    pair.session.close()
    assert venue.is_moving("EURUSD")
    assert not venue.is_moving("USDJPY")
    from_us = pair.clock.at_us
    for number in range(1, 31):
        venue.tick("EURUSD", at_us=from_us + number * SECOND_US)
    clock = Clock()
    clock.at_s = pair.clock.at_s + 40
    back = Pair(venue, clock=clock)
    back.subscribe("frxEURUSD")
    wish = HistoryRequest(9, "frxEURUSD", from_us, from_us + 20 * SECOND_US, None)
    back.say(back.adapter.ask_history(wish))
    back.settle()
    [page] = of(HistoryPage, back.events)
    assert page.through_us == wish.to_us
    times = [tick.ts_us for tick in page.ticks]
    first_us = from_us // SECOND_US * SECOND_US
    assert times == [first_us + number * SECOND_US for number in range(1, len(times) + 1)]
    assert len(times) in (19, 20)


# --- coming and going -------------------------------------------------------------------------


@DIALECTS
def test_nothing_comes_of_a_market_that_was_unsubscribed(venue: SimulatedDeriv, dialect: str) -> None:
    pair = Pair(venue, dialect=dialect)
    pair.subscribe(*WIRES)
    pair.say(pair.adapter.unsubscribe(["frxEURUSD"]))
    pair.settle()
    assert {update.symbol for update in of(PriceUpdate, pair.tick())} == {"frxUSDJPY", "R_50"}
    assert not pair.session.has_symbol("EURUSD")
    assert pair.session.has_symbol("USDJPY")


@DIALECTS
@pytest.mark.parametrize("before", range(4))
def test_a_market_that_is_subscribed_again_comes_once(
    venue: SimulatedDeriv, dialect: str, before: int
) -> None:
    """Whichever of the two answers is late: the fourth request always is."""
    pair = Pair(venue, dialect=dialect)
    pair.subscribe("frxEURUSD")
    for _ in range(before):
        pair.say(pair.adapter.refresh())
    for _ in range(3):
        frames = pair.adapter.unsubscribe(["frxEURUSD"]) + pair.adapter.subscribe(["frxEURUSD"])
        assert Subscribed(("frxEURUSD",)) in pair.say(frames) + pair.settle()
        assert len(of(PriceUpdate, pair.tick())) == 1


def test_a_goodbye_is_confirmed_and_ends_all_prices(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy")
    pair.subscribe(*WIRES)
    assert pair.say(pair.adapter.leave(WIRES)) == [Subscribed(())]
    assert pair.tick() == []
    assert len(pair.answers[-1]["forget_all"]) == 3


def test_a_second_subscribe_is_an_error_and_no_second_stream(venue: SimulatedDeriv) -> None:
    first, second = raw(venue, {"ticks": "R_50", "subscribe": 1}, {"ticks": "R_50", "subscribe": 1})
    assert first["tick"]["symbol"] == "R_50"
    assert second["error"]["code"] == "AlreadySubscribed"


def test_an_unknown_market_is_refused_by_name(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy")
    [refused] = of(Refused, pair.subscribe("frxNOSUCH"))
    assert refused.symbols == ("frxNOSUCH",)
    assert "InvalidSymbol" in refused.reason


def test_answers_overtake_each_other() -> None:
    symbols = [f"M{number}" for number in range(8)]
    pair = Pair(make_venue(*symbols))
    pair.subscribe(*symbols)
    ids = [answer["req_id"] for answer in pair.answers if "req_id" in answer]
    assert ids != sorted(ids)


# --- lists, hours, accounts -------------------------------------------------------------------


@DIALECTS
def test_the_list_names_markets_so_that_settings_find_them(venue: SimulatedDeriv, dialect: str) -> None:
    pair = Pair(venue, dialect=dialect)
    pair.say(pair.adapter.opening())
    [listing] = of(Listing, pair.events)
    assert listing == Listing(
        (
            Instrument("frxEURUSD", "EUR/USD", "forex", aliases=("EURUSD",)),
            Instrument("frxUSDJPY", "USD/JPY", "forex", aliases=("USDJPY",)),
            Instrument("R_50", "R_50", "synthetic_index"),
        ),
        is_whole=True,
    )


@DIALECTS
def test_a_weekend_closes_pairs_and_says_when_they_open(dialect: str) -> None:
    venue = make_venue(*SYMBOLS, hours=Hours.WEEK)  # a Sunday, before 21:00
    pair = Pair(venue, dialect=dialect)
    pair.subscribe(*WIRES)
    [whole] = [listing for listing in of(Listing, pair.events) if listing.is_whole]
    assert [each.is_open for each in whole.instruments] == [False, False, True]
    assert {symbol for event in of(Closed, pair.events) for symbol in event.symbols} == {
        "frxEURUSD",
        "frxUSDJPY",
    }
    told = {each.symbol: each for part in of(Listing, pair.events) for each in part.instruments}
    sunday_us = STARTED_US // (86_400 * SECOND_US) * (86_400 * SECOND_US) + 21 * 3600 * SECOND_US
    assert told["frxEURUSD"].opens_us == sunday_us
    assert not told["frxEURUSD"].is_open
    assert told["frxEURUSD"].aliases == ("EURUSD",)
    assert told["R_50"].is_open
    assert of(PriceUpdate, pair.tick()) != []


def test_a_locked_market_is_closed_until_it_is_unlocked(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy")
    pair.subscribe("frxEURUSD", "R_50")
    until_us = pair.clock.at_us + 3600 * SECOND_US
    venue.lock("EURUSD", until_us=until_us, at_us=pair.clock.at_us)
    assert {update.symbol for update in of(PriceUpdate, pair.tick())} == {"R_50"}
    [listing] = of(Listing, pair.say(pair.adapter.refresh()) + pair.settle())
    assert [each.is_open for each in listing.instruments] == [False, True, True]
    frames = pair.adapter.unsubscribe(["frxEURUSD"]) + pair.adapter.subscribe(["frxEURUSD"])
    events = pair.say(frames) + pair.settle()
    assert [event.symbols for event in of(Closed, events)] == [("frxEURUSD",)]
    assert of(Listing, events)[-1].instruments[0].opens_us == -(-until_us // SECOND_US) * SECOND_US
    venue.unlock("EURUSD", at_us=pair.clock.at_us)
    pair.say(pair.adapter.subscribe(["frxEURUSD"]))
    pair.settle()
    assert {update.symbol for update in of(PriceUpdate, pair.tick())} == {"frxEURUSD", "R_50"}


def test_a_locked_market_opens_when_its_time_has_come(venue: SimulatedDeriv) -> None:
    until_us = STARTED_US + 60 * SECOND_US
    venue.lock(None, until_us=until_us, at_us=STARTED_US)
    pair = Pair(venue, dialect="legacy")
    assert len(of(Closed, pair.subscribe("R_50"))) == 1
    pair.settle(60.0)
    pair.say(pair.adapter.subscribe(["R_50"]))
    pair.settle()
    assert Subscribed(("R_50",)) in pair.events


def test_a_token_lets_in_and_tells_the_balance(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy", token="a1-good_one")
    pair.subscribe("R_50")
    [balances] = of(Balances, pair.events)
    [balance] = balances.balances
    assert (balance.account, balance.group, balance.currency) == ("VRTC1000001", "demo", "USD")
    assert balance.amount == 10_000
    assert "a1-good_one" not in json.dumps(pair.answers)


def test_a_bad_token_lets_nobody_in(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy", token="expired-yesterday")
    [denied] = of(Denied, pair.say(pair.adapter.opening()))
    assert "InvalidToken" in denied.reason


def test_the_new_dialect_sends_no_token(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="new", token="a1-good_one")
    pair.subscribe("R_50")
    assert "a1-good_one" not in json.dumps(pair.requests)


def test_accounts_are_not_served_by_the_new_dialects_public_socket(venue: SimulatedDeriv) -> None:
    [answer] = raw(venue, {"balance": 1}, request=NEW)
    assert answer["error"]["code"] == "UnrecognisedRequest"


def test_the_clock_is_the_venues(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy")
    at_us = pair.clock.at_us
    pair.say(pair.adapter.ping())
    [told] = of(ServerTime, pair.events)
    assert told.ts_us == at_us // SECOND_US * SECOND_US
    assert told.answers_ping


def test_candles_come_from_the_same_past(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy")
    pair.subscribe("frxEURUSD")
    from_us = pair.clock.at_us
    for _ in range(300):
        pair.tick("EURUSD")
    wish = HistoryRequest(3, "frxEURUSD", from_us, pair.clock.at_us, 60)
    pair.say(pair.adapter.ask_history(wish))
    pair.settle()
    [page] = of(HistoryPage, pair.events)
    assert len(page.candles) in (5, 6)
    assert all(candle.low <= min(candle.open, candle.close) for candle in page.candles)
    assert all(candle.open_us % (60 * SECOND_US) == 0 for candle in page.candles)


# --- limits -----------------------------------------------------------------------------------


def test_300_markets_on_four_sockets_stay_within_every_limit() -> None:
    symbols = [f"M{number}" for number in range(300)]
    venue, clock = make_venue(*symbols), Clock()
    most = VENUE.markets_per_connection
    parts = [symbols[first : first + most] for first in range(0, 300, most)]
    assert VENUE.most_connections is not None
    assert len(parts) <= VENUE.most_connections
    # All sockets share one pace, so in the venue's eyes they speak one after the other.
    pairs = [Pair(venue, clock=clock, dialect="legacy", token="good") for _ in parts]
    for pair in pairs:
        pair.say(pair.adapter.opening())
    for number in range(most):
        for pair, part in zip(pairs, parts, strict=True):
            pair.say(pair.adapter.subscribe(part[number : number + 1]))
            pair.keep_alive()
    for number in range(3 * most):
        for pair, part in zip(pairs, parts, strict=True):
            for symbol in part[number % most :][:1]:
                from_us = clock.at_us - 600 * SECOND_US
                pair.say(pair.adapter.ask_history(HistoryRequest(1, symbol, from_us, clock.at_us, None)))
            pair.keep_alive()
            if number % 50 == 0:
                pair.say(pair.adapter.refresh())
    for pair in pairs:
        pair.settle()
    assert clock.at_s > 400
    assert (venue.bans, venue.throttled) == (0, 0)
    assert all(pair.host.closed == [] for pair in pairs)
    assert sum(len(of(Subscribed, pair.events)) for pair in pairs) == 300
    assert sum(len(of(HistoryPage, pair.events)) for pair in pairs) == 900


def test_the_pace_is_below_both_budgets_for_ever() -> None:
    limits = UserLimits()
    pace_s = VENUE.frame_spacing_s
    assert not any(limits.exceeds("ticks", at_s=number * pace_s) for number in range(30_000))
    assert VENUE.is_spacing_shared


def test_who_does_not_pace_his_requests_is_throttled_and_then_thrown_out(venue: SimulatedDeriv) -> None:
    pair = Pair(venue, dialect="legacy", spacing_s=0.02)
    for _ in range(220):
        pair.say(pair.adapter.refresh())
    assert venue.throttled == 0
    [throttled] = of(Throttled, pair.say(pair.adapter.refresh()))
    assert throttled.retry_after_s == 60.0
    assert venue.bans == 0
    for _ in range(11):
        pair.say(pair.adapter.refresh())
    assert venue.bans == 1
    assert [code for code, _ in pair.host.closed] == [1008]


def test_an_hours_budget_is_counted_too() -> None:
    venue = make_venue("R_50")
    session = venue.open_session(request=LEGACY, host=HostKeepsAll(), at_us=STARTED_US)
    for number in range(14_401):
        session.take_frame(at_s=number * 0.2499)  # slower than 220 a minute would be 0.2728
        session.receive('{"time":1}')
    assert venue.throttled > 0


def test_a_connection_takes_100_subscriptions_and_no_more() -> None:
    symbols = [f"M{number}" for number in range(101)]
    venue = make_venue(*symbols)
    pair = Pair(venue)
    pair.subscribe(*symbols)
    assert len(of(Subscribed, pair.events)) == 100
    assert venue.bans == 1


def test_a_users_sixth_socket_is_refused(venue: SimulatedDeriv) -> None:
    pairs = [Pair(venue) for _ in range(5)]
    refusal = venue.knock(NEW, at_us=STARTED_US)
    assert refusal is not None
    assert refusal.status == 429
    assert venue.bans == 1
    pairs[0].session.close()
    assert venue.knock(NEW, at_us=STARTED_US) is None


def test_a_socket_without_a_request_for_two_minutes_is_closed(venue: SimulatedDeriv) -> None:
    silent, talking = Pair(venue), Pair(venue)
    for number in range(1, 121):
        if number % 30 == 0:
            talking.session.receive('{"ping":1}')
        venue.pass_time(at_us=STARTED_US + number * SECOND_US)
    assert [code for code, _ in silent.host.closed] == [1001]
    assert talking.host.closed == []


def test_more_than_100_frames_in_a_second_end_the_socket(venue: SimulatedDeriv) -> None:
    session = venue.open_session(request=NEW, host=HostKeepsAll(), at_us=STARTED_US)
    assert {session.take_frame(at_s=number / 101) for number in range(100)} == {""}
    assert "100 frames" in session.take_frame(at_s=0.995)
    assert venue.bans == 1


# --- the door ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("/stream", 404),
        ("/websockets/v3", 401),
        ("/websockets/v3?app_id=", 401),
        ("/websockets/v3?app_id=1089", None),
        ("/websockets/v3?l=EN&app_id=1089", None),
        ("/trading/v1/options/ws/public", None),
    ],
)
def test_the_door_knows_both_paths(venue: SimulatedDeriv, target: str, status: int | None) -> None:
    refusal = venue.knock(Request("GET", target, {}), at_us=STARTED_US)
    assert (refusal and refusal.status) == status


def test_nothing_is_served_over_http(venue: SimulatedDeriv) -> None:
    assert venue.answer(Request("GET", "/", {}), at_us=STARTED_US).status == 404


def test_a_market_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ConfigError, match="'EUR USD'"):
        make_venue("EUR USD")


# --- odd requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ("{", "InputValidationFailed"),
        ("[]", "InputValidationFailed"),
        ('{"a":' + "[" * 100_000, "InputValidationFailed"),
        ('{"dance":1}', "UnrecognisedRequest"),
        ('{"ticks":7}', "InputValidationFailed"),
        ('{"ticks":"a b"}', "InputValidationFailed"),
        ('{"ticks":"R_50","subscribe":2}', "InputValidationFailed"),
        ('{"ticks":"R_50","volume":1}', "InputValidationFailed"),
        ('{"ticks":["R_50","X_1"],"subscribe":1}', "InvalidSymbol"),
        ('{"ticks_history":"R_50"}', "InputValidationFailed"),
        ('{"ticks_history":"R_50","end":"soon"}', "InputValidationFailed"),
        ('{"ticks_history":"R_50","end":"1","start":2}', "InvalidStartEnd"),
        ('{"ticks_history":"R_50","end":"latest","count":-1}', "InputValidationFailed"),
        ('{"ticks_history":"R_50","end":"latest","style":"bars"}', "InputValidationFailed"),
        (
            '{"ticks_history":"R_50","end":"latest","style":"candles","granularity":61}',
            "InputValidationFailed",
        ),
        ('{"ticks_history":[],"end":"latest"}', "InvalidSymbol"),
        ('{"contracts_for":{}}', "InvalidSymbol"),
        ('{"active_symbols":1}', "InputValidationFailed"),
        ('{"forget_all":"everything"}', "InputValidationFailed"),
        ('{"balance":1}', "AuthorizationRequired"),
        ('{"authorize":7}', "InputValidationFailed"),
    ],
)
def test_a_bad_request_is_answered_by_its_code(venue: SimulatedDeriv, request_text: str, code: str) -> None:
    [answer] = raw(venue, request_text)
    assert answer["error"]["code"] == code


def test_several_prices_can_be_asked_for_at_once(venue: SimulatedDeriv) -> None:
    answers = raw(venue, {"ticks": ["R_50", "frxEURUSD"], "subscribe": 1, "req_id": 4})
    assert [(answer["tick"]["symbol"], answer["req_id"]) for answer in answers] == [
        ("R_50", 4),
        ("frxEURUSD", 4),
    ]
    assert len({answer["subscription"]["id"] for answer in answers}) == 2


def test_a_price_can_be_asked_for_once(venue: SimulatedDeriv) -> None:
    [answer] = raw(venue, {"ticks": "R_50"})
    assert "subscription" not in answer
    assert answer["echo_req"] == {"ticks": "R_50"}


def test_what_is_forgotten_twice_did_not_exist(venue: SimulatedDeriv) -> None:
    host = HostKeepsAll()
    session = venue.open_session(request=LEGACY, host=host, at_us=STARTED_US)
    [confirmed] = session.receive('{"ticks":"R_50","subscribe":1}')
    forget = json.dumps({"forget": json.loads(confirmed)["subscription"]["id"]})
    assert [json.loads(session.receive(forget)[0])["forget"] for _ in range(2)] == [1, 0]


@given(text=st.text())
def test_any_text_is_answered(text: str) -> None:
    session = make_venue("R_50").open_session(request=LEGACY, host=HostKeepsAll(), at_us=STARTED_US)
    [answer] = session.receive(text)
    assert "msg_type" in json.loads(answer)


CALLS = ("active_symbols", "authorize", "contracts_for", "forget", "forget_all", "ping", "time")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["R_50", "latest"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MORE = ("balance", "ticks", "ticks_history", "subscribe", "start", "end", "count", "style", "granularity")
FIELDS = st.sampled_from([*CALLS, *MORE, "req_id", "passthrough"])


@given(fields=st.dictionaries(FIELDS, JSON), request=st.sampled_from([LEGACY, NEW]))
def test_any_request_is_answered(fields: dict[str, object], request: Request) -> None:
    for answer in raw(make_venue("R_50"), fields, request=request):
        assert "error" in answer or answer["msg_type"] in (*CALLS, "tick", "history", "candles")


# --- garbage and recordings -------------------------------------------------------------------


def test_no_garbage_can_be_decoded(venue: SimulatedDeriv) -> None:
    pair = Pair(venue)
    pair.subscribe(*WIRES)
    for symbol in (None, "USDJPY"):
        frames = pair.session.garbage(symbol)
        assert len(frames) == 3
        for frame in frames:
            with pytest.raises(RemoteProtocolError):
                pair.adapter.receive(frame)


def test_recorded_frames_of_subscribed_markets_are_read_as_ticks(venue: SimulatedDeriv) -> None:
    pair = Pair(venue)
    pair.subscribe("frxEURUSD")
    frame = (
        '{"msg_type":"tick","tick":{"ask":1.2,"bid":1.1,"epoch":1587547610,"quote":"1.15","symbol":"SYMBOL"}}'
    )
    read = pair.session.read_recorded(frame.replace("SYMBOL", "frxEURUSD"))
    assert isinstance(read, SimulatedTick)
    assert read[2:6] == ("EURUSD", 1_587_547_610_000_000, None, 1.15)
    assert pair.session.read_recorded(frame.replace("SYMBOL", "R_50")) is None


@pytest.mark.parametrize(
    "frame",
    ["", "{", "[]", '{"msg_type":"time","time":1}', '{"tick":{"symbol":"R_50","epoch":1,"quote":"NaN"}}'],
)
def test_recorded_garbage_is_no_tick(venue: SimulatedDeriv, frame: str) -> None:
    pair = Pair(venue)
    pair.subscribe("R_50")
    assert pair.session.read_recorded(frame) is None


def test_a_replays_markets_are_confirmed_without_a_price() -> None:
    venue = SimulatedDeriv(prices={}, started_us=STARTED_US, accepts=lambda _: True)
    pair = Pair(venue, dialect="legacy")
    assert Subscribed(("frxEURUSD",)) in pair.subscribe("frxEURUSD")


def test_answers_are_checked_against_schemas_that_refuse_something() -> None:
    with pytest.raises(Exception, match="pip_size"):
        check_received('{"msg_type":"tick","echo_req":{},"tick":{"quote":1}}')
