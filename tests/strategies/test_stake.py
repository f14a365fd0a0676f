from decimal import Decimal
from itertools import product
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trades import MINUTE_US, position_of

from domain.trades import Position, TradeState
from strategies.stake import (
    Martingale,
    Plan,
    break_even_rate,
    chance_of_loss,
    chance_within,
    ladder_loss,
    next_stake,
    still_committed,
)

WON, LOST, TIED, VOID = TradeState.WON, TradeState.LOST, TradeState.TIED, TradeState.VOID
REFUSED, UNKNOWN, OPEN, SENT = TradeState.REFUSED, TradeState.UNKNOWN, TradeState.OPEN, TradeState.SENT
BALANCE = Decimal(1_000)
DOUBLING = Plan(fixed=Decimal(10), martingale=Martingale(factor=2.0, max_steps=3))
PERCENT = Plan(percent=1.0, martingale=Martingale(factor=2.0, max_steps=3))


def trades(*results: tuple[TradeState, str]) -> list[Position]:
    """Return trades one after the other, with their stakes."""
    return [
        position_of(state, intended_us=(number + 1) * 2 * MINUTE_US, stake=stake)
        for number, (state, stake) in enumerate(results)
    ]


def play(plan: Plan, *states: TradeState, balance: Decimal = BALANCE) -> list[tuple[str, int]]:
    """Return stake and step before each of these results, and after the last."""
    played: list[Position] = []
    found = []
    for number, state in enumerate((*states, None)):
        stake = next_stake(plan, balance=balance, trades=played)
        found.append((str(stake.amount), stake.step))
        if state is not None:
            us = (number + 1) * 2 * MINUTE_US
            played.append(position_of(state, intended_us=us, stake=str(stake.amount)))
            balance += played[-1].trade.profit or 0
    return found


def test_a_fixed_stake_stays() -> None:
    assert play(Plan(fixed=Decimal("2.50")), LOST, LOST, WON) == [("2.50", 1)] * 4


def test_a_percentage_is_of_the_balance_to_the_cent_rounded_down() -> None:
    assert next_stake(Plan(percent=1.5), balance=Decimal("66.66"), trades=()).amount == Decimal("0.99")
    assert play(Plan(percent=10.0), LOST, WON) == [("100.00", 1), ("90.00", 1), ("97.20", 1)]


def test_a_ladder_climbs_with_losses_and_begins_anew_after_a_win_and_after_its_end() -> None:
    assert play(DOUBLING, LOST, LOST, LOST, LOST, WON) == [
        ("10", 1), ("20.00", 2), ("40.00", 3), ("10", 1), ("20.00", 2), ("10", 1),
    ]  # fmt: skip


def test_ties_voids_and_refusals_repeat_the_step() -> None:
    assert play(DOUBLING, LOST, TIED, VOID, REFUSED, LOST)[1:] == [
        ("20.00", 2), ("20.00", 2), ("20.00", 2), ("20.00", 2), ("40.00", 3),
    ]  # fmt: skip


def test_a_ladder_of_a_percentage_goes_on_from_its_first_stake() -> None:
    assert play(PERCENT, LOST, LOST, LOST) == [
        ("10.00", 1), ("20.00", 2), ("40.00", 3), ("9.30", 1),
    ]  # fmt: skip


def test_a_ladder_says_what_the_steps_after_it_may_cost() -> None:
    assert next_stake(DOUBLING, balance=BALANCE, trades=()).ladder_left == Decimal(60)
    assert next_stake(DOUBLING, balance=BALANCE, trades=trades((LOST, "10"))).ladder_left == Decimal(40)
    assert ladder_loss(DOUBLING, balance=BALANCE) == Decimal(70)
    assert ladder_loss(Plan(percent=1.0), balance=BALANCE) == Decimal(10)


@pytest.mark.parametrize("state", [TradeState.INTENDED, SENT, OPEN, UNKNOWN])
def test_a_ladder_waits_for_a_trade_without_a_result(state: TradeState) -> None:
    under_way = trades((LOST, "10"), (state, "20"))
    stake = next_stake(DOUBLING, balance=BALANCE, trades=under_way)
    assert stake.waits_for == under_way[-1]
    assert stake.step == 2


@pytest.mark.parametrize(
    ("results", "left"),
    [
        ([], "0"),
        ([(WON, "10")], "0"),
        ([(OPEN, "10")], "60"),
        ([(LOST, "10")], "60"),
        ([(LOST, "10"), (OPEN, "20")], "40"),
        ([(LOST, "10"), (TIED, "20")], "60"),
        ([(LOST, "10"), (LOST, "20")], "40"),
        ([(LOST, "10"), (LOST, "20"), (UNKNOWN, "40")], "0"),
        ([(LOST, "10"), (LOST, "20"), (LOST, "40")], "0"),
        ([(LOST, "10"), (LOST, "20"), (WON, "40")], "0"),
    ],
)
def test_what_a_running_ladder_may_still_cost(results: list[tuple[TradeState, str]], left: str) -> None:
    assert still_committed(DOUBLING, balance=BALANCE, trades=trades(*results)) == Decimal(left)
    assert still_committed(Plan(fixed=Decimal(10)), balance=BALANCE, trades=trades(*results)) == 0


@pytest.mark.parametrize(
    "results",
    [
        [(LOST, "10"), (LOST, "20"), (LOST, "40"), (LOST, "80")],  # of five steps
        [(LOST, "10"), (LOST, "30")],  # of factor 3
        [(LOST, "5")],  # of stake 5
    ],
)
def test_losses_of_other_settings_are_no_steps_of_this_ladder(results: list[tuple[TradeState, str]]) -> None:
    assert next_stake(DOUBLING, balance=BALANCE, trades=trades(*results)).step == 1
    assert still_committed(DOUBLING, balance=BALANCE, trades=trades(*results)) == 0


def test_a_ladder_never_goes_on_from_a_stake_far_above_the_percentage() -> None:
    assert next_stake(PERCENT, balance=BALANCE, trades=trades((LOST, "40"))) == next_stake(
        PERCENT, balance=BALANCE, trades=()
    )


@given(st.lists(st.sampled_from([WON, LOST, TIED, VOID, REFUSED, UNKNOWN]), max_size=12), st.data())
def test_the_step_does_not_depend_on_how_the_trades_come(
    states: list[TradeState], data: st.DataObject
) -> None:
    stakes = play(DOUBLING, *states)
    played = trades(*((state, stakes[index][0]) for index, state in enumerate(states)))
    shuffled = data.draw(st.permutations(played))
    again = next_stake(DOUBLING, balance=BALANCE, trades=shuffled)
    assert (str(again.amount), again.step) == stakes[-1]


@pytest.mark.parametrize(("steps", "trades_in_all"), [(2, 7), (3, 9), (5, 10)])
@pytest.mark.parametrize("win_rate", [0.5, 0.57, 0.9])
def test_chances_are_those_of_counting_every_case(steps: int, trades_in_all: int, win_rate: float) -> None:
    total = 0.0
    for wins in product((True, False), repeat=trades_in_all):
        run, is_lost = 0, False
        for is_won in wins:
            run = 0 if is_won else run + 1
            if run == steps:
                run, is_lost = 0, True
        if is_lost:
            total += win_rate ** sum(wins) * (1 - win_rate) ** (trades_in_all - sum(wins))
    assert isclose(chance_within(steps=steps, win_rate=win_rate, trades=trades_in_all), total, abs_tol=1e-12)


def test_the_chance_of_one_ladder() -> None:
    assert chance_of_loss(steps=3, win_rate=0.5) == 0.125
    assert isclose(break_even_rate(80.0), 1 / 1.8)
