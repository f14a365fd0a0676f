from collections.abc import Callable

import attrs
import trio
from ledgers import a_signal
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import Mailbox
from actors.unkept import Unkept
from domain.errors import JournalFull
from domain.messages import KeepLedger

SIGNALS = [a_signal(number) for number in range(6)]


@attrs.define
class PlaysWriter:
    """Takes what is offered; answers as the test says."""

    box: Mailbox[KeepLedger] = attrs.field(factory=lambda: Mailbox(name="writer/money", bound=10))
    offers: list[KeepLedger] = attrs.field(factory=list)

    async def run(self, answer: Callable[[KeepLedger], None]) -> None:
        while True:
            offer = await self.box.get()
            self.offers.append(offer)
            answer(offer)


def keeps(offer: KeepLedger) -> None:
    offer.answer.set(None)


def says_nothing(_: KeepLedger) -> None:
    pass


async def test_rows_are_kept_in_their_order(autojump_clock: MockClock) -> None:
    writer = PlaysWriter()
    unkept = Unkept(writer.box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, keeps)
        nursery.start_soon(unkept.keep)
        for signal in SIGNALS:
            await unkept.kept(unkept.add([signal]))
        nursery.cancel_scope.cancel()
    assert [row for offer in writer.offers for row in offer.rows] == SIGNALS
    assert len(unkept) == 0


async def test_what_cannot_be_kept_is_offered_again_with_what_came_since(autojump_clock: MockClock) -> None:
    writer, refusals = PlaysWriter(), iter([True, True])
    unkept = Unkept(writer.box)

    def answer(offer: KeepLedger) -> None:
        if next(refusals, False):
            offer.answer.fail(JournalFull("no room"))
        else:
            offer.answer.set(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, answer)
        nursery.start_soon(unkept.keep)
        unkept.add(SIGNALS[:2])
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            await unkept.kept(unkept.add(SIGNALS[2:]))
        nursery.cancel_scope.cancel()
    assert [list(offer.rows) for offer in writer.offers] == [SIGNALS[:2], SIGNALS, SIGNALS]


async def test_no_row_is_offered_while_an_earlier_one_is_not_answered(autojump_clock: MockClock) -> None:
    writer = PlaysWriter()
    unkept = Unkept(writer.box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, says_nothing)
        nursery.start_soon(unkept.keep)
        unkept.add(SIGNALS[:1])
        await wait_all_tasks_blocked()
        unkept.add(SIGNALS[1:])
        await trio.sleep(30)
        assert unkept.waits_s >= 30
        nursery.cancel_scope.cancel()
    assert len(writer.offers) == 1
    assert len(unkept) == len(SIGNALS)
