import pytest

from venues.simulated import past
from venues.simulated.past import Past, PastTick


def numbered(number: int) -> PastTick:
    return PastTick(number * 10, number, 1.0 + number, 0.5)


def test_a_past_is_told_by_time_and_by_number() -> None:
    told = Past()
    for number in range(1, 6):
        told.add(numbered(number))
    assert told.between(20, 40) == [numbered(2), numbered(3), numbered(4)]
    assert told.after_number(4, most=9) == [numbered(4), numbered(5)]
    assert told.after_number(1, most=2) == [numbered(1), numbered(2)]


def test_the_older_half_of_a_long_past_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MOST_TICKS", 10)
    told = Past()
    for number in range(1, 12):
        told.add(numbered(number))
    assert told.between(0, 1_000) == [numbered(number) for number in range(6, 12)]
