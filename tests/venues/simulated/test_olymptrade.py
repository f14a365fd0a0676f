import base64
import json
from typing import Any

import pytest
from hosts import HostKeepsAll
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError, RemoteProtocolError
from domain.instruments import Catalog, Listing
from domain.market import PriceUpdate, check_update
from venues.events import Balances, Payouts, Refused, Send, ServerTime, StakeLimits, Subscribed, Unknown
from venues.offers import HistoryPage, HistoryRequest
from venues.olymptrade import VENUE, OlympTradeAdapter
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.hours import Hours
from venues.simulated.olymptrade import SimulatedOlympTrade
from venues.simulated.prices import FX_PAIRS, PricePath
from venues.simulated.protocol import HttpAnswer, Request

SECOND_US = 1_000_000
STARTED_US = 1_786_560_760_427_000  # a Wednesday
FRIDAY_CLOSE_US = 1_751_662_800 * SECOND_US  # as in the recording of July 2025
SUNDAY_OPEN_US = 1_751_835_600 * SECOND_US
SETTINGS = VenueSettings(protocol="olymptrade", url="ws://127.0.0.1:1")


def make_venue(
    *symbols: str, started_us: int = STARTED_US, hours: Hours = Hours.ALWAYS
) -> SimulatedOlympTrade:
    return SimulatedOlympTrade(
        prices={symbol: PricePath(seed=7, symbol=symbol) for symbol in symbols or FX_PAIRS},
        started_us=started_us,
        accepts=lambda _: False,
        hours=hours,
    )


def upgrade(token: str = "simulated", **headers: str) -> Request:
    """What a client asks at the door, as the server hands it on; a header of "" is left out."""
    wanted = VENUE.upgrade(SETTINGS, token)
    said = {name.lower(): value for name, value in wanted.headers.items()} | headers
    return Request(
        "GET", wanted.url.removeprefix("ws://127.0.0.1:1"), {name: said[name] for name in said if said[name]}
    )


def jwt(*, exp: object) -> str:
    def part(claims: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part({'exp': exp})}.signature"


class Client:
    """The adapter under a session: what each says goes to the other, in the order of time."""

    def __init__(
        self, venue: SimulatedOlympTrade, *, token: str = "simulated", at_us: int = STARTED_US
    ) -> None:
        self.venue = venue
        self.adapter = OlympTradeAdapter(SessionContext(settings=SETTINGS, token=token, started_us=at_us))
        self.host = HostKeepsAll()
        request = upgrade(token)
        assert venue.knock(request, at_us=at_us) is None
        self.session = venue.open_session(request=request, host=self.host, at_us=at_us)
        self.said: list[object] = []
        self.sent: list[dict[str, Any]] = []

    def say(self, frames: list[str], *, for_s: float = 10.0) -> list[object]:
        """Send frames, 100 ms apart, and what the adapter wants sent on answers; return what it said."""
        before = len(self.said)
        outgoing = list(frames)
        for _ in range(round(for_s / 0.1)):
            if outgoing:
                frame = outgoing.pop(0)
                self.sent += json.loads(frame)
                assert self.session.receive(frame) == []
            self.host.pass_time(0.1)
            for text in self.host.take_sent():
                for event in self.adapter.receive(text):
                    if isinstance(event, Send):
                        outgoing += event.frames
                    else:
                        self.said.append(event)
        assert not outgoing
        return self.said[before:]

    def start(self) -> list[object]:
        return self.say(self.adapter.opening())

    def hear(self) -> list[object]:
        return self.say([])

    def updates(self) -> list[PriceUpdate]:
        """Take the prices that came since the last time."""
        ticks, self.host.ticks = self.host.ticks, []
        found = [event for tick in ticks for event in self.adapter.receive(self.session.frame(tick))]
        return [event for event in found if isinstance(event, PriceUpdate)]


def subscribed(venue: SimulatedOlympTrade, *symbols: str) -> Client:
    client = Client(venue)
    client.start()
    client.say(client.adapter.subscribe(symbols))
    return client


# --- the door ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade(cookie=""), 403),
        (upgrade(cookie="session=1"), 403),
        (upgrade(origin=""), 403),
        (upgrade(origin="https://example.com"), 403),
        (upgrade(origin="https://olymptrade.com, https://olymptrade.com"), 403),
        (upgrade()._replace(target="/ws2"), 404),
    ],
)
def test_who_says_not_who_he_is_or_where_from_is_not_let_in(request_: Request, status: int) -> None:
    refused = make_venue().knock(request_, at_us=STARTED_US)
    assert isinstance(refused, HttpAnswer)
    assert refused.status == status


@pytest.mark.parametrize("cookie", ["access_token=abc", "lang=id; access_token=abc; x=1"])
def test_any_token_that_is_no_jwt_is_good(cookie: str) -> None:
    assert make_venue().knock(upgrade(cookie=cookie), at_us=STARTED_US) is None


@pytest.mark.parametrize("exp", [STARTED_US / SECOND_US - 1, 0])
def test_an_expired_token_is_told_on_the_socket(exp: float) -> None:
    client = Client(make_venue(), token=jwt(exp=exp))
    client.hear()
    assert client.host.closed == [(1008, "invalid_token")]


@pytest.mark.parametrize("token", [jwt(exp=STARTED_US / SECOND_US + 9), jwt(exp="never"), "a.b.c", "a.!.c"])
def test_a_token_that_is_not_known_to_be_expired_is_good(token: str) -> None:
    client = Client(make_venue(), token=token)
    client.hear()
    assert client.host.closed == []


def test_who_is_in_when_his_token_expires_or_is_revoked_is_put_out_and_gets_no_more() -> None:
    venue = make_venue("EURUSD")
    first = Client(venue, token=jwt(exp=STARTED_US // SECOND_US + 60))
    second = Client(venue, token="other")
    for client in (first, second):
        client.start()
        client.say(client.adapter.subscribe(["EURUSD"]))
    venue.pass_time(at_us=STARTED_US + 59 * SECOND_US)
    assert first.host.closed == []
    venue.pass_time(at_us=STARTED_US + 60 * SECOND_US)
    assert first.host.closed == [(1008, "invalid_token")]
    assert second.host.closed == []
    venue.revoke("other")
    assert second.host.closed == [(1008, "invalid_token")]
    venue.tick("EURUSD", at_us=STARTED_US)
    assert first.host.ticks == second.host.ticks == []


# --- start-up ---------------------------------------------------------------------------------


def test_a_start_up_tells_balances_lists_and_limits_of_which_the_adapter_understands_all() -> None:
    client = Client(make_venue())
    said = client.start()
    assert {type(event) for event in said} == {Balances, Listing, StakeLimits, Payouts}
    (listing,) = [event for event in said if isinstance(event, Listing)]
    assert listing.is_whole
    assert len(listing.instruments) > 100
    assert {each.symbol for each in listing.instruments if each.is_open} == set(FX_PAIRS)
    catalog = Catalog(venue="sim")
    catalog.take(listing, at_us=1)
    assert catalog.find("EUR/USD").symbol == "EURUSD"
    assert not catalog.find("BTCUSDT").is_open


def test_the_first_lists_come_in_one_frame_of_more_than_200_kb() -> None:
    client = Client(make_venue())
    for frame in client.adapter.opening():
        client.session.receive(frame)
    client.host.pass_time(1.0)
    sizes = [len(frame) for frame in client.host.take_sent()]
    assert 200_000 < max(sizes) < 2**20


def test_what_the_web_client_subscribes_is_answered_as_recorded() -> None:
    client = Client(make_venue())
    recorded = [
        [220],
        [110, 700, 112, 140, 1038, 1037, 1039, 141, 22, 26, 111],
        [1054, 1076, 1301, 1097],
        [141, 241],
        [230, 231],
        [75],
        [1055],
        [2223, 2301, 55, 150, 152, 151, 126, 602, 601],
        [2076],
        [126],
    ]
    for codes in recorded:
        client.session.receive(json.dumps([{"t": 2, "e": 98, "d": codes}]))
    client.host.pass_time(1.0)
    batches = [json.loads(text) for text in client.host.take_sent()]
    acks = [each for batch in batches for each in batch if each["e"] == 98]
    assert sorted(ack["d"] for ack in acks) == sorted([*recorded[:3], [241], *recorded[4:9], []])
    assert [ack["d"] for ack in acks] != [*recorded[:3], [241], *recorded[4:9], []]  # out of order
    assert not any("uuid" in ack for ack in acks)
    assert [len(batch) for batch in batches if batch[0]["e"] == 55] == [2]
    pushed = [each for batch in batches for each in batch if each["e"] not in (55, 98)]
    assert {each["e"] for each in pushed} == {110, 2223, 2301, 75, 1055, 1054, 602, 1301, 1097}
    assert [each["e"] for each in pushed if "t" not in each] == [110]


@pytest.mark.parametrize(
    "text", ['[{"t":2,"e":98,"d":[[55]],"uuid":"x"}]', '[{"t":2,"e":1068,"d":[{"group":"demo"}],"uuid":"x"}]']
)
def test_some_requests_are_never_answered(text: str) -> None:
    client = Client(make_venue())
    client.session.receive(text)
    client.host.pass_time(100.0)
    assert client.host.take_sent() == []


def test_a_ping_is_answered_with_the_venues_clock_which_waits_for_nothing() -> None:
    client = Client(make_venue())
    client.host.now_us = lambda: STARTED_US + 25 * SECOND_US
    assert client.say(client.adapter.ping())[0] == ServerTime(1_786_560_785 * SECOND_US, SECOND_US, True)


# --- subscriptions ----------------------------------------------------------------------------


def test_27_markets_are_subscribed_one_at_a_time_and_nobody_is_banned() -> None:
    venue = make_venue()
    client = Client(venue)
    client.start()
    said = client.say(client.adapter.subscribe(FX_PAIRS), for_s=20.0)
    assert [event for event in said if isinstance(event, Subscribed)] == [
        Subscribed((each,)) for each in FX_PAIRS
    ]
    assert venue.bans == 0
    for number in range(20):
        for symbol in FX_PAIRS:
            venue.tick(symbol, at_us=STARTED_US + number)
    updates = client.updates()
    assert len(updates) == 27 * 20
    for update in updates:
        check_update(update)


def test_every_order_of_subscribing_and_unsubscribing_bans_nobody_and_ends_as_wished() -> None:
    venue = make_venue("EURUSD", "GBPUSD")
    client = Client(venue)
    client.start()
    for symbols in (["EURUSD"], ["GBPUSD", "EURUSD"], ["EURUSD"]):
        frames = client.adapter.subscribe(symbols)
        frames += client.adapter.unsubscribe(symbols) + client.adapter.subscribe(symbols)
        client.say(frames)
    client.say(client.adapter.unsubscribe(["GBPUSD"]))
    assert venue.bans == 0
    assert client.session.has_symbol("EURUSD")
    assert not client.session.has_symbol("GBPUSD")


def test_subscribing_in_a_burst_is_answered_with_invalid_request_and_counted() -> None:
    venue = make_venue()
    client = Client(venue)
    for number, symbol in enumerate(FX_PAIRS[:3]):
        client.session.receive(json.dumps([{"t": 2, "e": 12, "d": [{"pair": symbol}], "uuid": str(number)}]))
    client.host.pass_time(1.0)
    messages = [each for text in client.host.take_sent() for each in json.loads(text)]
    assert [each["uuid"] for each in messages if "err" not in each] == ["0"]
    assert {each["err"][0]["code"] for each in messages if "err" in each} == {"invalid_request"}
    assert venue.bans == 2


def test_who_sends_more_than_a_frame_in_a_tenth_of_a_second_for_long_is_put_out() -> None:
    venue = make_venue()
    polite, other = Client(venue), Client(venue)
    spacing_s = VENUE.frame_spacing_s
    assert {polite.session.take_frame(at_s=number * spacing_s) for number in range(1_000)} == {""}
    assert {other.session.take_frame(at_s=number * 0.05) for number in range(100)} != {""}
    assert venue.bans > 0


def test_who_knocks_again_and_again_is_told_to_wait_and_who_keeps_to_our_budget_is_not() -> None:
    venue = make_venue()
    ((attempts, window_s),) = VENUE.connect_budgets
    polite = [STARTED_US + number * window_s * SECOND_US // attempts for number in range(500)]
    assert {venue.knock(upgrade(), at_us=at_us) for at_us in polite} == {None}
    assert venue.bans == 0
    late_us = polite[-1] + 3_600 * SECOND_US
    refused = [venue.knock(upgrade(), at_us=late_us + number * SECOND_US) for number in range(60)]
    assert {answer.status for answer in refused if answer is not None} == {429}
    assert venue.bans == 1


def test_the_adapter_asks_a_second_time_what_was_asked_too_fast() -> None:
    venue = make_venue()
    client = Client(venue)
    client.start()
    client.session.receive('[{"t":2,"e":12,"d":[{"pair":"EURUSD"}],"uuid":"another"}]')
    said = client.say(client.adapter.subscribe(["GBPUSD"]))
    assert Subscribed(("GBPUSD",)) in said
    assert venue.bans == 1


def test_a_market_that_is_not_listed_is_refused() -> None:
    client = Client(make_venue())
    client.start()
    assert Refused(("NOSUCH",), "Pair is unavailable") in client.say(client.adapter.subscribe(["NOSUCH"]))


def test_a_listed_market_without_prices_can_be_subscribed() -> None:
    client = Client(make_venue())
    assert Subscribed(("Bitcoin",)) in client.say(client.adapter.subscribe(["Bitcoin"]))


def test_one_goodbye_ends_all() -> None:
    venue = make_venue()
    client = subscribed(venue, "EURUSD", "GBPUSD")
    assert Subscribed(()) in client.say(client.adapter.leave(["EURUSD", "GBPUSD"]))
    venue.tick("EURUSD", at_us=STARTED_US)
    assert client.host.ticks == []


def test_a_market_moves_from_the_first_subscribe_on_also_while_nobody_listens() -> None:
    venue = make_venue()
    assert not venue.is_moving("EURUSD")
    client = subscribed(venue, "EURUSD")
    client.session.close()
    assert venue.is_moving("EURUSD")
    assert not venue.is_moving("GBPUSD")
    venue.tick("EURUSD", at_us=STARTED_US)
    assert client.host.ticks == []


def test_a_subscription_that_falls_silent_is_mended_by_a_new_one() -> None:
    venue = make_venue()
    client = subscribed(venue, "EURUSD")
    venue.fall_silent("EURUSD")
    venue.tick("EURUSD", at_us=STARTED_US)
    assert client.updates() == []
    client.say(client.adapter.unsubscribe(["EURUSD"]) + client.adapter.subscribe(["EURUSD"]))
    venue.tick("EURUSD", at_us=STARTED_US)
    assert len(client.updates()) == 1


# --- prices -----------------------------------------------------------------------------------


def test_the_ledger_says_what_the_adapter_decodes() -> None:
    venue = make_venue()
    client = subscribed(venue, "EURUSD", "USDJPY")
    for number in range(300):
        venue.tick(("EURUSD", "USDJPY")[number % 2], at_us=STARTED_US + number * 777)
    told = [(tick.symbol, tick.ts_us, tick.seq, tick.price) for tick in client.host.ticks]
    assert [update[:4] for update in client.updates()] == told
    assert len(told) == 300


@given(steps=st.lists(st.integers(-5 * SECOND_US, 5 * SECOND_US), min_size=2, max_size=50))
def test_every_tick_has_a_time_of_its_own_whatever_the_clock_does(steps: list[int]) -> None:
    venue = make_venue("EURUSD")
    client = subscribed(venue, "EURUSD")
    at_us = STARTED_US
    for step in steps:
        at_us += step
        venue.tick("EURUSD", at_us=at_us)
    times = [update.ts_us or 0 for update in client.updates()]
    assert times == sorted(set(times))
    assert len(times) == len(steps)


def test_now_and_then_a_tick_has_company_in_its_frame() -> None:
    venue = make_venue()
    client = subscribed(venue, "EURUSD")
    for number in range(100):
        venue.tick("EURUSD", at_us=STARTED_US + number)
    sizes = {len(json.loads(client.session.frame(tick))) for tick in client.host.ticks}
    assert sizes == {1, 2}


def test_recorded_ticks_of_subscribed_markets_are_read() -> None:
    client = subscribed(make_venue(), "EURUSD")
    frame = '[{"e":111,"d":[]},{"d":[{"p":"EURUSD","t":1751668293.5,"q":1.17781}],"e":1,"t":1}]'
    tick = client.session.read_recorded(frame)
    assert tick is not None
    assert tick[2:6] == ("EURUSD", 1_751_668_293_500_000, None, 1.17781)
    assert client.session.read_recorded(frame.replace("EURUSD", "GBPUSD")) is None


@pytest.mark.parametrize(
    "frame",
    ["", "{}", "[1]", '[{"e":1,"d":[{"p":"EURUSD","t":1e308,"q":1.5}]}]', '[{"e":1,"d":{}}]', "[" * 99_999],
)
def test_recorded_garbage_is_no_tick(frame: str) -> None:
    assert subscribed(make_venue(), "EURUSD").session.read_recorded(frame) is None


def test_no_garbage_can_be_decoded() -> None:
    client = subscribed(make_venue(), "EURUSD")
    for symbol in (None, "EURUSD"):
        frames = client.session.garbage(symbol)
        assert len(frames) == 3
        for frame in frames:
            with pytest.raises(RemoteProtocolError):
                client.adapter.receive(frame)


# --- locks and hours --------------------------------------------------------------------------


def listed(said: list[object]) -> dict[str, tuple[bool, int | None, int | None]]:
    """What listings say of each market: open, closes, opens."""
    return {
        each.symbol: (each.is_open, each.closes_us, each.opens_us)
        for event in said
        if isinstance(event, Listing)
        for each in event.instruments
    }


def test_a_lock_is_pushed_confirms_subscribes_all_the_same_and_stops_the_prices() -> None:
    venue = make_venue()
    client = Client(venue)
    client.start()
    until_us = STARTED_US + 60 * SECOND_US
    venue.lock("EURUSD", until_us=until_us, at_us=STARTED_US)
    said = client.hear()
    opens_us = until_us // SECOND_US * SECOND_US
    assert listed(said) == {"EURUSD": (False, STARTED_US // SECOND_US * SECOND_US, opens_us)}
    assert Payouts({"EURUSD": 10.0}) in said
    assert Subscribed(("EURUSD",)) in client.say(client.adapter.subscribe(["EURUSD"]))
    venue.tick("EURUSD", at_us=STARTED_US)
    assert client.updates() == []
    venue.unlock("EURUSD", at_us=STARTED_US)
    assert listed(client.hear()) == {"EURUSD": (True, None, None)}
    venue.tick("EURUSD", at_us=STARTED_US)
    assert len(client.updates()) == 1


def test_all_markets_can_be_locked_at_once() -> None:
    venue = make_venue("EURUSD", "GBPUSD")
    client = Client(venue)
    client.start()
    venue.lock(None, until_us=None, at_us=STARTED_US)
    said = listed(client.hear())
    assert set(said) == {"EURUSD", "GBPUSD"}
    assert said["EURUSD"][0] is False
    assert said["EURUSD"][2] is None


def test_the_weekend_is_told_as_recorded_and_ends_by_itself() -> None:
    friday_us = FRIDAY_CLOSE_US - 3600 * SECOND_US
    venue = make_venue("EURUSD", "BTCUSDT", started_us=friday_us, hours=Hours.WEEK)
    client = Client(venue, at_us=friday_us)
    assert listed(client.start())["EURUSD"] == (True, FRIDAY_CLOSE_US, SUNDAY_OPEN_US)
    client.say(client.adapter.subscribe(["EURUSD", "BTCUSDT"]))
    changes: list[tuple[int, bool]] = []
    ticks: list[int] = []
    for minute in range(0, 52 * 60, 1):
        at_us = friday_us + minute * 60 * SECOND_US
        venue.pass_time(at_us=at_us)
        venue.tick("EURUSD", at_us=at_us)
        said = listed(client.say([], for_s=0.1))
        assert "BTCUSDT" not in said
        if "EURUSD" in said:
            changes.append((at_us, said["EURUSD"][0]))
        ticks += [update.ts_us or 0 for update in client.updates()]
    pause_us = 300 * SECOND_US
    assert changes == [
        (FRIDAY_CLOSE_US - pause_us, True),  # deals stop
        (FRIDAY_CLOSE_US, False),
        (SUNDAY_OPEN_US, True),
        (SUNDAY_OPEN_US + pause_us, True),  # deals start
    ]
    assert not [at_us for at_us in ticks if FRIDAY_CLOSE_US <= at_us < SUNDAY_OPEN_US]
    assert max(ticks) > SUNDAY_OPEN_US


def test_a_renamed_market_is_refused_by_its_old_name_and_listed_by_its_new_one_in_the_next_session() -> None:
    venue = make_venue("EURUSD", "GBPUSD")
    client = subscribed(venue, "EURUSD")
    venue.rename("EURUSD", "EURUSD_X")
    assert list(venue.symbols) == ["EURUSD_X", "GBPUSD"]
    venue.tick("EURUSD_X", at_us=STARTED_US)
    assert client.updates() == []
    again = client.adapter.unsubscribe(["EURUSD"]) + client.adapter.subscribe(["EURUSD"])
    assert Refused(("EURUSD",), "Pair is unavailable") in client.say(again)
    fresh = Client(venue)
    assert "EURUSD_X" in listed(fresh.start())
    assert "EURUSD" not in listed(fresh.said)
    client.session.close()


def test_the_venue_says_things_that_nobody_knows() -> None:
    venue = make_venue()
    client = Client(venue)
    client.start()
    for second in range(0, 301, 10):
        venue.pass_time(at_us=STARTED_US + second * SECOND_US)
    said = client.hear()
    assert said == [Unknown("code 4242")]  # and ten counters, which mean nothing


def test_some_answers_come_twice() -> None:
    client = Client(make_venue())
    client.start()
    pongs: list[ServerTime] = []
    for _ in range(200):
        pongs += [
            each for each in client.say(client.adapter.ping(), for_s=0.3) if isinstance(each, ServerTime)
        ]
    assert sum(pong.answers_ping for pong in pongs) == 200
    assert len(pongs) > 200


# --- history ----------------------------------------------------------------------------------


def test_history_holds_what_the_client_missed() -> None:
    venue = make_venue("EURUSD")
    client = subscribed(venue, "EURUSD")
    client.session.close()
    minute_us = 60 * SECOND_US
    from_us = STARTED_US // minute_us * minute_us
    for second in range(0, 4 * 3600, 20):
        venue.tick("EURUSD", at_us=from_us + second * SECOND_US)
    back = subscribed(venue, "EURUSD")
    back.session.close()
    wish = HistoryRequest(3, "EURUSD", from_us, from_us + 240 * minute_us, 60)
    (page,) = [event for event in back.say(back.adapter.ask_history(wish)) if isinstance(event, HistoryPage)]
    assert page.id == 3
    assert page.through_us == wish.to_us
    assert [each.open_us for each in page.candles] == [from_us + number * minute_us for number in range(240)]
    prices = PricePath(seed=7, symbol="EURUSD")
    first = [float(prices.next().bid) for _ in range(3)]
    assert page.candles[0][1:] == (first[0], max(first), min(first), first[2], 3.0)
    assert len([each for each in back.sent if each["e"] == 10]) == 2  # a batch is 150


def test_the_history_of_a_market_without_any_is_empty_and_of_no_market_is_refused() -> None:
    venue = make_venue("EURUSD")
    client = subscribed(venue, "EURUSD")
    for symbol, reason in (("EURUSD", ""), ("NOSUCH", "Pair is unavailable")):
        wish = HistoryRequest(3, symbol, STARTED_US, STARTED_US + 3600 * SECOND_US, 60)
        (page,) = [
            event for event in client.say(client.adapter.ask_history(wish)) if isinstance(event, HistoryPage)
        ]
        assert page.candles == ()
        assert page.reason == reason


# --- anything -------------------------------------------------------------------------------


@given(
    text=st.text()
    | st.lists(
        st.fixed_dictionaries(
            {
                "e": st.sampled_from([10, 12, 13, 23, 31, 55, 90, 98, 182, 280, 281, 1068]),
                "d": st.none()
                | st.lists(
                    st.integers()
                    | st.fixed_dictionaries(
                        {"pair": st.sampled_from(["EURUSD", "", "NOSUCH"]) | st.integers()},
                        optional={"size": st.integers() | st.text(), "to": st.integers() | st.floats()},
                    )
                ),
            },
            optional={"uuid": st.text()},
        )
    ).map(json.dumps)
)
def test_any_text_is_survived_and_every_answer_can_be_decoded(text: str) -> None:
    client = Client(make_venue("EURUSD"))
    client.session.receive(text)
    client.host.pass_time(10.0)
    for sent in client.host.take_sent():
        client.adapter.receive(sent)


def test_a_market_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ConfigError, match="'EUR USD'"):
        make_venue("EUR USD")


def test_plain_http_is_not_served() -> None:
    assert make_venue().answer(Request("GET", "/", {}), at_us=STARTED_US).status == 404


def test_the_protocol_has_no_word_for_a_shutdown() -> None:
    venue = make_venue()
    client = Client(venue)
    client.start()
    venue.announce_shutdown()
    assert client.hear() == []
