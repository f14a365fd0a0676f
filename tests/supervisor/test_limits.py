"""What is said of limits that hold later."""

from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from domain.events import LOGGER
from strategies.limits import Limits
from supervisor.desired import DesiredState, LimitsOfDay
from supervisor.keeping import Keeper
from supervisor.limits import LimitsToday

NOON_US = 1_795_780_800_000_000  # 2026-11-27T12:00:00Z
HELD = Limits(max_open_trades=4, max_daily_loss=Decimal(500))


def said(wanted: Limits, caplog: pytest.LogCaptureFixture, *, now_us: int = NOON_US) -> list[str]:
    held = LimitsOfDay(day="2026-11-27", limits=HELD.as_table())
    keeper = Keeper(state_dir=Path("nowhere"), wanted=DesiredState(limits=held))
    limits = LimitsToday(wanted=wanted, keeper=keeper, save=lambda: None)
    with caplog.at_level("INFO"):
        limits.tell_later(now_us)
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)


def test_a_raised_limit_is_told_with_what_holds_until_then(caplog: pytest.LogCaptureFixture) -> None:
    wanted = attrs.evolve(HELD, max_open_trades=9, max_stake=Decimal(50), trade_between=("08:00-17:00",))
    assert said(wanted, caplog) == ["limits are raised at midnight, UTC: max_open_trades = 9 (4 until then)"]


def test_nothing_is_told_of_limits_that_hold(caplog: pytest.LogCaptureFixture) -> None:
    equal = attrs.evolve(HELD, max_daily_loss=Decimal("500.00"))
    assert said(equal, caplog) == []
    assert said(attrs.evolve(HELD, max_open_trades=1), caplog) == []


def test_on_the_next_day_nothing_is_to_come(caplog: pytest.LogCaptureFixture) -> None:
    wanted = attrs.evolve(HELD, max_open_trades=9)
    assert said(wanted, caplog, now_us=NOON_US + 12 * 3_600_000_000) == []
