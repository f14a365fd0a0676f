"""Another socket takes over before the venue ends the old one."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest
import trio
from feeds import AnswersLikeBinance, Feed, NeverConfirms, make_feed, serving, trade
from loopback import HOST, read_request, tcp_server
from trio.testing import MockClock
from trio_websocket import WebSocketConnection

from actors.connection import ROTATE_AGAIN_S
from actors.line import TAKE_OVER_TIMEOUT_S
from actors.mailbox import Answer
from domain.errors import (
    ConnectionLost,
    MarketdError,
    flatten,
)
from domain.messages import Close, Subscribe, Unsubscribe
from supervisor.supervise import outcome_of
from venues import find_venue

LIFE_S = 120.0  # of a socket, here; a day would be 17,280 pings
SHUTDOWN = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}'


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while the kernel carries something over loopback."""
    return MockClock(autojump_threshold=0.05)


class ConfirmsLate(AnswersLikeBinance):
    """Answers on the first socket at once, on those that come later when it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = trio.Event()

    async def confirm(self, client: WebSocketConnection, number: object) -> None:
        if client is not self.clients[0]:
            await self.goes_on.wait()
        await super().confirm(client, number)


class AnnouncesItsEnd(AnswersLikeBinance):
    """Is about to be shut down, and says so on each socket as soon as it is asked for anything."""

    async def confirm(self, client: WebSocketConnection, number: object) -> None:
        await super().confirm(client, number)
        await client.send_message(SHUTDOWN)


class ConfirmsOnlyTheFirst(AnswersLikeBinance):
    """Answers on the first socket; whoever comes later waits in vain."""

    async def confirm(self, client: WebSocketConnection, number: object) -> None:
        if client is self.clients[0]:
            await super().confirm(client, number)


@attrs.define(kw_only=True)
class Rotating:
    """A running connection that has subscribed its markets."""

    feed: Feed
    errors: list[BaseException]
    ended: trio.Event
    scope: trio.CancelScope

    async def subscribe(self, symbol: str) -> None:
        answer = Answer[None]()
        self.feed.connection.requests.put_nowait(Subscribe(symbol=symbol, session=1, answer=answer))
        await answer.wait()

    def add(self, symbol: str) -> None:
        """Add a market, as new settings do."""
        other = make_feed(symbol)
        self.feed.connection.ports[symbol] = other.port(symbol)


@contextlib.asynccontextmanager
async def rotating(url: str, *symbols: str) -> AsyncIterator[Rotating]:
    venue = attrs.evolve(find_venue("binance"), rotate_after_s=0.9 * LIFE_S)
    feed = make_feed(*symbols, url=url, venue=venue)
    running = Rotating(feed=feed, errors=[], ended=trio.Event(), scope=trio.CancelScope())
    async with trio.open_nursery() as nursery:

        def spawn(
            task: Callable[[], Awaitable[None]], ended: Callable[[Exception | None], None], name: str
        ) -> None:
            async def run() -> None:
                ended(await outcome_of(name, task))

            nursery.start_soon(run, name=name)

        async def run() -> None:
            try:
                with running.scope:
                    await feed.run_connection()
            except (MarketdError, BaseExceptionGroup) as error:
                running.errors += flatten(error)
            running.ended.set()

        feed.connection.spawn = spawn
        nursery.start_soon(run)
        await feed.link.wait_up()
        for symbol in symbols:
            await running.subscribe(symbol)
        yield running
        nursery.cancel_scope.cancel()


async def test_before_its_life_is_over_another_socket_takes_over_without_a_gap(
    patient_clock: MockClock,
) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT", "BTCUSDT") as running:
        await venue.send(trade("EURUSDT", 1))
        await trio.sleep(LIFE_S)
        assert len(venue.clients) == 2
        await venue.send(trade("EURUSDT", 2))
        await trio.sleep(1.0)
        assert [tick.seq for tick in running.feed.recorded()] == [1, 2]
        assert venue.goodbyes == [1000]
        assert running.feed.link.has(1)
        assert running.feed.gaps.take() == []
    assert [streams for _, method, streams in venue.heard if method == "SUBSCRIBE"][2:] == [
        ["btcusdt@aggTrade", "eurusdt@aggTrade"]
    ]


async def test_what_both_sockets_bring_is_recorded_once(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()

    async def send_to_both(client: WebSocketConnection, number: object) -> None:
        for each in venue.clients:
            with contextlib.suppress(Exception):
                await each.send_message(trade("EURUSDT", 5))
        await AnswersLikeBinance.confirm(venue, client, number)

    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        venue.confirm = send_to_both  # type: ignore[method-assign]
        await trio.sleep(LIFE_S)
        assert [tick.seq for tick in running.feed.recorded()] == [5]
        assert running.feed.port("EURUSDT").stamper.duplicates >= 1


async def test_a_shutdown_notice_is_followed_at_once(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        await venue.send(SHUTDOWN)
        await trio.sleep(4.0)
        assert len(venue.clients) == 2
        assert venue.goodbyes == [1000]
        assert running.feed.gaps.take() == []


async def test_it_takes_over_again_and_again(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        await trio.sleep(3.4 * LIFE_S)
        assert len(venue.clients) == 4
        assert len(venue.goodbyes) == 3
        await venue.send(trade("EURUSDT", 1))
        await trio.sleep(1.0)
        assert [tick.seq for tick in running.feed.recorded()] == [1]


async def test_one_that_cannot_take_over_leaves_the_old_one_and_tries_later(patient_clock: MockClock) -> None:
    venue = ConfirmsOnlyTheFirst()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        await venue.send(SHUTDOWN)
        await trio.sleep(TAKE_OVER_TIMEOUT_S + 5.0)
        await venue.clients[0].send_message(trade("EURUSDT", 1))
        await trio.sleep(1.0)
        assert [tick.seq for tick in running.feed.recorded()] == [1]
        assert len(venue.clients) == 2
        await trio.sleep(ROTATE_AGAIN_S)
        assert len(venue.clients) == 3


async def test_the_loss_of_the_socket_that_took_over_ends_the_session(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        await venue.send(trade("EURUSDT", 1), SHUTDOWN)
        await trio.sleep(4.0)
        await venue.clients[-1].aclose(1001)
        await running.ended.wait()
        assert [type(error).__name__ for error in running.errors] == ["ConnectionClosed"]
        assert not running.feed.link.is_up
        assert [gap.cause for gap in running.feed.gaps.take()] == ["disconnect"]


async def test_the_loss_of_the_old_one_while_another_comes_ends_the_session(patient_clock: MockClock) -> None:
    venue = NeverConfirms()
    venue.confirm = AnswersLikeBinance.confirm.__get__(venue)  # type: ignore[method-assign]
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        del venue.confirm  # type: ignore[attr-defined]
        await venue.send(SHUTDOWN)
        await trio.sleep(2.0)
        await venue.clients[0].aclose(1001)
        await running.ended.wait()
        await trio.sleep(1.0)
    assert [type(error).__name__ for error in running.errors] == ["ConnectionClosed"]


async def test_a_stop_says_goodbye_on_the_socket_that_took_over(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        await venue.send(SHUTDOWN)
        await trio.sleep(4.0)
        running.feed.connection.requests.put_nowait(Close())
        await running.ended.wait()
        await trio.sleep(1.0)
        assert venue.methods()[-1] == "UNSUBSCRIBE"
        assert venue.goodbyes == [1000, 1000]
    assert running.errors == []


async def test_whoever_ends_the_connection_ends_every_socket_of_it(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        await trio.sleep(LIFE_S)
        assert len(venue.clients) == 2
        venue.confirm = NeverConfirms.confirm.__get__(venue)  # type: ignore[method-assign]
        await trio.sleep(LIFE_S)
        assert len(venue.clients) == 3  # which could not take over
        running.scope.cancel()
        await running.ended.wait()
        await trio.sleep(1.0)
        assert [client.closed is not None for client in venue.clients] == [True, True, True]
        assert running.feed.row.is_open is False


async def test_what_is_asked_while_another_socket_takes_over_is_asked_there_too(
    patient_clock: MockClock,
) -> None:
    venue = ConfirmsLate()
    async with serving(venue) as url, rotating(url, "EURUSDT", "ADAUSDT") as running:
        with pytest.raises(ConnectionLost):
            await running.subscribe("BTCUSDT")  # not ours yet
        await venue.send(SHUTDOWN)
        await trio.sleep(2.0)
        running.add("BTCUSDT")
        await running.subscribe("BTCUSDT")
        running.feed.connection.requests.put_nowait(Unsubscribe(symbol="ADAUSDT"))
        await trio.sleep(2.0)
        venue.goes_on.set()
        await trio.sleep(4.0)
        assert venue.goodbyes == [1000]
        asked = [(method, streams) for client, method, streams in venue.heard_on if client == 1]
        assert asked == [
            ("SUBSCRIBE", ["adausdt@aggTrade", "eurusdt@aggTrade"]),
            ("UNSUBSCRIBE", ["adausdt@aggTrade"]),
            ("SUBSCRIBE", ["btcusdt@aggTrade"]),
        ]


async def test_who_still_waits_on_the_old_socket_is_told_to_ask_again(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, rotating(url, "EURUSDT") as running:
        venue.confirm = NeverConfirms.confirm.__get__(venue)  # type: ignore[method-assign]
        asked = Answer[None]()
        running.add("BTCUSDT")
        running.feed.connection.requests.put_nowait(Subscribe(symbol="BTCUSDT", session=1, answer=asked))
        await trio.sleep(1.0)
        del venue.confirm  # type: ignore[attr-defined]
        await venue.send(SHUTDOWN)
        with trio.fail_after(8.0), pytest.raises(ConnectionLost):
            await asked.wait()
        await running.subscribe("BTCUSDT")


async def test_a_venue_that_goes_down_altogether_is_not_run_from_again_and_again(
    patient_clock: MockClock,
) -> None:
    venue = AnnouncesItsEnd()
    async with serving(venue) as url, rotating(url, "EURUSDT"):
        await trio.sleep(30.0)
        assert 3 <= len(venue.clients) <= 6
        await trio.sleep(10 * ROTATE_AGAIN_S)
        assert len(venue.clients) <= 18


async def test_a_notice_makes_no_hurry_after_a_socket_that_could_not_take_over(
    patient_clock: MockClock,
) -> None:
    venue = ConfirmsOnlyTheFirst()
    async with serving(venue) as url, rotating(url, "EURUSDT"):
        await venue.send(SHUTDOWN)
        await trio.sleep(TAKE_OVER_TIMEOUT_S + 5.0)
        await venue.clients[0].send_message(SHUTDOWN)
        await trio.sleep(ROTATE_AGAIN_S / 2)
        assert len(venue.clients) == 2


@pytest.mark.parametrize(
    ("status", "wait_s"), [("429 Too Many Requests\r\nRetry-After: 600", 600.0), ("403 Forbidden", 600.0)]
)
async def test_a_venue_that_asks_for_patience_gets_it_from_the_next_socket_too(
    patient_clock: MockClock, status: str, wait_s: float
) -> None:
    venue, knocks = AnswersLikeBinance(), [0.0]

    async def refuse(stream: trio.SocketStream) -> None:
        await read_request(stream)
        knocks.append(trio.current_time())
        await stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    async with serving(venue) as url, rotating(url, "EURUSDT") as running, tcp_server(refuse) as port:
        shared = running.feed.connection.shared
        shared.settings = attrs.evolve(shared.settings, url=f"ws://{HOST}:{port}/stream")
        shared.venue = attrs.evolve(shared.venue, permanent_statuses={403: "set another token"})
        await venue.send(SHUTDOWN)
        await trio.sleep(wait_s - 1.0)
        assert len(knocks) == 2
        assert running.feed.link.is_up


def test_binance_sockets_are_replaced_before_the_day_is_over() -> None:
    assert find_venue("binance").rotate_after_s == pytest.approx(23 * 3600 + 50 * 60)
