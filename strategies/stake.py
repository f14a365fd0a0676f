"""How much to stake: fixed, a percentage of the balance, or a ladder that doubles after a loss. Pure.

A ladder (martingale) is one strategy's on one market. After a loss comes the next step, after a win the
first; a tie, a void or a refused trade repeats the step; after the last step the ladder is lost, and the
first comes again. Which step is due is read off the trades, so it survives restarts.
"""

from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, Decimal

import attrs

from domain.trades import CENT, Position, TradeState
from strategies.standing import is_under_way


@attrs.frozen(kw_only=True)
class Martingale:
    """After a loss the stake is `factor` times the last one, for at most `max_steps` trades in all.

    `factor` is above 1, and `max_steps` from 2 to 5: the settings are held to that.
    """

    factor: float = 2.0
    max_steps: int


@attrs.frozen(kw_only=True)
class Plan:
    """What one strategy stakes: `fixed` in the account's currency, or `percent` of the balance."""

    fixed: Decimal | None = None
    percent: float | None = None
    martingale: Martingale | None = None

    def first(self, balance: Decimal) -> Decimal:
        """Return the stake of a first step, to the cent, rounded down."""
        if self.fixed is not None:
            return self.fixed
        return _to_cent(balance * Decimal(str(self.percent)) / 100)


@attrs.frozen(kw_only=True)
class Ladder:
    """Where one strategy's ladder stands on one market.

    `lost` is the stakes of its steps so far, and `waits_for` its trade whose result is not there yet.
    """

    lost: Sequence[Decimal] = ()
    waits_for: Position | None = None


@attrs.frozen(kw_only=True)
class Stake:
    """The next stake. `ladder_left` is what the steps after it may cost, `waits_for` what holds it up."""

    amount: Decimal
    step: int = 1
    ladder_left: Decimal = Decimal(0)
    waits_for: Position | None = None


def next_stake(plan: Plan, *, balance: Decimal, trades: Iterable[Position]) -> Stake:
    """Return the next stake of a strategy on a market, given its trades there.

    `trades` may be in any order, and need reach back to the beginning of a running ladder only.
    """
    if plan.martingale is None:
        return Stake(amount=plan.first(balance))
    ladder = ladder_of(plan, balance=balance, trades=trades)
    first = ladder.lost[0] if ladder.lost else plan.first(balance)
    stakes, done = ladder_stakes(plan.martingale, first=first), len(ladder.lost)
    return Stake(
        amount=stakes[done],
        step=done + 1,
        ladder_left=sum(stakes[done + 1 :], Decimal(0)),
        waits_for=ladder.waits_for,
    )


def still_committed(plan: Plan, *, balance: Decimal, trades: Iterable[Position]) -> Decimal:
    """Return what a running ladder may cost beyond the stake that is under way; 0 where none runs."""
    if plan.martingale is None:
        return Decimal(0)
    ladder = ladder_of(plan, balance=balance, trades=trades)
    steps = [*ladder.lost, *([ladder.waits_for.trade.stake] if ladder.waits_for else ())]
    if not steps:
        return Decimal(0)
    return sum(ladder_stakes(plan.martingale, first=steps[0])[len(steps) :], Decimal(0))


def ladder_of(plan: Plan, *, balance: Decimal, trades: Iterable[Position]) -> Ladder:
    """Return where a ladder stands after these trades of its strategy and market."""
    waits_for: Position | None = None
    lost: list[Decimal] = []
    # By the venue's time, because our clock may step back between two of them.
    for position in sorted(trades, key=lambda position: (position.ts_us, position.trade.id)):
        if position.state is TradeState.WON:
            lost = []
        elif position.state is TradeState.LOST:
            lost.append(position.trade.stake)
        elif is_under_way(position):
            waits_for = position
    return Ladder(lost=_running(plan, lost, balance=balance), waits_for=waits_for)


def _running(plan: Plan, lost: Sequence[Decimal], *, balance: Decimal) -> Sequence[Decimal]:
    """Return the last losses that are the first steps of one ladder of this very plan.

    Losses of a ladder that ended, or of other settings, are none of it.
    """
    assert plan.martingale is not None
    most = plan.martingale.max_steps
    for count in range(min(most, len(lost)), 0, -1):
        steps = lost[-count:]
        is_first = _may_begin(plan, steps, balance=balance)
        if is_first and list(steps) == list(ladder_stakes(plan.martingale, first=steps[0])[:count]):
            return steps if count < most else ()
    return ()


def _may_begin(plan: Plan, steps: Sequence[Decimal], *, balance: Decimal) -> bool:
    """Return whether a ladder of this plan may have begun with the first of these steps.

    Of a percentage half as much again is let pass: other strategies have changed the balance since.
    """
    if plan.fixed is not None:
        return steps[0] == plan.fixed
    return steps[0] <= plan.first(balance + sum(steps)) * Decimal("1.5")


def ladder_stakes(martingale: Martingale, *, first: Decimal) -> Sequence[Decimal]:
    """Return the stake of each step, to the cent, rounded down."""
    factor = Decimal(str(martingale.factor))
    return [first if step == 0 else _to_cent(first * factor**step) for step in range(martingale.max_steps)]


def ladder_loss(plan: Plan, *, balance: Decimal) -> Decimal:
    """Return what a plan may lose before it begins anew: all steps of a ladder, else one stake."""
    first = plan.first(balance)
    if plan.martingale is None:
        return first
    return sum(ladder_stakes(plan.martingale, first=first), Decimal(0))


def chance_of_loss(*, steps: int, win_rate: float) -> float:
    """Return how likely a ladder loses every step, 0 to 1, where each trade wins with `win_rate`."""
    return (1.0 - win_rate) ** steps


def chance_within(*, steps: int, win_rate: float, trades: int) -> float:
    """Return how likely at least one ladder loses every step within so many trades, 0 to 1."""
    # How likely it is to stand on each step with no ladder lost so far.
    on_step = [1.0, *[0.0] * (steps - 1)]
    for _ in range(trades):
        on_step = [sum(on_step) * win_rate, *[chance * (1.0 - win_rate) for chance in on_step[:-1]]]
    return 1.0 - sum(on_step)


def break_even_rate(payout_percent: float) -> float:
    """Return the share of trades that has to win for neither profit nor loss, 0 to 1."""
    return 100.0 / (100.0 + payout_percent)


def _to_cent(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_DOWN)
