from databases import some_ticks

from domain.messages import ActorEvent
from storage.backlog import EVENTS_A_BATCH, Backlog


def event(detail: str) -> ActorEvent:
    return ActorEvent(ts_us=1, actor="", event="", detail=detail)


def test_batches_come_in_the_order_of_arrival_and_none_is_larger_than_a_transaction() -> None:
    backlog = Backlog(flush_rows=4)
    ticks = some_ticks(markets=1, each=10)
    backlog.add_ticks(ticks[:7])
    backlog.add_ticks(ticks[7:])
    batches = [backlog.take().ticks for _ in range(4)]
    assert batches == [ticks[:4], ticks[4:8], ticks[8:], []]


def test_it_is_due_as_soon_as_a_transactions_worth_waits() -> None:
    backlog = Backlog(flush_rows=4)
    backlog.add_ticks(some_ticks(markets=1, each=3))
    assert not backlog.is_due
    backlog.add_ticks(some_ticks(markets=1, each=1))
    assert backlog.is_due


def test_there_is_room_for_two_transactions() -> None:
    backlog = Backlog(flush_rows=4)
    backlog.add_ticks(some_ticks(markets=1, each=7))
    assert backlog.has_room_for_ticks
    backlog.add_ticks(some_ticks(markets=1, each=3))
    assert not backlog.has_room_for_ticks
    assert backlog.take().rows == 4
    assert backlog.has_room_for_ticks


def test_events_go_with_the_next_batch_up_to_its_bound() -> None:
    backlog = Backlog(flush_rows=4)
    while backlog.has_room_for_event:
        backlog.add_event(event("x"))
    assert backlog.rows == 2 * EVENTS_A_BATCH
    first, second = backlog.take(), backlog.take()
    ids = [row.id for row in (*first.events, *second.events)]
    assert len(first.events) == EVENTS_A_BATCH
    assert len(set(ids)) == 2 * EVENTS_A_BATCH
    assert ids == sorted(ids)
    assert backlog.rows == 0
