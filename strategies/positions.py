"""All trades of one mode that matter: kept in RAM, found by what limits, ladders and brokers ask for."""

from collections.abc import Iterator, Sequence

from domain.trades import Position, TradeState
from strategies.days import Day, day_of
from strategies.standing import Purse, Standing, end_us, is_lost, is_under_way
from strategies.tally import Tally

NO_SIGNAL = ("", 0)


class Positions:
    """Trades by their ids, and where trading stands by them."""

    def __init__(self) -> None:
        self._all: dict[int, Position] = {}
        self._under_way: dict[int, Position] = {}
        self._by_ladder: dict[tuple[str, str], dict[int, Position]] = {}  # strategy, market
        self._tally = Tally(zone="UTC")
        self._day: Day | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Position]:
        return iter(self._all.values())

    @property
    def under_way(self) -> Sequence[Position]:
        """Those whose result is still to come, or not known."""
        return tuple(self._under_way.values())

    def is_under_way(self, trade_id: int) -> bool:
        """Return whether a trade's result is still to come, or not known."""
        return trade_id in self._under_way

    def find(self, trade_id: int) -> Position | None:
        """Return a trade, None where it is not known, or forgotten."""
        return self._all.get(trade_id)

    def of(self, strategy: str, market: str) -> Sequence[Position]:
        """Return a strategy's trades on a market, at least since its latest win."""
        return tuple(self._by_ladder.get((strategy, market), {}).values())

    def ladders(self) -> Sequence[tuple[str, str]]:
        """Return the strategies that have traded, each with a market."""
        return tuple(self._by_ladder)

    def put(self, position: Position) -> None:
        """Take note of a trade, or of its next state."""
        trade_id = position.trade.id
        self._tally.change(self._all.get(trade_id), position)
        self._all[trade_id] = position
        self._by_ladder.setdefault((position.strategy, position.trade.market), {})[trade_id] = position
        if is_under_way(position):
            self._under_way[trade_id] = position
        else:
            self._under_way.pop(trade_id, None)

    def stand(
        self, market: str, *, now_us: int, zone: str, purse: Purse, signal: tuple[str, int] = NO_SIGNAL
    ) -> Standing:
        """Return where trading stands for a market; of its signals (strategy, time) only the given one."""
        if self._tally.zone != zone:
            self._tally = Tally(zone=zone)
            for position in self._all.values():
                self._tally.change(None, position)
        return self._tally.stand(market, now_us=now_us, purse=purse, signal=signal)

    def forget_old(self, *, now_us: int, zone: str) -> None:
        """Once a day, let go of trades that nothing depends on any longer."""
        if self._day is not None and now_us in self._day:
            return
        self._day = day_of(now_us, zone=zone)
        # Not 24 hours: where clocks change a day has 25, and its first hour counts too.
        kept = self._still_needed(day_of(self._day.start_us - 1, zone=zone).start_us)
        for trade_id in self._all.keys() - kept:
            position = self._all.pop(trade_id)
            self._tally.change(position, None)
            del self._by_ladder[position.strategy, position.trade.market][trade_id]

    def _still_needed(self, since_us: int) -> set[int]:
        """Return the trades that limits and ladders are read off: see `standing.stand`."""
        needed = set(self._under_way)
        latest: dict[str, Position] = {}  # of each market: its cooldown counts from there
        wins = (_ended(each) for each in self._all.values() if is_lost(each) is False)
        win = max((end for end in wins if end < (since_us, 0)), default=(0, 0))
        for position in sorted(self._all.values(), key=_entered):
            trade = position.trade
            # The win itself too: what is kept of earlier losses must not join the run after it.
            is_recent = max(trade.intended_us, trade.settled_us or 0) >= since_us
            if is_recent or (is_lost(position) is not None and _ended(position) >= win):
                needed.add(trade.id)
            if position.state is not TradeState.REFUSED:
                latest[trade.market] = position
        needed |= {position.trade.id for position in latest.values()}
        for ladder in self._by_ladder.values():
            for position in sorted(ladder.values(), key=_decided, reverse=True):
                needed.add(position.trade.id)
                if position.state is TradeState.WON:  # itself too, as above
                    break
        return needed


def _ended(position: Position) -> tuple[int, int]:
    return end_us(position), position.trade.id


def _decided(position: Position) -> tuple[int, int]:
    """Return when a ladder's trade comes, as `stake.ladder_of` has it."""
    return position.ts_us, position.trade.id


def _entered(position: Position) -> tuple[int, int]:
    return position.trade.intended_us, position.trade.id
