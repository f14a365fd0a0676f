import attrs
import pytest

from domain.errors import (
    ConnectionClosed,
    ConnectionLost,
    PermanentError,
    UpgradeRefused,
    UpgradeThrottled,
    VenueThrottled,
)
from venues import PROTOCOLS, find_venue
from venues.verdict import verdict

VENUE = attrs.evolve(
    find_venue("binance"),
    permanent_statuses={403: "set a new one: marketd token set {venue}"},
    permanent_closes={1008: "set a new one: marketd token set {venue}"},
    throttled_statuses={429: 600.0},
)


@pytest.mark.parametrize(
    "error",
    [
        UpgradeRefused("HTTP 403", status=403),
        ConnectionClosed("1008 invalid_token", code=1008, reason="invalid_token"),
    ],
)
def test_what_is_meant_for_good_says_what_to_do(error: Exception) -> None:
    judged = verdict(error, venue=VENUE, name="olymp")
    assert isinstance(judged, PermanentError)
    assert str(judged) == f"olymp: {error}; set a new one: marketd token set olymp"


@pytest.mark.parametrize(
    "error",
    [
        UpgradeRefused("HTTP 500", status=500),
        ConnectionClosed("1001 going away", code=1001, reason=""),
        ConnectionLost("reset"),
    ],
)
def test_anything_else_is_what_it_is(error: Exception) -> None:
    assert verdict(error, venue=VENUE, name="olymp") is error


@pytest.mark.parametrize(("asked_s", "least_s"), [(2.0, 600.0), (3_600.0, 3_600.0)])
def test_a_ban_lasts_at_least_as_long_as_is_known_of_it(asked_s: float, least_s: float) -> None:
    error = UpgradeThrottled("HTTP 429", status=429, retry_after_s=asked_s)
    judged = verdict(error, venue=VENUE, name="kraken")
    assert isinstance(judged, VenueThrottled)
    assert judged.retry_after_s == least_s


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_venues_advice_can_be_told(protocol: str) -> None:
    venue = find_venue(protocol)
    for advice in (*venue.permanent_statuses.values(), *venue.permanent_closes.values()):
        assert advice.format(venue="mine")
