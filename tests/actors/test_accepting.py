"""The accepting half of the writer while its disk is full."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.accepting import GOOD_AFTER_S, LOST_TOLD_EVERY_S, Accepting
from actors.mailbox import BatchMailbox, Inbox, Mailbox
from domain.errors import JournalFull
from domain.events import LOGGER, Event
from domain.gaps import Cause, Gap, GapFill, GapLedger
from domain.market import Tick
from domain.messages import ActorEvent
from storage.acceptor import Acceptor
from storage.payloads import Lane
from storage.room import Room
from storage.settings import StorageSettings

MEGABYTE = 1024 * 1024
MARKET = "EURUSD@sim"


@attrs.define
class Disk:
    """A disk of which others take what they like."""

    free: int = 100 * MEGABYTE

    def room(self, folder: Path) -> Room:
        return Room(free=self.free, total=100 * MEGABYTE)


@attrs.define
class Place:
    """An accepting half with its disk and its mailboxes; nobody stores."""

    disk: Disk
    inbox: Inbox
    accepting: Accepting
    sent: int = 0

    async def accept(self, count: int = 1) -> None:
        """Send so many ticks, a microsecond apart, and have them accepted."""
        ticks = [Tick(MARKET, self.sent + n, 0, 1.0, None, None, None, 0) for n in range(count)]
        self.sent += count
        self.inbox.ticks.put_nowait(ticks)
        await self.accepting.accept()


@asynccontextmanager
async def opened(folder: Path, *, max_bytes: int = 50 * MEGABYTE) -> AsyncIterator[Place]:
    inbox = Inbox(
        ticks=BatchMailbox(name="writer/ticks", bound=100_000),
        events=Mailbox[ActorEvent](name="writer/events", bound=100),
        gaps=GapLedger(),
    )
    disk = Disk()
    accepting = Accepting(folder=folder, settings=StorageSettings(), inbox=inbox)
    accepting._acceptor = Acceptor(folder, max_bytes=max_bytes, room_of=disk.room)
    await accepting.open()
    yield Place(disk=disk, inbox=inbox, accepting=accepting)
    await accepting.close()


class Heard(logging.Handler):
    """What was said of the journal: the states."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) is Event.JOURNAL:
            self.states.append(record.__dict__["fields"]["state"])


@contextmanager
def listening() -> Iterator[list[str]]:
    heard = Heard()
    LOGGER.addHandler(heard)
    LOGGER.setLevel(logging.INFO)
    yield heard.states
    LOGGER.removeHandler(heard)


def untold(place: Place) -> list[Gap]:
    """Return the gap rows that the next append would write."""
    return list(place.inbox.gaps._changed.values())


async def test_a_full_journal_that_makes_room_now_and_then_says_so_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    with listening() as states:
        async with opened(tmp_path, max_bytes=MEGABYTE) as place:
            for _ in range(40):
                await place.accept(1_000)
                mock_clock.jump(0.1)
            assert place.accepting.dropped > 0
            assert states == ["full"]
            mock_clock.jump(GOOD_AFTER_S)
            place.accepting.set_stored(Lane.TICKS, place.accepting.accepted_through[Lane.TICKS])
            await place.accept(1_000)
            assert states == ["full", "good"]


async def test_a_full_journal_that_takes_what_comes_is_a_journal(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(tmp_path, max_bytes=MEGABYTE) as place:
        while not place.accepting.dropped:
            await place.accept(1_000)
        assert place.accepting.is_journaled


async def test_a_journal_that_refuses_ticks_is_none_until_it_takes_them_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.disk.free = 0
        await place.accept()
        assert not place.accepting.is_journaled
        place.disk.free = 100 * MEGABYTE
        await place.accept()
        assert place.accepting.is_journaled


async def test_refused_ticks_are_stored_directly_while_the_database_is_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.accepting.is_database_up = True
        place.disk.free = 0
        await place.accept(7)
        assert (place.accepting.direct_ticks, place.accepting.dropped) == (7, 0)
        assert untold(place) == []


async def test_lost_ticks_are_told_at_once_and_then_now_and_then(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(tmp_path) as place:
        await place.accept()
        place.disk.free = 0
        written = []
        for _ in range(300):
            await place.accept()
            mock_clock.jump(0.1)
            written.append(place.accepting.accepted_through[Lane.MONEY])
        assert place.accepting.dropped == 300
    assert 1 <= written[-1] <= 300 * 0.1 / LOST_TOLD_EVERY_S + 1


async def test_gaps_of_lost_ticks_are_whole_as_soon_as_ticks_are_accepted_again(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(tmp_path) as place:
        await place.accept()
        place.disk.free = 0
        for _ in range(30):
            await place.accept()
        place.disk.free = 100 * MEGABYTE
        await place.accept()
        await place.accept()
        gaps = [batch.rows.gaps for batch in place.accepting.shelves[Lane.MONEY].first(max_rows=10**6)]  # type: ignore[union-attr]
        assert gaps[-1] == [Gap(MARKET, 0, 31, Cause.JOURNAL_FULL)]


async def test_gaps_of_lost_ticks_are_told_at_the_end(tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened(tmp_path) as place:
        await place.accept()
        place.disk.free = 0
        for _ in range(30):
            await place.accept()
        finishing = trio.Event()
        finishing.set()
        await place.accepting.run(finishing, lambda: None)
        gaps = [batch.rows.gaps for batch in place.accepting.shelves[Lane.MONEY].first(max_rows=10**6)]  # type: ignore[union-attr]
        assert gaps[-1] == [Gap(MARKET, 0, 31, Cause.JOURNAL_FULL)]


# --- whoever waits for it ---------------------------------------------------------------------


async def test_who_waits_for_what_is_in_the_mailboxes_goes_on_once_it_is_journalled(tmp_path: Path) -> None:
    async with opened(tmp_path) as place, trio.open_nursery() as nursery:
        place.inbox.ticks.put_nowait([Tick(MARKET, 1, 0, 1.0, None, None, None, 0)])
        is_flushed = trio.Event()

        async def wait() -> None:
            await place.accepting.flushed()
            assert place.accepting.accepted == 1
            is_flushed.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not is_flushed.is_set()
        await place.accepting.accept()
        with trio.fail_after(30):
            await is_flushed.wait()


async def test_who_waits_for_nothing_is_not_held_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as place, trio.open_nursery() as nursery:
        nursery.start_soon(place.accepting.flushed)
        await trio.testing.wait_all_tasks_blocked()
        await place.accepting.accept()


async def test_who_waits_is_told_when_the_journal_does_not_take_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as place, trio.open_nursery() as nursery:
        place.disk.free = 0

        async def wait() -> None:
            with pytest.raises(JournalFull):
                await place.accepting.flushed()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await place.accept(count=5)
        assert place.accepting.accepted == 0


async def test_what_was_filled_of_a_gap_is_kept_until_it_can_be_journalled(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        filled = GapFill(MARKET, 1, 9, "stale", "full", "3 ticks")
        place.accepting._acceptor.journal.close()
        place.accepting._acceptor._may_open_at = float("inf")
        place.inbox.gaps.put_fill(filled)
        await place.accepting.accept()
        assert place.inbox.gaps.take_fills() == [filled]
