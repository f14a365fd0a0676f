"""Where trading stands, counted the plain way over all trades."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from domain.trades import Position, TradeState
from strategies.days import Day, day_of
from strategies.standing import Purse, Standing, end_us, is_lost, is_under_way, settled_us, worse_of


def stand(positions: Iterable[Position], *, market: str, now_us: int, zone: str, purse: Purse) -> Standing:
    """Return where trading stands for a market; all of its signals are named."""
    day = day_of(now_us, zone=zone)
    entered = [position for position in positions if position.state is not TradeState.REFUSED]
    days = (day, day_of(day.end_us, zone=zone))
    under_way = [position for position in entered if is_under_way(position)]
    here = [position for position in entered if position.trade.market == market]
    runs = losing_runs(entered)
    return Standing(
        now_us=now_us,
        day=day,
        purse=purse,
        open_trades=len(under_way),
        open_on_market=sum(position.trade.market == market for position in under_way),
        exposure=sum((position.trade.stake for position in under_way), Decimal(0)),
        trades_today=max(_trades_in(each, entered) for each in days),
        realised_today=worse_of(*(_profit_in(each, entered) for each in days)),
        losing_run=runs[-1],
        ended_runs=runs[:-1],
        last_entry_us=max((position.trade.intended_us for position in here), default=None),
        signals=frozenset((position.strategy, position.ts_us) for position in here),
    )


def losing_runs(positions: Iterable[Position]) -> list[list[int]]:
    """Return when the losses of each row settled, the oldest first; the last goes on, maybe empty."""
    told = [(end_us(position), position.trade.id, is_lost(position)) for position in positions]
    ended = sorted(each for each in told if each[2] is not None)
    times = [at_us for at_us, _, _ in ended]
    told_as = "".join("L" if lost else "W" for _, _, lost in ended)
    rows = [times[match.start() : match.end()] for match in re.finditer("L+", told_as)]
    return rows if told_as.endswith("L") else [*rows, []]


def _trades_in(day: Day, entered: Sequence[Position]) -> int:
    return sum(position.trade.intended_us in day for position in entered)


def _profit_in(day: Day, entered: Sequence[Position]) -> Decimal:
    ended = (position.trade for position in entered if not is_under_way(position))
    return sum((trade.profit or Decimal(0) for trade in ended if settled_us(trade) in day), Decimal(0))
