"""A backtest: recorded prices and gaps through the same desk, book and limits as live ones. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs

from domain.gaps import Cause, Gap
from domain.market import Tick
from domain.trades import FINAL, LedgerRow, Order, OrderSent, Outcome, Position
from strategies.desk import RESTARTING, Desk, Seat, Wish
from strategies.paper import Offer, find_refusal
from strategies.risk import Conditions
from strategies.strategy import SeenCandle
from strategies.trading import Trading

NEVER_US = 2**63 - 1


class StoredCandles:
    """What a strategy is warmed up with where it starts: here, nothing."""

    def before(self, seat: Seat, ends_us: int) -> Sequence[SeenCandle]:
        """Return the latest candles of a seat's timeframe that end by a time, the oldest first."""
        return ()


@attrs.frozen(kw_only=True)
class Assumed:
    """What a recording does not hold: what the venue would have said, the same all the time."""

    conditions: Conditions
    offer: Offer


@attrs.define(kw_only=True, eq=False)
class Replay:
    """One market's strategies, run over its recorded prices. The same prices make the same trades.

    A gap of cause `downtime` or `stopped` has strategies start over and warm up, as a live start does.
    What was told twice, after the clock stepped back, cannot be told apart, and is left out.
    `on_rows` is given the ledger's rows as they come.
    """

    desk: Desk
    trading: Trading
    assumed: Assumed
    stored: StoredCandles = attrs.field(factory=StoredCandles)
    on_rows: Callable[[Sequence[LedgerRow]], None] = lambda _: None
    ended: list[Position] = attrs.field(factory=list)  # settled or refused by the book, in this order
    refused: Counter[str] = attrs.field(factory=Counter)  # signals, by the limit that refused them
    ticks: int = 0
    first_us: int | None = None
    last_us: int = -1
    _gaps: list[Gap] = attrs.field(factory=list)  # to come, the next one last
    _twice: list[Gap] = attrs.field(factory=list)  # of the clock, the next one last
    _due_us: int = NEVER_US  # of the next of both
    _latest: Conditions | None = None

    def expect(self, gaps: Iterable[Gap]) -> None:
        """Take note of the gaps that are to come, before the first price. Open ones say nothing here."""
        ended = [gap for gap in gaps if gap.to_us is not None]
        self._gaps = sorted(ended, key=_end_us, reverse=True)
        self._twice = [gap for gap in sorted(ended, reverse=True) if gap.cause == Cause.CLOCK]
        self._find_due()

    def run(self, ticks: Iterable[Tick]) -> None:
        """Take recorded ticks, sorted by time and number."""
        take = self.desk.take
        for tick in ticks:
            if tick.ts_us >= self._due_us and self._reach(tick.ts_us):
                continue
            self.ticks += 1
            self._note(tick.ts_us)
            if happened := take(tick):
                self._follow(happened)

    def run_candles(self, candles: Iterable[Sequence[Tick]]) -> None:
        """Take recorded candles, each as its prices: `candle_prices.prices_of`. Ticks are their opens."""
        for first, *others in candles:
            self.run((first,))
            for price in others:
                if price.ts_us >= self._due_us and self._reach(price.ts_us):
                    continue
                self._note(price.ts_us)
                if happened := self.desk.build(price):
                    self._follow(happened)

    def _note(self, ts_us: int) -> None:
        if self.first_us is None:
            self.first_us = ts_us
            self._warm_up(ts_us)
        self.last_us = ts_us

    # --- gaps -----------------------------------------------------------------------------------

    def _reach(self, ts_us: int) -> bool:
        """Let the gaps end that do before a price; return whether the price is to be left out."""
        ending: list[Gap] = []
        while self._gaps and _end_us(self._gaps[-1]) <= ts_us:
            ending.append(self._gaps.pop())
        away = [gap.from_us for gap in ending if gap.cause in RESTARTING]
        if away and self.first_us is not None:
            self.desk.restart()
            self._warm_up(min(away))
        for gap in ending:
            self._follow(self.desk.gap(gap))
        while self._twice and _end_us(self._twice[-1]) <= ts_us:
            self._twice.pop()
        self._find_due()
        return bool(self._twice) and self._twice[-1].from_us < ts_us

    def _find_due(self) -> None:
        ends_us = _end_us(self._gaps[-1]) if self._gaps else NEVER_US
        begins_us = self._twice[-1].from_us + 1 if self._twice else NEVER_US
        self._due_us = min(ends_us, begins_us)

    def _warm_up(self, ends_us: int) -> None:
        for seat in self.desk.seats:
            self.desk.warm_up(seat, self.stored.before(seat, ends_us))

    # --- what comes of it -----------------------------------------------------------------------

    def _follow(self, happened: Sequence[Outcome | Wish]) -> None:
        for each in happened:
            if isinstance(each, Wish):
                self._decide(each)
            else:
                self._take(each)

    def _decide(self, wish: Wish) -> None:
        decided = self.trading.decide(wish, self._conditions(wish.price_age_ms))
        self.on_rows(decided.rows)
        if decided.refused is not None:
            self.refused[decided.refused.reason] += 1
        if decided.order is not None:
            self._carry_out(decided.order, at_us=wish.now_us)

    def _conditions(self, price_age_ms: int) -> Conditions:
        if self._latest is None or self._latest.price_age_ms != price_age_ms:
            self._latest = attrs.evolve(self.assumed.conditions, price_age_ms=price_age_ms)
        return self._latest

    def _carry_out(self, order: Order, *, at_us: int) -> None:
        """Do what the paper broker does, at once."""
        refusal = find_refusal(order.position, self.assumed.offer, at_us=at_us)
        if refusal is not None:
            self._take(refusal)
            return
        self._take(OrderSent(trade_id=order.position.trade.id, at_us=at_us))
        self._follow(self.desk.book.place(order.position))

    def _take(self, outcome: Outcome) -> None:
        self.on_rows(self.trading.take(outcome))
        position = self.trading.positions.find(outcome.trade_id)
        if position is not None and position.state in FINAL:
            self.ended.append(position)


def _end_us(gap: Gap) -> int:
    return NEVER_US if gap.to_us is None else gap.to_us
