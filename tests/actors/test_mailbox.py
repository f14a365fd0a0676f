import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors.mailbox import Answer, BatchMailbox, Link, Mailbox, MailboxStatistics
from domain.errors import ConnectionLost

# --- batches ----------------------------------------------------------------------------------


def batches(*, bound: int = 10) -> BatchMailbox[list[int]]:
    return BatchMailbox[list[int]](name="test", bound=bound)


def drain(box: BatchMailbox[list[int]]) -> list[list[int]]:
    taken = []
    while True:
        try:
            taken.append(box.get_nowait())
        except trio.WouldBlock:
            return taken


def test_batches_come_out_in_order() -> None:
    box = batches()
    for batch in ([1], [2, 3], [4]):
        assert box.put_nowait(batch) == 0
    assert drain(box) == [[1], [2, 3], [4]]


def test_the_bound_counts_items_not_batches() -> None:
    box = batches(bound=4)
    box.put_nowait([1, 2])
    box.put_nowait([3, 4])
    assert box.statistics() == MailboxStatistics(used=4, bound=4, peak=4, dropped=0)


def test_a_full_mailbox_drops_the_oldest_and_keeps_the_newest() -> None:
    box = batches(bound=4)
    box.put_nowait([1, 2])
    box.put_nowait([3, 4])
    assert box.put_nowait([5]) == 2
    assert drain(box) == [[3, 4], [5]]


def test_a_batch_larger_than_the_bound_does_not_get_in() -> None:
    box = batches(bound=2)
    box.put_nowait([1])
    assert box.put_nowait([2, 3, 4]) == 4
    assert box.used == 0


@given(sizes=st.lists(st.integers(min_value=1, max_value=6)), takes=st.lists(st.booleans()))
def test_every_item_is_taken_dropped_or_still_there(sizes: list[int], takes: list[bool]) -> None:
    box = batches()
    taken = 0
    for number, size in enumerate(sizes):
        box.put_nowait([number] * size)
        assert box.used <= box.bound
        if number < len(takes) and takes[number] and box.used:
            taken += len(box.get_nowait())
    assert taken + box.dropped + box.used == sum(sizes)
    assert box.peak <= box.bound
    assert sum(len(batch) for batch in drain(box)) == sum(sizes) - taken - box.dropped


async def test_whoever_waits_gets_the_batch_and_the_count_is_zero_again() -> None:
    box = batches(bound=1)
    got = []

    async def receive() -> None:
        got.append(await box.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        box.put_nowait([1, 2, 3])  # larger than the bound, and yet handed over
    assert (got, box.used, box.dropped) == ([[1, 2, 3]], 0, 0)


async def test_a_receiver_that_is_cancelled_loses_nothing() -> None:
    box = batches()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.get)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    box.put_nowait([1])
    assert (box.used, drain(box)) == (1, [[1]])


async def test_each_batch_goes_to_exactly_one_of_those_who_wait_in_their_order() -> None:
    box = batches()
    got: list[tuple[str, list[int]]] = []

    async def receive(name: str) -> None:
        got.append((name, await box.get()))

    async with trio.open_nursery() as nursery:
        for name in ("first", "second"):
            nursery.start_soon(receive, name)
            await wait_all_tasks_blocked()
        box.put_nowait([1])
        box.put_nowait([2])
        box.put_nowait([3])  # nobody waits for it
    assert sorted(got) == [("first", [1]), ("second", [2])]
    assert (box.used, drain(box)) == (1, [[3]])


async def test_what_was_handed_over_before_a_cancel_is_not_lost() -> None:
    box = batches()
    got: list[list[int]] = []

    async def receive() -> None:
        got.append(await box.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        box.put_nowait([1])
        nursery.cancel_scope.cancel()
    assert (got, box.used) == ([[1]], 0)


async def test_who_is_cancelled_before_takes_nothing() -> None:
    box = batches()
    box.put_nowait([1])
    with trio.CancelScope() as scope:
        scope.cancel()
        await box.get()
    assert drain(box) == [[1]]


@given(st.lists(st.sampled_from(("put", "take"))))
def test_messages_come_out_in_order_however_puts_and_takes_mix(steps: list[str]) -> None:
    box = Mailbox[int](name="test", bound=1_000)
    waiting: list[int] = []
    for number, step in enumerate(steps):
        if step == "put":
            box.put_nowait(number)
            waiting.append(number)
        elif waiting:
            assert box.get_nowait() == waiting.pop(0)
        else:
            with pytest.raises(trio.WouldBlock):
                box.get_nowait()
        assert box.used == len(waiting)


# --- messages ---------------------------------------------------------------------------------


def test_what_does_not_fit_is_counted() -> None:
    box = Mailbox[str](name="test", bound=1)
    assert [box.put_nowait("first"), box.put_nowait("second")] == [True, False]
    assert box.statistics() == MailboxStatistics(used=1, bound=1, peak=1, dropped=1)


async def test_a_sender_may_wait_for_room(autojump_clock: trio.testing.MockClock) -> None:
    box = Mailbox[str](name="test", bound=1)
    box.put_nowait("first")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.put, "second")
        await wait_all_tasks_blocked()
        assert await box.get() == "first"
    assert box.get_nowait() == "second"
    assert box.dropped == 0


async def test_of_several_senders_who_wait_as_many_go_on_as_there_is_room_for() -> None:
    box = Mailbox[str](name="test", bound=1)
    box.put_nowait("first")
    async with trio.open_nursery() as nursery:
        for message in ("second", "third"):
            nursery.start_soon(box.put, message)
        await wait_all_tasks_blocked()
        assert box.get_nowait() == "first"
        await wait_all_tasks_blocked()
        assert box.used == 1
        assert {await box.get(), await box.get()} == {"second", "third"}


async def test_a_sender_that_is_cancelled_has_sent_nothing() -> None:
    box = Mailbox[str](name="test", bound=1)
    box.put_nowait("first")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.put, "second")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (box.get_nowait(), box.used) == ("first", 0)


# --- answers ----------------------------------------------------------------------------------


async def test_an_answer_may_come_before_anybody_waits() -> None:
    answer = Answer[int]()
    answer.set(7)
    assert await answer.wait() == 7


async def test_a_failed_answer_is_raised() -> None:
    answer = Answer[int]()
    answer.fail(ConnectionLost("gone"))
    with pytest.raises(ConnectionLost, match="gone"):
        await answer.wait()


async def test_the_first_answer_holds() -> None:
    answer = Answer[int]()
    answer.set(7)
    answer.fail(ConnectionLost("gone"))
    answer.set(8)
    assert await answer.wait() == 7


async def test_an_answer_wakes_all_who_wait() -> None:
    answer = Answer[int]()
    got: list[int] = []

    async def wait() -> None:
        got.append(await answer.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        answer.set(7)
    assert got == [7, 7]


# --- the link ---------------------------------------------------------------------------------


async def test_each_opening_has_a_number_of_its_own() -> None:
    link = Link()
    first = link.set_up()
    link.set_down()
    assert link.set_up() != first


async def test_a_market_waits_until_the_link_is_up() -> None:
    link = Link()
    async with trio.open_nursery() as nursery:
        sessions: list[int] = []

        async def wait() -> None:
            sessions.append(await link.wait_up())

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert sessions == []
        session = link.set_up()
    assert sessions == [session]


async def test_the_loss_of_a_session_wakes_who_waits_for_it() -> None:
    link = Link()
    session = link.set_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.wait_news, session)
        await wait_all_tasks_blocked()
        link.set_down()
    assert not link.has(session)


async def test_a_session_that_was_replaced_in_one_moment_is_lost() -> None:
    link = Link()
    session = link.set_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.wait_news, session)
        await wait_all_tasks_blocked()
        link.set_down()
        link.set_up()
    assert not link.has(session)


async def test_a_link_that_is_down_may_be_set_down_again() -> None:
    link = Link()
    link.set_down()
    assert not link.is_up
