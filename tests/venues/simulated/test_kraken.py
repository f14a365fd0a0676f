import contextlib
import json

import pytest
from hosts import HostKeepsAll
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError, RemoteProtocolError
from domain.instruments import Listing
from domain.market import PriceUpdate, check_update
from venues.events import Refused, Send, Subscribed, Throttled, VenueEvent
from venues.kraken import KrakenAdapter
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.hours import Hours
from venues.simulated.kraken import SimulatedKraken
from venues.simulated.kraken_market import as_time, read_recorded, wire_symbol
from venues.simulated.prices import PriceLoop, PricePath, Quote
from venues.simulated.protocol import Request, SimulatedTick

SYMBOLS = ("EURUSD", "USDJPY", "BTCUSDT")
WIRED = ("EUR/USD", "USD/JPY", "BTC/USDT")
STARTED_US = 1_763_909_512_000_000  # a Sunday, 14:51 UTC
AT_US = STARTED_US + 5_000_123
UPGRADE = Request("GET", "/v2", {})


def make_venue(*, started_us: int = STARTED_US, hours: Hours = Hours.ALWAYS) -> SimulatedKraken:
    prices = {symbol: PricePath(seed=7, symbol=symbol) for symbol in SYMBOLS}
    return SimulatedKraken(prices=prices, started_us=started_us, accepts=lambda _: False, hours=hours)


class Client:
    """The adapter under a session: what each says goes straight to the other."""

    def __init__(self, venue: SimulatedKraken, *, source: str = "trades") -> None:
        settings = VenueSettings(protocol="kraken", source=source)
        self.adapter = KrakenAdapter(SessionContext(settings=settings))
        self.host = HostKeepsAll()
        assert venue.knock(UPGRADE, at_us=AT_US) is None
        self.session = venue.open_session(request=UPGRADE, host=self.host, at_us=AT_US)
        self.heard: list[VenueEvent] = []
        self.say(self.adapter.opening())

    def say(self, frames: list[str], *, for_s: float = 0.1) -> list[VenueEvent]:
        """Return what the venue made of the frames within that time."""
        answers = [answer for frame in frames for answer in self.session.receive(frame)]
        self.host.pass_time(for_s)
        return self.take([*answers, *self.host.take_sent()])

    def take(self, frames: list[str]) -> list[VenueEvent]:
        events = [event for frame in frames for event in self.adapter.receive(frame)]
        self.heard += events
        return events

    def updates(self) -> list[PriceUpdate]:
        frames = [self.session.frame(tick) for tick in self.host.ticks]
        events = [event for frame in frames for event in self.adapter.receive(frame)]
        return [event for event in events if isinstance(event, PriceUpdate)]


@pytest.fixture
def venue() -> SimulatedKraken:
    return make_venue()


def told(ticks: list[SimulatedTick]) -> list[tuple[object, ...]]:
    """What the ledger says of these, in the venue's spelling."""
    every = [each for tick in ticks for each in (tick, *tick.more)]
    return [(wire_symbol(each.symbol), each.ts_us, each.seq, each.price) for each in every]


# --- prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_the_adapter_understands_what_it_subscribed(venue: SimulatedKraken, source: str) -> None:
    client = Client(venue, source=source)
    confirmed = client.say(client.adapter.subscribe(WIRED))
    assert sorted(each.symbols for each in confirmed if isinstance(each, Subscribed)) == sorted(
        (wire,) for wire in WIRED
    )
    for number in range(60):
        venue.tick(SYMBOLS[number % 3], at_us=AT_US + number)
    updates = client.updates()
    assert len(updates) >= 60
    for update in updates:
        check_update(update)


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_the_ledger_says_what_the_adapter_decodes(venue: SimulatedKraken, source: str) -> None:
    client = Client(venue, source=source)
    client.say(client.adapter.subscribe(WIRED))
    for number in range(200):
        venue.tick(SYMBOLS[number % 3], at_us=AT_US + number * 777)
    assert [update[:4] for update in client.updates()] == told(client.host.ticks)


@given(bid=st.decimals("0.00001", "999999", places=5), spread=st.decimals("0", "9", places=5))
def test_a_quote_has_the_very_price_that_the_adapter_makes_of_it(bid: object, spread: object) -> None:
    ask = bid + spread  # type: ignore[operator]
    prices = {"EURUSD": PriceLoop((Quote(f"{bid:f}", f"{ask:f}"),))}
    client = Client(
        venue := SimulatedKraken(prices=prices, started_us=1, accepts=lambda _: False), source="quotes"
    )
    client.say(client.adapter.subscribe(["EUR/USD"]))
    venue.tick("EURUSD", at_us=AT_US)
    (update,) = client.updates()
    assert update.price == client.host.ticks[0].price


def test_some_messages_hold_several_trades_each_with_its_own_number(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(["EUR/USD"]))
    for number in range(20):
        venue.tick("EURUSD", at_us=AT_US + number)
    sizes = [len(json.loads(client.session.frame(tick))["data"]) for tick in client.host.ticks]
    assert set(sizes) == {1, 3}
    numbers = [update.seq or 0 for update in client.updates()]
    assert numbers == sorted(set(numbers))


def test_numbers_are_larger_after_a_restart() -> None:
    numbers: list[int] = []
    for started_us in (STARTED_US, STARTED_US + 1_000_000):
        client = Client(venue := make_venue(started_us=started_us))
        client.say(client.adapter.subscribe(["EUR/USD"]))
        for _ in range(100):
            venue.tick("EURUSD", at_us=AT_US)
        numbers += [update.seq or 0 for update in client.updates()]
    assert numbers == sorted(set(numbers))


def test_quotes_begin_with_the_latest_one(venue: SimulatedKraken) -> None:
    Client(venue, source="quotes").say(Client(venue, source="quotes").adapter.subscribe(["EUR/USD"]))
    venue.tick("EURUSD", at_us=AT_US)
    late = Client(venue, source="quotes")
    late.say(late.adapter.subscribe(["EUR/USD"]))
    (tick,) = late.host.ticks
    assert json.loads(late.session.frame(tick))["type"] == "snapshot"
    assert late.updates()[0].ts_us == AT_US


def test_trades_begin_with_none_of_the_past(venue: SimulatedKraken) -> None:
    venue.tick("EURUSD", at_us=AT_US)
    client = Client(venue)
    client.say(client.adapter.subscribe(["EUR/USD"]))
    assert client.host.ticks == []


def test_a_market_moves_on_while_nobody_listens(venue: SimulatedKraken) -> None:
    client = Client(venue)
    assert not venue.is_moving("EURUSD")
    client.say(client.adapter.subscribe(["EUR/USD"]))
    client.session.close()
    assert venue.is_moving("EURUSD")
    venue.tick("EURUSD", at_us=AT_US)
    assert client.host.ticks == []


@pytest.mark.parametrize(
    ("symbol", "wire"),
    [("EURUSD", "EUR/USD"), ("EUR/USD", "EUR/USD"), ("BTCUSDT", "BTC/USDT"), ("USD", "USD"), ("X1", "X1")],
)
def test_markets_are_spelled_on_the_wire_as_the_venue_does(symbol: str, wire: str) -> None:
    assert wire_symbol(symbol) == wire


# --- answers ----------------------------------------------------------------------------------


def test_answers_come_in_another_order_than_they_were_asked_for() -> None:
    symbols = [f"M{number}USD" for number in range(20)]
    prices = {symbol: PricePath(seed=1, symbol=symbol) for symbol in symbols}
    client = Client(SimulatedKraken(prices=prices, started_us=1, accepts=lambda _: False))
    wired = [wire_symbol(symbol) for symbol in symbols]
    confirmed = client.say(client.adapter.subscribe(wired))
    order = [each.symbols[0] for each in confirmed if isinstance(each, Subscribed)]
    assert sorted(order) == sorted(wired)
    assert order != wired


def test_a_subscribe_right_behind_a_goodbye_is_confirmed_for_itself(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(["EUR/USD"]))
    again = client.adapter.unsubscribe(["EUR/USD"]) + client.adapter.subscribe(["EUR/USD"])
    assert Subscribed(("EUR/USD",)) in client.say(again)
    venue.tick("EURUSD", at_us=AT_US)
    assert len(client.host.ticks) == 1


def test_an_unknown_symbol_is_refused_and_the_others_are_not(venue: SimulatedKraken) -> None:
    client = Client(venue)
    said = client.say(client.adapter.subscribe(["EUR/USD", "XBT/USD"]))
    assert Subscribed(("EUR/USD",)) in said
    assert Refused(("XBT/USD",), "Currency pair not supported XBT/USD") in said


def test_a_second_subscribe_does_not_double_the_ticks(venue: SimulatedKraken) -> None:
    client = Client(venue)
    for _ in range(2):
        assert Subscribed(("EUR/USD",)) in client.say(client.adapter.subscribe(["EUR/USD"]))
    venue.tick("EURUSD", at_us=AT_US)
    assert len(client.host.ticks) == 1


def test_a_goodbye_is_confirmed_and_nothing_comes_afterwards(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(WIRED))
    assert client.say(client.adapter.leave(WIRED)) == [Subscribed(())]
    for symbol in SYMBOLS:
        venue.tick(symbol, at_us=AT_US)
    assert client.host.ticks == []


def test_a_ping_is_answered_with_the_venues_clock(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.host.now_us = lambda: AT_US + 9
    (event,) = client.say(client.adapter.ping())
    assert event == (AT_US + 9, 1, True)


@given(text=st.text() | st.dictionaries(st.sampled_from(["method", "params"]), st.text()).map(json.dumps))
def test_any_text_is_answered(text: str) -> None:
    client = Client(make_venue())
    (answer,) = client.session.receive(text)
    json.loads(answer)
    with contextlib.suppress(RemoteProtocolError):
        client.adapter.receive(answer)


# --- the list, hours, maintenance -------------------------------------------------------------


def test_the_list_is_as_long_as_the_real_one_and_names_the_markets_it_serves(venue: SimulatedKraken) -> None:
    client = Client(venue)
    (listing,) = [event for event in client.heard if isinstance(event, Listing)]
    assert listing.is_whole
    assert {*WIRED, "ETH/USD"} <= {each.symbol for each in listing.instruments}
    assert len(venue.snapshot()) > 100_000


def test_a_market_of_the_list_that_is_not_played_can_be_subscribed_all_the_same(
    venue: SimulatedKraken,
) -> None:
    client = Client(venue)
    assert client.say(client.adapter.subscribe(["ETH/USD"])) == [Subscribed(("ETH/USD",))]


def openness(events: list[VenueEvent]) -> dict[str, bool]:
    listings = [event for event in events if isinstance(event, Listing)]
    return {each.symbol: each.is_open for listing in listings for each in listing.instruments}


def test_a_locked_market_is_told_as_closed_and_opens_again(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(["EUR/USD"]))
    venue.lock("EURUSD", until_us=None, at_us=AT_US)
    assert openness(client.take(client.host.take_sent())) == {"EUR/USD": False}
    venue.tick("EURUSD", at_us=AT_US)
    assert client.host.ticks == []
    venue.unlock("EURUSD", at_us=AT_US)
    assert openness(client.take(client.host.take_sent())) == {"EUR/USD": True}
    venue.tick("EURUSD", at_us=AT_US)
    assert len(client.host.ticks) == 1


def test_the_venues_maintenance_closes_all_markets_until_it_is_over(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(WIRED))
    for act, is_open in ((venue.lock, False), (venue.unlock, True)):
        more = {"until_us": None} if act == venue.lock else {}
        act(None, at_us=AT_US, **more)
        (send,) = client.take(client.host.take_sent())
        assert isinstance(send, Send)
        listed = openness(client.say(list(send.frames)))
        assert {listed[wire] for wire in WIRED} == {is_open}


def test_currency_pairs_keep_the_weekend_where_asked() -> None:
    venue = make_venue(hours=Hours.WEEK)
    venue.pass_time(at_us=AT_US)
    client = Client(venue)
    listed = openness(client.heard)
    assert {wire: listed[wire] for wire in WIRED} == {"EUR/USD": False, "USD/JPY": False, "BTC/USDT": True}
    client.say([])
    venue.pass_time(at_us=AT_US + 7 * 3_600_000_000)
    assert openness(client.take(client.host.take_sent())) == {"EUR/USD": True, "USD/JPY": True}


# --- limits, silence, the door ----------------------------------------------------------------


def test_a_quiet_socket_is_told_once_a_second_that_it_is_alive(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(["EUR/USD"]), for_s=2.0)
    client.host.take_sent()
    client.host.pass_time(5.0)
    assert client.host.take_sent() == ['{"channel":"heartbeat"}'] * 5


def test_a_busy_socket_gets_no_heartbeats(venue: SimulatedKraken) -> None:
    client = Client(venue)
    client.say(client.adapter.subscribe(["EUR/USD"]), for_s=2.0)
    client.host.take_sent()
    for number in range(10):
        venue.tick("EURUSD", at_us=AT_US + number)
        client.host.pass_time(0.5)
    assert client.host.take_sent() == []


def test_who_neither_subscribes_nor_asks_is_closed_after_a_minute(venue: SimulatedKraken) -> None:
    idle, busy, pinging = (Client(venue) for _ in range(3))
    busy.say(busy.adapter.subscribe(["EUR/USD"]))
    for _ in range(3):
        pinging.say(pinging.adapter.ping(), for_s=30.0)
        for client in (idle, busy):
            client.host.pass_time(30.0)
    assert [code for code, _ in idle.host.closed] == [1001]
    assert busy.host.closed == pinging.host.closed == []


def test_too_many_frames_are_answered_with_an_error_and_counted(venue: SimulatedKraken) -> None:
    client = Client(venue)
    for number in range(11):
        assert client.session.take_frame(at_s=number * 0.01) == ""
    (event,) = client.say(client.adapter.ping())
    assert isinstance(event, Throttled)
    assert venue.bans == 1


def test_four_frames_a_second_are_fine_for_ever(venue: SimulatedKraken) -> None:
    client = Client(venue)
    for number in range(1_000):
        client.session.take_frame(at_s=number * 0.25)
    assert venue.bans == 0


def test_the_151st_attempt_within_ten_minutes_closes_the_door_for_ten_more() -> None:
    venue = make_venue()
    assert all(venue.knock(UPGRADE, at_us=number) is None for number in range(150))
    refusals = [venue.knock(UPGRADE, at_us=200 + number) for number in range(3)]
    assert [refusal and refusal.status for refusal in refusals] == [403, 403, 403]
    assert venue.bans == 1
    assert venue.knock(UPGRADE, at_us=601_000_000) is None


@pytest.mark.parametrize("target", ["/", "/v1", "/v2/x"])
def test_other_addresses_are_not_served(venue: SimulatedKraken, target: str) -> None:
    refusal = venue.knock(Request("GET", target, {}), at_us=AT_US)
    assert refusal is not None
    assert refusal.status == 404


def test_connection_ids_do_not_fit_63_bits(venue: SimulatedKraken) -> None:
    host = HostKeepsAll()
    venue.open_session(request=UPGRADE, host=host, at_us=AT_US)
    (status,) = host.sent
    assert json.loads(status)["data"][0]["connection_id"] > 2**63


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_no_garbage_can_be_decoded(venue: SimulatedKraken, source: str) -> None:
    client = Client(venue, source=source)
    client.say(client.adapter.subscribe(WIRED))
    for symbol in (None, "USDJPY"):
        frames = client.session.garbage(symbol)
        assert len(frames) == 3
        for frame in frames:
            with pytest.raises(RemoteProtocolError):
                client.adapter.receive(frame)


def test_a_market_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ConfigError, match="'EUR USD'"):
        SimulatedKraken(
            prices={"EUR USD": PricePath(seed=1, symbol="X")}, started_us=1, accepts=lambda _: False
        )


# --- recordings -------------------------------------------------------------------------------

TRADES = (
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","price":83744.3,"qty":1.0,"trade_id":1,'
    '"timestamp":"2026-09-25T17:48:26.844359Z"},{"symbol":"BTC/USD","price":83744.4,"qty":1.0,"trade_id":2,'
    '"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
)


def test_recorded_trades_of_a_subscribed_market_are_read_as_ticks() -> None:
    venue = SimulatedKraken(prices={}, started_us=1, accepts=lambda _: True)
    client = Client(venue)
    assert client.session.read_recorded(TRADES) is None
    client.say(client.adapter.subscribe(["BTC/USD"]))
    tick = client.session.read_recorded(TRADES)
    assert tick is not None
    assert told([tick]) == [
        ("BTC/USD", 1_790_358_506_844_359, 1, 83744.3),
        ("BTC/USD", 1_790_358_506_844_359, 2, 83744.4),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        TRADES[:-1],
        '{"channel":"heartbeat"}',
        TRADES.replace("83744.3", "0"),
        TRADES.replace("BTC/USD", "ETH/USD", 1),
        TRADES.replace("2026-09", "2026-99"),
    ],
)
def test_recorded_frames_without_ticks_of_one_market_hold_none(frame: str) -> None:
    tick = read_recorded(frame)
    assert tick is None or tick.price == 83744.4


@given(at_us=st.integers(0, 4 * 10**15))
def test_times_are_written_as_they_are_read(at_us: int) -> None:
    tick = read_recorded(TRADES.replace("2026-09-25T17:48:26.844359Z", as_time(at_us)))
    assert tick is not None
    assert tick.ts_us == at_us
