import re
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traded import a_trade

from domain.trades import Trade, TradeState, profit_of
from supervisor.reports.explain import arithmetic, disagreement

PRICES = st.sampled_from([1.08417, 1.08421, 1.0842100000000001, 0.1 + 0.2, 0.3, 99.5])
LINE = re.compile(
    r"(?P<close>\S+) (?P<sign>[<=>]) (?P<open>\S+), direction (?P<direction>up|down)"
    r"(?P<tie>, a tie loses at this venue)? → (?P<state>won|lost|tied): (?P<money>.*)"
)


def settled(direction: str, *, open_price: float, close_price: float, tie: str = "tied", stake: str = "10.00",
            payout: float = 80.0) -> Trade:  # fmt: skip
    """Return a trade as the paper book settles it."""
    if close_price == open_price:
        state = TradeState(tie)
    else:
        state = TradeState.WON if (close_price > open_price) == (direction == "up") else TradeState.LOST
    profit = profit_of(state, stake=Decimal(stake), payout_percent=payout)
    return a_trade("won").trade._replace(
        direction=direction, open_price=open_price, close_price=close_price, state=state,
        stake=Decimal(stake), payout_percent=payout, profit=profit,
    )  # fmt: skip


def by_hand(line: str) -> tuple[str, Decimal]:
    """Do what a reader does who has this line, a pocket calculator and nothing else."""
    found = LINE.fullmatch(line)
    assert found is not None, line
    close, opened = Decimal(found["close"]), Decimal(found["open"])
    assert found["sign"] == (">" if close > opened else "<" if close < opened else "=")
    if close == opened:
        state = "lost" if found["tie"] else "tied"
    else:
        state = "won" if (close > opened) == (found["direction"] == "up") else "lost"
    assert state == found["state"]
    if state == "tied":
        assert found["money"] == "the stake is back, 0.00"
        return state, Decimal(0)
    if state == "lost":
        assert found["money"].startswith("−")
        return state, -Decimal(found["money"][1:].replace(",", ""))
    sums = re.fullmatch(r"(?P<stake>\S+) × (?P<payout>\S+) % = \+?(?P<profit>\S+)", found["money"])
    assert sums is not None, line
    profit = Decimal(sums["stake"].replace(",", "")) * Decimal(sums["payout"]) / 100
    profit = profit.quantize(Decimal("0.01"), ROUND_DOWN)
    assert profit == Decimal(sums["profit"].replace(",", ""))
    return state, profit


@given(
    direction=st.sampled_from(["up", "down"]), open_price=PRICES, close_price=PRICES,
    tie=st.sampled_from(["tied", "lost"]), stake=st.decimals("1", "5000", places=2),
    payout=st.floats(1.0, 120.0),
)  # fmt: skip
def test_result_is_recomputed_by_hand_from_the_printed_line(
    direction: str, open_price: float, close_price: float, tie: str, stake: Decimal, payout: float
) -> None:
    trade = settled(
        direction, open_price=open_price, close_price=close_price, tie=tie, stake=str(stake),
        payout=payout,
    )  # fmt: skip
    assert by_hand(arithmetic(trade)) == (trade.state, trade.profit)
    assert disagreement(trade) is None


def test_lines_read_as_people_would_write_them() -> None:
    lost = settled("down", open_price=1.08417, close_price=1.08421)
    assert arithmetic(lost) == "1.08421 > 1.08417, direction down → lost: −10.00"
    won = settled("up", open_price=1.08417, close_price=1.08421, stake="10.10", payout=82.5)
    assert arithmetic(won) == "1.08421 > 1.08417, direction up → won: 10.10 × 82.5 % = +8.33"
    tied = settled("up", open_price=1.08417, close_price=1.08417)
    assert arithmetic(tied) == "1.08417 = 1.08417, direction up → tied: the stake is back, 0.00"


@pytest.mark.parametrize("state", ["void", "refused", "open", "unknown", "intended", "sent"])
def test_trade_without_prices_says_what_it_lacks(state: str) -> None:
    trade = a_trade(state).trade
    assert state in arithmetic(trade) or "never opened" in arithmetic(trade) or "nobody" in arithmetic(trade)
    assert disagreement(trade) is None


def test_result_that_does_not_follow_from_its_prices_is_found() -> None:
    lost = settled("down", open_price=1.08417, close_price=1.08421)
    assert disagreement(lost._replace(state="won", profit=Decimal("8.00"))) is not None
    assert disagreement(lost._replace(state="tied", profit=Decimal(0))) is not None
    assert disagreement(lost._replace(profit=Decimal("-9.99"))) is not None
