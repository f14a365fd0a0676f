import pytest

from domain.errors import MAX_RETRY_AFTER_S, ConnectionLost, VenueThrottled, flatten


@pytest.mark.parametrize("asked_s", [1e300, float("inf"), MAX_RETRY_AFTER_S + 1.0])
def test_nobody_is_waited_for_longer_than_the_longest_ban_there_is(asked_s: float) -> None:
    assert VenueThrottled("banned", retry_after_s=asked_s).retry_after_s == MAX_RETRY_AFTER_S


def test_groups_are_looked_into_however_deep() -> None:
    errors = [ConnectionLost("one"), ConnectionLost("two")]
    group = ExceptionGroup("outer", [ExceptionGroup("inner", errors[:1]), errors[1]])
    assert flatten(group) == errors
    assert flatten(errors[0]) == errors[:1]
