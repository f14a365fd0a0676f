"""What the settings say of trading, in the words of `strategies`; imported only where something trades."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.errors import ConfigError
from strategies.limits import Limits
from strategies.loading import Loader, NewStrategy
from strategies.stake import Martingale, Plan, ladder_loss, ladder_stakes
from supervisor.read_section import nearest, read_section, shown
from supervisor.sections import Settings
from supervisor.trading_sections import StrategySettings, TradingSettings
from venues import find_venue

# What money can be lost by: in real nothing of it has a default.
MAIN_LIMITS = ("max_stake", "max_open_trades", "max_trades_per_day", "max_daily_loss", "max_losses_in_a_row")
LIMIT_KEYS = (*MAIN_LIMITS, "max_open_per_market", "pause_min", "cooldown_s", "min_payout_percent")
PAPER_CURRENCY = "USD"
STRATEGY_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings want; `strategies.limits.in_force` says which hold now."""
    trading = settings.trading
    values: dict[str, Any] = {name: getattr(trading, name) for name in LIMIT_KEYS}
    hours = () if trading.trade_between is None else (trading.trade_between,)
    return Limits(
        **{name: value for name, value in values.items() if value is not None},
        trade_between=hours,
        zone=trading.zone or settings.service.zone,
    )


def plan_of(section: StrategySettings) -> Plan:
    """Return what a strategy stakes."""
    martingale = None
    if section.martingale is not None:
        martingale = Martingale(factor=section.martingale.factor, max_steps=section.martingale.max_steps)
    return Plan(fixed=section.stake, percent=section.stake_percent, martingale=martingale)


def currency_of(trading: TradingSettings) -> str:
    """Return the account's currency."""
    return trading.currency or PAPER_CURRENCY


def load_strategies(settings: Settings, *, config: Path) -> Mapping[str, NewStrategy]:
    """Return what makes each strategy of the settings, by its name; raise `ConfigError` where one cannot be.

    `config` is the settings file, beside which users' files are. Each of them is read and run here.
    """
    from supervisor.fence import failure_in_time  # with trio

    loader = Loader(
        folder=config.absolute().parent, read=read_section, failure_of=failure_in_time, nearest=nearest
    )
    try:
        return {
            name: loader.load(kind=section.kind, options=section.options, where=f"[strategies.{name}]")
            for name, section in settings.strategies.items()
        }
    except ConfigError as exc:
        raise ConfigError(f"{config}: {exc}") from exc


def check_trading(settings: Settings) -> None:
    """Raise `ConfigError` where strategies and limits are wrong together, whatever the venues."""
    _check_mode(settings.trading)
    limits = limits_of(settings)
    for name, section in settings.strategies.items():
        where = f"[strategies.{name}]"
        if not STRATEGY_PATTERN.fullmatch(name):
            raise ConfigError(
                f"{where}: {shown(name)} is no name for a strategy: "
                "expected letters, digits, _ and -, at most 32, not beginning with _ or -"
            )
        if (section.stake is None) == (section.stake_percent is None):
            raise ConfigError(f"{where}: expected stake or stake_percent, one of the two")
        _check_stakes(plan_of(section), limits, balance=settings.trading.paper_balance, where=where)
        _check_expiry(name, section, settings)


def stakes_of(plan: Plan, *, balance: Decimal) -> list[Decimal]:
    """Return the stakes of a plan, step by step, that begins with this balance."""
    first = plan.first(balance)
    return [first] if plan.martingale is None else list(ladder_stakes(plan.martingale, first=first))


def _check_mode(trading: TradingSettings) -> None:
    where = f'[trading] mode = "{trading.mode}"'
    if trading.mode == "paper":
        return
    missing = [name for name in MAIN_LIMITS if getattr(trading, name) is None]
    if trading.mode == "real" and missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}: in real they have no default")
    raise ConfigError(f"{where}: this version trades on paper only")


def _check_expiry(name: str, section: StrategySettings, settings: Settings) -> None:
    for markets in settings.markets:
        protocol = settings.venues[markets.venue].protocol
        rules = find_venue(protocol).contract
        is_taken = rules.least_expiry_s <= section.expiry_s <= rules.most_expiry_s
        if name in markets.strategies and not is_taken:
            raise ConfigError(
                f"[strategies.{name}] expiry_s = {section.expiry_s}: {markets.venue} takes "
                f"{rules.least_expiry_s} to {rules.most_expiry_s}"
            )


def _check_stakes(plan: Plan, limits: Limits, *, balance: Decimal, where: str) -> None:
    stakes = stakes_of(plan, balance=balance)
    key = f"stake = {plan.fixed}" if plan.percent is None else f"stake_percent = {plan.percent:g}"
    of = "" if plan.percent is None else f" of a balance of {balance} is {stakes[0]},"
    if stakes[0] <= 0:
        raise ConfigError(f"{where} {key}:{of} less than a cent")
    if stakes[0] > limits.max_stake:
        raise ConfigError(f"{where} {key}:{of} more than [trading] max_stake = {limits.max_stake}")
    if plan.martingale is None:
        if stakes[0] > limits.max_daily_loss:
            raise ConfigError(
                f"{where} {key}:{of} more than [trading] max_daily_loss = {limits.max_daily_loss}"
            )
        return
    ladder = f"{where} martingale: the stakes are {_joined(map(str, stakes))}"
    if stakes[-1] > limits.max_stake:
        raise ConfigError(f"{ladder}, the last more than [trading] max_stake = {limits.max_stake}")
    loss = ladder_loss(plan, balance=balance)
    if loss > limits.max_daily_loss:
        raise ConfigError(
            f"{ladder}, together {loss}, more than [trading] max_daily_loss = {limits.max_daily_loss}"
        )


def _joined(texts: Iterator[str]) -> str:
    return ", ".join(texts)
