"""The tally against `standings.stand`, which looks at all trades each time."""

import random
from decimal import Decimal

import attrs
import pytest
from dealing import sent, us
from standings import stand

from domain.trades import Position, TradeState
from strategies.days import DAY_US
from strategies.positions import Positions
from strategies.standing import Purse

PURSE = Purse(balance=Decimal(1_000))
MARKETS = ("A@sim", "B@sim")
NEXT = {
    TradeState.INTENDED: (TradeState.SENT, TradeState.REFUSED, TradeState.UNKNOWN),
    TradeState.SENT: (TradeState.OPEN, TradeState.REFUSED, TradeState.UNKNOWN),
    TradeState.OPEN: (TradeState.WON, TradeState.LOST, TradeState.TIED, TradeState.VOID, TradeState.UNKNOWN),
    TradeState.UNKNOWN: (TradeState.WON, TradeState.LOST, TradeState.REFUSED, TradeState.OPEN),
}
PROFITS = {TradeState.WON: Decimal(8), TradeState.LOST: Decimal(-10)}


class World:
    """Trades that begin and go on at random, over some days."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_us = us(1_000)
        self.positions = Positions()
        self.every: dict[int, Position] = {}

    def step(self) -> None:
        self.now_us += self.random.choice((0, 1, us(40), us(3_000), us(20_000)))
        open_ones = [each for each in self.every.values() if each.state in NEXT]
        if open_ones and self.random.random() < 0.7:
            self._put(self._next(self.random.choice(open_ones)))
        else:
            self._put(self._new(len(self.every)))

    def _put(self, position: Position) -> None:
        self.every[position.trade.id] = position
        self.positions.put(position)

    def _new(self, trade_id: int) -> Position:
        position = sent(0, trade_id=trade_id)
        trade = position.trade._replace(
            market=self.random.choice(MARKETS),
            state=TradeState.INTENDED,
            intended_us=self.now_us - self.random.choice((0, 0, us(5))),
        )
        return attrs.evolve(position, trade=trade, ts_us=self.now_us)

    def _next(self, position: Position) -> Position:
        state = self.random.choice(NEXT[position.state])
        trade = position.trade._replace(state=state)
        if state is TradeState.OPEN:
            trade = trade._replace(opened_us=self.now_us, expires_us=self.now_us + us(60))
        if state not in NEXT and state is not TradeState.REFUSED:
            # Voids are known late, and the clock is not to be trusted.
            settled_us = self.now_us - self.random.choice((0, 0, us(30), us(90)))
            trade = trade._replace(settled_us=settled_us, profit=PROFITS.get(state, Decimal(0)))
        return attrs.evolve(position, trade=trade)

    def check(self) -> None:
        market, zone = self.random.choice(MARKETS), self.random.choice(("UTC", "Asia/Jakarta"))
        now_us = self.now_us - self.random.choice((0, 0, DAY_US))
        asked = self.random.choice([*self.every.values()])
        signal = (asked.strategy, asked.ts_us)
        expected = stand(self.every.values(), market=market, now_us=now_us, zone=zone, purse=PURSE)
        found = self.positions.stand(market, now_us=now_us, zone=zone, purse=PURSE, signal=signal)
        plain = {"losing_run": [*expected.losing_run], "signals": expected.signals & {signal}}
        assert attrs.asdict(found) | {"losing_run": [*found.losing_run]} == attrs.asdict(expected) | plain


@pytest.mark.parametrize("seed", range(10))
def test_it_says_what_looking_at_all_trades_says(seed: int) -> None:
    world = World(seed)
    for _ in range(150):
        world.step()
        world.check()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_forgotten_changes_no_number_of_today(seed: int) -> None:
    world = World(seed)
    for _ in range(300):
        world.step()
        world.positions.forget_old(now_us=world.now_us, zone="UTC")
        expected = stand(
            world.every.values(), market=MARKETS[0], now_us=world.now_us, zone="UTC", purse=PURSE
        )
        found = world.positions.stand(MARKETS[0], now_us=world.now_us, zone="UTC", purse=PURSE)
        assert [*found.losing_run] == [*expected.losing_run]
        numbers = ("open_trades", "open_on_market", "exposure", "trades_today", "realised_today")
        for name in (*numbers, "last_entry_us"):
            assert getattr(found, name) == getattr(expected, name), name
