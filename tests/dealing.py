"""Ticks, positions and strategies for tests of trading. Times are seconds on the venue's axis."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from domain.contracts import ContractRules, OpensAt, Tie
from domain.gaps import Gap
from domain.market import Tick
from domain.trades import Direction, Outcome, Position, Trade, TradeSettled, TradeState
from strategies.desk import Seat, Wish
from strategies.paper import PaperBook
from strategies.strategy import Decision, SeenCandle, Strategy, View

MARKET = "EURUSD@sim"
SECOND_US = 1_000_000
UNDER_WAY_US = 40_000  # from the venue to us

RULES = ContractRules(
    opens_at=OpensAt.LAST_BEFORE,
    tie=Tie.REFUNDED,
    latency_us=500_000,
    least_expiry_s=5,
    most_expiry_s=3_600,
    payout_percent=80.0,
)


def us(at_s: float) -> int:
    """Microseconds of so many seconds."""
    return round(at_s * SECOND_US)


def tick_at(at_s: float, price: float, *, seq: int = 0, source: str = "live") -> Tick:
    """A tick that took 40 ms to us."""
    return Tick(MARKET, us(at_s), seq, price, None, None, None, us(at_s) + UNDER_WAY_US, source)


def gap_of(from_s: float, to_s: float, cause: str = "disconnect") -> Gap:
    """A gap that has ended."""
    return Gap(MARKET, us(from_s), us(to_s), cause)


def sent(at_s: float, *, trade_id: int = 1, expiry_s: int = 60, direction: str = "up") -> Position:
    """A position that was decided on at that time, as the book is given it."""
    trade = Trade(
        id=trade_id,
        signal_id=trade_id,
        market=MARKET,
        mode="paper",
        venue_trade_id=None,
        direction=Direction(direction),
        stake=Decimal(10),
        currency="USD",
        payout_percent=80.0,
        state=TradeState.SENT,
        intended_us=us(at_s) + UNDER_WAY_US,
    )
    return Position(trade=trade, strategy="test", expiry_s=expiry_s, ts_us=us(at_s))


def book_with(rules: ContractRules = RULES, **changes: Any) -> PaperBook:
    """A paper book of rules that differ by so much."""
    return PaperBook(market=MARKET, rules=attrs.evolve(rules, **changes))


def show(book: PaperBook, prices: Mapping[float, float]) -> list[Outcome]:
    """Let a book take ticks; return all that they decide."""
    return [outcome for at_s, price in prices.items() for outcome in book.take(tick_at(at_s, price))]


def result_of(outcomes: Sequence[Outcome]) -> TradeState:
    """The state that the last of these settles its trade in."""
    last = outcomes[-1]
    assert isinstance(last, TradeSettled), outcomes
    return last.state


@attrs.define(kw_only=True, eq=False)
class EveryCandle(Strategy):
    """Wishes for the direction of each closed candle."""

    timeframe_s: int = 10

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        rises = candle.close >= candle.open
        return Decision(direction=Direction.UP if rises else Direction.DOWN, inputs={"close": candle.close})


def wish_at(at_s: float, *, strategy: str = "test") -> Wish:
    """A wish to trade up for a minute."""
    return Wish(
        strategy=strategy,
        market=MARKET,
        ts_us=us(at_s),
        seq=0,
        direction=Direction.UP,
        expiry_s=60,
        price=1.25,
        price_age_ms=40,
        inputs="{}",
        now_us=us(at_s) + UNDER_WAY_US,
    )


def no_fence(_: Seat, method: Callable[..., Any], *arguments: Any) -> Any:
    """Call it, and let through what it raises."""
    return method(*arguments)
