"""Gaps filled from a history that has its faults, without a daemon around."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio
from databases import AnyDatabase, stored_ticks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actors.backfill
from actors.backfill import (
    ANSWER_WITHIN_S,
    BACKOFF_MAX_S,
    LOOK_EVERY_S,
    MOST_AT_ONCE,
    MOST_FAILURES,
    RECALL_AGAIN_S,
    RECALL_EVERY_S,
    SETTLE_US,
    Backfill,
    BackfillPlace,
)
from actors.mailbox import BatchMailbox, Inbox, Mailbox
from actors.writer import Writer
from domain.clock import now_us
from domain.errors import (
    ConnectionLost,
    JournalFull,
    MarketdError,
    RejectedError,
    RemoteProtocolError,
    StorageBusy,
    VenueThrottled,
)
from domain.gaps import Gap, GapFill, GapLedger
from domain.market import HistoryCandle, PriceUpdate, Tick
from domain.unfilled import UnfilledGaps
from storage.settings import StorageSettings
from venues.offers import History, HistoryKind, HistoryPage, HistoryRequest, VenueCandle

SECOND_US = 1_000_000
BASE_US = 1_700_000_100 * SECOND_US  # whole minutes
MARKET, OTHER = "EURUSD@sim", "GBPUSD@sim"
SPACING_S = 0.5
GUARD_S = 3_600.0 * 24  # of the mock clock: only against hanging
TICKS = History(kind=HistoryKind.TICKS, spacing_s=SPACING_S)


def gap(from_us: int, to_us: int, *, market: str = MARKET) -> Gap:
    return Gap(market, BASE_US + from_us, BASE_US + to_us, "disconnect")


def update(at_us: int, price: float = 1.0) -> PriceUpdate:
    return PriceUpdate("frxEURUSD", BASE_US + at_us, None, price)


@attrs.define
class Venue:
    """Knows a tick every 10 µs, and gives `page_size` of them at once."""

    page_size: int = 100
    asked: list[tuple[float, HistoryRequest]] = attrs.field(factory=list)

    async def ask(self, request: HistoryRequest) -> HistoryPage:
        self.asked.append((trio.current_time(), request))
        await trio.sleep(0.01)
        return self.answer(request)

    def answer(self, request: HistoryRequest) -> HistoryPage:
        first = (request.from_us - BASE_US) // 10 * 10 + 10
        times = range(first, request.to_us - BASE_US, 10)
        some = [update(at_us) for at_us in times[: self.page_size]]
        is_last = len(times) <= self.page_size
        through_us = request.to_us if is_last else BASE_US + times[self.page_size - 1]
        return HistoryPage(request.id, ticks=tuple(some), through_us=through_us)

    @property
    def requests(self) -> list[tuple[str, int, int]]:
        return [(each.symbol, each.from_us - BASE_US, each.to_us - BASE_US) for _, each in self.asked]


class SendsEachPageTwice(Venue):
    """In the wrong order, and with what lies around."""

    def answer(self, request: HistoryRequest) -> HistoryPage:
        page = super().answer(request)
        around = (update(request.from_us - BASE_US - 10), update(request.to_us - BASE_US + 10))
        return page._replace(ticks=(*page.ticks[::-1], *around, *page.ticks))


class NeverAnswers(Venue):
    async def ask(self, request: HistoryRequest) -> HistoryPage:
        self.asked.append((trio.current_time(), request))
        await trio.sleep_forever()
        raise AssertionError


@attrs.define
class FailsAtFirst(Venue):
    """With one error after the other, then it works."""

    errors: list[MarketdError] = attrs.field(factory=list)

    def answer(self, request: HistoryRequest) -> HistoryPage:
        if self.errors:
            raise self.errors.pop(0)
        return super().answer(request)


@attrs.define
class FailsForOneMarket(Venue):
    symbol: str = "EURUSD"

    def answer(self, request: HistoryRequest) -> HistoryPage:
        if request.symbol == self.symbol:
            raise RemoteProtocolError("what it sends makes no sense")
        return super().answer(request)


@attrs.define(kw_only=True, eq=False)
class Place:
    """A backfill and what it writes."""

    venue: Venue
    history: History = TICKS
    bound: int = 100_000
    idle: Callable[[str], bool] = lambda _: True
    flush_errors: list[MarketdError] = attrs.field(factory=list)
    in_database: dict[Gap, int] = attrs.field(factory=dict)
    read_errors: list[MarketdError] = attrs.field(factory=list)
    reads: int = 0
    unfilled: UnfilledGaps = attrs.field(factory=UnfilledGaps)
    # what is accepted
    ticks: list[Tick] = attrs.field(factory=list)
    lists: list[int] = attrs.field(factory=list)
    candles: list[HistoryCandle] = attrs.field(factory=list)
    inbox: Inbox = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.inbox = Inbox(
            ticks=BatchMailbox(name="writer/ticks", bound=self.bound),
            events=Mailbox(name="writer/events", bound=10),
            gaps=GapLedger(),
        )
        self.inbox.gaps.on_closed = self.unfilled.put

    def accept(self) -> None:
        with contextlib.suppress(trio.WouldBlock):
            while True:
                some = self.inbox.ticks.get_nowait()
                self.lists.append(len(some))
                self.ticks += some
        with contextlib.suppress(trio.WouldBlock):
            while True:
                self.candles += self.inbox.candles.get_nowait()

    async def flushed(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.flush_errors:
            raise self.flush_errors.pop(0)
        self.accept()

    async def read(self, work: object) -> dict[Gap, int]:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if self.read_errors:
            raise self.read_errors.pop(0)
        return self.in_database

    def make(self) -> Backfill:
        place = BackfillPlace(
            venue="sim",
            history=self.history,
            timeframes_s=[60],
            keep_us=14 * 86_400 * SECOND_US,
            unfilled=self.unfilled,
            inbox=self.inbox,
            ask=self.venue.ask,
            is_idle=self._is_idle,
            flushed=self.flushed,
            read=self.read,
        )
        return Backfill(place)

    def _is_idle(self, market: str) -> bool:
        return self.idle(market)

    async def run(self, *gaps: Gap, seconds: float = 60.0) -> list[GapFill]:
        """Let it work for so long; return the words on gaps."""
        for each in gaps:
            self.inbox.gaps.put(each)
        with trio.move_on_after(seconds):
            await self.make().run()
        return self.inbox.gaps.take_fills()

    def times(self) -> list[int]:
        return [tick.ts_us - BASE_US for tick in self.ticks]


# --- as it should be --------------------------------------------------------------------------


async def test_a_gap_is_filled_page_by_page_at_the_venues_pace(autojump_clock: object) -> None:
    place = Place(venue=Venue(page_size=4))
    [word] = await place.run(gap(5, 100))
    assert word[:5] == (MARKET, BASE_US + 5, BASE_US + 100, "disconnect", "full")
    assert word.note == "9 ticks"
    assert place.times() == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert {tick.source for tick in place.ticks} == {"backfill"}
    assert [each[1:] for each in place.venue.requests] == [(5, 100), (40, 100), (80, 100)]
    asked = [at for at, _ in place.venue.asked]
    assert all(later - earlier >= SPACING_S for earlier, later in pairwise(asked))
    assert len({request.id for _, request in place.venue.asked}) == 3


async def test_the_gap_that_ended_last_is_filled_first(autojump_clock: object) -> None:
    place = Place(venue=Venue())
    words = await place.run(gap(0, 100), gap(500, 600), gap(200, 300, market=OTHER))
    assert [(word.market, word.from_us - BASE_US) for word in words] == [
        (MARKET, 500),
        (OTHER, 200),
        (MARKET, 0),
    ]


async def test_a_gap_that_comes_while_it_waits_is_filled_at_once(autojump_clock: object) -> None:
    place = Place(venue=Venue())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.make().run)
        await trio.sleep(100)
        place.inbox.gaps.put(gap(0, 100))
        await trio.sleep(2 * LOOK_EVERY_S)
        nursery.cancel_scope.cancel()
    assert len(place.inbox.gaps.take_fills()) == 1


async def test_a_gap_that_has_just_ended_is_left_to_settle(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    wall = now_us()
    began = trio.current_time()
    monkeypatch.setattr(
        actors.backfill, "now_us", lambda: wall + round((trio.current_time() - began) * SECOND_US)
    )
    place = Place(venue=Venue(page_size=10**9))
    await place.run(Gap(MARKET, wall - 90, wall, "stale"), seconds=60)
    [(asked_at, _)] = place.venue.asked
    assert SETTLE_US / SECOND_US <= asked_at - began <= SETTLE_US / SECOND_US + 2 * LOOK_EVERY_S


async def test_nothing_is_asked_while_the_market_is_not_live(autojump_clock: object) -> None:
    place = Place(venue=Venue(), idle=lambda market: market == OTHER)
    words = await place.run(gap(500, 600), gap(0, 100, market=OTHER))
    assert [word.market for word in words] == [OTHER]
    place.idle = lambda _: True
    assert [word.market for word in await place.run()] == [MARKET]


async def test_a_market_that_is_lost_between_two_pages_is_not_asked_on(autojump_clock: object) -> None:
    place = Place(venue=Venue(page_size=4))
    place.idle = lambda _: len(place.venue.asked) != 1
    assert await place.run(gap(0, 100)) == []
    assert len(place.venue.asked) == 1


async def test_ticks_wait_for_live_ones_and_come_in_small_lists(autojump_clock: object) -> None:
    place = Place(venue=Venue(page_size=5_000), bound=20_000)
    live = [Tick(OTHER, n, 0, 1.0, None, None, None, 0) for n in range(3_000)]
    place.inbox.ticks.put_nowait(live)
    await place.run(gap(0, 25_005))
    assert place.inbox.ticks.used == 3_000  # above a tenth: not one more
    place.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.make().run)
        for _ in range(100):
            await trio.sleep(1)
            assert place.inbox.ticks.used < 2_000 + MOST_AT_ONCE
            place.accept()
        nursery.cancel_scope.cancel()
    assert place.lists[1:] == [1_000, 1_000, 500]


async def test_a_row_is_written_only_once_its_ticks_are_journalled(autojump_clock: object) -> None:
    place = Place(venue=Venue(), flush_errors=[JournalFull("no room")])
    async with trio.open_nursery() as nursery:
        place.unfilled.put(gap(0, 100))
        nursery.start_soon(place.make().run)
        await trio.sleep(1)
        assert place.inbox.gaps.take_fills() == []
        nursery.cancel_scope.deadline = trio.current_time() + BACKOFF_MAX_S
    [word] = place.inbox.gaps.take_fills()
    assert word.fill == "full"
    assert len(place.venue.asked) == 2  # what the journal did not take is asked for again


# --- what the venue does ----------------------------------------------------------------------


async def test_a_page_that_comes_twice_is_taken_once(autojump_clock: object) -> None:
    place = Place(venue=SendsEachPageTwice(page_size=3))
    [word] = await place.run(gap(5, 100))
    assert place.times() == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert (word.fill, word.note) == ("full", "9 ticks")


async def test_a_venue_that_never_answers_is_given_up_for_now(autojump_clock: object) -> None:
    place = Place(venue=NeverAnswers())
    [word] = await place.run(gap(0, 100), seconds=MOST_FAILURES * (ANSWER_WITHIN_S + BACKOFF_MAX_S))
    assert word.fill == "none"
    assert "sent no history" in word.note
    assert len(place.venue.asked) == MOST_FAILURES


async def test_a_gap_that_fails_does_not_hold_the_others_up(autojump_clock: object) -> None:
    place = Place(venue=FailsForOneMarket())
    words = await place.run(gap(500, 600), gap(0, 100, market=OTHER), seconds=MOST_FAILURES * BACKOFF_MAX_S)
    assert [(word.market, word.fill, word.note) for word in words] == [
        (MARKET, "none", "what it sends makes no sense"),
        (OTHER, "full", "9 ticks"),
    ]


async def test_a_venue_that_asks_for_patience_gets_it(autojump_clock: object) -> None:
    place = Place(venue=FailsAtFirst(errors=[VenueThrottled("slower", retry_after_s=500)]))
    [word] = await place.run(gap(0, 100), seconds=600)
    first, second = (at for at, _ in place.venue.asked)
    assert (second - first >= 500, word.fill) == (True, "full")


async def test_a_lost_connection_is_no_reason_to_give_up(autojump_clock: object) -> None:
    errors: list[MarketdError] = [ConnectionLost("gone")] * (3 * MOST_FAILURES)
    place = Place(venue=FailsAtFirst(errors=errors))
    [word] = await place.run(gap(0, 100), seconds=GUARD_S)
    assert word.fill == "full"
    asked = [at for at, _ in place.venue.asked]
    assert asked[-1] - asked[0] >= 3 * MOST_FAILURES  # not in a storm


async def test_a_venue_that_says_no_is_not_asked_again(autojump_clock: object) -> None:
    place = Place(venue=FailsAtFirst(errors=[RejectedError("not yours")]))
    [word] = await place.run(gap(0, 100))
    assert (word.fill, word.note, len(place.venue.asked)) == ("none", "not yours", 1)


async def test_candles_are_handed_over_where_there_are_no_ticks(autojump_clock: object) -> None:
    class KnowsCandles(Venue):
        def answer(self, request: HistoryRequest) -> HistoryPage:
            assert request.timeframe_s == 60
            opens = range(BASE_US, BASE_US + 600 * SECOND_US, 60 * SECOND_US)
            candles = tuple(VenueCandle(open_us, 1.0, 2.0, 0.5, 1.5) for open_us in opens)
            return HistoryPage(request.id, candles=candles, through_us=request.to_us)

    history = History(kind=HistoryKind.CANDLES, spacing_s=1.0, timeframes_s=(60, 3_600))
    place = Place(venue=KnowsCandles(), history=history)
    [word] = await place.run(gap(5, 200 * SECOND_US))
    assert [(each.open_us - BASE_US) // SECOND_US for each in place.candles] == [60, 120]
    assert (word.fill, word.note.split(" of ")[0], place.ticks) == ("candles", "2 candles", [])


async def test_what_the_venue_no_longer_has_is_not_asked_for(autojump_clock: object) -> None:
    history = attrs.evolve(TICKS, longest_us=SECOND_US)
    place = Place(venue=Venue(), history=history)
    [word] = await place.run(gap(0, 100))
    assert (word.fill, place.venue.asked) == ("not_available", [])


# --- what the tracker says meanwhile ----------------------------------------------------------


async def test_a_gap_that_is_shortened_meanwhile_is_filled_no_further(autojump_clock: object) -> None:
    class IsOvertaken(Venue):
        def answer(self, request: HistoryRequest) -> HistoryPage:
            if len(self.asked) == 1:
                place.inbox.gaps.put(gap(0, 55))
            return super().answer(request)

    place = Place(venue=IsOvertaken())
    [word] = await place.run(gap(0, 100))
    assert place.times() == [10, 20, 30, 40, 50]
    assert (word.to_us, word.fill) == (BASE_US + 55, "full")


async def test_a_gap_that_becomes_longer_is_filled_to_its_new_end(autojump_clock: object) -> None:
    place = Place(venue=Venue())
    [first] = await place.run(gap(0, 55))
    [second] = await place.run(gap(0, 75))
    assert (first.to_us, second.to_us) == (BASE_US + 55, BASE_US + 75)
    assert sorted(set(place.times())) == [10, 20, 30, 40, 50, 60, 70]


# --- what earlier runs left -------------------------------------------------------------------


async def test_what_earlier_runs_left_is_filled_too_from_where_they_were(autojump_clock: object) -> None:
    left = gap(0, 100)._replace(fill="partly", fill_note="5 ticks")
    place = Place(venue=Venue(), in_database={left: BASE_US + 49})
    [word] = await place.run()
    assert (place.times(), word.fill) == ([50, 60, 70, 80, 90], "full")


async def test_a_database_that_is_away_is_asked_again_and_then_seldom(autojump_clock: object) -> None:
    place = Place(venue=Venue(), read_errors=[StorageBusy("away")] * 2)
    await place.run(seconds=2 * RECALL_AGAIN_S + RECALL_EVERY_S * 2.5)
    assert place.reads == 5


async def test_a_new_actor_begins_a_gap_anew_and_adds_nothing_twice(autojump_clock: object) -> None:
    place = Place(venue=Venue(page_size=4))
    await place.run(gap(0, 100), seconds=SPACING_S * 1.5)
    assert 0 < len(place.venue.asked) < 3
    place.accept()
    await place.run()
    unique = {tick[:3] for tick in place.ticks}
    assert len(unique) == 9 < len(place.ticks)


# --- whatever happens -------------------------------------------------------------------------


@attrs.define
class DoesAsItLikes(Venue):
    """Knows what happened, and answers with any part of it, doubled, unordered, with what lies around.

    The one thing it keeps to: up to `through_us` it tells all there is.
    """

    happened: Sequence[int] = ()
    whims: list[tuple[int, int, int]] = attrs.field(factory=list)

    def answer(self, request: HistoryRequest) -> HistoryPage:
        ahead, before, shuffle = self.whims.pop(0) if self.whims else (10_000, 0, 0)
        if ahead == 0:
            raise RemoteProtocolError("a whim")
        through_us = request.from_us - BASE_US + ahead
        told = [update(at, 1.0 + at % 7) for at in self.happened if at <= through_us + shuffle % 30]
        told = [each for each in told if (each.ts_us or 0) > request.from_us - before]
        if shuffle % 2:
            told = [*told[::-1], *told]
        return HistoryPage(request.id, ticks=tuple(told), through_us=BASE_US + through_us)


some_whims = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 50), st.integers(0, 99)), max_size=12)
some_gaps = st.lists(st.tuples(st.integers(0, 250), st.integers(2, 120)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    happened=st.lists(st.integers(0, 400), max_size=30, unique=True).map(sorted),
    gaps=some_gaps,
    whims=some_whims,
    runs=st.lists(st.floats(0.1, 40.0), max_size=3),
)
def test_whatever_happens_the_table_has_each_tick_once_and_its_gaps_tell_the_truth(
    happened: list[int],
    gaps: list[tuple[int, int]],
    whims: list[tuple[int, int, int]],
    runs: list[float],
) -> None:
    rows, at = [], 0
    for wait_us, length_us in gaps:  # one after the other
        rows.append(gap(at + wait_us, at + wait_us + length_us))
        at += wait_us + length_us
    # A gap lies between two ticks that came live: they are to come no second time.
    edges = {at - BASE_US for row in rows for at in (row.from_us, row.to_us or 0)}
    happened = sorted({*happened, *edges})

    async def story() -> Place:
        place = Place(venue=DoesAsItLikes(happened=happened, whims=whims))
        words = {}
        for seconds in (*runs, GUARD_S / 10):  # a kill in between: nothing but the table is left
            for row in rows:
                if (row.key not in words) or words[row.key].fill in ("none", "partly"):
                    place.unfilled.put(row)
            for word in await place.run(seconds=seconds):
                words[word.key] = word
            place.accept()
        check(place, words)
        return place

    def check(place: Place, words: dict[tuple[str, int, str], GapFill]) -> None:
        table = {(tick.ts_us - BASE_US, tick.seq): tick.price for tick in place.ticks}
        assert set(table) <= {(at, 0) for at in happened}  # no double, nothing that never was
        for row in rows:
            from_us, to_us = row.from_us - BASE_US, (row.to_us or 0) - BASE_US
            inside = {at for at in happened if from_us < at < to_us}
            if words[row.key].fill == "full":
                assert inside <= {at for at, _ in table}
        covered = [at for at, _ in table if not any(_is_inside(row, at) for row in rows)]
        assert covered == []

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


def _is_inside(row: Gap, at_us: int) -> bool:
    return row.from_us < BASE_US + at_us < (row.to_us or 0)


# --- with a real writer -----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def writing(folder: Path, database: AnyDatabase, inbox: Inbox) -> AsyncIterator[Writer]:
    writer = Writer(
        folder=folder,
        settings=StorageSettings(flush_after_ms=1, store_every_ms=5),
        target=database.target,
        inbox=inbox,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(writer.run))
        yield writer
        await writer.finish()


async def until(is_true: Callable[[], object]) -> None:
    with trio.fail_after(30.0):  # only against hanging
        while not is_true():  # noqa: ASYNC110
            await trio.sleep(0.002)  # what is waited for happens outside of trio


async def test_a_database_has_what_was_missing_after_a_restart_in_between(
    database: AnyDatabase, tmp_path: Path
) -> None:
    live = [Tick(MARKET, BASE_US + at, 0, 1.0, None, None, None, 0) for at in (0, 100)]
    row = gap(0, 100)
    history = attrs.evolve(TICKS, spacing_s=0.01)

    async def run(place: Place, is_done: Callable[[], object]) -> None:
        async with writing(tmp_path, database, place.inbox) as writer:
            await writer.first_contact(deadline_s=30.0)
            backfill = place.make()
            backfill._place.flushed = writer.flushed
            backfill._place.read = writer.read
            backfill._place.keep_us = now_us()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(backfill.run)
                await until(is_done)
                nursery.cancel_scope.cancel()
            await writer.flushed()

    first = Place(venue=SendsEachPageTwice(page_size=4), history=history)
    first.idle = lambda _: not first.venue.asked
    first.inbox.ticks.put_nowait(live)
    first.inbox.gaps.put(row)
    await run(first, lambda: first.inbox.ticks.peak > len(live))  # a page, and it is stopped
    assert [each[1] for each in database.query("SELECT to_us, fill FROM gap")] == ["none"]

    second = Place(venue=SendsEachPageTwice(page_size=4), history=history)
    await run(second, lambda: second.venue.asked and not len(second.unfilled))
    assert len(second.venue.asked) == 3
    assert database.query("SELECT from_us, to_us, fill, fill_note FROM gap") == [
        (row.from_us, row.to_us, "full", "9 ticks")
    ]
    stored = stored_ticks(database)
    assert [tick.ts_us - BASE_US for tick in stored] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert [tick.source for tick in stored] == ["live", *["backfill"] * 9, "live"]
