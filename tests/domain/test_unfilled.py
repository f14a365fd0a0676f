from domain.gaps import Cause, Gap
from domain.unfilled import UnfilledGaps

MARKET = "EURUSD@sim"


def gap(from_us: int, to_us: int | None, cause: str = "disconnect", *, market: str = MARKET) -> Gap:
    return Gap(market, from_us, to_us, cause)


def any_gap(_: Gap) -> bool:
    return True


def test_the_gap_that_ended_last_comes_first() -> None:
    gaps = UnfilledGaps()
    for each in (gap(10, 20), gap(50, 60), gap(30, 40)):
        gaps.put(each)
    assert gaps.newest(any_gap) == gap(50, 60)
    assert gaps.newest(lambda each: each.from_us < 50) == gap(30, 40)
    assert gaps.newest(lambda each: each.from_us > 50) is None


def test_only_ended_trouble_with_room_for_a_tick_waits() -> None:
    gaps = UnfilledGaps()
    gaps.put(gap(10, None))
    gaps.put(gap(10, 11))
    for cause in (Cause.STOPPED, Cause.CLOSED, Cause.CLOCK, Cause.REFUSED):
        gaps.put(gap(10, 90, cause))
    assert len(gaps) == 0


def test_the_latest_word_on_a_gap_counts() -> None:
    gaps = UnfilledGaps()
    gaps.put(gap(10, 90))
    gaps.put(gap(10, 40))
    assert gaps.newest(any_gap) == gap(10, 40)
    gaps.remove(gap(10, 90))  # somebody is done with what it was before
    assert gaps.has(gap(10, 40))
    gaps.put(gap(10, 11))  # nothing can lie inside any more
    assert len(gaps) == 0


def test_what_the_database_knows_does_not_undo_a_later_word() -> None:
    gaps = UnfilledGaps()
    gaps.put(gap(10, 40))
    gaps.recall(gap(10, 90), reached_us=70)
    assert (gaps.newest(any_gap), gaps.reached_us(gap(10, 40))) == (gap(10, 40), 10)


def test_a_gap_goes_on_where_it_was_left_unless_it_has_another_end() -> None:
    gaps = UnfilledGaps()
    gaps.recall(gap(10, 90), reached_us=70)
    assert gaps.reached_us(gap(10, 90)) == 70
    gaps.put(gap(10, 95))
    assert gaps.reached_us(gap(10, 95)) == 10


def test_beyond_the_bound_only_known_gaps_change() -> None:
    gaps = UnfilledGaps(bound=2)
    for each in (gap(10, 20), gap(30, 40), gap(50, 60), gap(30, 45)):
        gaps.put(each)
    assert (len(gaps), gaps.newest(any_gap)) == (2, gap(30, 45))


def test_each_word_on_a_gap_wakes_whoever_fills() -> None:
    woken: list[int] = []
    gaps = UnfilledGaps()
    gaps.on_new = lambda: woken.append(len(gaps))
    gaps.put(gap(10, 20))
    gaps.put(gap(10, None))
    gaps.recall(gap(30, 40), reached_us=30)
    assert woken == [1, 1]
