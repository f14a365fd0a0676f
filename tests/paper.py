"""The daemon trading on paper: settings that trade within seconds, and its trades against a backtest's."""

import argparse
from collections.abc import Callable, Sequence

import attrs
from daemons import Daemon, Settings, Status, Workshop
from databases import AnyDatabase
from ledgers import stored_ledger

from domain.market import split_market_id
from domain.trades import FINAL, LedgerRow, Trade, TradeState
from supervisor.backtesting import Backtest
from supervisor.commands.recorded import Recorded
from supervisor.listings import read_catalog
from supervisor.settings import load

ENDLESS = """
[trading]
max_open_per_market = {per_market}
max_open_trades = 1000
max_trades_per_day = 100000
max_daily_loss = 100000
max_losses_in_a_row = 1000
"""
QUICK = """
[strategies.quick]
kind = "streak"
length = 1
timeframe_s = 1
expiry_s = {expiry_s}
stake = 10
"""


def quick(settings: Settings, *, expiry_s: int = 1, per_market: int = 1, limits: str = ENDLESS) -> Settings:
    """Return settings that make a trade almost every second on each market."""
    more = f'strategies = ["quick"]\n{QUICK.format(expiry_s=expiry_s)}{limits.format(per_market=per_market)}'
    return attrs.evolve(settings, more=more)


def trades(database: AnyDatabase) -> list[Trade]:
    """Return the trades that are stored."""
    return stored_ledger(database).trades


def ended(database: AnyDatabase) -> dict[int, Trade]:
    """Return those that have come to their end, by their ids."""
    return {trade.id: trade for trade in trades(database) if TradeState(trade.state) in FINAL}


def has_settled(count: int, database: AnyDatabase) -> Callable[[], bool]:
    """Return what tells whether so many have, with a result."""
    return lambda: sum(trade.settled_us is not None for trade in trades(database)) >= count


def trading(daemon: Daemon) -> Status:
    """Return the daemon's word on trading."""
    found: Status = daemon.status()["trading"]
    return found


def backtest_trades(workshop: Workshop, *, market: str, strategy: str = "quick") -> dict[int, Trade]:
    """Return the trades that a backtest of what is stored makes, by their ids."""
    settings = load(workshop.config)
    arguments = argparse.Namespace(
        config=workshop.config, state_dir=workshop.state_dir, from_us=None, to_us=None
    )
    recorded = Recorded(arguments=arguments, market=market, is_filled=False)
    backtest = Backtest(
        settings=settings,
        config=workshop.config,
        catalog=read_catalog(workshop.state_dir, split_market_id(market)[1]),
        strategy=strategy,
        market=market,
    )
    replay, found = backtest.make(recorded), dict[int, Trade]()

    def take(rows: Sequence[LedgerRow]) -> None:
        found.update((row.id, row) for row in rows if isinstance(row, Trade))

    replay.on_rows = take
    replay.expect(recorded.gaps())
    for ticks in recorded.ticks():
        replay.run(ticks)
    return found


def result(trade: Trade) -> Trade:
    """Return a trade without what only a running daemon has: when our order went out."""
    return trade._replace(sent_us=None)


# A strategy for each way of breaking its promise, in a user's own file.
FAULTY = """
import time
from strategies.strategy import Decision, Strategy


class Raises(Strategy):
    def on_tick(self, tick, view):
        return 1 / 0


class Loops(Strategy):
    def on_tick(self, tick, view):
        while True:
            try:
                time.sleep(0)
            except Exception:
                pass


class Sleeps(Strategy):
    timeframe_s: int = 1

    def on_candle(self, candle, view):
        time.sleep(0.05)


class AsksForMore(Strategy):
    timeframe_s: int = 1

    def on_candle(self, candle, view):
        view.candles(10)
"""
FAULTS = {
    "Raises": "EURUSD",
    "Loops": "GBPUSD",
    "Sleeps": "USDJPY",
    "AsksForMore": "AUDUSD",
}  # and its market


def faulty(settings: Settings) -> Settings:
    """Return settings with a faulty strategy each on four markets, and a good one on the fifth."""
    sections = [
        f'[strategies.{name}]\nkind = "own.py:{name}"\nstake = 10\n'
        f'[[markets]]\nvenue = "sim"\nsymbols = ["{symbol}"]\nstrategies = ["{name}"]\n'
        for name, symbol in FAULTS.items()
    ]
    more = f'strategies = ["quick"]\n{QUICK.format(expiry_s=1)}{"".join(sections)}'
    return attrs.evolve(settings, symbols=("USDCAD",), more=more)
