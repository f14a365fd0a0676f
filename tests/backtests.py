"""Markets and settings for backtests as a command."""

import functools

from daemons import CLOSED_PORT_URL, Settings, Workshop
from databases import AnyDatabase, Batch, open_store

from domain.market import Tick

MARKET = "EURUSD@sim"
FIRST_US = 1_790_000_000_000_000
HALF_US = 500_000
STRATEGIES = """
[strategies.mine]
kind = "mine.py:Mine"
expiry_s = 60
stake = 10
[strategies.fails]
kind = "mine.py:Fails"
expiry_s = 90
stake = 10
[trading]
max_losses_in_a_row = 100
"""
MINE = """
from strategies.strategy import Decision, Strategy

class Mine(Strategy):
    def on_candle(self, candle, view):
        return Decision(direction="up", inputs={"close": candle.close})

class Fails(Strategy):
    def on_candle(self, candle, view):
        return 1 / 0
"""


def wave(minutes: int) -> list[Tick]:
    """Prices that rise for two minutes and fall for two."""
    ticks = []
    for n in range(minutes * 120):
        ts_us = FIRST_US + n * HALF_US
        height = n % 480 if n % 480 < 240 else 480 - n % 480
        ticks.append(Tick(MARKET, ts_us, 0, 1.0 + height / 1e5, None, None, None, ts_us + 40_000))
    return ticks


def prepare(workshop: Workshop, database: AnyDatabase, ticks: list[Tick]) -> Settings:
    """Store the ticks, and write settings that name the strategies."""
    with open_store(database.target) as store:
        store.pool.run(functools.partial(store.batches.store, batch=Batch(ticks=ticks)))
    settings = Settings(url=CLOSED_PORT_URL, database=database, symbols=["EURUSD"], more=STRATEGIES)
    workshop.change(settings)
    (workshop.folder / "mine.py").write_text(MINE)
    return settings
