import contextlib
from collections.abc import Awaitable, Callable
from itertools import pairwise

import attrs
import pytest
import trio
import trio.testing
from desks import told_by
from feeds import AnswersLikeBinance, Feed, make_feed, no_gate, serving, trade
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.market import ANSWER_WITHIN_S, Market, MarketPlace
from domain.clock import now_us
from domain.errors import (
    ConnectionLost,
    MarketClosed,
    MarketdError,
    PermanentError,
    VenueSilent,
    flatten,
)
from domain.gaps import Cause
from domain.instruments import Instrument
from domain.market import Tick
from domain.messages import Resubscribe, Subscribe, Unsubscribe

EURUSD = "EURUSDT@binance"
STALE_AFTER_S = 60.0


def tick(at_us: int, price: float = 1.0) -> Tick:
    return Tick(EURUSD, at_us, 0, price, None, None, None, at_us)


# --- handle(), without a run ------------------------------------------------------------------


def test_strategies_see_the_ticks_of_a_message_in_order() -> None:
    told = told_by(market=EURUSD)
    place = attrs.evolve(make_feed("EURUSDT").market_place("EURUSDT"), desk=told.place)
    message = [tick(1, 1.0), tick(2, 2.0)]
    told.place.arrive(message)
    Market(place).handle(message)
    assert told.notes.ticks == message


def test_a_market_without_strategies_takes_its_ticks_and_asks_nobody() -> None:
    place = make_feed("EURUSDT").market_place("EURUSDT")
    Market(place).handle([tick(1)])
    assert (place.desk, place.requests.used) == (None, 0)


# --- run(), with the connection's side played by the test -----------------------------------------


class Played:
    """A market at work, and its connection as the test plays it."""

    def __init__(self, feed: Feed, place: MarketPlace) -> None:
        self.feed = feed
        self.place = place
        self.row = place.row
        self.asked: list[tuple[float, Subscribe]] = []
        self.errors: list[BaseException] = []
        self._answers: Callable[[Subscribe], object] = lambda request: request.answer.set(None)

    async def run(self) -> None:
        try:
            await Market(self.place).run()
        except (MarketdError, BaseExceptionGroup) as error:
            self.errors += flatten(error)

    async def play_connection(self) -> None:
        while True:
            request = await self.feed.connection.requests.get()
            assert isinstance(request, Subscribe)
            self.asked.append((trio.current_time(), request))
            self._answers(request)

    def answer_with(self, answer: Callable[[Subscribe], object]) -> None:
        self._answers = answer

    def give_datum(self) -> None:
        """Do what the connection does with a tick."""
        self.row.last_tick_at = trio.current_time()
        self.place.mailbox.put_nowait([tick(int(trio.current_time() * 1e6))])

    def kinds(self) -> list[type[Subscribe]]:
        return [type(request) for _, request in self.asked]


def played(
    *, wait_turn: Callable[[], Awaitable[None]] = no_gate, resubscribe_max_s: float = STALE_AFTER_S
) -> Played:
    feed = make_feed("EURUSDT", stale_after_s=STALE_AFTER_S)
    place = feed.market_place("EURUSDT", resubscribe_max_s=resubscribe_max_s)
    return Played(feed, attrs.evolve(place, wait_turn=wait_turn))


async def start(one: Played, nursery: trio.Nursery) -> None:
    nursery.start_soon(one.play_connection)
    nursery.start_soon(one.run)
    await wait_all_tasks_blocked()


def ignore(_: Subscribe) -> None:
    """Answer nothing."""


async def test_a_market_waits_for_its_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    one = played()
    await start(one, nursery)
    await trio.sleep(1000.0)
    assert (one.asked, one.errors) == ([], [])


async def test_a_market_subscribes_in_the_session_that_is_open(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    session = one.feed.link.set_up()
    await start(one, nursery)
    ((_, request),) = one.asked
    assert (request.symbol, request.session) == ("EURUSDT", session)
    assert one.row.subscribed_at == trio.current_time()


async def test_a_market_at_the_gate_is_in_line(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    one = played(wait_turn=trio.sleep_forever)
    one.feed.link.set_up()
    await start(one, nursery)
    assert (one.row.is_in_line, one.row.subscribed_at, one.asked) == (True, None, [])


async def test_from_the_opening_until_it_is_subscribed_again_a_market_misses_prices(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.place.gaps.tick(now_us())

    def is_closed(request: Subscribe) -> None:
        one.row.hours.refused(at_us=now_us())
        request.answer.fail(MarketClosed("closed"))

    one.answer_with(is_closed)
    one.feed.link.set_up()
    await start(one, nursery)
    assert one.place.gaps.open is not None
    assert one.place.gaps.open.cause == Cause.CLOSED
    one.answer_with(ignore)
    one.row.hours.listed(Instrument("EURUSDT"), at_us=now_us())
    one.feed.link.poke()
    await wait_all_tasks_blocked()
    assert len(one.asked) == 2
    assert one.place.gaps.open.cause == Cause.DISCONNECT


async def test_a_session_lost_at_the_gate_is_not_asked(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gate = trio.Event()
    one = played(wait_turn=gate.wait)
    one.feed.link.set_up()
    await start(one, nursery)
    one.feed.link.set_down()
    gate.set()
    await wait_all_tasks_blocked()
    assert (one.asked, one.row.is_in_line, one.row.restarts) == ([], False, 1)


async def test_a_lost_session_counts_one_restart_and_the_next_is_subscribed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.feed.link.set_up()
    await start(one, nursery)
    one.feed.link.set_down()
    await wait_all_tasks_blocked()
    assert (one.row.subscribed_at, one.row.restarts) == (None, 1)
    session = one.feed.link.set_up()
    await wait_all_tasks_blocked()
    assert [request.session for _, request in one.asked] == [session - 1, session]
    assert (one.kinds(), one.row.restarts) == ([Subscribe, Subscribe], 1)


async def test_a_request_that_fails_with_the_session_is_no_crash(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()

    def lose(request: Subscribe) -> None:
        one.feed.link.set_down()
        request.answer.fail(ConnectionLost("dropped"))

    one.answer_with(lose)
    one.feed.link.set_up()
    await start(one, nursery)
    assert (one.errors, one.row.restarts, one.row.subscribed_at) == ([], 1, None)


async def test_a_refused_symbol_ends_the_run_for_good(autojump_clock: MockClock) -> None:
    one = played()
    one.answer_with(lambda request: request.answer.fail(PermanentError("no such symbol")))
    one.feed.link.set_up()
    async with trio.open_nursery() as nursery:
        await start(one, nursery)
        nursery.cancel_scope.cancel()
    assert [type(error) for error in one.errors] == [PermanentError]


async def test_a_venue_that_never_confirms_is_given_up_after_ten_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.answer_with(ignore)
    one.feed.link.set_up()
    started = trio.current_time()
    await start(one, nursery)
    await trio.sleep_until(started + ANSWER_WITHIN_S + 0.1)
    assert [type(error) for error in one.errors] == [VenueSilent]


async def test_a_market_that_ends_is_no_longer_subscribed(autojump_clock: MockClock) -> None:
    one = played()
    one.feed.link.set_up()
    async with trio.open_nursery() as nursery:
        await start(one, nursery)
        nursery.cancel_scope.cancel()
    assert one.row.subscribed_at is None


async def test_a_market_follows_its_mailbox_while_it_waits_at_the_gate(autojump_clock: MockClock) -> None:
    feed = make_feed("EURUSDT")
    told = told_by(market=EURUSD)
    place = attrs.evolve(feed.market_place("EURUSDT"), wait_turn=trio.sleep_forever, desk=told.place)
    one = Market(place)
    feed.link.set_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        feed.port("EURUSDT").mailbox.put_nowait([tick(7)])
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert told.notes.ticks == [tick(7)]


# --- staleness --------------------------------------------------------------------------------


async def test_a_silent_market_is_subscribed_again_when_it_is_stale(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.feed.link.set_up()
    await start(one, nursery)
    subscribed_at = trio.current_time()
    await trio.sleep(STALE_AFTER_S + 0.1)
    assert one.kinds() == [Subscribe, Resubscribe]
    assert one.asked[1][0] == pytest.approx(subscribed_at + STALE_AFTER_S)
    assert one.row.restarts == 1


async def test_subscribing_again_does_not_end_staleness(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.feed.link.set_up()
    await start(one, nursery)
    await trio.sleep(STALE_AFTER_S + 1.0)
    assert one.row.is_stale(trio.current_time())
    one.give_datum()
    assert not one.row.is_stale(trio.current_time())


async def test_a_market_with_data_is_left_alone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    one = played()
    one.feed.link.set_up()
    await start(one, nursery)
    for _ in range(20):
        await trio.sleep(STALE_AFTER_S - 1.0)
        one.give_datum()
    assert one.kinds() == [Subscribe]


async def test_a_market_that_stays_silent_is_asked_for_with_backoff(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played(resubscribe_max_s=1000.0)
    one.feed.link.set_up()
    await start(one, nursery)
    await trio.sleep(10_000.0)
    times = [at for at, _ in one.asked]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert 10 <= len(waits) <= 10_000 / STALE_AFTER_S
    for attempt, wait_s in enumerate(waits[1:]):
        assert STALE_AFTER_S * 0.999 <= wait_s <= min(1000.0, STALE_AFTER_S * 2**attempt) * 1.001


async def test_a_datum_resets_the_backoff(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    one = played(resubscribe_max_s=1000.0)
    one.feed.link.set_up()
    await start(one, nursery)
    await trio.sleep(5_000.0)
    # Data until the wait that was begun while it was stale is over for sure.
    for _ in range(40):
        one.give_datum()
        await trio.sleep(30.0)
    one.asked.clear()
    one.give_datum()
    silent_since = trio.current_time()
    await trio.sleep(2 * STALE_AFTER_S + 1.0)
    times = [at - silent_since for at, _ in one.asked]
    assert times == pytest.approx([STALE_AFTER_S, 2 * STALE_AFTER_S])


async def test_a_market_that_recovers_while_it_is_in_line_is_not_subscribed_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def takes_a_while() -> None:
        await trio.sleep(10.0)

    one = played(wait_turn=takes_a_while)
    one.feed.link.set_up()
    await start(one, nursery)
    await trio.sleep(10.0 + STALE_AFTER_S + 5.0)
    one.give_datum()
    await trio.sleep(20.0)
    assert (one.kinds(), one.row.restarts) == ([Subscribe], 0)


async def test_a_stale_market_in_line_at_the_gate_is_shown_as_stale(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def takes_a_while() -> None:
        await trio.sleep(10.0)

    one = played(wait_turn=takes_a_while)
    one.feed.link.set_up()
    await start(one, nursery)
    await trio.sleep(10.0 + STALE_AFTER_S + 5.0)
    assert (one.row.is_in_line, one.row.is_stale(trio.current_time())) == (False, True)


async def test_a_stale_market_whose_venue_does_not_answer_is_no_crash(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.feed.link.set_up()
    await start(one, nursery)
    one.answer_with(ignore)
    await trio.sleep(5 * STALE_AFTER_S)
    assert one.errors == []
    assert one.kinds().count(Resubscribe) >= 2


async def test_a_session_lost_while_stale_is_told_apart(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one = played()
    one.feed.link.set_up()
    await start(one, nursery)
    await trio.sleep(STALE_AFTER_S + 1.0)
    one.feed.link.set_down()
    await wait_all_tasks_blocked()
    assert (one.errors, one.row.subscribed_at) == ([], None)
    one.feed.link.set_up()
    await wait_all_tasks_blocked()
    assert one.kinds() == [Subscribe, Resubscribe, Subscribe]


# --- with a real connection and a loopback server -------------------------------------------------


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while the kernel carries something over loopback."""
    return MockClock(autojump_threshold=0.05)


async def run_until_lost(feed: Feed) -> None:
    with contextlib.suppress(ConnectionLost, BaseExceptionGroup):
        await feed.run_connection()


async def settled() -> None:
    await wait_all_tasks_blocked(0.02)


async def test_a_price_travels_from_the_venue_to_the_market(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, trio.open_nursery() as nursery:
        feed = make_feed("EURUSDT", url=url)
        told = told_by(market=EURUSD)
        one = Market(attrs.evolve(feed.market_place("EURUSDT"), desk=told.place))
        nursery.start_soon(feed.run_connection)
        nursery.start_soon(one.run)
        await settled()
        await venue.send(trade("EURUSDT", 7, price="1.25"))
        await settled()
        [seen] = told.notes.ticks
        assert (seen.price, [tick.seq for tick in feed.recorded()]) == (1.25, [7])
        nursery.cancel_scope.cancel()


async def test_a_market_that_crashed_attaches_again_without_a_second_subscribe(
    patient_clock: MockClock,
) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, trio.open_nursery() as nursery:
        feed = make_feed("EURUSDT", url=url)
        nursery.start_soon(feed.run_connection)
        with trio.move_on_after(5.0):
            await feed.run_market("EURUSDT")
        await venue.send(trade("EURUSDT", 7))  # while it is down
        await settled()
        with trio.move_on_after(5.0):
            await feed.run_market("EURUSDT")
        nursery.cancel_scope.cancel()
    assert venue.methods() == ["SUBSCRIBE"]
    assert [tick.seq for tick in feed.recorded()] == [7]


async def test_ticks_that_waited_for_stored_candles_are_not_lost_where_the_market_starts_over(
    autojump_clock: MockClock,
) -> None:
    waits = [trio.sleep_forever, trio.lowlevel.checkpoint]

    async def show_stored(*_: object) -> None:
        await waits.pop(0)()

    told = told_by(market=EURUSD, show_stored=show_stored, is_warm=False)
    place = attrs.evolve(make_feed("EURUSDT").market_place("EURUSDT"), desk=told.place)
    for number in (1, 2):
        place.mailbox.put_nowait([tick(number)])
        with trio.move_on_after(1.0):
            await Market(place).run()
    assert told.notes.ticks == [tick(1), tick(2)]


async def test_a_market_that_was_stopped_and_started_is_subscribed_anew(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, trio.open_nursery() as nursery:
        feed = make_feed("EURUSDT", url=url)
        nursery.start_soon(feed.run_connection)
        with trio.move_on_after(5.0):
            await feed.run_market("EURUSDT")
        feed.connection.requests.put_nowait(Unsubscribe(symbol="EURUSDT"))
        with trio.move_on_after(5.0):
            await feed.run_market("EURUSDT")
        nursery.cancel_scope.cancel()
    assert venue.methods() == ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]


async def test_a_market_comes_back_with_the_next_session(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, trio.open_nursery() as nursery:
        feed = make_feed("EURUSDT", url=url)
        nursery.start_soon(feed.run_market, "EURUSDT")
        for _ in range(2):
            nursery.start_soon(run_until_lost, feed)
            await trio.sleep(1.0)
            assert feed.port("EURUSDT").row.subscribed_at is not None
            await venue.clients[-1].aclose(1001)
            await trio.sleep(1.0)
            assert feed.port("EURUSDT").row.subscribed_at is None
        nursery.cancel_scope.cancel()
    assert venue.methods() == ["SUBSCRIBE", "SUBSCRIBE"]
    assert feed.port("EURUSDT").row.restarts == 2
