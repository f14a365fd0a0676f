"""Where trading stands, read off the trades there are: nothing is counted beside them. Pure.

So a restart, a settings change or a clock that steps cannot make a limit forget: the same trades give
the same numbers.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import attrs

from domain.trades import FINAL, Position, Trade, TradeState
from strategies.days import SECOND_US, Day, day_of

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

    Open are trades that are under way or unknown, and `exposure` is the sum of their stakes, whatever
    day they are of. `losing_run` is when each loss since the last win settled, the oldest first.
    `last_entry_us` is the market's. `signals` names each of the market's trades by its strategy and
    the tick that it was decided on.
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


def stand(positions: Iterable[Position], *, market: str, now_us: int, zone: str, purse: Purse) -> Standing:
    """Return where trading stands for a market.

    `positions` are all trades of one mode that matter: those under way, those of today and yesterday,
    and those settled since the last win. A trade belongs to the day it was intended in, its profit to
    the day it settled in. One that never opened counts for nothing. Where the clock has stepped back
    over midnight the day that had begun goes on too: the worse of the two counts.
    """
    day = day_of(now_us, zone=zone)
    entered = [position for position in positions if position.state is not TradeState.REFUSED]
    days = (day, *_begun_after(day, entered, zone=zone))
    under_way = [position for position in entered if is_under_way(position)]
    here = [position for position in entered if position.trade.market == market]
    return Standing(
        now_us=now_us,
        day=day,
        purse=purse,
        open_trades=len(under_way),
        open_on_market=sum(position.trade.market == market for position in under_way),
        exposure=sum((position.trade.stake for position in under_way), Decimal(0)),
        trades_today=max(_trades_in(each, entered) for each in days),
        realised_today=min(_profit_in(each, entered) for each in days),
        losing_run=losing_run(entered),
        last_entry_us=max((position.trade.intended_us for position in here), default=None),
        signals=frozenset((position.strategy, position.ts_us) for position in here),
    )


def is_under_way(position: Position) -> bool:
    """Return whether a trade's result is still to come, or not known."""
    if position.state is TradeState.FOREIGN:
        return position.trade.settled_us is None
    return position.state not in FINAL


def losing_run(positions: Iterable[Position]) -> list[int]:
    """Return when each loss since the last win settled, the oldest first; ties and voids do not count.

    A trade that nobody knows the result of counts as lost when it should have ended.
    """
    ended: list[tuple[int, int, bool]] = []
    for position in positions:
        lost = is_lost(position)
        if lost is not None:
            ended.append((end_us(position), position.trade.id, lost))
    ended.sort()
    run: list[int] = []
    for at_us, _, lost in reversed(ended):
        if not lost:
            break
        run.append(at_us)
    return run[::-1]


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


def _begun_after(day: Day, entered: Sequence[Position], *, zone: str) -> Sequence[Day]:
    """Return the day after, if a trade is of it: the clock has stepped back since."""
    next_day = day_of(day.end_us, zone=zone)
    trades = (position.trade for position in entered)
    has_begun = any(trade.intended_us in next_day or settled_us(trade) in next_day for trade in trades)
    return (next_day,) if has_begun else ()


def _trades_in(day: Day, entered: Sequence[Position]) -> int:
    return sum(position.trade.intended_us in day for position in entered)


def _profit_in(day: Day, entered: Sequence[Position]) -> Decimal:
    ended = (position.trade for position in entered if not is_under_way(position))
    return sum((trade.profit or Decimal(0) for trade in ended if settled_us(trade) in day), Decimal(0))


def settled_us(trade: Trade) -> int | None:
    """Return when it settled; not before it was intended, where the clock has stepped back since."""
    return None if trade.settled_us is None else max(trade.settled_us, trade.intended_us)
