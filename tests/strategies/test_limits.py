import json
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.limits import InForce, Limits, in_force, stricter

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
LOW = Limits(
    max_stake=Decimal(5),
    max_open_trades=1,
    max_open_per_market=1,
    max_trades_per_day=3,
    max_daily_loss=Decimal(50),
    max_losses_in_a_row=2,
    pause_min=60.0,
    cooldown_s=30.0,
    min_payout_percent=85.0,
    trade_between=("08:00-17:30",),
)
HIGH = Limits(
    max_stake=Decimal(50),
    max_open_trades=9,
    max_open_per_market=2,
    max_trades_per_day=30,
    max_daily_loss=Decimal(500),
    max_losses_in_a_row=4,
    pause_min=10.0,
    cooldown_s=0.0,
    min_payout_percent=60.0,
)


def at(text: str, *, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US


LIMITS = st.builds(
    Limits,
    max_stake=st.integers(1, 3).map(Decimal),
    max_open_trades=st.integers(0, 3),
    max_trades_per_day=st.integers(0, 3),
    max_daily_loss=st.decimals("0.01", "9.99", places=2),
    max_losses_in_a_row=st.integers(1, 3),
    pause_min=st.floats(0, 3),
    cooldown_s=st.floats(0, 3),
    min_payout_percent=st.floats(0, 99),
    trade_between=st.sampled_from([(), ("08:00-17:30",), ("22:00-02:00",)]),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"]),
)


@given(LIMITS)
def test_limits_come_back_from_json_as_they_were(limits: Limits) -> None:
    assert Limits.from_table(json.loads(json.dumps(limits.as_table()))) == limits


@pytest.mark.parametrize(
    "spoilt",
    [
        {"max_stake": "much"},
        {"max_stake": None},
        {"max_stake": "NaN"},
        {"max_open_trades": "ten"},
        {"max_daily_loss": "Infinity"},
        {"pause_min": None},
        {"most": 1},
        {"trade_between": 1},
        {"trade_between": [1]},
        {"zone": "Mars/Olympus"},
    ],
)
def test_limits_that_were_not_written_by_us_are_refused(spoilt: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, ArithmeticError)):
        Limits.from_table({**Limits().as_table(), **spoilt})


def test_at_first_the_settings_hold() -> None:
    now_us = at("2026-08-12 01:00", zone="Europe/Berlin")
    limits = attrs.evolve(HIGH, zone="Europe/Berlin")
    assert in_force(settings=limits, before=None, now_us=now_us) == InForce(
        limits=limits, day=date(2026, 8, 12)
    )


def test_a_lower_limit_holds_at_once() -> None:
    before = InForce(limits=HIGH, day=date(2026, 8, 12))
    assert in_force(settings=LOW, before=before, now_us=at("2026-08-12 12:00")).limits == LOW


def test_a_higher_limit_holds_from_midnight_on() -> None:
    before = InForce(limits=LOW, day=date(2026, 8, 12))
    midnight = at("2026-08-13 00:00")
    assert in_force(settings=HIGH, before=before, now_us=midnight - SECOND_US) == before
    assert in_force(settings=HIGH, before=before, now_us=midnight) == InForce(
        limits=HIGH, day=date(2026, 8, 13)
    )


def test_midnight_is_that_of_the_zone_in_force() -> None:
    held = attrs.evolve(LOW, zone="America/New_York")
    before = InForce(limits=held, day=date(2026, 8, 12))
    wanted = attrs.evolve(HIGH, zone="Asia/Tokyo")
    midnight = at("2026-08-13 00:00", zone="America/New_York")
    assert in_force(settings=wanted, before=before, now_us=midnight - SECOND_US) == before
    after = in_force(settings=wanted, before=before, now_us=midnight)
    assert after == InForce(limits=wanted, day=date(2026, 8, 13))  # 13:00 in Tokyo


def test_a_clock_that_steps_back_over_midnight_makes_no_day_new() -> None:
    first = in_force(settings=LOW, before=None, now_us=at("2026-08-13 00:00:05"))
    back = in_force(settings=HIGH, before=first, now_us=at("2026-08-12 23:59:50"))
    assert back == first
    assert in_force(settings=HIGH, before=back, now_us=at("2026-08-13 00:00:01")) == first
    assert in_force(settings=HIGH, before=back, now_us=at("2026-08-14 00:00:00")).limits == HIGH


def test_a_clock_that_was_days_ahead_holds_nothing_back_for_days() -> None:
    ahead = in_force(settings=LOW, before=None, now_us=at("2027-08-13 00:00:05"))
    set_right = in_force(settings=HIGH, before=ahead, now_us=at("2026-08-12 12:00"))
    assert set_right == InForce(limits=LOW, day=date(2026, 8, 12))
    assert in_force(settings=HIGH, before=set_right, now_us=at("2026-08-13 00:00")).limits == HIGH


@given(st.lists(st.tuples(LIMITS, st.integers(-DAY_US, DAY_US)), min_size=1, max_size=12))
def test_within_a_day_no_limit_is_ever_raised(changes: list[tuple[Limits, int]]) -> None:
    now_us, held = at("2026-08-12 12:00"), None
    for settings, passed_us in changes:
        now_us += passed_us
        before, held = held, in_force(settings=settings, before=held, now_us=now_us)
        assert stricter(held.limits, settings) == held.limits  # lower ones hold at once
        if before is not None and held.day == before.day and held.limits.zone == before.limits.zone:
            assert stricter(before.limits, held.limits) == held.limits
