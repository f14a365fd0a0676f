"""A model of the limits: counts everything anew from a plain list of trades, ladders step by step.

It shares the words with what it is held against and none of its counting, and has the limits from the
settings of each day.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from domain.trades import FINAL, TradeState
from strategies.desk import Wish
from strategies.limits import Limits
from strategies.stake import Martingale, Plan

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US
ZONE = "Europe/Berlin"
BERLIN = ZoneInfo(ZONE)
START = int(datetime(2026, 10, 24, 21, 0, tzinfo=BERLIN).timestamp()) * SECOND_US  # clocks change that night
BALANCE = Decimal(100_000)
MARKETS = ("A@one", "B@one", "C@one")
WON, LOST, UNKNOWN, REFUSED = TradeState.WON, TradeState.LOST, TradeState.UNKNOWN, TradeState.REFUSED

PLANS = {
    "flat": Plan(fixed=Decimal(10)),
    "percent": Plan(percent=0.0299),
    "doubling": Plan(fixed=Decimal(10), martingale=Martingale(factor=2.0, max_steps=3)),
    "rising": Plan(percent=0.0101, martingale=Martingale(factor=1.5, max_steps=2)),
}

# Tight, so that each of them is met again and again; the last of each is the widest.
LIMITS: dict[str, Sequence[Any]] = {
    "max_stake": (Decimal(15), Decimal(20), Decimal(40)),
    "max_open_trades": (1, 2, 4),
    "max_open_per_market": (1, 2),
    "max_trades_per_day": (2, 5, 9),
    "max_daily_loss": (Decimal(35), Decimal(70), Decimal(90), Decimal(150)),
    "max_losses_in_a_row": (2, 3),
    "pause_min": (45.0, 1.0),
    "cooldown_s": (90.0, 0.0),
    "min_payout_percent": (80.0, 70.0),
    "trade_between": (("06:00-23:59",), ("20:00-03:00",), ()),
}


@attrs.define(kw_only=True, eq=False)
class Entry:
    """A trade as the model sees it; `limits` were in force when it was entered."""

    trade_id: int
    strategy: str
    market: str
    stake: Decimal
    intended_us: int
    ts_us: int
    payout: float
    limits: Limits
    state: TradeState = TradeState.INTENDED
    expires_us: int | None = None
    settled_us: int | None = None
    profit: Decimal = Decimal(0)

    @property
    def is_under_way(self) -> bool:
        return self.state not in FINAL

    @property
    def ends_us(self) -> int:
        return self.settled_us or self.expires_us or self.intended_us + 60 * SECOND_US

    @property
    def day(self) -> date | None:
        """The day that its profit is of: not before it was entered, if the clock has stepped back."""
        return None if self.settled_us is None else day_at(max(self.settled_us, self.intended_us))


def day_at(at_us: int) -> date:
    return datetime.fromtimestamp(at_us // SECOND_US, BERLIN).date()


def down_to_cent(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_DOWN)


@attrs.define(kw_only=True, eq=False)
class ModelLadder:
    """One strategy's ladder on one market, step by step."""

    plan: Plan
    lost: list[Decimal] = attrs.field(factory=list)

    def stakes(self, *, first: Decimal) -> list[Decimal]:
        martingale = self.plan.martingale
        assert martingale is not None
        factor = Decimal(str(martingale.factor))
        later = (down_to_cent(first * factor**step) for step in range(1, martingale.max_steps))
        return [first, *later]

    def ended(self, entry: Entry) -> None:
        martingale = self.plan.martingale
        assert martingale is not None
        if entry.state is WON:
            self.lost = []
        elif entry.state is LOST:
            self.lost.append(entry.stake)
            if len(self.lost) == martingale.max_steps:
                self.lost = []

    def rest(self, waiting: Sequence[Entry]) -> Decimal:
        """What it may still cost beside what is under way."""
        steps = [*self.lost, *(entry.stake for entry in waiting)]
        return sum(self.stakes(first=steps[0])[len(steps) :], Decimal(0)) if steps else Decimal(0)


class Model:
    """Counts everything from a list of trades, and the limits from the settings of each day."""

    def __init__(self, wanted: Limits) -> None:
        self.entries: list[Entry] = []
        self.ladders = {
            (name, market): ModelLadder(plan=plan)
            for name, plan in PLANS.items()
            if plan.martingale is not None
            for market in MARKETS
        }
        self.day = day_at(START)
        self.wanted_today = [wanted]  # at the beginning of the day, and since

    # limits

    def now_is(self, now_us: int) -> None:
        today = day_at(now_us)
        if today > self.day:
            self.day, self.wanted_today = today, self.wanted_today[-1:]
        elif self.day - today > timedelta(days=1):
            raise AssertionError("the clock steps back by hours, not by days")

    def wants(self, wanted: Limits) -> None:
        self.wanted_today.append(wanted)

    def limits(self) -> Limits:
        strictest: dict[str, Any] = {"zone": ZONE}
        for name in LIMITS:
            wanted = [getattr(each, name) for each in self.wanted_today]
            if name == "trade_between":
                strictest[name] = tuple(hours for each in wanted for hours in each)
            elif name in ("pause_min", "cooldown_s", "min_payout_percent"):
                strictest[name] = max(wanted)
            else:
                strictest[name] = min(wanted)
        return Limits(**strictest)

    # what there is

    def under_way(self, **about: str) -> list[Entry]:
        return [
            entry
            for entry in self.entries
            if entry.is_under_way and all(getattr(entry, name) == value for name, value in about.items())
        ]

    def balance(self) -> Decimal:
        return BALANCE + sum(entry.profit for entry in self.entries)

    def realised(self, day: date | None) -> Decimal:
        return sum((entry.profit for entry in self.entries if entry.day == day), Decimal(0))

    def stake(self, strategy: str, market: str) -> tuple[Decimal, Decimal]:
        """Return the next stake, and what the steps after it may cost."""
        plan = PLANS[strategy]
        if plan.fixed is not None:
            first = plan.fixed
        else:
            first = down_to_cent(self.balance() * Decimal(str(plan.percent)) / 100)
        if plan.martingale is None:
            return first, Decimal(0)
        ladder = self.ladders[strategy, market]
        stakes = ladder.stakes(first=ladder.lost[0] if ladder.lost else first)
        done = len(ladder.lost)
        return stakes[done], sum(stakes[done + 1 :], Decimal(0))

    # what speaks against a trade

    def against(self, wish: Wish, *, payout: float) -> set[str]:
        """Return the name of each limit that refuses the wish."""
        limits, now_us = self.limits(), wish.now_us
        today, tomorrow = (
            day_at(now_us),
            day_at(now_us) + timedelta(days=1),
        )  # the clock may have stepped back
        stake, left = self.stake(wish.strategy, wish.market)
        opened = [entry for entry in self.entries if entry.state is not REFUSED]
        found = {
            "payout": payout < limits.min_payout_percent,
            "hours": not all(is_in(hours, now_us) for hours in limits.trade_between),
            "losses_in_a_row": self.is_paused(limits, now_us),
            "cooldown": limits.cooldown_s > 0
            and any(
                now_us < entry.intended_us + limits.cooldown_s * SECOND_US
                for entry in opened
                if entry.market == wish.market
            ),
            "open_trades": len(self.under_way()) >= limits.max_open_trades,
            "open_per_market": len(self.under_way(market=wish.market)) >= limits.max_open_per_market,
            "trades_per_day": any(
                sum(day_at(entry.intended_us) == day for entry in opened) >= limits.max_trades_per_day
                for day in (today, tomorrow)
            ),
            "stake_limit": stake > limits.max_stake,
            "duplicate": any(
                (entry.strategy, entry.market, entry.ts_us) == (wish.strategy, wish.market, wish.ts_us)
                for entry in opened
            ),
        }
        waiting = self.under_way(strategy=wish.strategy, market=wish.market)
        if PLANS[wish.strategy].martingale is not None and waiting:
            found["unknown_trade" if waiting[-1].state is UNKNOWN else "ladder_open"] = True
        at_risk = max(-self.realised(today), -self.realised(tomorrow), Decimal(0))
        at_risk += sum((entry.stake for entry in self.under_way()), Decimal(0))
        at_risk += sum(
            ladder.rest(self.under_way(strategy=key[0], market=key[1]))
            for key, ladder in self.ladders.items()
            if key != (wish.strategy, wish.market)
        )
        found["daily_loss"] = at_risk + stake > limits.max_daily_loss or at_risk >= limits.max_daily_loss
        found["ladder"] = at_risk + stake + left > limits.max_daily_loss
        return {name for name, is_so in found.items() if is_so}

    def is_paused(self, limits: Limits, now_us: int) -> bool:
        paused_us, run = None, 0
        counted = [entry for entry in self.entries if entry.state in (WON, LOST, UNKNOWN)]
        for entry in sorted(counted, key=lambda entry: (entry.ends_us, entry.trade_id)):
            run = 0 if entry.state is WON else run + 1
            if run and run % limits.max_losses_in_a_row == 0:
                paused_us = entry.ends_us
        return paused_us is not None and now_us < paused_us + limits.pause_min * MINUTE_US


def is_in(hours: str, at_us: int) -> bool:
    begin, end = hours.split("-")
    clock = datetime.fromtimestamp(at_us // SECOND_US, BERLIN).time()
    from_begin = clock >= datetime.strptime(begin, "%H:%M").replace(tzinfo=BERLIN).time()
    to_end = clock < datetime.strptime(end, "%H:%M").replace(tzinfo=BERLIN).time()
    return (from_begin and to_end) if begin < end else (from_begin or to_end)
