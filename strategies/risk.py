"""Whether a signal may become a trade: every limit, in the order in which it is looked at. Pure.

Read it from `decide` down. First what holds for the whole market, whoever asks, then what this one trade
would add. The first objection is the answer.
"""

import enum
from collections.abc import Iterator
from decimal import Decimal

import attrs

from domain.contracts import ContractRules
from domain.trades import TradeState
from strategies.days import DAY_US, SECOND_US, clock_text, is_between
from strategies.limits import Limits
from strategies.stake import Stake
from strategies.standing import Standing

MINUTE_US = 60 * SECOND_US
NO_PRICE_MS = 10**12  # the age of a price that never came: older than any


class Reason(enum.StrEnum):
    """Why a signal was refused: the word before the text in `signal.reason`."""

    KILL_SWITCH = "kill_switch"
    DRAIN = "drain"
    NOT_READY = "not_ready"
    STOPPED = "stopped"
    CLOSED = "closed"
    GAP = "gap"
    STALE_PRICE = "stale_price"
    PAYOUT_UNKNOWN = "payout_unknown"
    PAYOUT = "payout"
    HOURS = "hours"
    LOSSES_IN_A_ROW = "losses_in_a_row"
    COOLDOWN = "cooldown"
    OPEN_TRADES = "open_trades"
    OPEN_PER_MARKET = "open_per_market"
    TRADES_PER_DAY = "trades_per_day"
    DAILY_LOSS = "daily_loss"
    DUPLICATE = "duplicate"
    EXPIRY = "expiry"
    UNKNOWN_TRADE = "unknown_trade"
    LADDER_OPEN = "ladder_open"
    STAKE = "stake"
    STAKE_LIMIT = "stake_limit"
    BALANCE = "balance"
    LADDER = "ladder"
    BUSY = "busy"  # said where the trader could not be asked at all


@attrs.frozen(kw_only=True)
class Request:
    """What one strategy asks for; `ts_us` is the time of the tick it decided on."""

    strategy: str
    ts_us: int
    expiry_s: int
    stake: Stake


@attrs.frozen(kw_only=True)
class Conditions:
    """What the outside says at this moment, of everything and of the market.

    `kill_switch` and `not_ready` are why entries are blocked, None where they are not. `stale_after_ms`
    is how old a price may be; `payout_percent` None where the venue has not said.
    """

    rules: ContractRules
    payout_percent: float | None
    price_age_ms: int
    stale_after_ms: int
    kill_switch: str | None = None
    not_ready: str | None = None
    is_draining: bool = False
    is_stopped: bool = False
    is_closed: bool = False
    has_open_gap: bool = False


@attrs.frozen(kw_only=True)
class Approved:
    """It may be traded, with this stake and payout."""

    stake: Decimal
    payout_percent: float


@attrs.frozen(kw_only=True)
class Refused:
    """It may not; `text` says why, with the numbers."""

    reason: Reason
    text: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}" if self.text else self.reason


Verdict = Approved | Refused
Objections = Iterator[Refused]


def decide(limits: Limits, standing: Standing, request: Request, conditions: Conditions) -> Verdict:
    """Return whether a trade may be made: `Approved`, or the first objection."""
    for refused in blocks(limits, standing, conditions):
        return refused
    for refused in _against_this_trade(limits, standing, request, conditions):
        return refused
    assert conditions.payout_percent is not None
    return Approved(stake=request.stake.amount, payout_percent=conditions.payout_percent)


def blocks(limits: Limits, standing: Standing, conditions: Conditions) -> Objections:
    """Yield everything that blocks entries on a market now, whoever asks."""
    yield from _by_the_operator(conditions)
    yield from _by_the_market(limits, conditions)
    yield from _by_the_clock(limits, standing)
    yield from _by_what_is_open(limits, standing)
    yield from _by_the_day(limits, standing)


def _by_the_operator(conditions: Conditions) -> Objections:
    if conditions.kill_switch is not None:
        yield Refused(reason=Reason.KILL_SWITCH, text=conditions.kill_switch)
    if conditions.is_draining:
        yield Refused(reason=Reason.DRAIN, text="no new trades: draining")
    if conditions.not_ready is not None:
        yield Refused(reason=Reason.NOT_READY, text=conditions.not_ready)
    if conditions.is_stopped:
        yield Refused(reason=Reason.STOPPED, text="the market is stopped")


def _by_the_market(limits: Limits, conditions: Conditions) -> Objections:
    if conditions.is_closed:
        yield Refused(reason=Reason.CLOSED, text="the market is closed")
    if conditions.has_open_gap:
        yield Refused(reason=Reason.GAP, text="prices are missing right now")
    if conditions.price_age_ms > conditions.stale_after_ms:
        text = f"the price is {conditions.price_age_ms} ms old, allowed are {conditions.stale_after_ms}"
        if conditions.price_age_ms == NO_PRICE_MS:
            text = "there has been no price yet"
        yield Refused(reason=Reason.STALE_PRICE, text=text)
    payout, least = conditions.payout_percent, limits.min_payout_percent
    if payout is None:
        yield Refused(reason=Reason.PAYOUT_UNKNOWN, text="the venue has not said what it pays")
    elif payout < least:
        text = f"pays {payout:g} %, min_payout_percent is {least:g}"
        yield Refused(reason=Reason.PAYOUT, text=text)


def _by_the_clock(limits: Limits, standing: Standing) -> Objections:
    now_us, zone = standing.now_us, limits.zone
    for hours in limits.trade_between:
        if not is_between(hours, now_us, zone=zone):
            text = f"it is {clock_text(now_us, zone=zone)} ({zone}), trade_between is {hours}"
            yield Refused(reason=Reason.HOURS, text=text)
    until_us = paused_until_us(limits, standing)
    if until_us is not None:
        until = clock_text(until_us, zone=zone)
        text = f"{limits.max_losses_in_a_row} losses in a row, as max_losses_in_a_row has it: pause until "
        yield Refused(reason=Reason.LOSSES_IN_A_ROW, text=f"{text}{until} ({zone})")
    last_us, cooldown_us = standing.last_entry_us, round(limits.cooldown_s * SECOND_US)
    if last_us is not None and _is_within(cooldown_us, since_us=last_us, now_us=now_us):
        text = f"{(now_us - last_us) / SECOND_US:.1f} s since its last trade, cooldown_s is "
        yield Refused(reason=Reason.COOLDOWN, text=f"{text}{limits.cooldown_s:g}")


def paused_until_us(limits: Limits, standing: Standing) -> int | None:
    """Return when the pause ends that losses in a row have made, None where there is none now.

    Each `max_losses_in_a_row`-th loss of a row makes one; that of the latest holds. A win that comes
    meanwhile, of a trade that was open already, ends the row and not the pause.
    """
    most, pause_us = limits.max_losses_in_a_row, round(limits.pause_min * MINUTE_US)
    for run in (standing.losing_run, *reversed(standing.ended_runs)):
        if len(run) >= most:
            since_us = run[len(run) // most * most - 1]
            is_now = _is_within(pause_us, since_us=since_us, now_us=standing.now_us)
            return since_us + pause_us if is_now else None
    return None


def _by_what_is_open(limits: Limits, standing: Standing) -> Objections:
    if standing.open_trades >= limits.max_open_trades:
        text = f"{standing.open_trades} trades open, max_open_trades is {limits.max_open_trades}"
        yield Refused(reason=Reason.OPEN_TRADES, text=text)
    if standing.open_on_market >= limits.max_open_per_market:
        text = f"{standing.open_on_market} open on it, max_open_per_market is {limits.max_open_per_market}"
        yield Refused(reason=Reason.OPEN_PER_MARKET, text=text)


def _by_the_day(limits: Limits, standing: Standing) -> Objections:
    if standing.trades_today >= limits.max_trades_per_day:
        text = f"{standing.trades_today} trades on {standing.day.date}, max_trades_per_day is "
        yield Refused(reason=Reason.TRADES_PER_DAY, text=f"{text}{limits.max_trades_per_day}")
    if standing.at_risk >= limits.max_daily_loss:
        yield Refused(reason=Reason.DAILY_LOSS, text=_sum_text(limits, standing))


def _against_this_trade(
    limits: Limits, standing: Standing, request: Request, conditions: Conditions
) -> Objections:
    if (request.strategy, request.ts_us) in standing.signals:
        yield Refused(reason=Reason.DUPLICATE, text=f"{request.strategy} has a trade of this very tick")
    rules, stake = conditions.rules, request.stake
    if not rules.least_expiry_s <= request.expiry_s <= rules.most_expiry_s:
        text = f"{request.expiry_s} s, the venue takes {rules.least_expiry_s} to {rules.most_expiry_s}"
        yield Refused(reason=Reason.EXPIRY, text=text)
    if stake.waits_for is not None:
        state = stake.waits_for.state
        reason = Reason.UNKNOWN_TRADE if state is TradeState.UNKNOWN else Reason.LADDER_OPEN
        text = f"step {stake.step} waits for trade {stake.waits_for.trade.id}, which is {state}"
        yield Refused(reason=reason, text=text)
    if stake.amount <= 0:
        yield Refused(reason=Reason.STAKE, text=f"the stake would be {stake.amount}")
    if stake.amount > limits.max_stake:
        text = f"the stake would be {stake.amount}, max_stake is {limits.max_stake}"
        yield Refused(reason=Reason.STAKE_LIMIT, text=text)
    free = standing.purse.balance - standing.exposure
    if stake.amount > free:
        yield Refused(reason=Reason.BALANCE, text=f"the stake would be {stake.amount}, free are {free}")
    left = limits.max_daily_loss - standing.at_risk
    if stake.amount > left:
        text = f"the stake would be {stake.amount}: {_sum_text(limits, standing)}"
        yield Refused(reason=Reason.DAILY_LOSS, text=text)
    if stake.amount + stake.ladder_left > left:
        text = f"from step {stake.step} on it may lose {stake.amount + stake.ladder_left}: "
        yield Refused(reason=Reason.LADDER, text=text + _sum_text(limits, standing))


def _sum_text(limits: Limits, standing: Standing) -> str:
    return (
        f"lost on {standing.day.date} {standing.lost_today}, at stake {standing.exposure}, "
        f"promised to ladders {standing.purse.committed}, max_daily_loss is {limits.max_daily_loss}"
    )


def _is_within(length_us: int, *, since_us: int, now_us: int) -> bool:
    """Return whether less than a length has passed. A time over a day ahead is of a clock since set right."""
    return length_us > 0 and since_us - DAY_US <= now_us < since_us + length_us
