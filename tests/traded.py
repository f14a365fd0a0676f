"""Trades with prices to show: some won, lost, tied, void, refused and open."""

import random
from collections.abc import Iterator
from decimal import Decimal

from domain.gaps import Gap
from domain.market import Candle
from domain.trades import Position, Trade, TradeState, profit_of, stable_id

MINUTE_US = 60_000_000
FIRST_US = 1_795_700_000_000_000 // MINUTE_US * MINUTE_US
STATES = ("won", "lost", "tied", "void", "refused", "open", "unknown")


def some_candles(market: str, *, count: int, seed: int = 7) -> list[Candle]:
    """Return a walk of one-minute candles."""
    chance, price = random.Random(seed), 1.0842
    return [candle for _, candle in zip(range(count), _walk(market, chance, price), strict=False)]


def _walk(market: str, chance: random.Random, price: float) -> Iterator[Candle]:
    open_us = FIRST_US
    while True:
        prices = [price, *(round(price + chance.gauss(0, 0.0001), 5) for _ in range(5))]
        yield Candle(
            market=market, timeframe_s=60, open_us=open_us, open=prices[0], high=max(prices),
            low=min(prices), close=prices[-1], ticks=6, volume=0.0,
        )  # fmt: skip
        price, open_us = prices[-1], open_us + MINUTE_US


def some_gaps(market: str) -> list[Gap]:
    """Return one that has ended and one that is open."""
    return [
        Gap(market, FIRST_US + 5 * MINUTE_US, FIRST_US + 7 * MINUTE_US, "disconnect"),
        Gap(market, FIRST_US + 30 * MINUTE_US, None, "stale"),
    ]


def some_trades(*markets: str, count: int, strategies: tuple[str, ...] = ("rsi",)) -> list[Position]:
    """Return trades of all states in turn, a minute apart."""
    return [
        a_trade(
            STATES[number % len(STATES)],
            number=number,
            market=markets[number % len(markets)],
            strategy=strategies[number % len(strategies)],
        )
        for number in range(count)
    ]


def a_trade(state: str, *, number: int = 0, market: str = "EURUSD@sim", strategy: str = "rsi") -> Position:
    """Return a trade for 60 s that is in this state."""
    ts_us = FIRST_US + number * MINUTE_US
    stake = Decimal("10.00")
    is_opened, is_settled = state != "refused", state in ("won", "lost", "tied", "void")
    direction = "up" if number % 2 == 0 else "down"
    moved = {"won": 0.0004, "lost": -0.0004}.get(state, 0.0) * (1 if direction == "up" else -1)
    trade = Trade(
        id=stable_id("trade", "paper", strategy, market, ts_us, 0),
        signal_id=stable_id("signal", strategy, market, ts_us, 0),
        market=market,
        mode="paper",
        venue_trade_id=None,
        direction=direction,
        stake=stake,
        currency="USD",
        payout_percent=80.0,
        state=state,
        intended_us=ts_us + 100_000,
        sent_us=ts_us + 200_000 if is_opened else None,
        opened_us=ts_us + 500_000 if is_opened else None,
        open_price=1.0842 if is_opened else None,
        expires_us=ts_us + 500_000 + MINUTE_US if is_opened else None,
        settled_us=ts_us + 700_000 + MINUTE_US if is_settled else None,
        close_price=round(1.0842 + moved, 5) if is_settled and state != "void" else None,
        close_source="ticks" if is_settled else None,
        profit=profit_of(TradeState(state), stake=stake, payout_percent=80.0) if is_settled else None,
    )
    return Position(trade=trade, strategy=strategy, expiry_s=60, ts_us=ts_us)
