"""What the log says of trades."""

import logging
from decimal import Decimal
from typing import Any

import pytest

from domain.events import LOGGER
from domain.trades import LedgerRow, Trade, TradeEvent, TradeState
from supervisor.trade_lines import tell


def step(state: TradeState, *, cause: str = "settled", detail: str = "", **changed: Any) -> list[LedgerRow]:
    """Return the rows of a trade's step."""
    trade = Trade(
        id=7,
        signal_id=1,
        market="EURUSD@sim",
        mode="paper",
        venue_trade_id=None,
        direction="up",
        stake=Decimal(10),
        currency="USD",
        payout_percent=82.0,
        state=state,
        intended_us=1,
    )
    event = TradeEvent(id=1, trade_id=7, ts_us=1, state=state, cause=cause, detail=detail)
    return [trade._replace(**changed), event]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What has been said."""
    monkeypatch.setattr(LOGGER, "propagate", True)
    caplog.set_level("INFO")
    return caplog


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (step(TradeState.OPEN, open_price=1.25), "open (paper, 10.00 USD up) at 1.25"),
        (step(TradeState.WON, profit=Decimal("8.20")), "won (paper, 10.00 USD up), +8.20 USD"),
        (step(TradeState.LOST, profit=Decimal(-10)), "lost (paper, 10.00 USD up), −10.00 USD"),
        (step(TradeState.TIED, profit=Decimal(0)), "tied (paper, 10.00 USD up), 0.00 USD"),
        (step(TradeState.VOID, detail="in a gap"), "void (paper, 10.00 USD up): in a gap"),
        (step(TradeState.REFUSED, cause="not_sent"), "refused (paper, 10.00 USD up): not_sent"),
    ],
)
def test_a_trade_that_opened_or_ended_is_told_with_its_id(
    said: pytest.LogCaptureFixture, rows: list[LedgerRow], text: str
) -> None:
    tell(rows)
    [record] = said.records
    assert record.getMessage() == f"trade 7 on EURUSD@sim: {text}"
    assert record.levelno == logging.INFO
    fields = record.__dict__["fields"]
    assert (fields["trade_id"], fields["market"], fields["venue"]) == (7, "EURUSD@sim", "sim")


def test_steps_between_are_not_told(said: pytest.LogCaptureFixture) -> None:
    tell(step(TradeState.INTENDED) + step(TradeState.SENT))
    assert said.records == []


def test_a_trade_of_which_nobody_knows_is_a_warning(said: pytest.LogCaptureFixture) -> None:
    tell(step(TradeState.UNKNOWN, cause="no answer"))
    assert [record.levelno for record in said.records] == [logging.WARNING]
