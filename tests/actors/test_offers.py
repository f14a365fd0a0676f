"""The ledger's rows on their way into the journal: who waits for them is told the truth."""

from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from journals import read_all
from ledgers import a_signal, a_step, a_trade, as_money, intent, rows_of, settled

from actors.accepting import Accepting
from actors.mailbox import Answer, BatchMailbox, Inbox, Mailbox
from domain.database import DatabaseState
from domain.errors import JournalFull
from domain.gaps import Gap, GapLedger
from domain.market import Tick
from domain.messages import KeepLedger
from domain.trades import LedgerRow
from storage.acceptor import Accepted, Acceptor
from storage.journal import RESERVE_NAME
from storage.payloads import Lane, Money
from storage.room import Room
from storage.settings import StorageSettings

MEGABYTE = 1024 * 1024
MINUTE_MS = 60_000
GUARD_S = 30  # against hanging, less than that minute


@attrs.define
class Place:
    """An accepting half, its mailboxes, and what it appended; nobody stores."""

    folder: Path
    inbox: Inbox
    accepting: Accepting
    appended: list[Accepted]
    free: int = 100 * MEGABYTE

    def room(self, _: Path) -> Room:
        return Room(free=self.free, total=100 * MEGABYTE)

    def offer(self, *rows: LedgerRow) -> Answer[None]:
        answer = Answer[None]()
        assert self.inbox.ledger.put_nowait(KeepLedger(rows=rows, answer=answer))
        return answer

    def lose_journal(self) -> None:
        """As a disk does that is gone: the journal cannot be opened again."""
        self.accepting._acceptor.journal.close()
        self.accepting._acceptor._may_open_at = float("inf")

    def ledger_in_journal(self) -> Money:
        return as_money(*(row for batch in read_all(self.folder) for row in rows_of(batch)))


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    inbox = Inbox(
        ticks=BatchMailbox(name="writer/ticks", bound=100_000),
        events=Mailbox(name="writer/events", bound=100),
        gaps=GapLedger(),
    )
    accepting = Accepting(folder=tmp_path, settings=StorageSettings(flush_after_ms=MINUTE_MS), inbox=inbox)
    place = Place(folder=tmp_path, inbox=inbox, accepting=accepting, appended=[])
    acceptor = accepting._acceptor = Acceptor(tmp_path, max_bytes=MEGABYTE, room_of=place.room)
    accept = acceptor.accept

    def note(*, money: Money, ticks: Sequence[Tick]) -> Accepted:
        place.appended.append(accept(money=money, ticks=ticks))
        return place.appended[-1]

    acceptor.accept = note  # type: ignore[method-assign]
    await accepting.open()
    return place


def some(count: int, *, first_us: int = 0) -> list[Tick]:
    return [Tick("EURUSD@sim", first_us + n, 0, 1.0, None, None, None, 0) for n in range(count)]


async def failure(answer: Answer[None]) -> str:
    """Return why an answer failed; fail where it did not."""
    with trio.fail_after(GUARD_S), pytest.raises(JournalFull) as failed:
        await answer.wait()
    return str(failed.value)


# --- kept -----------------------------------------------------------------------------------------


async def test_rows_are_answered_once_they_are_in_the_journal(place: Place) -> None:
    answer = place.offer(*intent(1))
    async with trio.open_nursery() as nursery:
        finishing = trio.Event()
        nursery.start_soon(place.accepting.run, finishing, lambda: None)
        with trio.fail_after(GUARD_S):
            await answer.wait()  # long before the time to flush has come
        assert place.ledger_in_journal() == as_money(*intent(1))
        finishing.set()
        place.accepting.wake()


async def test_rows_that_come_while_it_waits_for_its_time_wake_it(place: Place) -> None:
    async with trio.open_nursery() as nursery:
        finishing = trio.Event()
        nursery.start_soon(place.accepting.run, finishing, lambda: None)
        for number in range(3):
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(GUARD_S):
                await place.offer(*intent(number)).wait()
        assert len(place.appended) == 3
        finishing.set()
        place.accepting.wake()


async def test_a_burst_of_rows_and_what_waits_beside_it_is_one_commit(place: Place) -> None:
    async with trio.open_nursery() as nursery:
        finishing = trio.Event()
        nursery.start_soon(place.accepting.run, finishing, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        place.inbox.ticks.put_nowait(some(5))
        answers: list[Answer[None]] = []

        async def decide(number: int) -> None:
            answers.append(place.offer(*intent(number)))

        async with trio.open_nursery() as markets:
            for number in range(27):
                markets.start_soon(decide, number)
        with trio.fail_after(GUARD_S):
            for answer in answers:
                await answer.wait()
        assert [batch.lane for batch in place.appended[0].batches] == [Lane.MONEY, Lane.TICKS]
        assert len(place.appended) == 1
        assert place.accepting.accepted == 5
        finishing.set()
        place.accepting.wake()


async def test_the_rows_of_one_trade_stay_in_their_order(place: Place) -> None:
    signal = a_signal(1)
    trade = a_trade(signal)
    states = ["intended", "sent", "open"]
    steps = [trade._replace(state=state) for state in states]
    for number, step in enumerate(steps):
        place.offer(step, a_step(step, number))
    await place.accepting.accept()
    assert [each.state for each in place.ledger_in_journal().trades] == states


async def test_a_full_journal_lets_ticks_go_for_the_ledger(place: Place) -> None:
    while not place.accepting.dropped:
        place.inbox.ticks.put_nowait(some(1_000))
        await place.accepting.accept()
    offered = [row for number in range(500) for row in intent(number)]
    answer = place.offer(*offered)
    await place.accepting.accept()
    await answer.wait()
    assert place.appended[-1].trouble == ""
    assert place.ledger_in_journal() == as_money(*offered)


async def test_a_full_disk_takes_the_ledger_and_refuses_ticks(place: Place) -> None:
    place.free = 0
    place.inbox.ticks.put_nowait(some(5))
    answer = place.offer(*intent(1))
    await place.accepting.accept()
    await answer.wait()  # what became of the ticks is not its business
    assert place.appended[0].trouble
    assert place.ledger_in_journal() == as_money(*intent(1))


async def test_on_a_disk_without_a_byte_the_reserve_is_given_up_for_the_ledger(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = place.accepting._acceptor.journal
    append = journal._append

    def needs_the_reserve(*arguments: object) -> object:
        if (place.folder / RESERVE_NAME).exists():
            raise JournalFull("no room on the disk")
        return append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "_append", needs_the_reserve)
    assert (place.folder / RESERVE_NAME).exists()
    answer = place.offer(*intent(1))
    await place.accepting.accept()
    await answer.wait()
    assert place.ledger_in_journal() == as_money(*intent(1))


# --- not kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", [DatabaseState.UP, DatabaseState.DOWN])
async def test_what_no_journal_takes_is_its_owners_again_and_nobody_elses(
    place: Place, database: DatabaseState
) -> None:
    place.accepting.is_database_up = database is DatabaseState.UP
    place.lose_journal()
    answer = place.offer(*intent(1))
    place.inbox.gaps.put(Gap("EURUSD@sim", 1, 2, "stale"))
    await place.accepting.accept()
    assert "could not be opened" in await failure(answer)
    gap = Money(gaps=[Gap("EURUSD@sim", 1, 2, "stale")])
    to_be_stored = [rows for _, rows in place.accepting.direct]
    assert to_be_stored == ([gap] if database is DatabaseState.UP else [])
    await place.accepting.reopen()
    await place.accepting.accept()
    assert place.ledger_in_journal() == Money()


async def test_without_a_journal_rows_of_the_ledger_alone_leave_nothing_to_store(place: Place) -> None:
    place.accepting.is_database_up = True
    place.lose_journal()
    place.offer(*intent(1))
    await place.accepting.accept()
    assert list(place.accepting.direct) == []


async def test_what_was_offered_while_an_append_failed_fails_with_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offered again, the earlier word would come after the later one."""
    later: list[Answer[None]] = []
    trade = a_trade(a_signal(1))
    first = place.offer(trade)
    place.lose_journal()
    accept = place.accepting._acceptor.accept

    def offer_meanwhile(*, money: Money, ticks: Sequence[Tick]) -> Accepted:
        trio.from_thread.run_sync(lambda: later.append(place.offer(settled(trade))))
        return accept(money=money, ticks=ticks)

    monkeypatch.setattr(place.accepting._acceptor, "accept", offer_meanwhile)
    await place.accepting.accept()
    assert await failure(first) == await failure(later[0])
    assert place.inbox.ledger.used == 0


async def test_rows_that_are_offered_again_are_kept_once_the_journal_is_back(place: Place) -> None:
    place.lose_journal()
    answer = place.offer(*intent(1))
    await place.accepting.accept()
    await failure(answer)
    await place.accepting.reopen()
    answer = place.offer(*intent(1))
    await place.accepting.accept()
    await answer.wait()
    assert place.ledger_in_journal() == as_money(*intent(1))


async def test_who_offers_something_at_the_end_is_told(place: Place) -> None:
    finishing = trio.Event()
    finishing.set()
    kept = place.offer(*intent(1))
    accept = place.accepting.accept
    late: list[Answer[None]] = []

    async def accept_and_offer() -> bool:
        is_something = await accept()
        late.append(place.offer(*intent(2)))
        return is_something

    place.accepting.accept = accept_and_offer  # type: ignore[method-assign]
    await place.accepting.run(finishing, lambda: None)
    await kept.wait()
    assert "ended" in await failure(late[0])


# --- what they may hold -----------------------------------------------------------------------------


async def test_texts_are_cut_to_what_the_tables_take(place: Place) -> None:
    signal = a_signal(1)._replace(
        strategy="s" * 999, inputs=f'{{"a": "{"ü" * 9_999}"}}', reason="r\0\udcff" * 9_999
    )
    step = a_step(a_trade(signal), 1)._replace(cause="c" * 999, detail="d" * 99_999)
    place.offer(signal, step)
    await place.accepting.accept()
    [found], [found_step] = place.ledger_in_journal().signals, place.ledger_in_journal().trade_events
    assert (len(found.strategy), len(found.reason)) == (128, 4_000)
    assert set(found.reason) == {"r", "?"}
    assert found.inputs == '{"too_long": 10008}'
    assert (len(found_step.cause), len(found_step.detail)) == (64, 4_000)


async def test_a_mailbox_that_is_full_says_so(place: Place) -> None:
    for number in range(place.inbox.ledger.bound):
        place.offer(*intent(number))
    assert not place.inbox.ledger.put_nowait(KeepLedger(rows=intent(1), answer=Answer[None]()))
    await place.accepting.accept()
    assert len(place.ledger_in_journal().trades) == place.inbox.ledger.bound
    assert len(place.appended) == 1
