"""What settled trades say: win rate and its interval, break-even, profit, drawdown, and a verdict in words.

A tie gives the stake back and a void trade has no trustworthy price: both are left out of the win
rate, of its interval and of losing runs. Trades that were refused or are not settled are no results.
"""

import datetime
import enum
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import attrs

from domain.errors import InvariantError
from domain.trades import SETTLED, Position, TradeState

CONFIDENCE = 0.95
QUANTILE = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
CHANCE = 0.5  # of a price that may as well rise as fall, where a tie is no result
# Of so many won or lost trades three in four must be won to be told from break-even at 80 %, and of
# fewer even more: a run of luck that everybody meets, who looks at enough markets and hours.
LEAST_TRADES = 30

Key = TypeVar("Key", int, str)


class Result(NamedTuple):
    """One settled trade; `intended_us` and `settled_us` are our clock's. Small, for there may be many."""

    market: str
    strategy: str
    state: str
    stake: Decimal
    payout_percent: float
    profit: Decimal
    intended_us: int
    settled_us: int


class Side(enum.Enum):
    """Where an interval lies, seen from a rate."""

    BELOW = "below"
    AROUND = "around"
    ABOVE = "above"


@attrs.frozen(kw_only=True)
class Interval:
    """The rates that the trades do not speak against, both ends from 0 to 1."""

    low: float
    high: float

    def side(self, rate: float) -> Side:
        """Return where it lies, seen from `rate`; one that only touches it is not told apart from it."""
        if self.high < rate:
            return Side.BELOW
        return Side.ABOVE if self.low > rate else Side.AROUND


@attrs.frozen(kw_only=True)
class Figures:
    """What some trades come to. Rates are from 0 to 1 and None where nothing was won or lost."""

    trades: int
    won: int
    lost: int
    tied: int
    void: int
    win_rate: float | None
    interval: Interval | None
    break_even: float | None
    verdict: str
    staked: Decimal
    profit: Decimal
    drawdown: Decimal
    losing_run: int


class Point(NamedTuple):
    """The profit of all trades up to one, as of when it settled."""

    settled_us: int
    profit: Decimal


def result_of(position: Position) -> Result | None:
    """Return a trade as a result, None for one that has not settled or was never opened."""
    trade = position.trade
    if position.state not in SETTLED:
        return None
    if trade.settled_us is None or trade.profit is None:
        raise InvariantError(f"trade {trade.id} is {trade.state} without a time or a profit")
    return Result(
        trade.market,
        position.strategy,
        trade.state,
        trade.stake,
        trade.payout_percent,
        trade.profit,
        trade.intended_us,
        trade.settled_us,
    )


def results_of(positions: Iterable[Position]) -> list[Result]:
    """Return those that have settled, in the order in which they did."""
    found = [result for result in map(result_of, positions) if result is not None]
    return sorted(found, key=_order)


def figures(results: Iterable[Result]) -> Figures:
    """Return what results come to, in whatever order they are given."""
    ordered = sorted(results, key=_order)
    states = [result.state for result in ordered]
    won, lost = states.count(TradeState.WON), states.count(TradeState.LOST)
    interval = wilson(won=won, decided=won + lost)
    break_even = break_even_rate(ordered)
    return Figures(
        trades=len(ordered),
        won=won,
        lost=lost,
        tied=states.count(TradeState.TIED),
        void=states.count(TradeState.VOID),
        win_rate=won / (won + lost) if won + lost else None,
        interval=interval,
        break_even=break_even,
        verdict=verdict(interval, break_even=break_even, decided=won + lost),
        staked=sum((result.stake for result in ordered), Decimal(0)),
        profit=sum((result.profit for result in ordered), Decimal(0)),
        drawdown=drawdown(point.profit for point in curve(ordered)),
        losing_run=longest_losing_run(states),
    )


def by_market(results: Iterable[Result]) -> dict[str, Figures]:
    """Return the figures of each market, in the order of their names."""
    return _grouped((result.market, result) for result in results)


def by_strategy(results: Iterable[Result]) -> dict[str, Figures]:
    """Return the figures of each strategy, in the order of their names."""
    return _grouped((result.strategy, result) for result in results)


def by_hour(results: Iterable[Result], *, zone: datetime.tzinfo) -> dict[int, Figures]:
    """Return the figures of each hour of day (0 to 23, of `zone`) in which trades were decided."""
    return _grouped((hour_of(result.intended_us, zone=zone), result) for result in results)


def hour_of(ts_us: int, *, zone: datetime.tzinfo) -> int:
    """Return the hour of day."""
    return datetime.datetime.fromtimestamp(ts_us // 1_000_000, tz=zone).hour


def wilson(*, won: int, decided: int) -> Interval | None:
    """Return Wilson's 95 % interval of a win rate (JASA 22, 1927, without correction); None of no trades.

    It stays within 0 and 1 and is not empty where all were won, as the usual one is.
    """
    if decided == 0:
        return None
    rate, square = won / decided, QUANTILE**2
    width = 2 * (decided + square)
    center = (2 * won + square) / width
    reach = QUANTILE * math.sqrt(4 * won * (1 - rate) + square) / width
    return Interval(
        low=center - reach if won else 0.0,
        high=center + reach if won < decided else 1.0,
    )


def break_even_rate(results: Iterable[Result]) -> float | None:
    """Return the win rate at which these won and lost trades would have brought nothing.

    Each counts with its stake and the payout that was agreed for it: at 80 % for all it is 1 / 1.8.
    """
    staked = returned = 0.0
    for result in results:
        if result.state in (TradeState.WON, TradeState.LOST):
            stake = float(result.stake)
            staked += stake
            returned += stake * (1 + result.payout_percent / 100)
    return staked / returned if returned else None


def verdict(interval: Interval | None, *, break_even: float | None, decided: int) -> str:
    """Return in words what may be said of a win rate, and no more than that."""
    if interval is None or break_even is None or decided < LEAST_TRADES:
        return f"too few trades: {decided} of at least {LEAST_TRADES}"
    chance, even = interval.side(CHANCE), interval.side(break_even)
    about_chance = {
        Side.BELOW: "worse than chance",
        Side.AROUND: "not distinguishable from chance",
        Side.ABOVE: "better than chance",
    }[chance]
    about_even = {
        Side.BELOW: "below break-even",
        Side.AROUND: "not distinguishable from break-even",
        Side.ABOVE: "above break-even",
    }[even]
    if chance is even is Side.AROUND:
        return about_chance
    return f"{about_chance}, {about_even}"


def curve(results: Sequence[Result]) -> list[Point]:
    """Return the profit after each of these results, which are in the order in which they settled."""
    points, profit = [], Decimal(0)
    for result in results:
        profit += result.profit
        points.append(Point(result.settled_us, profit))
    return points


def drawdown(profits: Iterable[Decimal]) -> Decimal:
    """Return the largest fall of a profit from the highest it had been, which is 0 at the beginning."""
    highest = largest = Decimal(0)
    for profit in profits:
        highest = max(highest, profit)
        largest = max(largest, highest - profit)
    return largest


def longest_losing_run(states: Iterable[str]) -> int:
    """Return the most losses without a win between them; ties and void trades neither count nor end it."""
    longest = run = 0
    for state in states:
        if state == TradeState.LOST:
            run += 1
            longest = max(longest, run)
        elif state == TradeState.WON:
            run = 0
    return longest


def _order(result: Result) -> tuple[int, int]:
    return result.settled_us, result.intended_us


def _grouped(pairs: Iterable[tuple[Key, Result]]) -> dict[Key, Figures]:
    groups: dict[Key, list[Result]] = {}
    for key, result in pairs:
        groups.setdefault(key, []).append(result)
    return {key: figures(groups[key]) for key in sorted(groups)}
