import logging
from collections.abc import Callable, Sequence

import attrs
import pytest
import trio
from feeds import Feed, make_feed

from actors.mailbox import Answer
from actors.session import MAX_UNDECODABLE, MOST_TOLD, Session
from domain.errors import (
    ConnectionLost,
    MarketClosed,
    MarketdError,
    PermanentError,
    RemoteProtocolError,
    UnknownSymbol,
    VenueThrottled,
)
from domain.events import LOGGER
from domain.gaps import Cause
from domain.instruments import Instrument, Listing
from domain.market import PriceUpdate
from domain.messages import AskHistory, Resubscribe, Subscribe, Unsubscribe
from supervisor.log_bounds import Folding
from venues import find_venue
from venues.events import (
    Closed,
    Denied,
    NewFields,
    Refused,
    Send,
    ServerTime,
    Subscribed,
    Throttled,
    Unknown,
    VenueEvent,
)
from venues.offers import HistoryPage, HistoryRequest

NOON = 1_795_694_400_000_000
EURUSD = Instrument("frxEURUSD", "EUR/USD")
GBPUSD = Instrument("frxGBPUSD", "GBP/USD")


class SaysWhatItIsTold:
    """An adapter whose frames mean what the test says; it keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.events: list[VenueEvent] = []

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        self.asked.append(("subscribe", list(symbols)))
        return [f"subscribe {' '.join(symbols)}"]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        self.asked.append(("unsubscribe", list(symbols)))
        return [f"unsubscribe {' '.join(symbols)}"]

    def ask_history(self, request: HistoryRequest) -> list[str]:
        return [f"history {request.symbol}"]

    def receive(self, frame: str | bytes) -> list[VenueEvent]:
        return self.events


class Talk:
    """A session of these markets with a venue that lists its markets."""

    def __init__(self, *symbols: str) -> None:
        venue = attrs.evolve(find_venue("binance"), lists_markets=True)
        self.feed: Feed = make_feed(*symbols, venue=venue)
        self.adapter = SaysWhatItIsTold()
        self.session = Session(self.feed.connection, adapter=self.adapter, number=1)  # type: ignore[arg-type]

    def hear(self, *events: VenueEvent) -> None:
        self.adapter.events = list(events)
        self.session.handle("", received_us=NOON, at=10.0)

    def ask(self, symbol: str, kind: type[Subscribe] = Subscribe) -> Answer[None]:
        answer = Answer[None]()
        self.session.plan([kind(symbol=symbol, session=1, answer=answer)])
        return answer

    def is_listed(self, *instruments: Instrument) -> "Talk":
        self.hear(Listing(instruments, is_whole=True))
        return self


async def failure_of(answer: Answer[None]) -> MarketdError:
    with trio.fail_after(3.0), pytest.raises(MarketdError) as caught:
        await answer.wait()
    return caught.value


# --- names ------------------------------------------------------------------------------------


def test_a_market_is_asked_for_only_once_the_venue_has_listed_its_markets() -> None:
    talk = Talk("EURUSD")
    talk.ask("EURUSD")
    assert talk.adapter.asked == []
    talk.is_listed(EURUSD)
    assert talk.session.has_more
    assert talk.session.plan([]) == ["subscribe frxEURUSD"]


def test_a_venue_that_never_lists_its_markets_is_asked_by_the_settings_names() -> None:
    talk = Talk("EURUSD")
    talk.ask("EURUSD")
    talk.session.go_on_unlisted()
    assert talk.session.plan([]) == ["subscribe EURUSD"]


def test_a_market_that_asks_again_and_again_meanwhile_is_asked_for_once() -> None:
    talk = Talk("EURUSD")
    for _ in range(3):
        talk.ask("EURUSD")
    talk.is_listed(EURUSD)
    assert talk.session.plan([]) == ["subscribe frxEURUSD"]
    assert len(talk.session.asking.subscriptions._asked["frxEURUSD"]) == 1


async def test_a_market_that_is_stopped_before_the_list_has_come_is_not_asked_for() -> None:
    talk = Talk("EURUSD")
    asked = talk.ask("EURUSD")
    talk.session.plan([Unsubscribe(symbol="EURUSD")])
    assert isinstance(await failure_of(asked), ConnectionLost)
    talk.is_listed(EURUSD)
    assert talk.session.plan([]) == []


def test_a_market_that_got_another_name_is_asked_for_by_that_and_no_longer_by_the_old() -> None:
    talk = Talk("EUR/USD").is_listed(EURUSD)
    talk.ask("EUR/USD")
    talk.hear(Subscribed(("frxEURUSD",)))
    talk.is_listed(Instrument("1HZEURUSD", "EUR/USD"))
    talk.ask("EUR/USD", Resubscribe)
    assert talk.adapter.asked[1:] == [("unsubscribe", ["frxEURUSD"]), ("subscribe", ["1HZEURUSD"])]
    talk.hear(PriceUpdate("frxEURUSD", NOON, None, 1.5), PriceUpdate("1HZEURUSD", NOON, None, 1.6))
    assert [tick.price for tick in talk.feed.recorded()] == [1.6]


def test_prices_in_the_venues_spelling_are_those_of_the_settings_market() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    talk.hear(PriceUpdate("frxEURUSD", NOON, None, 1.5))
    (tick,) = talk.feed.recorded()
    assert tick.market == "EURUSD@binance"


async def test_an_unknown_symbol_fails_with_the_nearest_names_and_leaves_a_gap() -> None:
    talk = Talk("EURUSDD").is_listed(EURUSD, GBPUSD)
    talk.feed.port("EURUSDD").gaps.tick(NOON)
    error = await failure_of(talk.ask("EURUSDD"))
    assert isinstance(error, UnknownSymbol)
    assert "nearest: frxEURUSD" in str(error)
    assert talk.feed.port("EURUSDD").is_unknown
    assert talk.feed.port("EURUSDD").gaps.open is not None
    assert talk.feed.port("EURUSDD").gaps.open.cause == Cause.REFUSED


async def test_two_names_of_one_market_are_told_apart_by_an_error() -> None:
    talk = Talk("EURUSD", "EUR/USD").is_listed(EURUSD)
    talk.ask("EURUSD")
    error = await failure_of(talk.ask("EUR/USD"))
    assert isinstance(error, PermanentError)
    assert "'EUR/USD' and 'EURUSD' are one market of binance: frxEURUSD" in str(error)


async def test_a_market_may_be_asked_for_again_by_the_same_name() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    talk.hear(Subscribed(("frxEURUSD",)))
    talk.ask("EURUSD", Resubscribe)
    assert talk.adapter.asked[1:] == [("unsubscribe", ["frxEURUSD"]), ("subscribe", ["frxEURUSD"])]


def test_after_an_unsubscribe_prices_go_nowhere() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    talk.hear(Subscribed(("frxEURUSD",)))
    assert talk.session.plan([Unsubscribe(symbol="EURUSD")]) == ["unsubscribe frxEURUSD"]
    talk.hear(PriceUpdate("frxEURUSD", NOON, None, 1.5))
    assert talk.feed.recorded() == []


def test_the_end_of_a_market_that_was_never_asked_for_asks_nothing() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    assert talk.session.plan([Unsubscribe(symbol="EURUSD")]) == []


async def test_a_name_that_is_refused_before_anything_was_listed_is_one_that_a_list_may_explain() -> None:
    talk = Talk("EURUSD")
    answer = talk.ask("EURUSD")
    talk.session.go_on_unlisted()
    talk.session.plan([])
    talk.hear(Refused(("EURUSD",), "no such market"))
    assert isinstance(await failure_of(answer), PermanentError)
    assert talk.feed.port("EURUSD").is_unknown


@pytest.mark.parametrize(("years", "is_taken"), [(0.9, True), (1.1, False), (56_000, False)])
def test_a_price_of_the_far_future_is_no_price_for_it_would_hide_all_later_gaps(
    years: float, *, is_taken: bool
) -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    ts_us = NOON + round(years * 365 * 86_400_000_000)
    talk.hear(PriceUpdate("frxEURUSD", ts_us, None, 1.5))
    assert len(talk.feed.recorded()) == is_taken
    assert talk.feed.row.unknown_frames == (not is_taken)


# --- hours ------------------------------------------------------------------------------------


def test_a_listing_closes_markets_and_opens_them() -> None:
    talk = Talk("EURUSD")
    hours = talk.feed.port("EURUSD").hours
    talk.is_listed(EURUSD._replace(is_open=False))
    assert hours.is_closed
    talk.hear(Listing((EURUSD,), is_whole=False))
    assert not hours.is_closed


async def test_a_closed_market_that_takes_no_subscription_is_closed_and_its_asker_told() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    answer = talk.ask("EURUSD")
    talk.hear(Closed(("frxEURUSD",), "it is Saturday"))
    assert isinstance(await failure_of(answer), MarketClosed)
    assert talk.feed.port("EURUSD").hours.is_closed


def test_a_tick_opens_a_closed_market() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    port = talk.feed.port("EURUSD")
    port.hours.refused(at_us=NOON - 60_000_000)
    talk.hear(PriceUpdate("frxEURUSD", NOON, None, 1.5))
    assert not port.hours.is_closed


# --- what else is said ------------------------------------------------------------------------


def test_a_refusal_while_there_was_no_list_is_not_the_last_word() -> None:
    talk = Talk("EURUSD")
    talk.session.go_on_unlisted()
    talk.ask("EURUSD")
    talk.hear(Refused(("EURUSD",), "no such symbol"))
    assert talk.feed.port("EURUSD").is_unknown
    talk.is_listed(EURUSD)
    talk.ask("EURUSD")
    talk.hear(Refused(("frxEURUSD",), "not for you"))
    assert not talk.feed.port("EURUSD").is_unknown


async def test_a_refused_symbol_fails_for_good() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    answer = talk.ask("EURUSD")
    talk.hear(Refused(("frxEURUSD",), "no such market"))
    assert isinstance(await failure_of(answer), PermanentError)


def test_each_kind_that_is_new_is_said_although_the_log_folds_repeats(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger=LOGGER.name)
    talk = Talk("EURUSD")
    with caplog.filtering(Folding()):
        for _ in range(3):
            talk.hear(Unknown("one"), Unknown("two"), NewFields("three", ("mood",)))
    assert [kind for kind in ("'one'", "'two'", "'three'") if kind in caplog.text] == [
        "'one'",
        "'two'",
        "'three'",
    ]
    assert len(caplog.records) == 3


def test_a_socket_that_is_refused_what_another_one_has_cannot_take_its_place() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    talk.hear(Subscribed(("frxEURUSD",)))
    talk.feed.port("EURUSD").gaps.tick(NOON)
    other = Session(talk.feed.connection, adapter=talk.adapter, number=1)  # type: ignore[arg-type]
    other.hold_prices()
    other.asking.take_over(talk.session.asking)
    talk.adapter.events = [Refused(("frxEURUSD",), "not now")]
    with pytest.raises(ConnectionLost, match="not now"):
        other.handle("", received_us=NOON, at=10.0)
    assert talk.feed.port("EURUSD").gaps.open is None  # the other one still has it


def test_what_the_adapter_wants_sent_goes_out_next() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.hear(Send(("one", "two")))
    assert talk.session.plan([]) == ["one", "two"]
    assert talk.session.plan([]) == []


@pytest.mark.parametrize(
    ("event", "kind"),
    [(Denied("token revoked"), PermanentError), (Throttled("slow down", 90.0), VenueThrottled)],
)
def test_a_venue_that_says_no_ends_the_session(event: VenueEvent, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Talk("EURUSD").hear(event)


@pytest.mark.parametrize("event", [Denied("the token is void"), Throttled("too many", 5.0)])
def test_prices_before_a_no_in_the_same_message_are_recorded(event: VenueEvent) -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    with pytest.raises(MarketdError):
        talk.hear(PriceUpdate("frxEURUSD", NOON, None, 1.5), event)
    assert len(talk.feed.recorded()) == len(talk.feed.followed("EURUSD")) == 1


def test_a_denied_token_is_told_to_its_keeper() -> None:
    talk, told = Talk("EURUSD"), list[str | None]()
    talk.session.token = "secret"
    talk.feed.connection.shared.token_refused = told.append
    with pytest.raises(PermanentError):
        talk.hear(Denied("token revoked"))
    assert told == ["secret"]


def test_the_venues_clock_is_measured_over_our_ping() -> None:
    talk = Talk("EURUSD")
    talk.session.pinged_us = NOON - 80_000
    talk.hear(ServerTime(NOON + 4_960_000, 1_000, answers_ping=True))
    assert talk.feed.row.rtt_ms == 80.0
    assert talk.feed.connection.shared.skew.skew_ms == pytest.approx(-5_000.0, abs=1.0)


def test_a_clock_that_is_off_is_said_once_and_once_that_it_is_good_again(
    said: Callable[[], list[str]],
) -> None:
    talk = Talk("EURUSD")
    for off_us in (5_000_000, 5_000_000, 0):
        talk.session.pinged_us = NOON - 80_000
        talk.hear(ServerTime(NOON + off_us - 40_000, 1_000, answers_ping=True))
    assert [text.partition(":")[0] for text in said()] == [
        "our clock is 5.0 s behind that of binance",
        "our clock and that of binance agree again",
    ]


def test_unknown_messages_and_new_fields_are_counted_and_said_once(said: Callable[[], list[str]]) -> None:
    talk = Talk("EURUSD")
    talk.hear(*[Unknown("depthUpdate")] * 3, NewFields("tick", ("spread",)), NewFields("tick", ("spread",)))
    assert (talk.feed.row.unknown_frames, talk.feed.row.new_fields) == (3, 2)
    assert len(said()) == 2


def test_a_venue_that_makes_up_new_kinds_for_ever_does_not_fill_the_log(
    said: Callable[[], list[str]],
) -> None:
    talk = Talk("EURUSD")
    talk.hear(*[Unknown(f"kind {number}") for number in range(3 * MOST_TOLD)])
    assert len(said()) == MOST_TOLD


# --- history ----------------------------------------------------------------------------------


async def test_history_is_asked_in_the_venues_spelling_and_answered_by_its_number() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    answer = Answer[HistoryPage]()
    request = HistoryRequest(7, "EURUSD", 1, 9, None)
    assert talk.session.plan([AskHistory(request=request, answer=answer)]) == ["history frxEURUSD"]
    talk.hear(HistoryPage(8), HistoryPage(7, reason="none"))
    assert (await answer.wait()).reason == "none"


def test_what_could_not_be_decoded_is_told_without_secrets() -> None:
    talk = Talk("EURUSD")
    talk.session.token = "eyJ-the-token"

    def fail(frame: str | bytes) -> list[VenueEvent]:
        raise RemoteProtocolError("undecodable", frame=repr(frame))

    talk.adapter.receive = fail  # type: ignore[method-assign]
    frame = '{"padding":"' + "x" * 150 + '","email":"somebody@example.org","told":"eyJ-the-token"}'
    for _ in range(MAX_UNDECODABLE - 1):
        talk.session.handle(frame, received_us=NOON, at=10.0)
    with pytest.raises(RemoteProtocolError) as caught:
        talk.session.handle(frame, received_us=NOON, at=10.0)
    assert "padding" in caught.value.frame
    assert "somebody" not in caught.value.frame
    assert "eyJ" not in caught.value.frame


def test_a_venue_that_answers_no_history_does_not_fill_the_memory() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    for number in range(1_000):
        request = HistoryRequest(number, "EURUSD", 1, 2, None)
        talk.session.plan([AskHistory(request=request, answer=Answer[HistoryPage]())])
    assert len(talk.session.asking._asked_history) <= 100


async def test_who_waits_for_history_is_told_when_the_session_is_lost() -> None:
    talk = Talk("EURUSD").is_listed(EURUSD)
    talk.ask("EURUSD")
    answer = Answer[HistoryPage]()
    talk.session.plan([AskHistory(request=HistoryRequest(7, "EURUSD", 1, 9, None), answer=answer)])
    talk.session.asking.lose()
    with pytest.raises(MarketdError, match="lost"):
        await answer.wait()


async def test_who_waits_for_the_list_is_told_when_the_session_is_lost() -> None:
    talk = Talk("EURUSD")
    answer = talk.ask("EURUSD")
    talk.session.asking.lose()
    with pytest.raises(MarketdError, match="lost"):
        await answer.wait()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level("INFO", logger="marketd")
    return lambda: [record.getMessage() for record in caplog.records]
