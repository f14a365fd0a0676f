"""The numbers of `standing.stand`, kept up to date trade by trade: backtests ask for them often. Pure."""

from bisect import bisect_left, insort
from collections import defaultdict
from decimal import Decimal

from domain.trades import Position, TradeState
from strategies.days import Day, day_of
from strategies.standing import Purse, Standing, end_us, is_lost, is_under_way, settled_us, worse_of

End = tuple[int, int, bool]  # when it ended, the trade's id, whether it was lost


class Tally:
    """Counts every trade in its present state; equal to `stand` over all of them, in any zone.

    Days are of one zone: for another one, count anew.
    """

    def __init__(self, *, zone: str) -> None:
        self.zone = zone
        self._open = 0
        self._exposure = Decimal(0)
        self._open_on: defaultdict[str, int] = defaultdict(int)
        self._trades: defaultdict[int, int] = defaultdict(int)  # by the beginning of the day
        self._realised: defaultdict[int, Decimal] = defaultdict(Decimal)
        self._ends: list[End] = []  # at least since the last win before yesterday
        self._runs: list[list[int]] | None = None  # of losses, the last one not ended; until an end changes
        self._entries: defaultdict[str, list[int]] = defaultdict(list)  # of each market, in order
        self._signals: set[tuple[str, str, int]] = set()
        self._day: Day | None = None

    def change(self, before: Position | None, after: Position | None) -> None:
        """Count a trade in its new state; None where there was none, or is none to count any longer."""
        if before is not None and before.state is not TradeState.REFUSED:
            self._count(before, -1)
        if after is not None and after.state is not TradeState.REFUSED:
            self._count(after, 1)

    def stand(self, market: str, *, now_us: int, purse: Purse, signal: tuple[str, int]) -> Standing:
        """Return where trading stands for a market; of its signals that one, if it has a trade."""
        day, entries = self._day_of(now_us), self._entries.get(market)
        runs = self._losing_runs()
        days = (day.start_us, day.end_us)  # the next one too: the clock may have stepped back
        return Standing(
            now_us=now_us,
            day=day,
            purse=purse,
            open_trades=self._open,
            open_on_market=self._open_on.get(market, 0),
            exposure=self._exposure,
            trades_today=max(self._trades.get(begins_us, 0) for begins_us in days),
            realised_today=worse_of(*(self._realised.get(begins_us, Decimal(0)) for begins_us in days)),
            losing_run=runs[-1],
            ended_runs=runs[:-1],
            last_entry_us=entries[-1] if entries else None,
            signals=frozenset([signal]) if (market, *signal) in self._signals else frozenset(),
        )

    def _count(self, position: Position, one: int) -> None:
        trade = position.trade
        self._trades[self._day_of(trade.intended_us).start_us] += one
        self._count_entry(position, one)
        if is_under_way(position):
            self._open += one
            self._open_on[trade.market] += one
            self._exposure += one * trade.stake
        elif (at_us := settled_us(trade)) is not None and trade.profit:
            self._realised[self._day_of(at_us).start_us] += one * trade.profit
        lost = is_lost(position)
        if lost is not None:
            self._count_end((end_us(position), trade.id, lost), one)

    def _count_entry(self, position: Position, one: int) -> None:
        trade = position.trade
        signal = (trade.market, position.strategy, position.ts_us)
        entries = self._entries[trade.market]
        if one > 0:
            insort(entries, trade.intended_us)
            self._signals.add(signal)
        else:
            del entries[bisect_left(entries, trade.intended_us)]
            self._signals.discard(signal)

    def _count_end(self, end: End, one: int) -> None:
        if one < 0:
            self._runs = None
            del self._ends[bisect_left(self._ends, end)]
            return
        if self._runs is not None and self._ends and end > self._ends[-1]:
            _go_on(self._runs, end)
        else:
            self._runs = None
        insort(self._ends, end)

    def _losing_runs(self) -> list[list[int]]:
        if self._runs is None:
            self._runs = [[]]
            for end in self._ends:
                _go_on(self._runs, end)
        return self._runs

    def _day_of(self, at_us: int) -> Day:
        if self._day is None or at_us not in self._day:
            self._day = day_of(at_us, zone=self.zone)
        return self._day


def _go_on(runs: list[list[int]], end: End) -> None:
    """Let a loss go on with the last run, and a win end it."""
    at_us, _, is_loss = end
    if is_loss:
        runs[-1].append(at_us)
    elif runs[-1]:
        runs.append([])
