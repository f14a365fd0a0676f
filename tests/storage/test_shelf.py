from journals import ticks

from storage.payloads import JournalBatch, Lane
from storage.shelf import ALMOST, Shelf


def batch(position: int, *, rows: int = 3) -> JournalBatch:
    return JournalBatch(
        lane=Lane.TICKS, journal_id=1, number=position, position=position, rows=ticks(position)[:rows]
    )


def shelf(*positions: int) -> Shelf:
    made = Shelf(max_rows=30)
    made.put([batch(position) for position in positions])
    return made


def positions(batches: list[JournalBatch]) -> list[int]:
    return [each.position for each in batches]


def test_it_gives_the_oldest_in_order_and_keeps_them() -> None:
    full = shelf(1, 2, 3)
    for _ in range(2):
        assert positions(full.first(max_rows=100)) == [1, 2, 3]
    assert full.rows == 9


def test_it_gives_up_to_so_many_rows_and_at_least_one_batch() -> None:
    full = shelf(1, 2, 3)
    assert positions(full.first(max_rows=6)) == [1, 2]
    assert positions(full.first(max_rows=5)) == [1]
    assert positions(full.first(max_rows=1)) == [1]
    assert shelf().first(max_rows=1) == []


def test_what_is_stored_is_forgotten() -> None:
    full = shelf(4, 5, 6)
    full.stored(through=3, accepted_through=6)
    assert positions(full.first(max_rows=100)) == [4, 5, 6]
    full.stored(through=5, accepted_through=6)
    assert positions(full.first(max_rows=100)) == [6]
    assert full.rows == 3
    full.stored(through=99, accepted_through=99)
    assert (full.first(max_rows=100), full.rows) == ([], 0)


def test_it_says_where_it_begins() -> None:
    assert shelf(4, 5).begins_at(4)
    assert not shelf(4, 5).begins_at(5)
    assert not shelf().begins_at(1)


def test_beyond_its_bound_it_lets_go_of_all_and_takes_nothing_until_storing_has_almost_caught_up() -> None:
    full = shelf(*range(1, 11))
    assert full.rows == 30
    full.put([batch(11, rows=1)])
    assert (full.first(max_rows=100), full.rows) == ([], 0)
    full.stored(through=2, accepted_through=2 + ALMOST + 1)
    full.put([batch(12)])
    assert full.first(max_rows=100) == []
    full.stored(through=3, accepted_through=3 + ALMOST)
    full.put([batch(13)])
    assert positions(full.first(max_rows=100)) == [13]


def test_a_smaller_bound_lets_go_of_what_is_beyond_it_and_a_larger_one_takes_more() -> None:
    full = shelf(1, 2, 3)
    full.bound(max_rows=9)
    assert full.rows == 9
    full.bound(max_rows=8)
    assert full.rows == 0
    full.stored(through=3, accepted_through=3)
    full.put([batch(4), batch(5), batch(6)])
    assert full.rows == 0
    full.bound(max_rows=9)
    full.stored(through=6, accepted_through=6)
    full.put([batch(7), batch(8), batch(9)])
    assert full.rows == 9
