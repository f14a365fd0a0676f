from domain.gaps import Cause, Gap, GapLedger, GapTracker
from domain.hours import GRACE_US, MarketHours
from domain.instruments import Instrument

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
CLOSE_US = 1_795_813_200 * SECOND_US  # Friday 2026-11-27 21:00 UTC
OPEN_US = CLOSE_US + 48 * HOUR_US


def locked(*, closes_us: int | None = CLOSE_US, opens_us: int | None = OPEN_US) -> Instrument:
    return Instrument("EURUSD", is_open=False, closes_us=closes_us, opens_us=opens_us)


def unlocked(*, closes_us: int | None = CLOSE_US, opens_us: int | None = OPEN_US) -> Instrument:
    return Instrument("EURUSD", is_open=True, closes_us=closes_us, opens_us=opens_us)


class Watched:
    """The hours of a market whose last tick came a second before the close."""

    def __init__(self) -> None:
        self.ledger = GapLedger()
        self.gaps = GapTracker(market="EURUSD@sim", ledger=self.ledger)
        self.hours = MarketHours(gaps=self.gaps)
        self.gaps.tick(CLOSE_US - SECOND_US)

    def rows(self) -> list[tuple[str, int, int | None]]:
        """The gap rows as they stand: cause, from and to in whole seconds after the close."""
        return [(gap.cause, _after_s(gap.from_us) or 0, _after_s(gap.to_us)) for gap in self.taken()]

    def taken(self) -> list[Gap]:
        return self.ledger.take()


def _after_s(ts_us: int | None) -> int | None:
    return None if ts_us is None else round((ts_us - CLOSE_US) / SECOND_US)


def test_the_venues_word_closes_a_market_from_its_last_tick_on() -> None:
    one = Watched()
    assert one.hours.listed(locked(), at_us=CLOSE_US + 2 * SECOND_US)
    assert one.hours.is_closed
    assert one.rows() == [("closed", -1, None)]


def test_a_tick_that_was_under_way_does_not_open_it() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    assert not one.hours.tick(at_us=CLOSE_US + GRACE_US)
    assert one.hours.is_closed


def test_a_later_tick_opens_it_whatever_the_venue_said() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    assert one.hours.tick(at_us=CLOSE_US + HOUR_US)
    assert not one.hours.is_closed


def test_it_opens_when_its_time_has_come() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    assert not one.hours.pass_time(at_us=OPEN_US - 1)
    assert one.hours.pass_time(at_us=OPEN_US)
    assert one.rows() == [("closed", -1, 48 * 3600)]


def test_ticks_right_after_the_opening_leave_no_other_row() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    one.hours.pass_time(at_us=OPEN_US)
    one.gaps.tick(OPEN_US + SECOND_US)
    assert one.rows() == [("closed", -1, 48 * 3600)]


def test_an_opening_that_is_learned_of_late_leaves_a_gap_of_trouble_from_then_on() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    assert one.hours.listed(unlocked(), at_us=OPEN_US + 2 * HOUR_US)
    assert one.rows() == [("closed", -1, 48 * 3600), ("disconnect", 48 * 3600, None)]


def test_a_market_that_opened_and_closed_meanwhile_has_a_row_for_each_time() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    week_us = 7 * 24 * HOUR_US
    again = locked(closes_us=CLOSE_US + week_us, opens_us=OPEN_US + week_us)
    one.hours.listed(again, at_us=CLOSE_US + week_us + HOUR_US)
    assert one.hours.is_closed
    assert one.rows() == [
        ("closed", -1, 48 * 3600),
        ("disconnect", 48 * 3600, 7 * 24 * 3600),
        ("closed", 7 * 24 * 3600, None),
    ]


def test_a_close_that_is_learned_of_late_ends_the_trouble_when_it_closed() -> None:
    one = Watched()
    one.gaps.trouble(Cause.DISCONNECT)
    one.hours.listed(locked(), at_us=CLOSE_US + 10 * HOUR_US)
    assert one.rows() == [("disconnect", -1, 0), ("closed", 0, None)]


def test_silence_within_the_hours_of_a_close_is_a_close() -> None:
    one = Watched()
    one.hours.listed(unlocked(), at_us=CLOSE_US - HOUR_US)
    assert not one.hours.silent(at_us=CLOSE_US - 1)
    assert one.hours.silent(at_us=CLOSE_US + 60 * SECOND_US)
    assert one.rows() == [("closed", -1, None)]


def test_hours_that_ticks_have_proved_wrong_explain_no_silence() -> None:
    one = Watched()
    one.hours.listed(unlocked(), at_us=CLOSE_US - HOUR_US)
    one.gaps.tick(CLOSE_US + 600 * SECOND_US)
    assert not one.hours.silent(at_us=CLOSE_US + 700 * SECOND_US)


def test_silence_after_the_opening_is_trouble() -> None:
    one = Watched()
    one.hours.listed(unlocked(), at_us=CLOSE_US - HOUR_US)
    assert not one.hours.silent(at_us=OPEN_US)


def test_a_venue_that_still_says_closed_after_the_opening_is_believed_until_a_tick() -> None:
    one = Watched()
    one.hours.listed(locked(), at_us=CLOSE_US)
    one.hours.pass_time(at_us=OPEN_US)
    assert one.hours.listed(locked(), at_us=OPEN_US + 60 * SECOND_US)
    assert not one.hours.pass_time(at_us=OPEN_US + HOUR_US)
    assert one.hours.tick(at_us=OPEN_US + HOUR_US)


def test_a_subscription_refused_for_the_close_closes_it() -> None:
    one = Watched()
    assert one.hours.refused(at_us=CLOSE_US)
    assert not one.hours.refused(at_us=CLOSE_US + 1)


def test_a_market_that_was_never_seen_has_no_gap_for_its_close() -> None:
    ledger = GapLedger()
    hours = MarketHours(gaps=GapTracker(market="EURUSD@sim", ledger=ledger))
    hours.listed(locked(), at_us=CLOSE_US + HOUR_US)
    assert hours.is_closed
    assert ledger.take() == []
