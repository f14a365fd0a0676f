"""A trade's result worked out from its own numbers, so that anybody can do it again by hand."""

from collections.abc import Mapping

from domain.trades import SETTLED, Direction, Trade, TradeState, profit_of
from supervisor.reports.words import gain, money, payout

SIGNS: Mapping[int, str] = {-1: "<", 0: "=", 1: ">"}


def arithmetic(trade: Trade) -> str:
    """Return the line that gives the result: closing price, opening price, direction, stake and payout.

    Of a trade without a result it says what is known so far.
    """
    match TradeState(trade.state):
        case TradeState.VOID:
            return "no price at its end that can be trusted → void: the stake is back, 0.00"
        case TradeState.WON | TradeState.LOST | TradeState.TIED if _moved(trade) is not None:
            return f"{_comparison(trade)} → {trade.state}: {_money_line(trade)}"
        case TradeState.WON | TradeState.LOST | TradeState.TIED:
            return f"the venue's word without prices → {trade.state}: {_money_line(trade)}"
        case TradeState.REFUSED:
            return "never opened: nothing was staked"
        case TradeState.OPEN if trade.open_price is not None:
            goal = ">" if trade.direction == Direction.UP else "<"
            return f"open: won if the price at its end is {goal} {trade.open_price!r}"
        case TradeState.UNKNOWN:
            return "nobody knows yet what became of it: it counts against every limit as if it were lost"
    return f"{trade.state}: no result yet"


def disagreement(trade: Trade) -> str | None:
    """Return what is wrong where a trade's numbers do not give its result, None where all is well."""
    state = TradeState(trade.state)
    if state not in SETTLED:
        return None
    expected = expected_states(trade)
    if expected and state not in expected:
        return f"these prices give {' or '.join(expected)}, and the trade says {state}"
    profit = profit_of(state, stake=trade.stake, payout_percent=trade.payout_percent)
    if trade.profit != profit:
        return f"these numbers give a profit of {profit}, and the trade says {trade.profit}"
    return None


def expected_states(trade: Trade) -> tuple[TradeState, ...]:
    """Return what a trade's prices allow as its result; empty where a price is missing."""
    moved = _moved(trade)
    if moved is None:
        return ()
    if moved == 0:
        return (TradeState.TIED, TradeState.LOST)  # by the venue's rule
    wanted = 1 if trade.direction == Direction.UP else -1
    return (TradeState.WON,) if moved == wanted else (TradeState.LOST,)


def _moved(trade: Trade) -> int | None:
    """Return 1 where the price rose, -1 where it fell, 0 where it ended where it began."""
    if trade.open_price is None or trade.close_price is None:
        return None
    return (trade.close_price > trade.open_price) - (trade.close_price < trade.open_price)


def _comparison(trade: Trade) -> str:
    moved = _moved(trade)
    assert moved is not None
    line = f"{trade.close_price!r} {SIGNS[moved]} {trade.open_price!r}, direction {trade.direction}"
    return f"{line}, a tie loses at this venue" if moved == 0 and trade.state == TradeState.LOST else line


def _money_line(trade: Trade) -> str:
    match TradeState(trade.state):
        case TradeState.WON:
            profit = profit_of(TradeState.WON, stake=trade.stake, payout_percent=trade.payout_percent)
            return f"{money(trade.stake)} × {payout(trade.payout_percent)} = {gain(profit)}"
        case TradeState.LOST:
            return gain(-trade.stake)
    return "the stake is back, 0.00"
