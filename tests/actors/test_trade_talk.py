import logging
from decimal import Decimal

import attrs
import pytest
from dealing import MARKET, RULES, us, wish_at
from trio.testing import MockClock

from actors.trade_talk import FOLD_S, TradeTalk
from domain.events import LOGGER
from domain.trades import (
    Mode,
    OrderRefused,
    OrderSent,
    Outcome,
    TradeOpened,
    TradeSettled,
    TradeState,
)
from strategies.limits import Limits
from strategies.risk import Conditions, Reason, Refused
from strategies.stake import Plan
from strategies.trading import Account, Trading

GOOD = Conditions(rules=RULES, payout_percent=80.0, price_age_ms=40, stale_after_ms=60_000)
CLOSED = Refused(reason=Reason.CLOSED, text="the market is closed")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(LOGGER, "propagate", True)
    caplog.set_level("INFO")
    return caplog


class Spoken:
    """Trades that are made and talked of, as the trader does."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        account = Account(mode=Mode.PAPER, currency="USD", plans={"test": Plan(fixed=Decimal(10))})
        self.trading = Trading(account=account, limits=limits or Limits(), balance=Decimal(10_000))
        self.talk = TradeTalk(self.trading)

    def trade(self, at_s: float) -> int:
        """Return the id of a trade that is sent."""
        decided = self.trading.decide(wish_at(at_s), GOOD)
        assert decided.order is not None
        trade_id = decided.order.position.trade.id
        self.hear(OrderSent(trade_id=trade_id, at_us=us(at_s)))
        return trade_id

    def hear(self, outcome: Outcome) -> None:
        self.trading.take(outcome)
        self.talk.happened(outcome)

    def open(self, trade_id: int, at_s: float) -> None:
        at = us(at_s)
        self.hear(
            TradeOpened(
                trade_id=trade_id, at_us=at, opened_us=at, open_price=1.25, expires_us=at + 60_000_000
            )
        )

    def end(self, trade_id: int, at_s: float, *, state: TradeState) -> None:
        self.hear(
            TradeSettled(
                trade_id=trade_id, at_us=us(at_s), state=state, close_price=1.2, close_source="ticks"
            )
        )


def fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = record.__dict__["fields"]
    return found


def test_a_trade_is_said_as_it_opens_and_as_it_ends_with_stake_profit_and_balance(
    log: pytest.LogCaptureFixture,
) -> None:
    one = Spoken()
    trade = one.trade(1)
    one.open(trade, 2)
    one.end(trade, 62, state=TradeState.WON)
    opened, ended = log.records
    about = {"market": MARKET, "venue": "sim", "trade": trade, "strategy": "test", "stake": "10"}
    assert fields(opened) == {**about, "result": "open"}
    assert fields(ended) == {**about, "result": "won", "profit": "8.00", "balance": "10008.00"}


def test_a_trade_that_could_not_be_opened_is_said_with_its_cause(log: pytest.LogCaptureFixture) -> None:
    one = Spoken()
    trade = one.trade(1)
    one.hear(OrderRefused(trade_id=trade, at_us=us(2), cause="no_price", detail="inside a gap"))
    [record] = log.records
    assert record.levelno == logging.WARNING
    assert (fields(record)["result"], fields(record)["cause"]) == ("refused", "no_price")


def test_the_loss_that_makes_a_pause_says_so_and_no_other_one(log: pytest.LogCaptureFixture) -> None:
    limits = attrs.evolve(Limits(), max_losses_in_a_row=2, pause_min=1.0)
    one = Spoken(limits=limits)
    for at_s in (1, 101, 301):
        trade = one.trade(at_s)
        one.end(trade, at_s + 61, state=TradeState.LOST)
    pauses = [record for record in log.records if record.__dict__["event"] == "trader"]
    assert [fields(record)["trade"] for record in pauses] == [
        one.trading.positions.of("test", MARKET)[1].trade.id
    ]


async def test_a_limit_that_goes_on_refusing_is_counted_and_said_again_later(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    talk = Spoken().talk
    for at_s in range(5):
        talk.refused(wish_at(at_s), CLOSED)
    assert len(log.records) == 1
    autojump_clock.jump(FOLD_S)
    talk.refused(wish_at(9), CLOSED)
    about = {"market": MARKET, "venue": "sim", "strategy": "test", "limit": "closed"}
    assert [fields(record) for record in log.records] == [{**about, "more": 0}, {**about, "more": 4}]


async def test_another_strategy_and_another_limit_are_news(
    log: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    talk = Spoken().talk
    for _ in range(2):
        talk.refused(wish_at(1), CLOSED)
        talk.refused(wish_at(1, strategy="other"), CLOSED)
        talk.refused(wish_at(1), Refused(reason=Reason.DRAIN, text="no new trades: draining"))
    assert len(log.records) == 3
