import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InvariantError, RemoteProtocolError
from domain.instruments import Catalog, Listing, StakeLimit
from domain.market import PriceUpdate
from venues import find_venue
from venues.events import (
    Balance,
    Balances,
    Closed,
    NewFields,
    Payouts,
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
from venues.olymptrade import VENUE, OlympTradeAdapter
from venues.olymptrade_subscriptions import RETRY_AFTER_S
from venues.olymptrade_upgrade import CLIENT
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from wire.recording import Direction, read

RECORDING = Path(__file__).parent.parent / "recordings" / "olymptrade.jsonl"
STARTED_US = 1_786_560_760_427_000
LATE = Unknown("late answer")


def adapter(*, account: str | None = None, started_us: int = STARTED_US) -> OlympTradeAdapter:
    settings = VenueSettings(protocol="olymptrade", account=account)
    return OlympTradeAdapter(SessionContext(settings=settings, token="secret", started_us=started_us))


def recorded(direction: Direction = Direction.IN) -> list[str]:
    return [frame.frame for frame in read(RECORDING) if frame.direction is direction]


def only(events: Sequence[VenueEvent]) -> VenueEvent:
    (event,) = events
    return event


def message(frame: str) -> dict[str, Any]:
    """The one message of a frame that we send."""
    (sent,) = json.loads(frame)
    assert sent["t"] == 2
    assert isinstance(sent, dict)
    return sent


def asked(frames: Sequence[str]) -> tuple[int, str]:
    """The code and the market of the one subscribe or unsubscribe among what we send."""
    sent = message(*frames)
    return sent["e"], sent["d"][0]["pair"]


def push(code: int, d: object, **more: object) -> str:
    return json.dumps([{"d": d, "e": code, "t": 1, **more}])


def answer(frame: str, **more: object) -> str:
    sent = message(frame)
    return json.dumps([{"e": sent["e"], "t": 3, "uuid": sent["uuid"], **more}])


def reject(frame: str, code: str, text: str = "") -> str:
    return answer(frame, d=[], err=[{"code": code, "mess": text}])


def sends(events: Sequence[VenueEvent]) -> list[str]:
    return [frame for event in events if isinstance(event, Send) for frame in event.frames]


def without_sends(events: Sequence[VenueEvent]) -> list[VenueEvent]:
    return [event for event in events if not isinstance(event, Send)]


def converse(client: OlympTradeAdapter, frames: list[str]) -> tuple[list[VenueEvent], list[tuple[int, str]]]:
    """Confirm everything that is asked, one after the other; return what was said and asked."""
    events: list[VenueEvent] = []
    requests: list[tuple[int, str]] = []
    while frames:
        requests.append(asked(frames))
        said = client.receive(answer(frames[0]))
        events += without_sends(said)
        frames = sends(said)
    return events, requests


def subscribed(*symbols: str) -> OlympTradeAdapter:
    client = adapter()
    converse(client, client.subscribe(symbols))
    return client


# --- the door ---------------------------------------------------------------------------------


def test_the_registry_knows_it() -> None:
    assert find_venue("olymptrade") is VENUE


def test_the_token_goes_in_a_cookie_beside_one_origin() -> None:
    url, headers = VENUE.upgrade(VenueSettings(protocol="olymptrade"), "abc.def.ghi")
    assert url == f"wss://ws.olymptrade.com/otp?{CLIENT}"
    assert headers["Cookie"] == "access_token=abc.def.ghi"
    assert headers["Origin"] == "https://olymptrade.com"
    assert headers["User-Agent"].startswith("Mozilla/5.0 ")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://127.0.0.1:9000", f"ws://127.0.0.1:9000/otp?{CLIENT}"),
        ("wss://ws.olymptrade.com/otp?cid_ver=2", "wss://ws.olymptrade.com/otp?cid_ver=2"),
    ],
)
def test_an_address_of_the_settings_keeps_what_it_says(url: str, address: str) -> None:
    assert VENUE.upgrade(VenueSettings(protocol="olymptrade", url=url), "x").url == address


def test_an_invalid_token_is_permanent_and_says_what_to_do() -> None:
    for said in (VENUE.permanent_closes[1008], VENUE.permanent_statuses[401], VENUE.permanent_statuses[403]):
        assert "marketd token set olymp" in said.format(venue="olymp")


def test_the_opening_asks_for_what_no_recording_shows_by_itself() -> None:
    recorded, others = [message(frame) for frame in adapter().opening()]
    assert {recorded["e"], others["e"]} == {98}
    web_client = {code for frame in sent_codes() for code in frame}
    assert {22, 26, 55, 75, 1054} <= set(recorded["d"]) <= web_client
    assert {21, 183} <= set(others["d"])
    assert not set(others["d"]) & web_client


def test_the_opening_does_not_ask_who_the_user_is() -> None:
    assert 110 not in {code for frame in adapter().opening() for code in message(frame)["d"]}


def sent_codes() -> list[list[int]]:
    """What the web client subscribed, as recorded 2025-07-04."""
    sent = [json.loads(frame)[0] for frame in recorded(Direction.OUT)]
    return [each["d"] for each in sent if each["e"] == 98]


def test_ids_are_like_the_web_clients_and_never_the_same() -> None:
    client = adapter()
    ids = [message(*each.ping())["uuid"] for each in (client, client, adapter(started_us=1))]
    assert len(set(ids)) == 3
    assert ids[0].startswith("MSQG5D9N")  # as in a client's recording of that millisecond
    assert {len(uuid) for uuid in ids} == {18}


# --- one at a time ----------------------------------------------------------------------------


def test_subscribes_go_one_at_a_time_each_on_the_answer_to_the_one_before() -> None:
    client = adapter()
    said, requests = converse(client, client.subscribe(["EURUSD", "GBPUSD"]))
    assert requests == [(12, "EURUSD"), (280, "EURUSD"), (12, "GBPUSD"), (280, "GBPUSD")]
    assert said == [Subscribed(("EURUSD",)), Subscribed(("GBPUSD",))]


def test_what_comes_while_an_answer_is_awaited_waits_too() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    assert client.subscribe(["GBPUSD"]) == []
    assert asked(sends(client.receive(answer(first)))) == (280, "EURUSD")


def test_unsubscribing_ends_both_and_is_confirmed_without_a_symbol() -> None:
    client = subscribed("EURUSD")
    said, requests = converse(client, client.unsubscribe(["EURUSD"]))
    assert requests == [(13, "EURUSD"), (281, "EURUSD")]
    assert said == [Subscribed(())]


def test_subscribing_again_ends_the_old_subscription_first() -> None:
    client = subscribed("EURUSD")
    said, requests = converse(client, client.unsubscribe(["EURUSD"]) + client.subscribe(["EURUSD"]))
    assert [code for code, _ in requests] == [13, 281, 12, 280]
    assert said == [Subscribed(()), Subscribed(("EURUSD",))]


def test_what_was_never_sent_needs_no_unsubscribe() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    assert client.unsubscribe(["GBPUSD"]) == []
    _, requests = converse(client, [first])
    assert requests == [(12, "EURUSD"), (280, "EURUSD")]


def test_a_subscription_stays_known_although_its_end_was_asked_for_and_forgotten() -> None:
    client = subscribed("EURUSD", "GBPUSD")
    (first,) = client.unsubscribe(["GBPUSD"])
    client.unsubscribe(["EURUSD"])
    client.subscribe(["EURUSD"])
    client.unsubscribe(["EURUSD"])
    _, requests = converse(client, [first])
    assert requests == [(13, "GBPUSD"), (281, "GBPUSD"), (13, "EURUSD"), (281, "EURUSD")]


def test_a_market_that_asks_again_at_once_waits_for_the_answer_on_its_way() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    assert client.unsubscribe(["EURUSD"]) + client.subscribe(["EURUSD"]) == []
    said, requests = converse(client, [first])
    assert [code for code, _ in requests] == [12, 13, 281, 12, 280]
    assert said == [Subscribed(()), Subscribed(("EURUSD",))]


def test_what_nobody_wants_any_longer_is_ended_after_its_answer() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    client.unsubscribe(["EURUSD"])
    said, requests = converse(client, [first])
    assert [code for code, _ in requests] == [12, 13, 281]
    assert said == [Subscribed(())]


def test_a_lost_answer_holds_nobody_up_once_its_market_has_asked_twice_again() -> None:
    client = adapter()
    client.subscribe(["EURUSD", "GBPUSD"])
    assert client.unsubscribe(["EURUSD"]) + client.subscribe(["EURUSD"]) == []
    frames = client.unsubscribe(["EURUSD"]) + client.subscribe(["EURUSD"])
    assert asked(frames) == (12, "GBPUSD")
    said, requests = converse(client, frames)
    assert requests[-2:] == [(12, "EURUSD"), (280, "EURUSD")]
    assert Subscribed(("EURUSD",)) in said


def test_a_lost_answer_holds_nobody_up_after_two_pings() -> None:
    client = adapter()
    client.subscribe(["EURUSD", "GBPUSD"])
    assert len(client.ping()) == 1
    _, following = client.ping()
    assert asked([following]) == (12, "GBPUSD")


def test_an_answer_that_is_awaited_is_not_overtaken_by_one_ping() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    client.ping()
    assert Subscribed(("EURUSD",)) in client.receive(answer(first))


def test_a_second_and_a_late_answer_confirm_nothing() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    client.receive(answer(first))
    assert client.receive(answer(first)) == [LATE]
    assert client.receive('[{"e":12,"t":3}]') == [LATE]


@pytest.mark.parametrize("code", [None, "invalid_request"])
def test_one_goodbye_ends_all_and_any_answer_will_do(code: str | None) -> None:
    client = subscribed("EURUSD", "GBPUSD")
    (goodbye,) = client.leave(["EURUSD", "GBPUSD"])
    assert message(goodbye)["d"] == [{"pair": "EURUSD"}, {"pair": "GBPUSD"}]
    assert isinstance(only(client.receive(tick("EURUSD"))), PriceUpdate)
    said = client.receive(answer(goodbye) if code is None else reject(goodbye, code))
    assert said == [Subscribed(())]


# --- what the venue does not want ------------------------------------------------------------


def test_a_market_that_does_not_exist_is_refused_and_the_next_one_is_asked_for() -> None:
    client = adapter()
    (first,) = client.subscribe(["NOSUCH", "EURUSD"])
    said = client.receive(reject(first, "pair_unavailable", "Pair unavailable"))
    assert said[0] == Refused(("NOSUCH",), "Pair unavailable")
    assert asked(sends(said)) == (12, "EURUSD")


def test_a_market_that_is_unavailable_while_it_is_locked_is_closed_and_not_refused() -> None:
    client = adapter()
    client.receive(push(1054, [{"id": "EURUSD", "locked": True}, {"id": "GBPUSD", "locked": False}]))
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    said = client.receive(reject(first, "pair_unavailable", "Pair unavailable"))
    assert said[0] == Closed(("EURUSD",), "Pair unavailable")
    said = client.receive(reject(sends(said)[0], "pair_unavailable"))
    assert said[0] == Refused(("GBPUSD",), "pair_unavailable")


@pytest.mark.parametrize(
    ("err", "kind"),
    [
        ({"code": "moon_phase", "mess": "no"}, "moon_phase"),
        ([{"code": 7, "mess": None}], "7"),
        ([{"mess": "no"}], "without a code"),
        (["moon_phase"], '["moon_phase"]'),
        ("moon_phase", '"moon_phase"'),
        (7, "7"),
        ({"code": {"a": 1}}, '{"code": {"a": 1}}'),
    ],
)
def test_an_error_of_another_shape_is_counted_and_the_line_goes_on(err: object, kind: str) -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    said = client.receive(answer(first, err=err))
    assert said[0] == Unknown(f"error {kind} of 12")
    assert asked(sends(said)) == (12, "GBPUSD")


def test_a_reason_of_the_venue_is_shortened() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    refused = client.receive(reject(first, "pair_unavailable", "x" * 10_000))[0]
    assert isinstance(refused, Refused)
    assert len(refused.reason) <= 200


def test_what_was_asked_too_fast_is_asked_once_more_after_the_others() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    said = client.receive(reject(first, "invalid_request"))
    assert without_sends(said) == []
    _, requests = converse(client, sends(said))
    assert requests == [(12, "GBPUSD"), (280, "GBPUSD"), (12, "EURUSD"), (280, "EURUSD")]


def test_what_is_asked_too_fast_twice_means_patience_and_an_empty_line() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    (second,) = sends(client.receive(reject(first, "invalid_request", "slow down")))
    client.subscribe(["GBPUSD"])
    throttled = only(client.receive(reject(second, "invalid_request", "slow down")))
    assert throttled == Throttled("asked too fast: slow down", RETRY_AFTER_S)
    assert asked(client.subscribe(["GBPUSD"])) == (12, "GBPUSD")


def test_one_market_that_is_always_rejected_does_not_take_the_others_along() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    (second,) = sends(client.receive(reject(first, "invalid_request")))
    (companion,) = sends(client.receive(answer(second)))
    (again,) = sends(client.receive(answer(companion)))
    assert asked([again]) == (12, "EURUSD")
    assert client.receive(reject(again, "invalid_request")) == [Unknown("error invalid_request of 12")]
    assert isinstance(only(client.receive(tick("GBPUSD"))), PriceUpdate)


def test_a_companion_that_is_always_rejected_is_asked_for_no_more() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    (companion,) = sends(client.receive(answer(first)))
    (again,) = sends(client.receive(reject(companion, "invalid_request")))
    assert asked([again]) == (280, "EURUSD")
    assert client.receive(reject(again, "invalid_request")) == [Unknown("error invalid_request of 280")]
    said, requests = converse(client, client.subscribe(["GBPUSD"]))
    assert requests == [(12, "GBPUSD")]
    assert said == [Subscribed(("GBPUSD",))]
    _, requests = converse(client, client.unsubscribe(["GBPUSD"]))
    assert requests == [(13, "GBPUSD")]


def test_a_companion_that_is_never_answered_holds_up_the_line_once() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD", "USDJPY"])
    assert asked(sends(client.receive(answer(first)))) == (280, "EURUSD")
    client.ping()
    _, following = client.ping()
    said, requests = converse(client, [following])
    assert requests == [(12, "GBPUSD"), (12, "USDJPY")]
    assert said == [Subscribed(("GBPUSD",)), Subscribed(("USDJPY",))]


def test_an_unsubscribe_that_is_rejected_twice_asks_for_no_patience() -> None:
    client = subscribed("EURUSD")
    (first,) = client.unsubscribe(["EURUSD"])
    (companion,) = sends(client.receive(reject(first, "invalid_request")))
    (again,) = sends(client.receive(answer(companion)))
    assert asked([again]) == (13, "EURUSD")
    assert client.receive(reject(again, "invalid_request")) == [Unknown("error invalid_request of 13")]


def test_an_error_that_nobody_knows_is_counted_and_refuses_nobody() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD", "GBPUSD"])
    said = client.receive(reject(first, "moon_phase"))
    assert said[0] == Unknown("error moon_phase of 12")
    assert asked(sends(said)) == (12, "GBPUSD")


def test_the_companion_may_be_refused_without_harm() -> None:
    client = adapter()
    (first,) = client.subscribe(["EURUSD"])
    (companion,) = sends(client.receive(answer(first)))
    assert client.receive(reject(companion, "pair_unavailable")) == [Unknown("error pair_unavailable of 280")]
    assert isinstance(only(client.receive(tick("EURUSD"))), PriceUpdate)


# --- prices -----------------------------------------------------------------------------------


def tick(symbol: str, at: str = "1786560760.622", price: str = "1.17781") -> str:
    return f'[{{"d":[{{"p":"{symbol}","t":{at},"q":{price}}}],"e":1,"t":1}}]'


@pytest.mark.parametrize(
    ("at", "ts_us"),
    [
        ("1786560760", 1_786_560_760_000_000),
        ("1786560760.622", 1_786_560_760_622_000),
        ("1786560760.123457", 1_786_560_760_123_457),
    ],
)
def test_a_tick_carries_the_venues_time_whole_or_broken_and_its_price(at: str, ts_us: int) -> None:
    event = only(subscribed("EURUSD").receive(tick("EURUSD", at=at)))
    assert event == PriceUpdate("EURUSD", ts_us, None, 1.17781)


def test_one_message_may_hold_several_markets_ticks() -> None:
    client = subscribed("EURUSD", "Bitcoin")
    d = [{"p": "EURUSD", "t": 5, "q": 1.5}, {"p": "Bitcoin", "t": 5.5, "q": 108_000}]
    assert client.receive(push(1, d)) == [
        PriceUpdate("EURUSD", 5_000_000, None, 1.5),
        PriceUpdate("Bitcoin", 5_500_000, None, 108_000.0),
    ]


def test_prices_of_a_market_that_was_unsubscribed_are_not_told() -> None:
    client = subscribed("EURUSD")
    client.unsubscribe(["EURUSD"])
    assert isinstance(only(client.receive(tick("EURUSD"))), Unknown)


def test_one_price_that_cannot_be_read_does_not_hide_the_others() -> None:
    client = subscribed("EURUSD", "Bitcoin")
    d = [{"p": "EURUSD", "t": 5, "q": None}, {"p": "Bitcoin", "t": 5.5, "q": 108_000}]
    assert client.receive(push(1, d)) == [
        Unknown("unreadable 1"),
        PriceUpdate("Bitcoin", 5_500_000, None, 108_000.0),
    ]


@pytest.mark.parametrize("at", ["0", "-1", "1786560760622", "1786560760622000", "1e300"])
def test_a_time_that_is_none_in_seconds_is_a_protocol_error(at: str) -> None:
    with pytest.raises(RemoteProtocolError, match="is not a time in seconds"):
        subscribed("EURUSD").receive(tick("EURUSD", at=at))


@pytest.mark.parametrize(
    "spoilt",
    [
        '{"d":{"usd":{"min":1,"max":null}},"e":75,"t":1}',
        '{"d":{"2":[]},"e":55,"t":1}',
        '{"d":7,"e":1054,"t":1}',
        '{"d":[],"e":"1054","t":1}',
        '{"d":[],"e":111,"uuid":7}',
        "7",
    ],
)
def test_one_message_of_a_batch_that_cannot_be_read_does_not_hide_the_others(spoilt: str) -> None:
    client = subscribed("EURUSD")
    good = push(1054, [{"id": "EURUSD", "title": "EUR/USD"}])[1:-1]
    said = client.receive(f"[{spoilt},{good},{tick('EURUSD')[1:-1]}]")
    assert [type(event) for event in said if isinstance(event, Listing | PriceUpdate)] == [
        Listing,
        PriceUpdate,
    ]
    assert [event.kind[:10] for event in said if isinstance(event, Unknown)] == ["unreadable"]


def test_a_frame_of_bytes_says_the_same_as_one_of_text() -> None:
    client = subscribed("EURUSD")
    assert client.receive(tick("EURUSD").encode()) == client.receive(tick("EURUSD"))


# --- what is pushed ---------------------------------------------------------------------------


def test_the_recording_says_what_a_reader_sees_in_it() -> None:
    client = adapter()
    said = [event for frame in recorded() for event in client.receive(frame)]
    assert [event for event in said if isinstance(event, Unknown | NewFields)] == [
        LATE,
        LATE,
    ]  # to nobody of us
    assert [event for event in said if isinstance(event, ServerTime)] == [
        ServerTime(second * 1_000_000, 1_000_000, answers_ping=False)
        for second in (1751668293, 1751668293, 1751668318)
    ]
    assert (
        Balances(
            (
                Balance("1111111101", "real", "", Decimal(0)),
                Balance("2222222202", "demo", "", Decimal(10000)),
                Balance("1111111103", "real", "", Decimal(0)),
            )
        )
        in said
    )
    (limits,) = [event for event in said if isinstance(event, StakeLimits)]
    assert len(limits.limits) == 26
    assert limits.limits["USD"] == StakeLimit(Decimal(1), Decimal(3000))
    assert limits.limits["OMR"].least == Decimal("0.5")


def listing() -> Listing:
    client = adapter()
    (found,) = [
        event for frame in recorded() for event in client.receive(frame) if isinstance(event, Listing)
    ]
    return found


def test_the_list_tells_titles_hours_and_locks() -> None:
    catalog = Catalog(venue="olymp")
    catalog.take(listing(), at_us=1)
    euro = catalog.find("EURUSD")
    assert (euro.title, euro.group, euro.is_open, euro.is_tradable) == ("EUR/USD", "currency", False, False)
    assert euro.closes_us == 1_751_662_800_000_000  # Friday 21:00 UTC
    assert euro.opens_us == 1_751_835_600_000_000  # Sunday 21:00 UTC
    coin = catalog.find("Bitcoin")
    assert (coin.is_open, coin.is_tradable, coin.closes_us, coin.opens_us) == (True, True, None, None)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("EURUSD", "EURUSD"),
        ("EUR/USD", "EURUSD"),
        ("BTCUSD", "Bitcoin"),
        ("BTC/USDT", "Bitcoin"),
        ("XBT/USD", "Bitcoin"),
        ("ETHUSDT", "ETHUSD"),
        ("BRENT", "_BRN"),
        ("gold", "XAUUSD"),
        ("facebook", "FB"),
    ],
)
def test_markets_are_found_by_what_other_venues_call_them(name: str, symbol: str) -> None:
    catalog = Catalog(venue="olymp")
    catalog.take(listing(), at_us=1)
    assert catalog.find(name).symbol == symbol


def test_a_groups_name_is_no_markets_name() -> None:
    for instrument in listing().instruments:
        assert not {"crypto", "index"} & {alias.lower() for alias in instrument.aliases}


def test_the_first_list_is_whole_and_later_ones_only_tell_what_changed() -> None:
    client = adapter()
    full = [{"id": "EURUSD", "title": "EUR/USD", "group": "currency", "locked": True, "time_open": 7}]
    first = only(without_sends(client.receive(push(1054, full))))
    assert isinstance(first, Listing)
    assert first.is_whole
    second = only(client.receive(push(1054, [{"id": "EURUSD", "locked": False}])))
    assert isinstance(second, Listing)
    assert not second.is_whole
    assert second.instruments == (first.instruments[0]._replace(is_open=True),)


def test_a_market_that_cannot_be_read_hides_no_other_and_is_listed_where_it_has_a_name() -> None:
    d = [{"id": "EURUSD"}, {"id": "GBPUSD", "locked": "maybe"}, {"id": "USDJPY", "time_open": -1}, 7]
    said = adapter().receive(push(1054, d))
    assert [each.symbol for event in said if isinstance(event, Listing) for each in event.instruments] == [
        "EURUSD",
        "GBPUSD",
        "USDJPY",
    ]
    assert said.count(Unknown("item of 1054")) == 3


def test_what_a_market_does_not_say_of_itself_may_be_null() -> None:
    item = {"id": "EURUSD", "title": None, "aliases": None, "group": None, "time_open": None, "locked": True}
    (listing,) = adapter().receive(push(1054, [item]))
    assert isinstance(listing, Listing)
    (euro,) = listing.instruments
    assert (euro.title, euro.group, euro.opens_us, euro.aliases, euro.is_open) == ("", "", None, (), False)


def test_the_first_balances_ask_for_the_demo_accounts_payouts() -> None:
    client = adapter()
    d = [{"account_id": 5, "group": "real", "amount": 1.10}, {"account_id": 6, "group": "demo", "amount": 2}]
    said = client.receive(push(55, d))
    asked_for = message(*sends(said))
    assert (asked_for["e"], asked_for["d"]) == (182, [{"account_id": 6}])
    assert sends(client.receive(push(55, d))) == []


def test_an_account_that_there_is_not_is_said_and_no_other_is_taken_in_its_place() -> None:
    client = adapter(account="8")
    said = client.receive(push(55, [{"account_id": 6, "group": "demo", "amount": 1}]))
    assert sends(said) == []
    assert said[-1] == Unknown("balances without the account of the settings")
    d = [{"account_id": 8, "group": "real", "amount": 1}]
    assert message(*sends(client.receive(push(55, d))))["d"] == [{"account_id": 8}]


@pytest.mark.parametrize(("account", "chosen"), [("5", 5), ("real", 5), ("7", 7), (None, 6)])
def test_the_account_of_the_settings_goes_before_the_demo_account(account: str | None, chosen: int) -> None:
    client = adapter(account=account)
    d = [
        {"account_id": number, "group": group, "amount": 1}
        for number, group in ((5, "real"), (6, "demo"), (7, "real"))
    ]
    assert message(*sends(client.receive(push(55, d))))["d"] == [{"account_id": chosen}]


def test_an_amount_is_told_to_the_last_digit() -> None:
    frame = '[{"d":[{"account_id":6,"group":"demo","amount":12345678901.10000001}],"e":55,"t":1}]'
    balances = adapter().receive(frame)[0]
    assert isinstance(balances, Balances)
    assert balances.balances[0].amount == Decimal("12345678901.10000001")


@pytest.mark.parametrize("code", [182, 183, 74, 301, 73, 4074, 4301, 4076])
def test_payouts_are_read_from_every_code_that_carries_them(code: int) -> None:
    d = [{"pair": "EURUSD", "profitability": 82}, {"pair": "EURUSD_OTC", "profitability": 92}]
    assert Payouts({"EURUSD": 82.0, "EURUSD_OTC": 92.0}) in adapter().receive(push(code, d))


@pytest.mark.parametrize("d", [[{"pair": "EURUSD", "sentiment": 36}], {"rev": 0}, [1], []])
def test_what_shares_a_code_with_payouts_is_skipped(d: object) -> None:
    assert adapter().receive(push(4301, d)) == []


def test_markets_with_payouts_that_the_list_lacks_are_told_after_it() -> None:
    client = adapter()
    client.receive(push(183, [{"pair": "EURUSD_OTC", "profitability": 92}]))
    said = client.receive(push(1054, [{"id": "EURUSD", "title": "EUR/USD"}]))
    assert [each.symbol for event in said if isinstance(event, Listing) for each in event.instruments] == [
        "EURUSD",
        "EURUSD_OTC",
    ]
    more = client.receive(push(183, [{"pair": "BNBUSD_OTC", "profitability": 90}]))[-1]
    assert isinstance(more, Listing)
    assert [each.symbol for each in more.instruments] == ["BNBUSD_OTC"]
    assert not more.is_whole


@pytest.mark.parametrize(
    ("code", "d"),
    [
        (55, [{"account_id": 6, "group": "demo"}]),
        (55, [{"account_id": 6, "group": "demo", "amount": None}]),
        (55, [{"account_id": 6, "group": "demo", "amount": 10**13}]),
        (55, [{"account_id": "six", "group": "demo", "amount": 1}]),
        (55, {"6": 1}),
        (75, {"usd": {"min": 1}}),
        (75, {"usd": {"min": 1, "max": "much"}}),
        (75, {"usd": {"min": 2, "max": 1}}),
        (75, {"usd": {"min": -1, "max": 1}}),
        (75, []),
        (182, [{"pair": "EURUSD", "profitability": "82"}]),
        (182, [{"pair": "EURUSD"}]),
        (183, [{"pair": "EURUSD", "profitability": -1}]),
        (4301, [{"pair": "EURUSD", "profitability": None}]),
    ],
)
def test_money_of_a_wrong_type_is_a_protocol_error(code: int, d: object) -> None:
    with pytest.raises(RemoteProtocolError):
        adapter().receive(push(code, d))


def test_a_ping_is_answered_once_with_the_venues_clock() -> None:
    client = adapter()
    (ping,) = client.ping()
    assert (message(ping)["e"], message(ping)["d"]) == (90, {})
    pong = answer(ping, ts=1751668293)
    assert client.receive(pong) == [ServerTime(1751668293_000_000, 1_000_000, answers_ping=True)]
    assert client.receive(pong) == [ServerTime(1751668293_000_000, 1_000_000, answers_ping=False)]


@pytest.mark.parametrize("code", [21, 22, 26, 31, 110, 111, 1055, 1068, 2223, 1097])
def test_known_codes_that_are_not_our_business_are_silent(code: int) -> None:
    assert adapter().receive(push(code, [{"anything": 1}])) == []


def test_unknown_codes_are_told_by_their_number() -> None:
    assert adapter().receive('[{"e":4242},{"e":98,"t":3,"d":[]}]') == [Unknown("code 4242")]


def test_new_fields_are_told_with_the_first_message_of_a_kind_and_then_seldom() -> None:
    client = subscribed("EURUSD")
    frame = push(1, [{"p": "EURUSD", "t": 1, "q": 1.5, "depth": 9}], region="eu")
    first, *rest = [client.receive(frame) for _ in range(1_001)]
    assert NewFields("1", ("depth", "region")) in first
    assert [NewFields("1", ("depth", "region")) in events for events in rest] == [False] * 999 + [True]


def test_a_frame_without_messages_says_nothing() -> None:
    assert adapter().receive("[]") == []


# --- history ----------------------------------------------------------------------------------

MINUTE_US = 60_000_000
FROM_US = 1_751_500_000 * 1_000_000 // MINUTE_US * MINUTE_US


def candle(minute: int, price: float = 1.5) -> dict[str, float]:
    at = FROM_US // 1_000_000 + minute * 60
    return {"t": at, "open": price, "high": price, "low": price, "close": price}


def candles(frame: str, *minutes: int) -> str:
    return answer(frame, d=[{"p": "EURUSD", "candles": [candle(minute) for minute in minutes]}])


def wish(minutes: int, *, number: int = 7) -> HistoryRequest:
    return HistoryRequest(number, "EURUSD", FROM_US, FROM_US + minutes * MINUTE_US, 60)


def test_candles_are_asked_for_from_their_end_and_paged_back() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(10))
    assert message(first)["e"] == 10
    assert message(first)["d"] == [
        {"pair": "EURUSD", "size": 60, "to": FROM_US // 1_000_000 + 600, "solid": True}
    ]
    (second,) = sends(client.receive(candles(first, 7, 8, 9)))
    assert message(second)["d"][0]["to"] == FROM_US // 1_000_000 + 420
    page = only(client.receive(candles(second, 0, 3, 4, 5, 6, 7)))
    assert isinstance(page, HistoryPage)
    assert (page.id, page.through_us) == (7, FROM_US + 10 * MINUTE_US)
    assert [each.open_us for each in page.candles] == [
        FROM_US + minute * MINUTE_US for minute in (0, 3, 4, 5, 6, 7, 8, 9)
    ]
    assert page.candles[0] == VenueCandle(FROM_US, 1.5, 1.5, 1.5, 1.5, 0.0)


def test_a_page_that_brings_nothing_older_is_the_last() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(10))
    (second,) = sends(client.receive(candles(first, 7, 8)))
    page = only(client.receive(candles(second, 7, 8)))
    assert isinstance(page, HistoryPage)
    assert [each.open_us for each in page.candles] == [FROM_US + 7 * MINUTE_US, FROM_US + 8 * MINUTE_US]
    assert page.through_us == FROM_US + 10 * MINUTE_US


def test_a_long_wish_is_answered_part_by_part() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(2_000))
    page = only(client.receive(candles(first)))
    assert isinstance(page, HistoryPage)
    assert page.through_us == FROM_US + 500 * MINUTE_US


def test_the_other_code_of_an_answer_is_taken_too() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    said = client.receive(candles(first, 0).replace('"e": 10', '"e": 1003'))
    assert isinstance(only(said), HistoryPage)


def test_an_unavailable_markets_history_has_a_reason() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    assert only(client.receive(reject(first, "pair_unavailable", "gone"))) == HistoryPage(7, reason="gone")


def test_candles_that_are_rejected_twice_are_not_to_be_had_and_cost_nobody_his_session() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    (second,) = sends(client.receive(reject(first, "invalid_request", "no")))
    assert only(client.receive(reject(second, "invalid_request", "no"))) == HistoryPage(7, reason="no")


def test_an_error_about_candles_that_nobody_knows_decides_nothing() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    assert client.receive(reject(first, "moon_phase")) == [Unknown("error moon_phase of 10")]


def test_a_candle_may_have_no_volume() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    told = answer(first, d=[{"p": "EURUSD", "candles": [{**candle(0), "volume": None}]}])
    page = only(client.receive(told))
    assert isinstance(page, HistoryPage)
    assert [each.volume for each in page.candles] == [0.0]


def test_a_second_answer_to_a_wish_is_late() -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    client.receive(candles(first, 0))
    assert client.receive(candles(first, 0)) == [LATE]


def test_ticks_of_the_past_cannot_be_asked_for() -> None:
    with pytest.raises(InvariantError):
        adapter().ask_history(HistoryRequest(1, "EURUSD", 0, 1, None))


@pytest.mark.parametrize("part", ['"open": 0', '"open": -1', '"open": 1e999', '"t": -5', '"t": 1e30'])
def test_an_impossible_candle_is_a_protocol_error(part: str) -> None:
    client = adapter()
    (first,) = client.ask_history(wish(1))
    name = part.partition(":")[0]
    broken = candles(first, 0).replace(f"{name}: ", f"{part}, {name}_: ", 1)
    with pytest.raises(RemoteProtocolError):
        client.receive(broken)
