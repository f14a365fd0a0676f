import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deriv_pair import ID, STARTED_US, TICK, check_sent, confirm, context, error, hear, past_page
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError, LocalProtocolError, PermanentError, RemoteProtocolError
from domain.instruments import Catalog, Instrument, Listing, StakeLimit
from domain.market import PriceUpdate
from venues import find_venue
from venues.deriv import VENUE, DerivAdapter
from venues.deriv_address import check_settings
from venues.events import (
    Balance,
    Balances,
    Closed,
    Denied,
    NewFields,
    Refused,
    Send,
    ServerTime,
    StakeLimits,
    Subscribed,
    Throttled,
    Unknown,
    VenueEvent,
)
from venues.offers import HistoryPage, HistoryRequest, VenueCandle
from venues.settings import VenueSettings
from wire.recording import Direction, read

RECORDING = Path(__file__).parent.parent / "recordings" / "deriv.jsonl"
SECOND_US = 1_000_000
STARTED_S = STARTED_US // SECOND_US
OTHER_ID = "c84a793b-8a87-7999-ce10-9b22f7ceead3"
PRICE = PriceUpdate("R_50", 1_587_547_610_000_000, None, 218.0926, 218.0826, 218.1026)


def make(*, dialect: str | None = None, token: str | None = None) -> DerivAdapter:
    return DerivAdapter(context(dialect=dialect, token=token))


def sent(frames: Sequence[str]) -> list[dict[str, Any]]:
    for frame in frames:
        check_sent(frame)
    return [json.loads(frame) for frame in frames]


def asked_in(events: Sequence[VenueEvent]) -> list[dict[str, Any]]:
    """Return the requests that follow from a message."""
    return sent([frame for event in events if isinstance(event, Send) for frame in event.frames])


def watching(*symbols: str) -> DerivAdapter:
    """An adapter that subscribed these, the first one by request 1, and knows their hours."""
    adapter = make()
    for request in sent(adapter.subscribe(symbols)):
        confirm(adapter, request["req_id"], symbol=request["ticks"])
    return adapter


# --- what goes out ----------------------------------------------------------------------------


def test_the_registry_knows_it() -> None:
    assert find_venue("deriv") is VENUE


@pytest.mark.parametrize(("dialect", "token"), [(None, None), (None, "secret"), ("legacy", None)])
def test_without_a_log_in_the_list_is_asked_for_at_once(dialect: str | None, token: str | None) -> None:
    [request] = sent(make(dialect=dialect, token=token).opening())
    assert request == {"active_symbols": "brief", "req_id": 1}


def test_a_log_in_comes_first_then_balance_and_list() -> None:
    adapter = make(dialect="legacy", token="a1-secret")
    [request] = sent(adapter.opening())
    assert request == {"authorize": "a1-secret", "req_id": 1}
    account = {"loginid": "VRTC0000001", "is_virtual": 1, "balance": 1, "currency": "USD"}
    events = hear(adapter, {"authorize": account, "msg_type": "authorize", "req_id": 1})
    assert [next(iter(request)) for request in asked_in(events)] == ["balance", "active_symbols"]


def test_each_symbol_is_asked_for_by_itself() -> None:
    assert sent(make().subscribe(["R_50", "frxEURUSD"])) == [
        {"ticks": "R_50", "subscribe": 1, "req_id": 1},
        {"ticks": "frxEURUSD", "subscribe": 1, "req_id": 2},
    ]


def test_a_subscription_is_ended_by_its_id() -> None:
    adapter = watching("R_50")
    [request] = sent(adapter.unsubscribe(["R_50"]))
    assert request["forget"] == ID


def test_one_frame_ends_all_prices_which_are_told_until_then() -> None:
    adapter = watching("R_50")
    [request] = sent(adapter.leave(["R_50"]))
    assert request["forget_all"] == "ticks"
    assert hear(adapter, TICK) == (PRICE,)
    answer = {"forget_all": [ID], "msg_type": "forget_all", "req_id": request["req_id"]}
    assert Subscribed(()) in hear(adapter, answer)


def test_a_ping_asks_for_the_clock_too() -> None:
    adapter = make()
    clock, ping = sent(adapter.ping())
    assert (clock["time"], ping["ping"]) == (1, 1)
    answer = {"time": 1587544006, "msg_type": "time", "req_id": clock["req_id"]}
    assert hear(adapter, answer) == (ServerTime(1_587_544_006_000_000, SECOND_US, answers_ping=True),)
    assert hear(adapter, {"ping": "pong", "msg_type": "ping", "req_id": ping["req_id"]}) == ()


# --- where to connect -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "url", "address"),
    [
        (None, None, "wss://api.derivws.com/trading/v1/options/ws/public"),
        ("new", None, "wss://api.derivws.com/trading/v1/options/ws/public"),
        ("new", "ws://127.0.0.1:9000", "ws://127.0.0.1:9000/trading/v1/options/ws/public"),
        ("legacy", None, "wss://ws.derivws.com/websockets/v3?app_id=1089"),
        ("legacy", "ws://127.0.0.1:9000/", "ws://127.0.0.1:9000/websockets/v3?app_id=1089"),
        ("legacy", "wss://ws.example/x?app_id=7", "wss://ws.example/x?app_id=7"),
        ("legacy", "wss://ws.example/x?l=EN", "wss://ws.example/x?l=EN&app_id=1089"),
    ],
)
def test_each_dialect_has_its_address(dialect: str | None, url: str | None, address: str) -> None:
    given = VenueSettings(protocol="deriv", dialect=dialect, url=url, app_id="1089")
    upgrade = VENUE.upgrade(given, "secret")
    assert upgrade.url == address
    assert "secret" not in str(upgrade)


@pytest.mark.parametrize("app_id", [None, "", "two words", "1&l=EN"])
def test_the_legacy_dialect_without_its_app_id_names_the_key(app_id: str | None) -> None:
    given = VenueSettings(protocol="deriv", dialect="legacy", app_id=app_id)
    with pytest.raises(ConfigError, match="app_id"):
        check_settings(given)
    with pytest.raises(PermanentError, match="app_id"):
        VENUE.upgrade(given, None)
    check_settings(VenueSettings(protocol="deriv", app_id=app_id))


# --- prices -----------------------------------------------------------------------------------


def test_a_price_carries_the_venues_time_both_sides_and_no_number() -> None:
    assert hear(watching("R_50"), TICK) == (PRICE,)


def test_a_frame_of_bytes_says_the_same_as_one_of_text() -> None:
    assert watching("R_50").receive(json.dumps(TICK).encode()) == (PRICE,)


def test_prices_may_be_strings_and_fields_may_be_missing() -> None:
    frame = {"msg_type": "tick", "tick": {"epoch": "1587547610", "quote": "218.0926", "symbol": "R_50"}}
    assert hear(watching("R_50"), frame) == (PriceUpdate("R_50", 1_587_547_610_000_000, None, 218.0926),)


def test_a_price_that_nobody_subscribed_is_unknown() -> None:
    assert hear(make(), TICK) == (Unknown("tick"),)
    left = watching("R_50")
    left.unsubscribe(["R_50"])
    assert hear(left, TICK) == (Unknown("tick"),)


def test_a_recording_says_what_a_reader_sees_in_it() -> None:
    adapter = make()
    assert json.loads(adapter.subscribe(["R_50"])[0])["req_id"] == 1
    said: list[VenueEvent] = []
    for frame in read(RECORDING):
        if frame.direction is Direction.IN:
            said += adapter.receive(frame.frame)
    assert [event for event in said if not isinstance(event, Send)] == [
        Subscribed(("R_50",)),
        PRICE,
        ServerTime(1_587_544_006_000_000, SECOND_US, answers_ping=False),
        Unknown("buy"),
        Unknown("transaction"),
    ]


def test_new_fields_of_a_price_are_told_once_in_a_thousand() -> None:
    adapter = watching("R_50")  # the confirmation was the first
    frame = {**TICK, "mood": 1, "tick": {**TICK["tick"], "weather": 1}}  # type: ignore[dict-item]
    events = [event for _ in range(2_000) for event in hear(adapter, frame)]
    new = [event for event in events if isinstance(event, NewFields)]
    assert new == [NewFields("tick", ("mood", "tick.weather"))] * 2
    assert len(events) == 2_002


# --- subscriptions ----------------------------------------------------------------------------


def test_the_first_message_confirms_and_tells_no_price() -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    events = confirm(adapter, 1)
    assert [event for event in events if not isinstance(event, Send)] == [Subscribed(("R_50",))]


def test_a_price_without_the_requests_id_confirms_what_was_asked_for() -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    told = {key: value for key, value in TICK.items() if key != "req_id"}
    assert Subscribed(("R_50",)) in hear(adapter, told)
    assert hear(adapter, told)[0] == PRICE
    assert sent(adapter.unsubscribe(["R_50"]))[0]["forget"] == ID


def test_what_was_unsubscribed_before_its_answer_is_forgotten_then() -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    assert adapter.unsubscribe(["R_50"]) == []
    events = confirm(adapter, 1)
    assert [request["forget"] for request in asked_in(events)] == [ID]
    assert not any(isinstance(event, Subscribed) for event in events)


def test_a_symbol_that_is_being_forgotten_is_asked_for_after_that() -> None:
    adapter = watching("R_50")
    [forget] = sent(adapter.unsubscribe(["R_50"]))
    assert adapter.subscribe(["R_50"]) == []
    events = hear(adapter, {"forget": 1, "msg_type": "forget", "req_id": forget["req_id"]})
    [again] = [request for request in asked_in(events) if "ticks" in request]
    assert Subscribed(("R_50",)) in confirm(adapter, again["req_id"], subscription=OTHER_ID)
    assert sent(adapter.unsubscribe(["R_50"]))[0]["forget"] == OTHER_ID


def test_whoever_asks_a_second_time_does_not_wait_for_the_forgotten() -> None:
    adapter = watching("R_50")
    adapter.unsubscribe(["R_50"])
    assert adapter.subscribe(["R_50"]) == []
    assert adapter.unsubscribe(["R_50"]) == []
    assert len(sent(adapter.subscribe(["R_50"]))) == 1


def test_of_two_subscriptions_of_one_symbol_the_older_is_forgotten() -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    adapter.unsubscribe(["R_50"])
    adapter.subscribe(["R_50"])
    assert Subscribed(("R_50",)) in confirm(adapter, 1)
    events = confirm(adapter, 2, subscription=OTHER_ID)
    assert [request["forget"] for request in asked_in(events) if "forget" in request] == [ID]


def test_a_symbol_that_was_subscribed_already_is_subscribed() -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    assert Subscribed(("R_50",)) in hear(adapter, error("AlreadySubscribed", req_id=1))
    assert hear(adapter, TICK)[0] == PRICE
    assert sent(adapter.unsubscribe(["R_50"]))[0]["forget"] == ID  # its price told


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InvalidSymbol", Refused(("R_50",), "Because. (InvalidSymbol)")),
        ("InputValidationFailed", Refused(("R_50",), "Because. (InputValidationFailed)")),
        ("AuthorizationRequired", Refused(("R_50",), "Because. (AuthorizationRequired)")),
        ("MarketIsClosed", Closed(("R_50",), "Because. (MarketIsClosed)")),
        ("StreamingNotAllowed", Refused(("R_50",), "Because. (StreamingNotAllowed)")),
        ("InternalError", Unknown("error: InternalError")),
        ("ServiceUnavailable", Unknown("error: ServiceUnavailable")),  # nobody knows whether for good
    ],
)
def test_an_error_means_something_for_the_symbol_that_was_asked_for(code: str, expected: VenueEvent) -> None:
    adapter = make()
    adapter.subscribe(["R_50", "R_75"])
    told = hear(adapter, error(code, req_id=1))
    assert [event for event in told if not isinstance(event, Send)] == [expected]
    assert Subscribed(("R_75",)) in confirm(adapter, 2, symbol="R_75")


@pytest.mark.parametrize("code", ["InvalidToken", "Unauthorized"])
@pytest.mark.parametrize("req_id", [1, 99, None])
def test_some_errors_let_nobody_in_whoever_asked(code: str, req_id: int | None) -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    [denied] = hear(adapter, error(code, req_id=req_id))
    assert isinstance(denied, Denied)
    assert code in denied.reason


@pytest.mark.parametrize("code", ["InputValidationFailed", "Strange"])
def test_any_error_of_a_log_in_but_a_passing_one_lets_nobody_in(code: str) -> None:
    adapter = make(dialect="legacy", token="x")
    adapter.opening()
    [denied] = hear(adapter, error(code, req_id=1, kind="authorize"))
    assert isinstance(denied, Denied)
    adapter = make(dialect="legacy", token="x")
    adapter.opening()
    [throttled] = hear(adapter, error("InternalError", req_id=1, kind="authorize"))
    assert isinstance(throttled, Throttled)


@pytest.mark.parametrize("req_id", [1, None])
@pytest.mark.parametrize("code", ["RateLimit", "RateLimitExceeded"])
def test_too_many_requests_ask_for_a_minutes_patience(code: str, req_id: int | None) -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    [throttled] = hear(adapter, error(code, req_id=req_id))
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after_s == 60.0


def test_a_reason_of_the_venue_is_shortened() -> None:
    adapter = make()
    adapter.subscribe(["R_50"])
    told = {"code": "InvalidSymbol", "message": "x" * 10_000}
    refused = hear(adapter, {"error": told, "msg_type": "tick", "req_id": 1})[0]
    assert isinstance(refused, Refused)
    assert len(refused.reason) <= 250


def test_an_error_that_names_no_request_is_unknown() -> None:
    assert hear(make(), error("Strange", req_id=None)) == (Unknown("error: Strange"),)
    assert hear(make(), error("Strange", req_id=7)) == (Unknown("error: Strange"),)


def test_a_forget_that_fails_ends_the_wait_too() -> None:
    adapter = watching("R_50")
    [forget] = sent(adapter.unsubscribe(["R_50"]))
    adapter.subscribe(["R_50"])
    events = hear(adapter, error("InternalError", req_id=forget["req_id"], kind="forget"))
    assert [request["ticks"] for request in asked_in(events) if "ticks" in request] == ["R_50"]


@pytest.mark.parametrize("kind", ["tick", "forget", "contracts_for", "history", "candles"])
def test_an_answer_to_nobody_is_unknown(kind: str) -> None:
    assert hear(make(), {"msg_type": kind, "req_id": 99}) == (Unknown("answer to nobody"),)


# --- lists and hours --------------------------------------------------------------------------

EURUSD_LEGACY = {
    "symbol": "frxEURUSD",
    "display_name": "EUR/USD",
    "market": "forex",
    "exchange_is_open": 1,
    "is_trading_suspended": 0,
    "pip": 0.00001,
}
EURUSD_NEW = {
    "underlying_symbol": "frxEURUSD",
    "underlying_symbol_name": "EUR/USD",
    "market": "forex",
    "exchange_is_open": 1,
    "is_trading_suspended": 0,
    "pip_size": 0.00001,
}
EURUSD = Instrument("frxEURUSD", "EUR/USD", "forex", aliases=("EURUSD",))


def listing(adapter: DerivAdapter, *items: object) -> Listing:
    told = hear(adapter, {"active_symbols": items, "msg_type": "active_symbols", "req_id": 1})
    assert isinstance(told[0], Listing)
    return told[0]


@pytest.mark.parametrize("item", [EURUSD_LEGACY, EURUSD_NEW])
def test_both_dialects_list_the_same_market(item: object) -> None:
    assert listing(make(), item) == Listing((EURUSD,), is_whole=True)


@pytest.mark.parametrize("name", ["EURUSD", "eur/usd", "EUR-USD", "frxEURUSD"])
def test_a_market_is_found_by_the_names_that_other_venues_have(name: str) -> None:
    catalog = Catalog(venue="deriv")
    catalog.take(listing(make(), EURUSD_NEW, {"symbol": "R_50"}), at_us=1)
    assert catalog.find(name).symbol == "frxEURUSD"


@pytest.mark.parametrize(
    ("open_", "suspended", "is_open"), [(1, 0, True), (0, 0, False), (1, 1, False), (0, 1, False)]
)
def test_a_market_is_open_if_its_exchange_is_and_nothing_is_suspended(
    open_: int, suspended: int, *, is_open: bool
) -> None:
    item = {**EURUSD_NEW, "exchange_is_open": open_, "is_trading_suspended": suspended}
    [instrument] = listing(make(), item).instruments
    assert instrument.is_open is is_open
    assert instrument.is_tradable is is_open


@pytest.mark.parametrize(
    ("told", "is_open"),
    [(1, True), ("1", True), (True, True), (None, True), (0, False), ("0", False), (False, False)],
)
def test_whether_a_market_is_open_may_be_told_by_any_type(told: object, *, is_open: bool) -> None:
    [instrument] = listing(make(), {**EURUSD_NEW, "exchange_is_open": told}).instruments
    assert instrument.is_open is is_open
    suspended = {**EURUSD_NEW, "is_trading_suspended": told}
    [instrument] = listing(make(), suspended).instruments
    assert instrument.is_open is (told is None or not is_open)


def test_a_market_without_a_title_is_a_market() -> None:
    item = {**EURUSD_NEW, "underlying_symbol_name": None, "market": None, "symbol": None}
    assert listing(make(), item).instruments == (EURUSD._replace(title="", group=""),)


def test_what_is_no_market_in_the_list_is_skipped_and_told() -> None:
    items = [EURUSD_NEW, 7, {"symbol": 7}, {}]
    told = hear(make(), {"active_symbols": items, "msg_type": "active_symbols"})
    assert told == (Listing((EURUSD,), is_whole=True), *[Unknown("active_symbols item")] * 3)


def hours(adapter: DerivAdapter, symbol: str, **told: object) -> list[VenueEvent]:
    """Subscribe a symbol and answer what is asked of its hours."""
    [ticks] = sent(adapter.subscribe([symbol]))
    [request] = asked_in(confirm(adapter, ticks["req_id"], symbol=symbol))
    assert request["contracts_for"] == symbol
    contracts = {"available": [], **told}
    answer = {"contracts_for": contracts, "msg_type": "contracts_for", "req_id": request["req_id"]}
    return [event for event in hear(adapter, answer) if not isinstance(event, Send)]


@pytest.mark.parametrize(
    ("opens_in_s", "closes_in_s", "expected"),
    [
        (None, None, (None, None)),
        (-3600, 7200, (None, 7200)),  # open: today's opening, as clients have seen it
        (7200, 3600, (7200, 3600)),  # open, and both the next ones
        (3600, 90_000, (3600, None)),  # closed: the close of the session to come
        (3600, -7200, (3600, -7200)),  # closed: when it closed
    ],
)
def test_hours_are_the_next_close_and_the_opening_after_it(
    opens_in_s: int | None, closes_in_s: int | None, expected: tuple[int | None, int | None]
) -> None:
    adapter = make()
    listing(adapter, EURUSD_NEW)
    told = {
        key: None if in_s is None else STARTED_S + in_s
        for key, in_s in (("open", opens_in_s), ("close", closes_in_s))
    }
    [partial] = hours(adapter, "frxEURUSD", **told)
    assert isinstance(partial, Listing)
    assert not partial.is_whole
    opens_us, closes_us = (None if s is None else (STARTED_S + s) * SECOND_US for s in expected)
    assert partial.instruments == (EURUSD._replace(opens_us=opens_us, closes_us=closes_us),)
    # A later list keeps them.
    assert listing(adapter, EURUSD_NEW).instruments == partial.instruments


def test_hours_wait_until_every_subscription_is_answered() -> None:
    adapter = make()
    adapter.subscribe(["R_50", "R_75"])
    assert asked_in(confirm(adapter, 1)) == []
    [first] = asked_in(confirm(adapter, 2, symbol="R_75"))
    answer = {"contracts_for": {"available": []}, "msg_type": "contracts_for", "req_id": first["req_id"]}
    [second] = asked_in(hear(adapter, answer))
    assert (first["contracts_for"], second["contracts_for"]) == ("R_50", "R_75")


def test_hours_of_a_market_that_is_closed_come_first() -> None:
    adapter = make()
    adapter.subscribe(["R_50", "frxEURUSD"])
    confirm(adapter, 1)
    [request] = asked_in(hear(adapter, error("MarketIsClosed", req_id=2)))
    assert request["contracts_for"] == "frxEURUSD"


def test_hours_that_are_over_are_asked_for_again_but_not_at_once() -> None:
    adapter = make()
    hours(adapter, "R_50", close=STARTED_S + 60)

    def asked_at(in_s: int) -> list[dict[str, Any]]:
        return asked_in(hear(adapter, {"time": STARTED_S + in_s, "msg_type": "time"}))

    assert asked_at(61) == []
    [request] = asked_at(601)
    assert request["contracts_for"] == "R_50"
    error_answer = error("RateLimit", req_id=request["req_id"], kind="contracts_for")
    assert hear(adapter, error_answer) == (Unknown("error: RateLimit"),)
    assert asked_at(602) == []
    assert len(asked_at(1202)) == 1  # it had no answer


def test_hours_that_are_not_to_be_had_now_leave_the_budget_to_others() -> None:
    adapter = make()
    [ticks] = sent(adapter.subscribe(["R_50"]))
    [request] = asked_in(confirm(adapter, ticks["req_id"]))
    hear(adapter, error("InternalError", req_id=request["req_id"], kind="contracts_for"))
    asked = [
        asked_in(hear(adapter, {"time": STARTED_S + in_s, "msg_type": "time"}))
        for in_s in range(30, 1_201, 30)
    ]
    assert len([each for each in asked if each]) == 1


def test_an_answer_that_never_comes_does_not_keep_hours_waiting_for_ever() -> None:
    adapter = make()
    adapter.subscribe(["R_50", "R_75"])
    assert asked_in(confirm(adapter, 1)) == []  # the other one is to come

    def ping() -> list[dict[str, Any]]:
        clock, _ = sent(adapter.ping())
        return asked_in(hear(adapter, {"time": STARTED_S, "msg_type": "time", "req_id": clock["req_id"]}))

    assert ping() == []
    [request] = ping()
    assert request["contracts_for"] == "R_50"
    assert ping() == []
    [request] = ping()
    assert request["contracts_for"] == "R_75"


def test_stakes_are_taken_where_they_are_told() -> None:
    contracts = [{"contract_type": "CALL", "min_stake": 0.35, "max_stake": "2000.10"}]
    [_, limits] = hours(make(), "R_50", available=contracts)
    assert limits == StakeLimits({"USD": StakeLimit(Decimal("0.35"), Decimal("2000.10"))})


# --- accounts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("login", "group"), [("VRTC0000001", "demo"), ("CR0000001", "real")])
@pytest.mark.parametrize("amount", ["10000.10", '"10000.10"'])
def test_a_balance_is_exact(login: str, group: str, amount: str) -> None:
    frame = f'{{"balance":{{"balance":{amount},"currency":"usd","loginid":"{login}"}},"msg_type":"balance"}}'
    [event] = make().receive(frame)
    assert event == Balances((Balance(login, group, "USD", Decimal("10000.10")),))


@pytest.mark.parametrize("amount", ['"NaN"', '"Infinity"', '"much"', "null", "true", "[]"])
def test_a_balance_that_is_none_is_a_protocol_error(amount: str) -> None:
    frame = f'{{"balance":{{"balance":{amount},"currency":"USD","loginid":"CR1"}},"msg_type":"balance"}}'
    with pytest.raises(RemoteProtocolError):
        make().receive(frame)


# --- history ----------------------------------------------------------------------------------

FROM_US = 1_587_547_610_500_000


def wish(*, seconds: float, timeframe_s: int | None = None) -> HistoryRequest:
    return HistoryRequest(5, "R_50", FROM_US, FROM_US + round(seconds * SECOND_US), timeframe_s)


def test_a_page_is_asked_for_from_the_oldest_second_inside() -> None:
    [request] = sent(make().ask_history(wish(seconds=10)))
    assert request == {
        "ticks_history": "R_50",
        "start": 1587547611,
        "end": "1587547620",
        "count": 5000,
        "style": "ticks",
        "req_id": 1,
    }


def test_a_page_tells_its_ticks_in_order_and_that_they_are_all() -> None:
    adapter = make()
    adapter.ask_history(wish(seconds=10))
    answer = past_page([1587547613, "1587547611"], req_id=1, prices=["2.5", 1])
    assert hear(adapter, answer) == (
        HistoryPage(
            5,
            ticks=(
                PriceUpdate("R_50", 1_587_547_611_000_000, None, 1.0),
                PriceUpdate("R_50", 1_587_547_613_000_000, None, 2.5),
            ),
            through_us=FROM_US + 10 * SECOND_US,
        ),
    )


def test_a_long_gap_is_told_in_pages_that_cannot_be_cut() -> None:
    adapter = make()
    [request] = sent(adapter.ask_history(wish(seconds=20_000)))
    assert int(request["end"]) - request["start"] == 4_999
    times = list(range(request["start"], request["start"] + 5_000))
    [page] = hear(adapter, past_page(times, req_id=1))
    assert isinstance(page, HistoryPage)
    assert page.through_us == (int(request["end"]) + 1) * SECOND_US - 1
    assert len(page.ticks) == 5_000


def test_a_page_that_may_have_been_cut_is_asked_for_again_in_halves() -> None:
    adapter = make()
    [whole] = sent(adapter.ask_history(wish(seconds=5_000)))
    middle = (whole["start"] + int(whole["end"])) // 2
    times = sorted(list(range(middle, middle + 2_500)) * 2)  # two a second: the older half is missing
    [half] = asked_in(hear(adapter, past_page(times, req_id=1)))
    assert half["start"] == whole["start"]
    assert int(half["end"]) == whole["start"] + 2_499
    [page] = hear(adapter, past_page([whole["start"]], req_id=half["req_id"]))
    assert isinstance(page, HistoryPage)
    assert page.through_us == (int(half["end"]) + 1) * SECOND_US - 1


@pytest.mark.parametrize("seconds", [0.0, 0.000001, 0.4, 1.0])
def test_a_gap_without_a_whole_second_is_full_all_the_same(seconds: float) -> None:
    adapter = make()
    [request] = sent(adapter.ask_history(wish(seconds=seconds)))
    assert request["start"] == int(request["end"])
    [page] = hear(adapter, past_page([], req_id=1))
    assert page == HistoryPage(5, through_us=FROM_US + round(seconds * SECOND_US))


@settings(deadline=None)
@given(from_us=st.integers(0, 5 * 10**15), length_us=st.integers(0, 10**11))
def test_pages_end_somewhere_and_leave_no_second_out(from_us: int, length_us: int) -> None:
    to_us = from_us + length_us
    reached_us = from_us
    for _ in range(2 + length_us // (5_000 * SECOND_US)):
        adapter = make()
        [request] = sent(adapter.ask_history(HistoryRequest(5, "R_50", reached_us, to_us, None)))
        assert (request["start"] - 1) * SECOND_US <= reached_us < request["start"] * SECOND_US
        [page] = hear(adapter, past_page([], req_id=1))
        assert isinstance(page, HistoryPage)
        assert page.through_us is not None
        reached_us = page.through_us
        if reached_us >= to_us:
            return
    pytest.fail("it does not get there")


def test_candles_are_asked_for_and_told_by_their_opening() -> None:
    adapter = make()
    [request] = sent(adapter.ask_history(wish(seconds=600, timeframe_s=60)))
    assert (request["style"], request["granularity"]) == ("candles", 60)
    candle = {"epoch": 1587547620, "open": 1.0875, "high": "1.0877", "low": 1.0874, "close": 1.0876}
    [page] = hear(adapter, {"candles": [candle], "msg_type": "candles", "req_id": 1})
    assert page == HistoryPage(
        5,
        candles=(VenueCandle(1_587_547_620_000_000, 1.0875, 1.0877, 1.0874, 1.0876),),
        through_us=FROM_US + 600 * SECOND_US,
    )


def test_candles_that_the_venue_lacks_are_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        make().ask_history(wish(seconds=600, timeframe_s=61))
    assert VENUE.history is not None
    assert 61 not in VENUE.history.timeframes_s


@pytest.mark.parametrize("code", ["InvalidSymbol", "MarketIsClosed", "StreamingNotAllowed"])
def test_history_that_is_refused_says_why(code: str) -> None:
    adapter = make()
    adapter.ask_history(wish(seconds=10))
    assert hear(adapter, error(code, req_id=1, kind="history")) == (
        HistoryPage(5, reason=f"Because. ({code})"),
    )


def test_history_that_is_not_to_be_had_now_says_nothing() -> None:
    adapter = make()
    adapter.ask_history(wish(seconds=10))
    assert hear(adapter, error("InternalError", req_id=1)) == (Unknown("error: InternalError"),)


def test_what_nobody_may_ask_of_the_past_and_of_hours_costs_nobody_his_prices() -> None:
    adapter = make()
    [ticks] = sent(adapter.subscribe(["R_50"]))
    [hours_] = asked_in(confirm(adapter, ticks["req_id"]))
    told = hear(adapter, error("Unauthorized", req_id=hours_["req_id"], kind="contracts_for"))
    assert told == (Unknown("error: Unauthorized"),)
    [request] = sent(adapter.ask_history(wish(seconds=10)))
    told = hear(adapter, error("Unauthorized", req_id=request["req_id"], kind="history"))
    assert told == (HistoryPage(5, reason="Because. (Unauthorized)"),)


def test_history_that_is_too_much_costs_nobody_his_prices() -> None:
    adapter = watching("R_50")
    [request] = sent(adapter.ask_history(wish(seconds=10)))
    told = hear(adapter, error("RateLimit", req_id=request["req_id"], kind="history"))
    assert told == (Unknown("error: RateLimit"),)


@pytest.mark.parametrize(
    ("times", "prices"),
    [
        ([1], []),
        ([1], ["NaN"]),
        ([1], [0]),
        ([1], [-1]),
        ([1], ["1e999"]),
        ([-1], [1]),
        ([10**18], [1]),
        (["soon"], [1]),
        ([None], [1]),
        ([1], [True]),
    ],
)
def test_history_that_cannot_be_stored_is_a_protocol_error(times: list[object], prices: list[object]) -> None:
    adapter = make()
    adapter.ask_history(wish(seconds=10))
    with pytest.raises(RemoteProtocolError):
        hear(adapter, past_page(times, req_id=1, prices=prices))
