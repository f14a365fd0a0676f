"""Each limit refuses exactly when it should."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from trades import MINUTE_US, SECOND_US, position_of

from domain.contracts import ContractRules, OpensAt, Tie
from domain.trades import Position, TradeState
from strategies.limits import Limits
from strategies.positions import Positions
from strategies.risk import (
    NO_PRICE_MS,
    Approved,
    Conditions,
    Reason,
    Refused,
    Request,
    Verdict,
    blocks,
    decide,
)
from strategies.stake import Martingale, Plan, Stake, next_stake
from strategies.standing import Purse, Standing

WON, LOST, TIED, VOID = TradeState.WON, TradeState.LOST, TradeState.TIED, TradeState.VOID
REFUSED, UNKNOWN, OPEN, SENT = TradeState.REFUSED, TradeState.UNKNOWN, TradeState.OPEN, TradeState.SENT
INTENDED = TradeState.INTENDED
UNDER_WAY = (INTENDED, SENT, OPEN, UNKNOWN)

ZONE = "Europe/Berlin"
MIDNIGHT = int(datetime(2026, 8, 12, tzinfo=ZoneInfo(ZONE)).timestamp()) * SECOND_US
NOON = MIDNIGHT + 12 * 60 * MINUTE_US
SIGNAL = ("mine", NOON - MINUTE_US)  # a strategy, and the tick that it decided on
LIMITS = Limits(zone=ZONE)
RULES = ContractRules(
    opens_at=OpensAt.LAST_BEFORE,
    tie=Tie.REFUNDED,
    latency_us=500_000,
    least_expiry_s=60,
    most_expiry_s=3_600,
    payout_percent=None,
)
FINE = Conditions(rules=RULES, payout_percent=80.0, price_age_ms=20, stale_after_ms=60_000)


def standing(
    *trades: Position, now_us: int = NOON, market: str = "A@one", balance: str = "10000", committed: str = "0"
) -> Standing:
    positions = Positions()
    for position in trades:
        positions.put(position)
    purse = Purse(balance=Decimal(balance), committed=Decimal(committed))
    return positions.stand(market, now_us=now_us, zone=ZONE, purse=purse, signal=SIGNAL)


def request(stake: str = "10", *, left: str = "0", **changes: Any) -> Request:
    amount = Stake(amount=Decimal(stake), ladder_left=Decimal(left))
    return attrs.evolve(Request(strategy="mine", ts_us=7, expiry_s=60, stake=amount), **changes)


def limits(**changes: Any) -> Limits:
    """Return limits none of which is in the way but those named."""
    wide = Limits(
        zone=ZONE,
        max_stake=Decimal(1_000),
        max_open_trades=1_000,
        max_open_per_market=1_000,
        max_trades_per_day=1_000,
        max_daily_loss=Decimal(100_000),
        max_losses_in_a_row=1_000,
    )
    return attrs.evolve(wide, **changes)


def reason(verdict: Verdict) -> Reason | None:
    return verdict.reason if isinstance(verdict, Refused) else None


def asked(
    held: Limits, now: Standing, wanted: Request | None = None, conditions: Conditions = FINE
) -> Reason | None:
    return reason(decide(held, now, wanted or request(), conditions))


def test_what_nothing_speaks_against_is_approved_with_stake_and_payout() -> None:
    assert decide(LIMITS, standing(), request(), FINE) == Approved(stake=Decimal(10), payout_percent=80.0)


# --- what the outside says --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why", "text"),
    [
        ({"kill_switch": "by rita: enough"}, Reason.KILL_SWITCH, "by rita: enough"),
        ({"is_draining": True}, Reason.DRAIN, "no new trades: draining"),
        ({"not_ready": "the ledger is not read yet"}, Reason.NOT_READY, "the ledger is not read yet"),
        ({"is_stopped": True}, Reason.STOPPED, "the market is stopped"),
        ({"is_closed": True}, Reason.CLOSED, "the market is closed"),
        ({"has_open_gap": True}, Reason.GAP, "prices are missing right now"),
        ({"price_age_ms": NO_PRICE_MS}, Reason.STALE_PRICE, "there has been no price yet"),
        ({"price_age_ms": 60_001}, Reason.STALE_PRICE, "the price is 60001 ms old, allowed are 60000"),
        ({"payout_percent": None}, Reason.PAYOUT_UNKNOWN, "the venue has not said what it pays"),
        ({"payout_percent": 69.9}, Reason.PAYOUT, "pays 69.9 %, min_payout_percent is 70"),
    ],
)
def test_the_outside_blocks_everybody(changes: dict[str, Any], why: Reason, text: str) -> None:
    conditions = attrs.evolve(FINE, **changes)
    expected = Refused(reason=why, text=text)
    assert decide(LIMITS, standing(), request(), conditions) == expected
    assert list(blocks(LIMITS, standing(), conditions)) == [expected]
    assert str(expected) == f"{why}: {text}"


@pytest.mark.parametrize("changes", [{"price_age_ms": 60_000}, {"payout_percent": 70.0}])
def test_what_just_reaches_the_bound_is_let_through(changes: dict[str, Any]) -> None:
    assert asked(LIMITS, standing(), conditions=attrs.evolve(FINE, **changes)) is None


def test_everything_that_blocks_is_told_and_the_first_decides() -> None:
    conditions = attrs.evolve(FINE, is_draining=True, kill_switch="by rita", is_closed=True)
    now = standing(position_of(OPEN, intended_us=NOON))
    assert [each.reason for each in blocks(LIMITS, now, conditions)] == [
        Reason.KILL_SWITCH, Reason.DRAIN, Reason.CLOSED, Reason.OPEN_PER_MARKET,
    ]  # fmt: skip
    assert asked(LIMITS, now, conditions=conditions) is Reason.KILL_SWITCH


# --- this trade -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expiry_s", "why"), [(59, Reason.EXPIRY), (60, None), (3_600, None), (3_601, Reason.EXPIRY)]
)
def test_the_venue_takes_durations_between_two(expiry_s: int, why: Reason | None) -> None:
    assert asked(LIMITS, standing(), request(expiry_s=expiry_s)) is why


@pytest.mark.parametrize(
    ("stake", "why"), [("0", Reason.STAKE), ("0.01", None), ("100", None), ("100.01", Reason.STAKE_LIMIT)]
)
def test_a_stake_is_above_nothing_and_at_most_max_stake(stake: str, why: Reason | None) -> None:
    assert asked(LIMITS, standing(), request(stake)) is why


@pytest.mark.parametrize(("stake", "why"), [("15", None), ("15.01", Reason.BALANCE)])
def test_a_stake_has_to_be_in_what_is_free_of_the_balance(stake: str, why: Reason | None) -> None:
    now = standing(position_of(OPEN, intended_us=NOON - MINUTE_US, market="B@one"), balance="25")
    assert asked(LIMITS, now, request(stake)) is why


def test_a_tick_is_traded_once_by_a_strategy() -> None:
    now = standing(position_of(WON, intended_us=NOON - MINUTE_US))
    same = request(ts_us=NOON - MINUTE_US)
    assert asked(LIMITS, now, same) is Reason.DUPLICATE
    assert asked(LIMITS, now, attrs.evolve(same, strategy="other")) is None
    assert asked(LIMITS, now, attrs.evolve(same, ts_us=NOON)) is None
    assert asked(LIMITS, standing(*[position_of(REFUSED, intended_us=NOON - MINUTE_US)]), same) is None


# --- how much is open -------------------------------------------------------------------------


@pytest.mark.parametrize("state", UNDER_WAY)
def test_trades_under_way_count_as_open_unknown_ones_too(state: TradeState) -> None:
    long_ago = NOON - 10 * 24 * 60 * MINUTE_US
    two = [position_of(state, intended_us=long_ago + number, market="B@one") for number in range(2)]
    assert asked(limits(max_open_trades=2), standing(*two)) is Reason.OPEN_TRADES
    assert asked(limits(max_open_trades=3), standing(*two)) is None
    assert asked(limits(max_open_per_market=2), standing(*two)) is None
    assert asked(limits(max_open_per_market=2), standing(*two, market="B@one")) is Reason.OPEN_PER_MARKET
    assert asked(limits(max_open_per_market=3), standing(*two, market="B@one")) is None


@pytest.mark.parametrize("state", [WON, LOST, TIED, VOID, REFUSED])
def test_trades_that_ended_are_not_open(state: TradeState) -> None:
    now = standing(position_of(state, intended_us=NOON - MINUTE_US))
    assert asked(limits(max_open_trades=1, max_open_per_market=1), now) is None


# --- days -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [WON, LOST, TIED, VOID, *UNDER_WAY])
def test_a_trade_counts_to_the_day_it_was_intended_in(state: TradeState) -> None:
    last_second = position_of(state, intended_us=MIDNIGHT - SECOND_US)
    one = limits(max_trades_per_day=1)
    assert asked(one, standing(last_second, now_us=MIDNIGHT - SECOND_US // 2)) is Reason.TRADES_PER_DAY
    assert asked(one, standing(last_second, now_us=MIDNIGHT)) is None
    first_moment = position_of(state, intended_us=MIDNIGHT)
    assert asked(one, standing(first_moment, now_us=MIDNIGHT)) is Reason.TRADES_PER_DAY


def test_where_the_clock_steps_back_over_midnight_both_days_count() -> None:
    today = position_of(LOST, intended_us=MIDNIGHT, stake="60")
    yesterday = position_of(LOST, intended_us=MIDNIGHT - 10 * MINUTE_US, stake="80")
    held = limits(max_trades_per_day=1)
    assert asked(held, standing(today, now_us=MIDNIGHT - 1)) is Reason.TRADES_PER_DAY
    held = limits(max_daily_loss=Decimal(100))
    now = standing(today, yesterday, now_us=MIDNIGHT - 1)
    assert asked(held, now, request("20")) is None  # the worse of the two, and not both together
    assert asked(held, now, request("20.01")) is Reason.DAILY_LOSS
    assert asked(held, standing(today, now_us=MIDNIGHT - 1), request("40.01")) is Reason.DAILY_LOSS


def test_a_trade_that_never_opened_is_none_of_the_days() -> None:
    now = standing(position_of(REFUSED, intended_us=NOON - MINUTE_US))
    assert asked(limits(max_trades_per_day=1, cooldown_s=3_600.0), now) is None


def test_a_clock_that_steps_back_over_midnight_finds_the_day_as_it_was() -> None:
    of_yesterday = [position_of(LOST, intended_us=MIDNIGHT - 90 * SECOND_US, stake="50")]
    of_today = [position_of(LOST, intended_us=MIDNIGHT + SECOND_US, stake="30")]
    one = limits(max_trades_per_day=1)
    for now_us in (MIDNIGHT + 2 * MINUTE_US, MIDNIGHT - 5 * SECOND_US, MIDNIGHT + 3 * MINUTE_US):
        assert asked(one, standing(*of_yesterday, *of_today, now_us=now_us)) is Reason.TRADES_PER_DAY


@pytest.mark.parametrize(("stake", "why"), [("40", None), ("40.01", Reason.DAILY_LOSS)])
def test_what_is_lost_and_open_and_unknown_and_promised_has_to_leave_room(
    stake: str, why: Reason | None
) -> None:
    now = standing(
        position_of(LOST, intended_us=NOON - 10 * MINUTE_US, stake="30"),
        position_of(OPEN, intended_us=NOON - MINUTE_US, stake="15", market="B@one"),
        position_of(UNKNOWN, intended_us=MIDNIGHT - 60 * MINUTE_US, stake="10", market="C@one"),
        committed="5",
    )
    assert asked(limits(max_daily_loss=Decimal(100)), now, request(stake)) is why


def test_a_loss_counts_to_the_day_it_settled_in() -> None:
    lost = position_of(LOST, intended_us=MIDNIGHT - MINUTE_US, stake="95", settled_us=MIDNIGHT - 1)
    held = limits(max_daily_loss=Decimal(100))
    assert asked(held, standing(lost, now_us=MIDNIGHT - 1)) is Reason.DAILY_LOSS
    assert asked(held, standing(lost, now_us=MIDNIGHT)) is None
    later = position_of(LOST, intended_us=MIDNIGHT - MINUTE_US, stake="95", settled_us=MIDNIGHT)
    assert asked(held, standing(later, now_us=MIDNIGHT)) is Reason.DAILY_LOSS


def test_a_profit_makes_up_for_losses_and_does_not_raise_what_may_be_open() -> None:
    won = position_of(WON, intended_us=NOON - 20 * MINUTE_US, stake="100")  # + 80
    lost = position_of(LOST, intended_us=NOON - 10 * MINUTE_US, stake="100")
    held = limits(max_daily_loss=Decimal(100))
    assert asked(held, standing(lost)) is Reason.DAILY_LOSS
    assert asked(held, standing(won, lost), request("80")) is None
    assert asked(held, standing(won, lost), request("80.01")) is Reason.DAILY_LOSS
    assert asked(held, standing(won), request("100")) is None
    assert asked(held, standing(won), request("100.01")) is Reason.DAILY_LOSS


def test_a_spent_budget_is_told_to_everybody_with_its_numbers() -> None:
    lost = position_of(LOST, intended_us=NOON - 10 * MINUTE_US, stake="500")
    assert [str(each) for each in blocks(LIMITS, standing(lost), FINE)] == [
        "daily_loss: lost on 2026-08-12 500, at stake 0, promised to ladders 0, max_daily_loss is 500"
    ]


@pytest.mark.parametrize("state", [TIED, VOID, REFUSED])
def test_what_gave_the_stake_back_is_no_loss(state: TradeState) -> None:
    back = position_of(state, intended_us=NOON - MINUTE_US, stake="500")
    assert asked(LIMITS, standing(back)) is None


# --- ladders ----------------------------------------------------------------------------------

LADDER = Plan(fixed=Decimal(10), martingale=Martingale(factor=2.0, max_steps=3))


@pytest.mark.parametrize(
    ("budget", "why"), [("70", None), ("69.99", Reason.LADDER), ("9.99", Reason.DAILY_LOSS)]
)
def test_a_ladder_has_to_fit_the_days_budget_before_its_first_step(budget: str, why: Reason | None) -> None:
    wanted = attrs.evolve(request(), stake=next_stake(LADDER, balance=Decimal(10_000), trades=()))
    assert asked(limits(max_daily_loss=Decimal(budget)), standing(), wanted) is why


@pytest.mark.parametrize(
    ("state", "why"),
    [(OPEN, Reason.LADDER_OPEN), (SENT, Reason.LADDER_OPEN), (UNKNOWN, Reason.UNKNOWN_TRADE)],
)
def test_a_ladder_makes_no_step_before_the_last_ones_result(state: TradeState, why: Reason) -> None:
    under_way = position_of(state, intended_us=NOON - MINUTE_US)
    wanted = attrs.evolve(request(), stake=next_stake(LADDER, balance=Decimal(10_000), trades=[under_way]))
    verdict = decide(limits(), standing(under_way), wanted, FINE)
    expected = f"step 1 waits for trade {under_way.trade.id}, which is {state}"
    assert verdict == Refused(reason=why, text=expected)


# --- the clock --------------------------------------------------------------------------------


def losses(count: int, *, last_us: int) -> list[Position]:
    """Return so many losses a minute apart, the last settled at that time."""
    return [
        position_of(LOST, intended_us=last_us - (back + 2) * MINUTE_US, settled_us=last_us - back * MINUTE_US)
        for back in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "why"), [(4, None), (5, Reason.LOSSES_IN_A_ROW), (6, None), (10, Reason.LOSSES_IN_A_ROW)]
)
def test_each_fifth_loss_in_a_row_makes_a_pause(count: int, why: Reason | None) -> None:
    held = limits(max_losses_in_a_row=5, pause_min=0.5)
    assert asked(held, standing(*losses(count, last_us=NOON), now_us=NOON + SECOND_US)) is why


def test_a_pause_lasts_from_the_loss_that_made_it_also_while_further_ones_come() -> None:
    five = losses(5, last_us=NOON)
    sixth = position_of(LOST, intended_us=NOON - MINUTE_US, market="B@one", settled_us=NOON + 10 * MINUTE_US)
    held = limits(max_losses_in_a_row=5, pause_min=30.0)
    end_us = NOON + 30 * MINUTE_US
    for trades in (five, [*five, sixth]):
        assert asked(held, standing(*trades, now_us=end_us - 1)) is Reason.LOSSES_IN_A_ROW
        assert asked(held, standing(*trades, now_us=end_us)) is None


def test_a_win_ends_a_row_of_losses_and_ties_and_voids_do_not() -> None:
    held = limits(max_losses_in_a_row=2)
    before, after = losses(2, last_us=NOON - MINUTE_US)[::-1]
    between = after.trade.intended_us
    for state, why in ((WON, None), (TIED, Reason.LOSSES_IN_A_ROW), (VOID, Reason.LOSSES_IN_A_ROW)):
        other = position_of(state, intended_us=between, market="B@one", settled_us=after.trade.settled_us - 1)
        assert asked(held, standing(before, other, after)) is why


def test_a_win_of_a_trade_that_was_open_already_ends_no_pause() -> None:
    two = losses(2, last_us=NOON)
    won = position_of(WON, intended_us=NOON - 1, market="B@one", settled_us=NOON + MINUTE_US)
    held = limits(max_losses_in_a_row=2, pause_min=30.0)
    end_us = NOON + 30 * MINUTE_US
    assert asked(held, standing(*two, won, now_us=end_us - 1)) is Reason.LOSSES_IN_A_ROW
    assert asked(held, standing(*two, won, now_us=end_us)) is None


def test_an_unknown_trade_counts_as_lost_until_it_is_known() -> None:
    lost = losses(1, last_us=NOON - 10 * MINUTE_US)
    unknown = position_of(UNKNOWN, intended_us=NOON - 5 * MINUTE_US, market="B@one")
    held = limits(max_losses_in_a_row=2)
    assert asked(held, standing(*lost, unknown)) is Reason.LOSSES_IN_A_ROW
    known = position_of(WON, intended_us=NOON - 5 * MINUTE_US, market="B@one")
    assert asked(held, standing(*lost, known)) is None


def test_a_pause_goes_on_over_midnight() -> None:
    held = limits(max_losses_in_a_row=2, pause_min=30.0)
    two = losses(2, last_us=MIDNIGHT - MINUTE_US)
    assert asked(held, standing(*two, now_us=MIDNIGHT + 28 * MINUTE_US)) is Reason.LOSSES_IN_A_ROW


def test_a_market_cools_down_after_a_trade_of_its_own() -> None:
    last = position_of(TIED, intended_us=NOON, settled_us=NOON + 1)
    held = limits(cooldown_s=90.0)
    assert asked(held, standing(last, now_us=NOON + 90 * SECOND_US - 1)) is Reason.COOLDOWN
    assert asked(held, standing(last, now_us=NOON + 90 * SECOND_US)) is None
    assert asked(held, standing(last, now_us=NOON + 1, market="B@one")) is None


def test_a_clock_that_stepped_back_is_waited_for_but_not_for_days() -> None:
    last = position_of(TIED, intended_us=NOON)
    held = limits(cooldown_s=1.0)
    assert asked(held, standing(last, now_us=NOON - 60 * MINUTE_US)) is Reason.COOLDOWN
    assert asked(held, standing(last, now_us=NOON - 25 * 60 * MINUTE_US)) is None


def test_hours_are_kept() -> None:
    held = limits(trade_between=("22:00-02:00", "08:00-23:59"))  # both have to hold
    for hour, why in ((12, Reason.HOURS), (23, None), (1, Reason.HOURS)):
        assert asked(held, standing(now_us=MIDNIGHT + hour * 60 * MINUTE_US)) is why
    text = "hours: it is 2026-08-12 12:00:00 (Europe/Berlin), trade_between is 22:00-02:00"
    assert str(decide(held, standing(), request(), FINE)) == text
