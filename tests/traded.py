"""Trades with prices to show: some won, lost, tied, void, refused and open."""

import random
from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs

from domain.gaps import Gap
from domain.market import Candle, Tick
from domain.trades import Position, Signal, Trade, TradeEvent, TradeState, profit_of, stable_id
from storage.batches import insert_ticks, with_new_markets
from storage.ledger_rows import insert_signals, insert_trade_events, put_trades
from storage.session import Session

MINUTE_US = 60_000_000
FIRST_US = 1_795_700_000_000_000 // MINUTE_US * MINUTE_US
INSERT_GAP = "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES (?, ?, ?, ?, ?, ?)"
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


def its_signal(position: Position, *, price: float = 1.08415) -> Signal:
    """Return the signal that a trade came from."""
    return Signal(
        id=position.trade.signal_id,
        market=position.trade.market,
        strategy=position.strategy,
        ts_us=position.ts_us,
        direction=position.trade.direction,
        expiry_s=position.expiry_s,
        price=price,
        price_age_ms=120,
        inputs='{"rsi": 28.125, "period": 14}',
        outcome="approved",
    )


def refused_signal(reason: str, *, number: int, market: str = "EURUSD@sim") -> Signal:
    """Return a signal that a limit refused."""
    ts_us = FIRST_US + number
    return Signal(
        id=stable_id("signal", "rsi", market, ts_us, 1), market=market, strategy="rsi", ts_us=ts_us,
        direction="up", expiry_s=60, price=1.08415, price_age_ms=7, inputs="{}", outcome="refused",
        reason=reason,
    )  # fmt: skip


def its_steps(position: Position) -> list[TradeEvent]:
    """Return the steps that brought a trade to where it is."""
    trade = position.trade
    times = {
        "intended": trade.intended_us, "sent": trade.sent_us, "open": trade.opened_us,
        trade.state: trade.settled_us or trade.opened_us or trade.intended_us,
    }  # fmt: skip
    steps = [(state, ts_us) for state, ts_us in times.items() if ts_us is not None]
    return [
        TradeEvent(stable_id(trade.id, number), trade.id, ts_us, state, f"cause {number}", "")
        for number, (state, ts_us) in enumerate(steps)
    ]


def ticks_every_second(market: str, *, count: int) -> list[Tick]:
    """Return live ticks from `FIRST_US` on, each price a little above the one before."""
    return [
        Tick(market, ts_us, 0, round(1.08 + number / 100_000, 5), None, None, None, ts_us + 40_000)
        for number, ts_us in enumerate(range(FIRST_US, FIRST_US + count * 1_000_000, 1_000_000))
    ]


@attrs.frozen(kw_only=True)
class Kept:
    """What a database is to hold. Its markets are those of the ticks."""

    ticks: Sequence[Tick]
    trades: Sequence[Position] = ()
    signals: Sequence[Signal] = ()
    gaps: Sequence[Gap] = ()

    def write(self, session: Session) -> None:
        """Write it all in one transaction."""
        session.begin()
        ids = with_new_markets(session, ids={}, markets={tick.market for tick in self.ticks})
        insert_ticks(session, ticks=self.ticks, ids=ids)
        insert_signals(session, signals=self.signals, ids=ids)
        put_trades(session, trades=[each.trade for each in self.trades], ids=ids)
        insert_trade_events(session, events=[step for each in self.trades for step in its_steps(each)])
        for gap in self.gaps:
            session.execute(INSERT_GAP, (ids[gap.market], *gap[1:]))
        session.commit()
