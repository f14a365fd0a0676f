"""The sections that trading is set up with: `[strategies.NAME]` and `[trading]`.

Defaults of limits are `strategies.limits.Limits`'s own, so that nothing of trading is imported where
nothing trades; None says that the key is not set.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
from attrs import validators

from supervisor.key_checks import at_least, check_cents, check_hours, check_zone, matches, one_of

MOST_LADDER_STEPS = 5
MOST_EXPIRY_S = 86_400


@attrs.frozen(kw_only=True)
class MartingaleSettings:
    """`martingale` of a strategy."""

    factor: float = attrs.field(
        default=2.0,
        validator=validators.and_(validators.gt(1), validators.le(10)),
        metadata={"help": "after a loss the stake is so many times the last one"},
    )
    max_steps: int = attrs.field(
        validator=validators.and_(validators.ge(2), validators.le(MOST_LADDER_STEPS)),
        metadata={"help": "trades of a ladder in all, the first included: 2 to 5"},
    )


@attrs.frozen(kw_only=True)
class StrategySettings:
    """`[strategies.NAME]`: one strategy; keys beside these are the strategy's own."""

    kind: str = attrs.field(
        metadata={
            "help": '"rsi", "ema_cross", "streak", or a file of your own: "file.py:Class", '
            "beside the settings file; docs/strategies.md"
        }
    )
    expiry_s: int = attrs.field(
        default=60,
        validator=validators.and_(validators.ge(1), validators.le(MOST_EXPIRY_S)),
        metadata={"help": "duration of its trades"},
    )
    stake: Decimal | None = attrs.field(
        default=None,
        validator=check_cents,
        metadata={"help": "stake of a trade, in the account's currency; this or stake_percent"},
    )
    stake_percent: float | None = attrs.field(
        default=None,
        validator=validators.optional(validators.and_(validators.gt(0), validators.le(100))),
        metadata={"help": "stake of a trade as a percentage of the balance, to the cent, rounded down"},
    )
    martingale: MartingaleSettings | None = attrs.field(
        default=None,
        metadata={
            "help": "raises the stake after each loss; `marketd check` says what that may cost and how "
            "likely it is; default: off"
        },
    )
    options: Mapping[str, Any] = attrs.field(factory=dict, metadata={"own_keys": "any"})


@attrs.frozen(kw_only=True)
class TradingSettings:
    """`[trading]`: what all strategies together may do.

    A limit that is lowered holds at once, one that is raised from the next day on.
    """

    mode: str = attrs.field(
        default="paper",
        validator=one_of("paper", "demo", "real"),
        metadata={"help": "paper; demo and real are for later versions"},
    )
    paper_balance: Decimal = attrs.field(
        default=Decimal(10_000),
        validator=check_cents,
        metadata={"help": "what the paper account began with; its trades' profit is added to it"},
    )
    currency: str | None = attrs.field(
        default=None,
        validator=matches(r"[A-Z]{3,8}", expected='a currency code such as "EUR"'),
        metadata={"help": 'currency of the account; on paper default "USD"'},
    )
    zone: str | None = attrs.field(
        default=None,
        validator=check_zone,
        metadata={"help": "time zone of trading days and hours; default: the service's"},
    )
    max_stake: Decimal | None = attrs.field(
        default=None,
        validator=check_cents,
        metadata={"help": "largest stake of one trade; on paper default 100"},
    )
    max_open_trades: int | None = attrs.field(
        default=None,
        validator=at_least(0),
        metadata={"help": "most trades open at a time; on paper default 10"},
    )
    max_open_per_market: int | None = attrs.field(
        default=None,
        validator=at_least(0),
        metadata={"help": "most trades open at a time on one market; default 1"},
    )
    max_trades_per_day: int | None = attrs.field(
        default=None, validator=at_least(0), metadata={"help": "most trades in a day; on paper default 200"}
    )
    max_daily_loss: Decimal | None = attrs.field(
        default=None,
        validator=check_cents,
        metadata={
            "help": "most that may be lost in a day, what is open and what ladders may need included; "
            "on paper default 500"
        },
    )
    max_losses_in_a_row: int | None = attrs.field(
        default=None,
        validator=at_least(1),
        metadata={"help": "so many losses in a row make a pause; on paper default 5"},
    )
    pause_min: float | None = attrs.field(
        default=None,
        validator=at_least(0),
        metadata={"help": "length of that pause in minutes; default 30"},
    )
    cooldown_s: float | None = attrs.field(
        default=None,
        validator=at_least(0),
        metadata={"help": "least time between two trades on one market; default 0"},
    )
    min_payout_percent: float | None = attrs.field(
        default=None,
        validator=at_least(0),
        metadata={"help": "trades that pay less are refused; default 70"},
    )
    trade_between: str | None = attrs.field(
        default=None,
        validator=check_hours,
        metadata={"help": 'hours in which trades are opened, such as "08:00-17:30" or "22:00-02:00"'},
    )
    count_foreign_trades: bool = attrs.field(
        default=False, metadata={"help": "whether deals opened elsewhere count against the limits"}
    )
