import contextlib
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from feeds import AnswersLikeBinance, Feed, NeverConfirms, RefusesEverySymbol, make_feed, serving, trade
from loopback import HOST, never_says_goodbye, read_request, tcp_server
from trio.testing import MockClock
from trio_websocket import WebSocketConnection

from actors.mailbox import Answer
from actors.session import MAX_UNDECODABLE, Session
from domain.errors import (
    ConnectionClosed,
    ConnectionLost,
    MarketdError,
    PermanentError,
    RemoteProtocolError,
    VenueThrottled,
    flatten,
)
from domain.market import PriceUpdate
from domain.messages import Close, Resubscribe, Subscribe, Unsubscribe
from venues import find_venue
from venues.events import VenueEvent
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from wire.recording import Direction, Recorder, read
from wire.websocket import CLOSE_TIMEOUT_S

NOON = 1_700_000_000_000_000


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while the kernel carries something over loopback."""
    return MockClock(autojump_threshold=0.05)


# --- handle(), without trio -------------------------------------------------------------------


class Handled:
    """A connection of subscribed markets that is given frames by hand."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        shared = feed.connection.shared
        adapter = shared.venue.make_adapter(SessionContext(settings=shared.settings))
        adapter.subscribe(list(feed.connection.ports))
        feed.connection.wired = dict(feed.connection.ports)
        self.session = Session(feed.connection, adapter=adapter, number=1)

    def take(self, *frames: str | bytes, at: float = 10.0) -> None:
        for frame in frames:
            self.session.handle(frame, received_us=NOON, at=at)


def handled(*symbols: str, market_bound: int = 1024) -> Handled:
    return Handled(make_feed(*symbols, market_bound=market_bound))


def test_a_price_goes_to_the_writer_and_to_its_market_only() -> None:
    both = handled("EURUSDT", "BTCUSDT")
    both.take(trade("EURUSDT", 7))
    (tick,) = both.feed.recorded()
    assert (tick.market, tick.seq, tick.price, tick.received_us) == ("EURUSDT@binance", 7, 1.5, NOON)
    assert both.feed.followed("EURUSDT") == [tick]
    assert both.feed.followed("BTCUSDT") == []


def test_a_price_brings_the_rows_up_to_date() -> None:
    one = handled("EURUSDT")
    one.take(trade("EURUSDT", 7), at=10.0)
    one.take(trade("EURUSDT", 8, price="1.75"), at=12.0)
    row, connection = one.feed.port("EURUSDT").row, one.feed.row
    assert (row.last_tick_at, row.price, row.ticks) == (12.0, 1.75, 2)
    assert row.last_tick_us == 1_700_000_000_008_000
    assert (connection.data_since, connection.data_until, connection.frames) == (10.0, 12.0, 2)


def test_only_a_price_that_ends_a_silence_is_a_change() -> None:
    one = handled("EURUSDT")
    one.feed.port("EURUSDT").row.subscribed_at = 5.0
    for number, at in enumerate([10.0, 11.0, 70.9, 131.0]):
        one.take(trade("EURUSDT", number), at=at)
    assert one.feed.changes == ["EURUSDT@binance"] * 2  # the first, and the one after 60.1 s


def test_what_the_venue_sends_again_is_counted_and_goes_nowhere() -> None:
    one = handled("EURUSDT")
    one.take(trade("EURUSDT", 7), trade("EURUSDT", 7), at=10.0)
    assert len(one.feed.recorded()) == len(one.feed.followed("EURUSDT")) == 1
    assert one.feed.port("EURUSDT").stamper.duplicates == 1


def test_a_duplicate_is_no_datum() -> None:
    one = handled("EURUSDT")
    one.take(trade("EURUSDT", 7), at=10.0)
    one.take(trade("EURUSDT", 7), at=99.0)
    assert one.feed.port("EURUSDT").row.last_tick_at == 10.0


def test_a_full_market_mailbox_drops_the_oldest_but_the_writer_gets_all() -> None:
    one = handled("EURUSDT", market_bound=3)
    one.take(*(trade("EURUSDT", number) for number in range(5)))
    assert [tick.seq for tick in one.feed.recorded()] == [0, 1, 2, 3, 4]
    assert [tick.seq for tick in one.feed.followed("EURUSDT")] == [2, 3, 4]
    assert one.feed.port("EURUSDT").mailbox.dropped == 2


def test_prices_of_a_market_that_was_removed_go_nowhere() -> None:
    one = handled("EURUSDT")
    del one.feed.connection.ports["EURUSDT"]
    del one.feed.connection.wired["EURUSDT"]
    one.take(trade("EURUSDT", 7))
    assert one.feed.recorded() == []


def test_an_unknown_frame_is_counted() -> None:
    one = handled("EURUSDT")
    one.take(trade("BTCUSDT", 7))
    assert (one.feed.row.unknown_frames, one.feed.recorded()) == (1, [])


def test_a_wall_clock_that_steps_back_does_not_stop_the_feed() -> None:
    feed = make_feed("EURUSDT")
    feed.connection.shared.settings = VenueSettings(protocol="binance", source="quotes")
    one = Handled(feed)
    quote = '{"stream":"eurusdt@bookTicker","data":{"u":%d,"b":"1","a":"2"}}'
    for number, received_us in enumerate([NOON, NOON - 3_600_000_000]):
        one.session.handle(quote % number, received_us=received_us, at=10.0)
    assert [tick.ts_us for tick in feed.recorded()] == [NOON, NOON - 3_600_000_000]
    assert feed.port("EURUSDT").stamper.clock_steps == 1


class TellsManyAtOnce:
    """An adapter of a venue that packs several prices into one message."""

    def subscribe(self, symbols: list[str]) -> list[str]:
        return []

    def receive(self, frame: str | bytes) -> list[VenueEvent]:
        return [
            PriceUpdate("EURUSDT", NOON, None, 1.0),
            PriceUpdate("BTCUSDT", NOON, None, -1.0),
            PriceUpdate("BTCUSDT", NOON, None, 2.0),
            PriceUpdate("EURUSDT", NOON, None, 3.0),
        ]


def test_prices_of_one_message_stay_together_for_the_writer_and_part_for_the_markets() -> None:
    feed = make_feed("EURUSDT", "BTCUSDT")
    feed.connection.shared.venue = attrs.evolve(
        find_venue("binance"),
        make_adapter=lambda _: TellsManyAtOnce(),  # type: ignore[arg-type, return-value]
    )
    Handled(feed).take("")
    assert [tick.price for tick in feed.connection.ticks.get_nowait()] == [1.0, 2.0, 3.0]
    assert [(tick.price, tick.seq) for tick in feed.followed("EURUSDT")] == [(1.0, 0), (3.0, 1)]
    assert [tick.price for tick in feed.followed("BTCUSDT")] == [2.0]


# --- what cannot be decoded -------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["garbage", b"\xff", trade("EURUSDT", 1, price="nan")])
def test_one_broken_frame_is_counted_and_skipped(broken: str | bytes) -> None:
    one = handled("EURUSDT")
    one.take(broken, trade("EURUSDT", 7))
    assert [tick.seq for tick in one.feed.recorded()] == [7]
    assert one.feed.row.unknown_frames == 1


@pytest.mark.parametrize("broken", ["garbage", trade("EURUSDT", 1, price="nan")])
def test_twenty_broken_frames_in_a_row_are_too_many(broken: str) -> None:
    one = handled("EURUSDT")
    one.take(*[broken] * (MAX_UNDECODABLE - 1))
    with pytest.raises(RemoteProtocolError, match="20 undecodable messages in a row"):
        one.take(broken)


@pytest.mark.parametrize("sound", [trade("EURUSDT", 7), '{"result":null,"id":1}', trade("BTCUSDT", 7)])
def test_any_sound_frame_breaks_the_row(sound: str) -> None:
    one = handled("EURUSDT")
    for _ in range(2):
        one.take(*["garbage"] * (MAX_UNDECODABLE - 1), sound)
    assert one.feed.row.unknown_frames >= 2 * (MAX_UNDECODABLE - 1)


def test_frames_are_recorded_before_they_are_understood(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "frames.jsonl")
    one = Handled(make_feed("EURUSDT", recorder=recorder))
    one.take("garbage", b"by\xfftes")
    recorder.close()
    assert [frame.frame for frame in read(tmp_path / "frames.jsonl")] == ["garbage", "by\ufffdtes"]


# --- run(), against a loopback server -----------------------------------------------------------


class Running:
    """A connection at work in a nursery, and what its run ended with."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.errors: list[BaseException] = []
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            await self.feed.run_connection()
        except (MarketdError, BaseExceptionGroup) as error:
            self.errors += flatten(error)
        self.ended.set()

    def ask(
        self, symbol: str, *, kind: type[Subscribe] = Subscribe, session: int | None = None
    ) -> Answer[None]:
        answer = Answer[None]()
        session = self.feed.link.session if session is None else session
        self.feed.connection.requests.put_nowait(kind(symbol=symbol, session=session, answer=answer))
        return answer


@contextlib.asynccontextmanager
async def connected(feed: Feed) -> AsyncIterator[Running]:
    """Run the feed's connection, from when its link is up, for the length of the block."""
    async with trio.open_nursery() as nursery:
        running = Running(feed)
        nursery.start_soon(running.run)
        await feed.link.wait_up()
        yield running
        nursery.cancel_scope.cancel()


async def settled() -> None:
    """Wait until nothing more is carried or done."""
    await trio.testing.wait_all_tasks_blocked(0.02)


async def test_a_market_that_subscribes_gets_its_prices(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        await venue.send(trade("EURUSDT", 7), trade("EURUSDT", 8))
        await settled()
        assert [tick.seq for tick in running.feed.recorded()] == [7, 8]
        assert [tick.seq for tick in running.feed.followed("EURUSDT")] == [7, 8]


async def test_an_open_session_shows_on_the_row(patient_clock: MockClock) -> None:
    async with serving(AnswersLikeBinance()) as url, connected(make_feed(url=url)) as running:
        assert running.feed.row.is_open
    assert not running.feed.row.is_open


async def test_a_connection_in_line_at_the_gate_shows_it(autojump_clock: MockClock) -> None:
    feed = make_feed()
    feed.connection.shared.wait_turn = trio.sleep_forever
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run_connection)
        await trio.testing.wait_all_tasks_blocked()
        assert feed.row.is_in_line
        nursery.cancel_scope.cancel()
    assert not feed.row.is_in_line


async def test_an_idle_session_measures_the_round_trip(patient_clock: MockClock) -> None:
    async with serving(AnswersLikeBinance()) as url, connected(make_feed(url=url)) as running:
        await trio.sleep(6.0)
        assert running.feed.row.rtt_ms is not None


async def test_an_idle_session_that_answers_pings_is_kept(patient_clock: MockClock) -> None:
    async with serving(AnswersLikeBinance()) as url, connected(make_feed(url=url)) as running:
        await trio.sleep(120.0)
        assert running.errors == []


async def test_a_dead_peer_is_lost_within_fifteen_seconds(patient_clock: MockClock) -> None:
    async with (
        tcp_server(never_says_goodbye) as port,
        connected(make_feed(url=f"ws://{HOST}:{port}/")) as running,
    ):
        opened = trio.current_time()
        await running.ended.wait()
        assert trio.current_time() == pytest.approx(opened + 15.0)
    assert [type(error) for error in running.errors] == [ConnectionLost]


@pytest.mark.parametrize(
    ("head", "waits_s"),
    [
        ("403 Forbidden", 600.0),
        ("429 Too Many Requests\r\nRetry-After: 2", 600.0),
        ("429 Too Many Requests\r\nRetry-After: 900", 900.0),
    ],
)
async def test_a_venue_that_bans_is_left_alone_as_long_as_its_bans_last(
    patient_clock: MockClock, head: str, waits_s: float
) -> None:
    async def bans(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode())

    async with tcp_server(bans) as port:
        running = Running(make_feed(url=f"ws://{HOST}:{port}/", venue=find_venue("kraken")))
        await running.run()
    (error,) = running.errors
    assert isinstance(error, VenueThrottled)
    assert error.retry_after_s == waits_s


async def test_a_drop_takes_the_link_down_and_fails_who_waits(patient_clock: MockClock) -> None:
    venue = NeverConfirms()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        answer = running.ask("EURUSDT")
        await settled()
        await venue.clients[-1].aclose(1001)
        with pytest.raises(ConnectionLost):
            await answer.wait()
        await running.ended.wait()
    assert not running.feed.link.is_up
    assert not running.feed.row.is_open
    assert [type(error) for error in running.errors] == [ConnectionClosed]


async def test_a_drop_fails_also_what_was_not_read_yet(patient_clock: MockClock) -> None:
    venue = NeverConfirms()
    async with serving(venue) as url, connected(make_feed("A", "B", "C", url=url)) as running:
        running.ask("A")
        await settled()
        running.ask("B")  # waits for its spacing
        await trio.testing.wait_all_tasks_blocked()
        unread = running.ask("C")  # nobody reads it before the drop
        await venue.clients[-1].aclose(1001)
        await running.ended.wait()
        with trio.fail_after(1.0), pytest.raises(ConnectionLost):
            await unread.wait()


async def test_a_request_of_an_earlier_session_is_failed_and_not_sent(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        answer = running.ask("EURUSDT", session=running.feed.link.session - 1)
        with pytest.raises(ConnectionLost):
            await answer.wait()
    assert venue.heard == []


async def test_the_next_session_has_another_number_and_works(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url:
        feed = make_feed("EURUSDT", url=url)
        for _ in range(2):
            async with connected(feed) as running:
                await running.ask("EURUSDT").wait()
                await venue.clients[-1].aclose(1001)
                await running.ended.wait()
    assert feed.link.session == 2
    assert venue.methods() == ["SUBSCRIBE", "SUBSCRIBE"]


async def test_data_of_an_earlier_session_does_not_count_for_the_next(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url:
        feed = make_feed("EURUSDT", url=url)
        async with connected(feed) as running:
            await running.ask("EURUSDT").wait()
            await venue.send(trade("EURUSDT", 7))
            await settled()
            times = [(feed.row.data_since, feed.row.data_until)]
        async with connected(feed):
            times.append((feed.row.data_since, feed.row.data_until))
    assert None not in times[0]
    assert times[1] == (None, None)


async def test_twenty_broken_frames_end_the_session(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed(url=url)) as running:
        await settled()
        await venue.send(*["garbage"] * MAX_UNDECODABLE)
        await running.ended.wait()
    assert [type(error) for error in running.errors] == [RemoteProtocolError]
    assert not running.feed.link.is_up


async def test_a_refused_symbol_is_told_so_and_the_session_goes_on(patient_clock: MockClock) -> None:
    async with serving(RefusesEverySymbol()) as url, connected(make_feed("NONSUCH", url=url)) as running:
        with pytest.raises(PermanentError, match="no such stream"):
            await running.ask("NONSUCH").wait()
        assert running.feed.link.is_up


async def test_a_port_that_nobody_listens_on_is_a_lost_connection() -> None:
    running = Running(make_feed())
    await running.run()
    assert [type(error) for error in running.errors] == [ConnectionLost]
    assert running.feed.link.session == 0


# --- what goes out ----------------------------------------------------------------------------


async def test_a_market_that_asks_again_attaches_without_a_second_subscribe(
    patient_clock: MockClock,
) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        await running.ask("EURUSDT").wait()
    assert venue.methods() == ["SUBSCRIBE"]


async def test_a_stale_market_is_unsubscribed_and_subscribed_again(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        await running.ask("EURUSDT", kind=Resubscribe).wait()
    assert venue.methods() == ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]


async def test_a_gap_begins_where_a_subscription_ends(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        gaps = running.feed.port("EURUSDT").gaps
        await running.ask("EURUSDT").wait()
        await venue.send(trade("EURUSDT", 1))
        await trio.sleep(1.0)
        assert gaps.open is None
        await running.ask("EURUSDT", kind=Resubscribe).wait()
        assert gaps.open is not None
        assert gaps.open[1:4] == (gaps.last_us, None, "disconnect")
        await venue.send(trade("EURUSDT", 2))
        await trio.sleep(1.0)
        assert gaps.open is None


async def test_a_stopped_market_is_unsubscribed(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        running.feed.connection.requests.put_nowait(Unsubscribe(symbol="EURUSDT"))
        await trio.sleep(1.0)
    assert venue.methods() == ["SUBSCRIBE", "UNSUBSCRIBE"]


async def test_markets_that_ask_together_share_a_frame(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("A", "B", url=url)) as running:
        answers = [running.ask("A"), running.ask("B")]
        for answer in answers:
            await answer.wait()
    assert [streams for _, _, streams in venue.heard] == [["a@aggTrade", "b@aggTrade"]]


async def test_markets_let_through_by_one_turn_of_the_gate_share_a_frame(patient_clock: MockClock) -> None:
    venue, opened = AnswersLikeBinance(), trio.Event()
    async with serving(venue) as url, connected(make_feed("A", "B", "C", url=url)) as running:

        async def ask_when_let_through(symbol: str) -> None:
            await opened.wait()
            await running.ask(symbol).wait()

        async with trio.open_nursery() as nursery:
            for symbol in "BC":
                nursery.start_soon(ask_when_let_through, symbol)
            await trio.testing.wait_all_tasks_blocked()
            opened.set()  # as the gate does: the one who leads goes on, the others are woken
            nursery.start_soon(running.ask("A").wait)
    assert [sorted(streams) for _, _, streams in venue.heard] == [["a@aggTrade", "b@aggTrade", "c@aggTrade"]]


async def test_frames_keep_the_venues_spacing(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("A", "B", "C", url=url)) as running:
        for symbol in "ABC":
            await running.ask(symbol).wait()
        await running.ask("A", kind=Resubscribe).wait()
    times = [at for at, _, _ in venue.heard]
    assert len(times) == 5
    assert all(later - earlier >= 0.25 for earlier, later in pairwise(times))


async def test_what_is_sent_is_recorded(tmp_path: Path, patient_clock: MockClock) -> None:
    recorder = Recorder(tmp_path / "frames.jsonl")
    async with (
        serving(AnswersLikeBinance()) as url,
        connected(make_feed("A", url=url, recorder=recorder)) as running,
    ):
        await running.ask("A").wait()
    recorder.close()
    directions = [frame.direction for frame in read(tmp_path / "frames.jsonl")]
    assert directions == [Direction.OUT, Direction.IN]


# --- goodbye ----------------------------------------------------------------------------------


async def test_a_close_unsubscribes_says_goodbye_and_ends_the_run(patient_clock: MockClock) -> None:
    venue = AnswersLikeBinance()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        running.feed.connection.requests.put_nowait(Close())
        await running.ended.wait()
        await settled()
    assert venue.methods() == ["SUBSCRIBE", "UNSUBSCRIBE"]
    assert venue.goodbyes == [1000]
    assert running.errors == []
    assert not running.feed.row.is_open


async def test_the_reader_lives_until_the_goodbye_is_done(patient_clock: MockClock) -> None:
    class FloodsOnUnsubscribe(AnswersLikeBinance):
        async def confirm(self, client: WebSocketConnection, number: object) -> None:
            if self.methods()[-1] == "UNSUBSCRIBE":
                await self.send(*(trade("EURUSDT", n) for n in range(1000)))
            await super().confirm(client, number)

    venue = FloodsOnUnsubscribe()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        await trio.sleep(1.0)
        asked = trio.current_time()
        running.feed.connection.requests.put_nowait(Close())
        await running.ended.wait()
        assert trio.current_time() < asked + CLOSE_TIMEOUT_S  # it was not cut short
        await settled()
    assert venue.goodbyes == [1000]
    assert [tick.seq for tick in running.feed.recorded()] == list(range(1000))


@pytest.mark.parametrize("symbols", [(), ("EURUSDT",)])
async def test_a_goodbye_that_nobody_answers_is_no_failure(
    symbols: tuple[str, ...], patient_clock: MockClock
) -> None:
    async with (
        tcp_server(never_says_goodbye) as port,
        connected(make_feed(*symbols, url=f"ws://{HOST}:{port}/")) as running,
    ):
        for symbol in symbols:
            running.ask(symbol)
        await trio.testing.wait_all_tasks_blocked()
        asked = trio.current_time()
        running.feed.connection.requests.put_nowait(Close())
        await running.ended.wait()
        assert trio.current_time() <= asked + 3.0
    assert running.errors == []


async def test_a_peer_that_drops_the_socket_during_the_goodbye_is_no_failure(
    patient_clock: MockClock,
) -> None:
    class LeavesOnUnsubscribe(AnswersLikeBinance):
        async def confirm(self, client: WebSocketConnection, number: object) -> None:
            if self.methods()[-1] == "UNSUBSCRIBE":
                await client.aclose(1001)
            else:
                await super().confirm(client, number)

    venue = LeavesOnUnsubscribe()
    async with serving(venue) as url, connected(make_feed("EURUSDT", url=url)) as running:
        await running.ask("EURUSDT").wait()
        running.feed.connection.requests.put_nowait(Close())
        await running.ended.wait()
    assert running.errors == []


async def test_a_cancelled_connection_leaves_its_link_down(patient_clock: MockClock) -> None:
    async with serving(AnswersLikeBinance()) as url:
        feed = make_feed("EURUSDT", url=url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(feed.run_connection))
            await feed.link.wait_up()
            nursery.cancel_scope.cancel()
    assert not feed.link.is_up


def test_a_session_that_takes_over_keeps_its_prices_until_the_others_have_come() -> None:
    old = handled("EURUSDT")
    new = Handled(old.feed)
    new.session.hold_prices()
    new.take(trade("EURUSDT", 9), at=11.0)
    old.take(trade("EURUSDT", 8), trade("EURUSDT", 9), at=11.0)
    new.session.release_prices()
    new.take(trade("EURUSDT", 10), at=12.0)
    assert [tick.seq for tick in old.feed.recorded()] == [8, 9, 10]
