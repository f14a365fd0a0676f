"""Where trading stands, read off the trades there are: nothing is counted beside them. Pure.

So a restart, a settings change or a clock that steps cannot make a limit forget: the same trades give
the same numbers.
"""

from collections.abc import Sequence
from decimal import Decimal

import attrs

from domain.trades import FINAL, Position, Trade, TradeState
from strategies.days import SECOND_US, Day

LOST = frozenset({TradeState.LOST, TradeState.UNKNOWN})  # unknown counts as lost until it is known


@attrs.frozen(kw_only=True)
class Purse:
    """What money there is, stakes under way included, and what running ladders may still need of it.

    `committed` leaves out stakes under way, and the ladder of whoever asks now.
    """

    balance: Decimal
    committed: Decimal = Decimal(0)


@attrs.frozen(kw_only=True)
class Standing:
    """What the limits are measured against, for one market at one moment.

    A trade belongs to the day it was intended in, its profit to the day it settled in; one that never
    opened counts for nothing. Where the clock has stepped back over midnight the day that had begun
    goes on too, and the worse of the two counts.

    Open are trades that are under way or unknown, and `exposure` is the sum of their stakes, whatever
    day they are of. `losing_run` is when each loss since the last win settled, the oldest first;
    `ended_runs` are earlier ones, the oldest first, for a win ends a row and not the pause it made.
    A trade that nobody knows the result of counts as lost when it should have ended; ties and voids do
    not count. `last_entry_us` is the market's. `signals` names trades of the market by their strategy
    and the time of the tick that they were decided on, as far as they were asked for.
    """

    now_us: int
    day: Day
    purse: Purse
    open_trades: int = 0
    open_on_market: int = 0
    exposure: Decimal = Decimal(0)
    trades_today: int = 0
    realised_today: Decimal = Decimal(0)
    losing_run: Sequence[int] = ()
    ended_runs: Sequence[Sequence[int]] = ()
    last_entry_us: int | None = None
    signals: frozenset[tuple[str, int]] = frozenset()

    @property
    def lost_today(self) -> Decimal:
        """What the day's settled trades have lost together, 0 where they won.

        So a profit makes up for losses, and does not raise what may be open at a time: trades open at
        midnight are lost on a day that has no profit yet.
        """
        return max(-self.realised_today, Decimal(0))

    @property
    def at_risk(self) -> Decimal:
        """What is lost today and what may still be: what is open, and what ladders may need."""
        return self.lost_today + self.exposure + self.purse.committed


def is_under_way(position: Position) -> bool:
    """Return whether a trade's result is still to come, or not known."""
    if position.state is TradeState.FOREIGN:
        return position.trade.settled_us is None
    return position.state not in FINAL


def is_lost(position: Position) -> bool | None:
    """Return whether it is lost or won, None where it is neither."""
    state, profit = position.state, position.trade.profit
    if state is TradeState.FOREIGN and profit:
        return profit < 0
    if state in LOST:
        return True
    return False if state is TradeState.WON else None


def end_us(position: Position) -> int:
    """Return when a trade ended, or should have."""
    trade = position.trade
    return trade.settled_us or trade.expires_us or trade.intended_us + position.expiry_s * SECOND_US


def worse_of(today: Decimal, next_day: Decimal) -> Decimal:
    """Return what a day has realised; of the day after, where the clock has stepped back and it is worse."""
    return min(today, next_day) if next_day < 0 else today


def settled_us(trade: Trade) -> int | None:
    """Return when it settled; not before it was intended, where the clock has stepped back since."""
    return None if trade.settled_us is None else max(trade.settled_us, trade.intended_us)
