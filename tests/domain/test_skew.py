import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.skew import ONE_WAY_US, WINDOW_US, ClockNews, ClockSkew

NOW_US = 1_795_000_000_000_000
SECOND = 1_000_000
MS = 1_000


class Venue:
    """A venue whose clock differs from ours, and the way to it; all in microseconds."""

    def __init__(
        self, *, our_lead: int, there: int = 40 * MS, back: int = 40 * MS, resolution: int = 1
    ) -> None:
        self.our_lead, self.there, self.back, self.resolution = our_lead, there, back, resolution
        self.skew = ClockSkew()
        self.now = NOW_US  # ours

    def told(self, at: int) -> int:
        """What its clock shows when ours shows `at`, cut off."""
        return (at - self.our_lead) // self.resolution * self.resolution

    def ping(self) -> ClockNews | None:
        sent = self.now
        server = self.told(sent + self.there)
        self.now += self.there + self.back
        return self.skew.heard(
            server_us=server, resolution_us=self.resolution, sent_us=sent, received_us=self.now
        )

    def push(self) -> ClockNews | None:
        server = self.told(self.now)
        self.now += self.back
        return self.skew.heard(
            server_us=server, resolution_us=self.resolution, sent_us=None, received_us=self.now
        )

    def within_error(self) -> bool:
        assert self.skew.skew_ms is not None
        assert self.skew.error_ms is not None
        return abs(self.skew.skew_ms - self.our_lead / MS) <= self.skew.error_ms + 0.001


def test_nothing_is_known_before_the_venue_told_its_time() -> None:
    skew = ClockSkew()
    assert (skew.skew_ms, skew.error_ms) == (None, None)


def test_a_ping_tells_how_far_ahead_our_clock_is() -> None:
    venue = Venue(our_lead=350 * MS)
    venue.ping()
    assert venue.skew.skew_ms == pytest.approx(350)
    assert venue.skew.error_ms == pytest.approx(40, abs=0.01)  # half the way there and back


def test_a_clock_behind_is_negative() -> None:
    venue = Venue(our_lead=-350 * MS)
    venue.ping()
    assert venue.skew.skew_ms == pytest.approx(-350)


@given(
    our_lead=st.integers(-60 * SECOND, 60 * SECOND),
    there=st.integers(0, 3 * SECOND),
    back=st.integers(0, 3 * SECOND),
    resolution=st.sampled_from([1, MS, SECOND]),
    begin=st.integers(0, SECOND),
)
def test_the_truth_lies_within_the_error(
    our_lead: int, there: int, back: int, resolution: int, begin: int
) -> None:
    venue = Venue(our_lead=our_lead, there=there, back=back, resolution=resolution)
    venue.now += begin
    venue.ping()
    assert venue.within_error()


@pytest.mark.parametrize("rounding", ["down", "nearest"])
def test_whole_seconds_are_taken_for_what_they_are(rounding: str) -> None:
    skew = ClockSkew()
    for begin in range(0, SECOND, 50 * MS):
        now = NOW_US + begin
        server = (now + (SECOND // 2 if rounding == "nearest" else 0)) // SECOND * SECOND
        skew.heard(server_us=server, resolution_us=SECOND, sent_us=now, received_us=now)
        assert skew.skew_ms is not None
        assert skew.error_ms is not None
        assert abs(skew.skew_ms) <= skew.error_ms


def test_the_quickest_answer_tells_most() -> None:
    venue = Venue(our_lead=100 * MS, there=900 * MS, back=100 * MS)
    venue.ping()
    assert venue.skew.error_ms == pytest.approx(500, abs=0.01)
    venue.there = venue.back = 20 * MS
    venue.ping()
    venue.there = 900 * MS
    venue.ping()
    assert (venue.skew.skew_ms, venue.skew.error_ms) == (pytest.approx(100), pytest.approx(20, abs=0.01))


def test_without_pings_the_least_delayed_message_tells_most() -> None:
    venue = Venue(our_lead=0, back=300 * MS)
    venue.push()
    venue.back = 10 * MS
    venue.push()
    venue.back = 200 * MS
    venue.push()
    assert venue.skew.skew_ms == pytest.approx(10)
    assert venue.skew.error_ms == pytest.approx(ONE_WAY_US / MS, abs=0.01)
    assert venue.within_error()


def test_where_pings_are_answered_nothing_else_counts() -> None:
    venue = Venue(our_lead=0)
    venue.push()
    venue.ping()
    venue.back = 0
    venue.push()
    assert venue.skew.error_ms == pytest.approx(40, abs=0.01)


def test_a_clock_that_was_set_is_noticed_at_once() -> None:
    venue = Venue(our_lead=0)
    venue.ping()
    venue.our_lead = 5 * SECOND
    venue.ping()
    assert venue.skew.skew_ms == pytest.approx(5000)


def test_what_was_measured_long_ago_does_not_hold_for_ever() -> None:
    venue = Venue(our_lead=0, there=5 * MS, back=5 * MS)
    venue.ping()
    venue.there = venue.back = 400 * MS
    venue.our_lead = 200 * MS  # it drifts, within the error
    for _ in range(3):
        venue.now += WINDOW_US
        venue.ping()
    assert venue.skew.skew_ms == pytest.approx(200)


def test_our_clock_that_steps_back_inside_a_ping_is_no_measurement() -> None:
    skew = ClockSkew()
    skew.heard(server_us=NOW_US, resolution_us=1, sent_us=NOW_US + SECOND, received_us=NOW_US)
    assert skew.skew_ms is None


def test_too_much_is_said_once_and_so_is_that_it_is_good_again() -> None:
    venue = Venue(our_lead=0)
    news = []
    for lead_s in (0.0, 1.9, 2.5, 2.5, 1.9, 2.5, 1.2, 0.9, 0.0, -1.9, -2.5, -3.0, 0.0):
        venue.our_lead = int(lead_s * SECOND)
        news.append(venue.ping())
    off, good = ClockNews.OFF, ClockNews.GOOD_AGAIN
    assert news == [None, None, off, None, None, None, None, good, None, None, off, None, good]


def test_what_may_be_the_networks_delay_is_no_warning() -> None:
    venue = Venue(our_lead=0, there=20 * SECOND, back=0)
    assert venue.ping() is None  # half of 20 s is the error
    late = Venue(our_lead=0, back=2_400 * MS)
    assert late.push() is None
