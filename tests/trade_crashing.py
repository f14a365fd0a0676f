"""Kills a daemon that trades on paper, again and again, and puts together what became of its trades.

As `crashing`, whose judge looks at its prices all the same; `trade_oracle` judges the trades.
"""

import random
from collections import Counter
from collections.abc import Sequence, Set
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import attrs
from crash_evidence import read_events, read_gaps, read_money, read_signals, read_trades
from crash_oracle import Verdict
from crash_plans import End, Plan
from crashing import CrashRun
from daemons import Daemon, Settings, Status
from databases import AnyDatabase, stored_ticks
from trade_oracle import Books, Figures, Terms, judge_trades

from domain.clock import now_us

# As most venues have it: half a second to the opening, a tie gives the stake back.
TERMS = Terms(
    latency_us=500_000,
    is_tie_lost=False,
    payout_percent=80.0,
    start=Decimal("10000.00"),
    stake=Decimal("3.33"),
    max_open=12,
    max_open_per_market=1,
    max_losses_in_a_row=6,
    pause_us=1_500_000,
)

# Decides on ticks by their numbers alone, so that trades begin as soon as prices come, whatever the
# start has to read first; the other strategy needs its candles.
FAST = """
from strategies.strategy import Decision, Strategy

class Fast(Strategy):
    def on_tick(self, tick, view):
        if tick.seq % 48:
            return None
        return Decision(direction="up" if tick.seq % 96 else "down", inputs={"seq": tick.seq})
"""

TRADING = f"""
strategies = ["fast", "slow", "streaks"]
[strategies.fast]
kind = "fast.py:Fast"
expiry_s = 1
stake = {TERMS.stake}
[strategies.slow]
kind = "fast.py:Fast"
expiry_s = 5
stake = {TERMS.stake}
[strategies.streaks]
kind = "streak"
timeframe_s = 1
length = 1
expiry_s = 2
stake = {TERMS.stake}
[trading]
paper_balance = {TERMS.start}
max_stake = 10
max_open_trades = {TERMS.max_open}
max_open_per_market = {TERMS.max_open_per_market}
max_trades_per_day = 1000000
max_daily_loss = 5000
max_losses_in_a_row = {TERMS.max_losses_in_a_row}
pause_min = {TERMS.pause_us / 60_000_000}
"""


WINDOW_US = 10_000_000
MORE = 6  # trades that nothing cuts off


class TradeCrashRun(CrashRun):
    """Lives of a daemon that trades."""

    def __init__(self, folder: Path, *, database: AnyDatabase, random_: random.Random) -> None:
        super().__init__(folder, database=database, random_=random_)
        (folder / "fast.py").write_text(FAST, encoding="utf-8")
        self.accepted: list[set[int]] = []  # of each life, ids of signals and of trades' steps
        self.figures: Figures | None = None
        self._known: dict[str, Any] = {}
        self.states: Counter[str] = Counter()  # how many trades ended how, once they are judged

    def _settings(self) -> Settings:
        return attrs.evolve(super()._settings(), more=TRADING)

    def _look_at_the_dead(self) -> None:
        ids: set[int] = set()
        for batch in read_money(self.workshop.state_dir / "journal.db"):
            ids |= {row.id for row in batch.signals} | {row.id for row in batch.trade_events}
        self.accepted.append(ids)

    def finish(self) -> None:
        """Let it trade in peace, then open no more until those that are open have ended.

        One more start is to know all that this life knew.
        """
        with self._life(Plan(end=End.STOP, at_s=0.0)) as (daemon, _):
            before = trades_today(daemon.wait_until(is_ready, what="ready to trade"))
            daemon.wait_until(lambda status: trades_today(status) >= before + MORE, what="it trades")
            self._drains |= {True}
            daemon.ask("drain", on=True)
            status = daemon.wait_until(is_settled, what="every trade has ended")
            self.figures, self._known = figures_of(status), kept_figures(status)
            self._stop(daemon)
        super().finish()

    def _come_to_rest(self, daemon: Daemon) -> None:
        known = kept_figures(daemon.wait_until(is_ready, what="the trades of before are known"))
        if known != self._known:
            self.complaints.append(f"after a restart {known}, before it {self._known}")

    def books(self) -> Books:
        """Return all that is known of the trades after `finish()`."""
        assert self.figures is not None, "it has come to rest"
        return read_books(self.database, figures=self.figures, accepted=self.accepted)

    def judge(self, *, window_us: int = WINDOW_US) -> Verdict:
        """Judge what was kept of prices, and what became of the trades.

        How late a price may be lost is the other run's business: four daemons that trade fill a machine.
        """
        verdict, books = super().judge(window_us=window_us), self.books()
        self.states = Counter(trade.state for trade in books.trades)
        return attrs.evolve(verdict, complaints=[*verdict.complaints, *judge_trades(books)])


def read_books(database: AnyDatabase, *, figures: Figures, accepted: Sequence[Set[int]]) -> Books:
    """Return what a database says of the trades, with what was seen beside it."""
    return Books(
        terms=TERMS,
        signals=read_signals(database),
        trades=read_trades(database),
        events=read_events(database),
        ticks=stored_ticks(database),
        gaps=read_gaps(database),
        figures=figures,
        accepted=accepted,
    )


def is_ready(status: Status) -> bool:
    return bool(status["trading"]["is_ready"])


def is_settled(status: Status) -> bool:
    return is_ready(status) and bool(status["trading"]["open"] == status["trading"]["unknown"])


def trades_today(status: Status) -> int:
    return int(status["trading"]["trades_today"])


def kept_figures(status: Status) -> dict[str, Any]:
    """Return what a restart must not change: money, limits and what is used of them, ladders."""
    now_only = ("is_ready", "reason", "strategies", "paused_until_us")  # a pause may be over meanwhile
    kept = {key: value for key, value in status["trading"].items() if key not in now_only}
    limits = {name: [amount(value) for value in of.values()] for name, of in kept.pop("limits").items()}
    return kept | {"balance": amount(kept["balance"]), "limits": limits}


def amount(value: Any) -> Any:
    """Return money as a number; anything else as it is."""
    try:
        return Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        return value


def figures_of(status: Status) -> Figures:
    """Return what a status says of trading."""
    trading: dict[str, Any] = status["trading"]
    return Figures(
        at_us=now_us(),
        balance=Decimal(trading["balance"]),
        open=trading["open"],
        unknown=trading["unknown"],
        trades_today=trading["trades_today"],
        realised_today=Decimal(trading["realised_today"]),
    )
