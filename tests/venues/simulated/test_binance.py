import json
from collections.abc import Callable

import pytest
from hosts import HostKeepsAll
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError, RemoteProtocolError
from domain.market import PriceUpdate, check_update
from venues.binance import BinanceAdapter
from venues.events import Leaving, Refused, Subscribed
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.binance import SimulatedBinance
from venues.simulated.binance_session import BinanceSession
from venues.simulated.prices import PriceLoop, PricePath, Quote
from venues.simulated.protocol import Request

SYMBOLS = ("EURUSD", "USDJPY", "BTCUSDT")
STARTED_US = 1_763_909_512_000_000
AT_US = STARTED_US + 5_000_123


def make_venue(*, started_us: int = STARTED_US) -> SimulatedBinance:
    prices = {symbol: PricePath(seed=7, symbol=symbol) for symbol in SYMBOLS}
    return SimulatedBinance(prices=prices, started_us=started_us, accepts=lambda _: False)


def open_session(venue: SimulatedBinance, *, target: str, host: HostKeepsAll) -> BinanceSession:
    request = Request("GET", target, {})
    assert venue.knock(request, at_us=AT_US) is None
    return venue.open_session(request=request, host=host, at_us=AT_US)


class Client:
    """The adapter under a session: what each says goes straight to the other."""

    def __init__(self, *, source: str, venue: SimulatedBinance, target: str = "/stream") -> None:
        settings = VenueSettings(protocol="binance", source=source)
        self.adapter = BinanceAdapter(SessionContext(settings=settings))
        self.host = HostKeepsAll()
        self.ticks = self.host.ticks
        self.session = open_session(venue, target=target, host=self.host)

    def say(self, frames: list[str]) -> list[object]:
        return [
            event
            for frame in frames
            for answer in self.session.receive(frame)
            for event in self.adapter.receive(answer)
        ]

    def updates(self) -> list[object]:
        return [event for tick in self.ticks for event in self.adapter.receive(self.session.frame(tick))]


@pytest.fixture
def venue() -> SimulatedBinance:
    return make_venue()


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_the_adapter_understands_what_it_subscribed(venue: SimulatedBinance, source: str) -> None:
    client = Client(source=source, venue=venue)
    assert client.say(client.adapter.subscribe(SYMBOLS)) == [Subscribed(SYMBOLS)]
    for _ in range(20):
        for symbol in SYMBOLS:
            venue.tick(symbol, at_us=AT_US)
    updates = client.updates()
    assert len(updates) == 60
    for update in updates:
        assert isinstance(update, PriceUpdate)
        check_update(update)


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_the_ledger_says_what_the_adapter_decodes(venue: SimulatedBinance, source: str) -> None:
    client = Client(source=source, venue=venue)
    client.say(client.adapter.subscribe(SYMBOLS))
    for number in range(200):
        venue.tick(SYMBOLS[number % 3], at_us=AT_US + number * 777)
    decoded = [update[:4] for update in client.updates() if isinstance(update, PriceUpdate)]
    assert decoded == [(tick.symbol, tick.ts_us, tick.seq, tick.price) for tick in client.ticks]


@given(bid=st.decimals("0.00001", "999999", places=5), spread=st.decimals("0", "9", places=5))
def test_a_quote_has_the_very_price_that_the_adapter_makes_of_it(bid: object, spread: object) -> None:
    ask = bid + spread  # type: ignore[operator]
    prices = PriceLoop((Quote(f"{bid:f}", f"{ask:f}"),))
    venue = SimulatedBinance(prices={"EURUSD": prices}, started_us=1, accepts=lambda _: False)
    client = Client(source="quotes", venue=venue)
    client.say(client.adapter.subscribe(["EURUSD"]))
    venue.tick("EURUSD", at_us=AT_US)
    (update,) = client.updates()
    assert isinstance(update, PriceUpdate)
    assert update.price == client.ticks[0].price


def test_numbers_go_up_by_market_and_are_larger_after_a_restart() -> None:
    numbers: list[int | None] = []
    for started_us in (STARTED_US, STARTED_US + 1_000_000):
        client = Client(source="trades", venue=(venue := make_venue(started_us=started_us)))
        client.say(client.adapter.subscribe(["EURUSD"]))
        for _ in range(100):
            venue.tick("EURUSD", at_us=AT_US)
        numbers += [tick.seq for tick in client.ticks]
    assert numbers == sorted(set(numbers), key=lambda number: number or 0)
    assert len(numbers) == 200


def test_a_symbol_subscribed_under_both_streams_gives_both(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue, target="/stream?streams=eurusd@aggTrade/eurusd@bookTicker")
    venue.tick("EURUSD", at_us=AT_US)
    assert [tick.stream for tick in client.ticks] == ["eurusd@aggTrade", "eurusd@bookTicker"]


def test_nothing_comes_of_a_stream_that_was_unsubscribed(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    client.say(client.adapter.subscribe(SYMBOLS))
    assert client.say(client.adapter.unsubscribe(["EURUSD"])) == [Subscribed(())]
    for symbol in SYMBOLS:
        venue.tick(symbol, at_us=AT_US)
    assert {tick.symbol for tick in client.ticks} == {"USDJPY", "BTCUSDT"}


def test_a_second_subscribe_does_not_double_the_ticks(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    for _ in range(2):
        client.say(client.adapter.subscribe(["EURUSD"]))
    venue.tick("EURUSD", at_us=AT_US)
    assert len(client.ticks) == 1


def test_a_closed_session_gets_nothing_more(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    client.say(client.adapter.subscribe(["EURUSD"]))
    client.session.close()
    venue.tick("EURUSD", at_us=AT_US)
    assert client.ticks == []


def test_an_unknown_symbol_is_refused_by_name(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    (refused,) = client.say(client.adapter.subscribe(["NOSUCH"]))
    assert isinstance(refused, Refused)
    assert refused.symbols == ("NOSUCH",)
    assert "nosuch@aggTrade" in refused.reason


def test_a_request_with_one_unknown_stream_subscribes_nothing(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    client.say(client.adapter.subscribe(["EURUSD", "NOSUCH"]))
    assert not venue.is_moving("EURUSD")


def test_subscriptions_are_listed(venue: SimulatedBinance) -> None:
    client = Client(source="quotes", venue=venue)
    client.say(client.adapter.subscribe(["EURUSD", "USDJPY"]))
    (answer,) = client.session.receive('{"method":"LIST_SUBSCRIPTIONS","id":3}')
    assert json.loads(answer) == {"result": ["eurusd@bookTicker", "usdjpy@bookTicker"], "id": 3}


@pytest.mark.parametrize("request_id", [1, "abc", None])
def test_an_answer_carries_the_id_of_its_request(venue: SimulatedBinance, request_id: object) -> None:
    client = Client(source="quotes", venue=venue)
    request = {"method": "SUBSCRIBE", "params": ["eurusd@aggTrade"], "id": request_id}
    (answer,) = client.session.receive(json.dumps(request))
    assert json.loads(answer) == {"result": None, "id": request_id}


@pytest.mark.parametrize(
    ("request_text", "code", "reason"),
    [
        ('{"method":"SUBSCRIBE","params":"eurusd@aggTrade","id":1}', 2, "Invalid request: params"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "Invalid request: params"),
        ('{"method":"SUBSCRIBE","id":1}', 2, "Invalid request: params"),
        ('{"method":"DANCE","params":[],"id":1}', 2, "Invalid request: unknown variant `DANCE`"),
    ],
)
def test_a_bad_request_is_answered_with_its_id(
    venue: SimulatedBinance, request_text: str, code: int, reason: str
) -> None:
    client = Client(source="quotes", venue=venue)
    (answer,) = client.session.receive(request_text)
    message = json.loads(answer)
    assert message["id"] == 1
    assert message["error"]["code"] == code
    assert message["error"]["msg"].startswith(reason)


@pytest.mark.parametrize(
    ("request_text", "code"),
    [("{", 3), ("", 3), ('{"params":' + "[" * 100_000, 3), ("[]", 2), ('{"id":1}', 2), ('{"method":1}', 2)],
)
def test_what_is_no_request_is_answered_without_an_id(
    venue: SimulatedBinance, request_text: str, code: int
) -> None:
    client = Client(source="quotes", venue=venue)
    (answer,) = client.session.receive(request_text)
    assert json.loads(answer)["code"] == code


@given(text=st.text())
def test_any_text_is_answered(text: str) -> None:
    client = Client(source="quotes", venue=make_venue())
    (answer,) = client.session.receive(text)
    json.loads(answer)


def test_a_connection_takes_1024_streams_and_no_more() -> None:
    prices = {f"M{number}": PricePath(seed=1, symbol=f"M{number}") for number in range(1_025)}
    venue = SimulatedBinance(prices=prices, started_us=1, accepts=lambda _: False)
    client = Client(source="trades", venue=venue)
    symbols = list(prices)
    (subscribed,) = client.say(client.adapter.subscribe(symbols[:1_024]))
    (refused,) = client.say(client.adapter.subscribe(symbols[1_024:]))
    assert isinstance(subscribed, Subscribed)
    assert isinstance(refused, Refused)
    assert "1024" in refused.reason


def test_the_sixth_frame_within_a_second_is_one_too_many(venue: SimulatedBinance) -> None:
    session = open_session(venue, target="/stream", host=HostKeepsAll())
    assert [session.take_frame(at_s=at_s) for at_s in (0.0, 0.2, 0.4, 0.6, 0.8)] == [""] * 5
    assert "5 frames" in session.take_frame(at_s=0.99)


def test_four_frames_a_second_are_fine_for_ever(venue: SimulatedBinance) -> None:
    session = open_session(venue, target="/stream", host=HostKeepsAll())
    assert {session.take_frame(at_s=number * 0.25) for number in range(1_000)} == {""}


def test_the_raw_path_sends_bare_payloads(venue: SimulatedBinance) -> None:
    client = Client(source="quotes", venue=venue, target="/ws/usdjpy@bookTicker")
    venue.tick("USDJPY", at_us=AT_US)
    frame = json.loads(client.session.frame(client.ticks[0]))
    assert set(frame) == {"u", "s", "b", "B", "a", "A"}
    assert frame["s"] == "USDJPY"


def test_an_aggregated_trade_has_the_documented_fields(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue, target="/ws/usdjpy@aggTrade")
    venue.tick("USDJPY", at_us=AT_US)
    frame = json.loads(client.session.frame(client.ticks[0]))
    assert set(frame) == set("eEsapqflTmM")
    assert (frame["e"], frame["s"], frame["T"]) == ("aggTrade", "USDJPY", AT_US // 1_000)


@pytest.mark.parametrize("target", ["/", "/streams", "/wsx", "/stream?streams=nosuch@aggTrade"])
def test_other_addresses_are_not_served(venue: SimulatedBinance, target: str) -> None:
    refusal = venue.knock(Request("GET", target, {}), at_us=AT_US)
    assert refusal is not None
    assert refusal.status == 404


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_no_garbage_can_be_decoded(venue: SimulatedBinance, source: str) -> None:
    client = Client(source=source, venue=venue)
    client.say(client.adapter.subscribe(SYMBOLS))
    for symbol in (None, "USDJPY"):
        frames = client.session.garbage(symbol)
        assert len(frames) == 3
        for frame in frames:
            with pytest.raises(RemoteProtocolError):
                client.adapter.receive(frame)


def test_a_market_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ConfigError, match="'EUR USD'"):
        SimulatedBinance(
            prices={"EUR USD": PricePath(seed=1, symbol="X")}, started_us=1, accepts=lambda _: False
        )


def recorded_session(stream: str) -> BinanceSession:
    venue = SimulatedBinance(prices={}, started_us=1, accepts=lambda _: True)
    return open_session(venue, target=f"/stream?streams={stream}", host=HostKeepsAll())


def test_recorded_frames_of_subscribed_streams_are_read_as_ticks() -> None:
    quote = (
        '{"stream":"nknusdt@bookTicker","data":{"u":5,"s":"NKNUSDT","b":"0.35","B":"1","a":"0.36","A":"2"}}'
    )
    trade = (
        '{"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","a":9,"p":"0.355","q":"1","T":1633998512568}}'
    )
    tick = recorded_session("nknusdt@bookTicker").read_recorded(quote)
    assert tick is not None
    assert tick[2:6] == ("NKNUSDT", None, 5, (0.35 + 0.36) / 2)
    tick = recorded_session("nknusdt@aggTrade").read_recorded(trade)
    assert tick is not None
    assert tick[2:6] == ("NKNUSDT", 1633998512568000, 9, 0.355)
    assert recorded_session("nknusdt@aggTrade").read_recorded(quote) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda stream: f'{{"stream":"{stream}","data":{{"e":"aggTrade","a":9,"p":"NaN","T":1}}}}',
        lambda stream: f'{{"stream":"{stream}","data":{{"e":"aggTrade","a":9,"p":"none","T":1}}}}',
        lambda stream: f'{{"stream":"{stream}","data":[]}}',
        lambda stream: f'{{"stream":"{stream}"',
        lambda _: '{"result":null,"id":1}',
        lambda _: "",
    ],
)
def test_recorded_garbage_is_no_tick(make: Callable[[str], str]) -> None:
    assert recorded_session("nknusdt@aggTrade").read_recorded(make("nknusdt@aggTrade")) is None


# --- what the real venue does to who goes over its limits ---------------------------------------


def test_six_frames_within_a_second_count_as_a_ban(venue: SimulatedBinance) -> None:
    session = open_session(venue, target="/stream", host=HostKeepsAll())
    for number in range(6):
        session.take_frame(at_s=number * 0.1)
    assert venue.bans == 1


def test_the_301st_attempt_within_five_minutes_is_told_to_wait_and_the_next_is_banned() -> None:
    venue = make_venue()
    upgrade = Request("GET", "/stream", {})
    assert all(venue.knock(upgrade, at_us=number * 1_000) is None for number in range(300))
    refusals = [venue.knock(upgrade, at_us=1_000_000 + number) for number in range(3)]
    assert [refusal and refusal.status for refusal in refusals] == [429, 418, 418]
    assert [refusal and refusal.headers["Retry-After"] for refusal in refusals] == ["60", "120", "259200"]
    assert venue.bans == 3


def test_who_waits_as_told_is_let_in_again() -> None:
    venue = make_venue()
    upgrade = Request("GET", "/stream", {})
    for number in range(301):
        venue.knock(upgrade, at_us=number)
    assert venue.knock(upgrade, at_us=301_000_000) is None
    assert venue.bans == 1


def test_a_socket_that_is_24_hours_old_is_closed_and_a_younger_one_is_not(venue: SimulatedBinance) -> None:
    old = Client(source="trades", venue=venue)
    day_us = 24 * 3_600_000_000
    young, request = HostKeepsAll(), Request("GET", "/stream", {})
    venue.open_session(request=request, host=young, at_us=AT_US + 1)
    venue.pass_time(at_us=AT_US + day_us - 1)
    assert old.host.closed == []
    venue.pass_time(at_us=AT_US + day_us)
    assert [code for code, _ in old.host.closed] == [1008]
    assert young.closed == []


@pytest.mark.parametrize("target", ["/stream", "/ws"])
def test_a_shutdown_is_announced_to_everybody(venue: SimulatedBinance, target: str) -> None:
    clients = [Client(source="trades", venue=venue, target=target) for _ in range(2)]
    clients[0].session.close()
    venue.announce_shutdown()
    assert clients[0].host.sent == []
    (frame,) = clients[1].host.sent
    assert "serverShutdown" in frame
    if target == "/stream":
        assert isinstance(clients[1].adapter.receive(frame)[0], Leaving)


def test_a_locked_market_neither_moves_nor_tells(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    client.say(client.adapter.subscribe(SYMBOLS))
    venue.lock("EURUSD", until_us=None, at_us=AT_US)
    for symbol in SYMBOLS:
        venue.tick(symbol, at_us=AT_US)
    assert {tick.symbol for tick in client.ticks} == {"USDJPY", "BTCUSDT"}
    venue.unlock("EURUSD", at_us=AT_US)
    venue.tick("EURUSD", at_us=AT_US)
    assert client.ticks[-1].symbol == "EURUSD"


def test_a_market_moves_on_while_nobody_listens(venue: SimulatedBinance) -> None:
    client = Client(source="trades", venue=venue)
    assert not venue.is_moving("EURUSD")
    client.say(client.adapter.subscribe(["EURUSD"]))
    client.session.close()
    assert venue.is_moving("EURUSD")
