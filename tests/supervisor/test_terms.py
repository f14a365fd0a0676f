import re
import tomllib
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from domain.errors import ConfigError
from strategies.limits import Limits
from strategies.rsi import RsiReversal
from strategies.stake import Martingale, Plan
from supervisor.reference import keys_of
from supervisor.settings import Settings, load, read_settings
from supervisor.terms import currency_of, limits_of, load_strategies, plan_of
from supervisor.trading_sections import TradingSettings

OWN = """
from strategies.strategy import Strategy

class Mine(Strategy):
    length: int = 3
"""


def read(text: str) -> Settings:
    return read_settings(tomllib.loads(text))


def test_limits_that_are_not_set_are_those_of_paper() -> None:
    assert limits_of(Settings()) == Limits()


def test_the_help_names_the_default_of_each_limit() -> None:
    helps = {key.name: key.help_text for key in keys_of(TradingSettings)}
    for field in attrs.fields(Limits):
        if field.name not in ("trade_between", "zone"):
            assert re.search(rf"default {field.default:g}$", helps[field.name]), field.name


def test_limits_are_the_settings_own() -> None:
    text = "[service]\nzone = 'Europe/Berlin'\n[trading]\nmax_stake = 5.5\ncooldown_s = 3\n"
    limits = limits_of(read(text + "trade_between = '22:00-02:00'\nmax_open_trades = 0"))
    assert limits == Limits(
        max_stake=Decimal("5.5"),
        cooldown_s=3.0,
        trade_between=("22:00-02:00",),
        max_open_trades=0,
        zone="Europe/Berlin",
    )


def test_trading_has_a_zone_of_its_own() -> None:
    assert limits_of(read("[service]\nzone = 'Europe/Berlin'\n[trading]\nzone = 'UTC'")).zone == "UTC"


def test_a_plan_is_what_the_strategy_stakes() -> None:
    settings = read(
        "[strategies.a]\nkind = 'rsi'\nstake = 2.5\nmartingale = { factor = 1.5, max_steps = 2 }\n"
        "[strategies.b]\nkind = 'rsi'\nstake_percent = 0.5"
    )
    assert plan_of(settings.strategies["a"]) == Plan(
        fixed=Decimal("2.5"), martingale=Martingale(factor=1.5, max_steps=2)
    )
    assert plan_of(settings.strategies["b"]) == Plan(percent=0.5)


def test_a_paper_account_has_a_currency_though_none_is_set() -> None:
    assert currency_of(TradingSettings()) == "USD"
    assert currency_of(TradingSettings(currency="EUR")) == "EUR"


def test_strategies_are_made_of_the_settings_and_of_files_beside_them(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    config = tmp_path / "marketd.toml"
    config.write_text(
        "[strategies.own]\nkind = 'mine.py:Mine'\nstake = 1\nlength = 7\n"
        "[strategies.built_in]\nkind = 'rsi'\nstake = 1\nlow = 20\n"
    )
    made = load_strategies(load(config), config=config)
    assert vars(made["own"]())["length"] == 7
    rsi = made["built_in"]()
    assert isinstance(rsi, RsiReversal)
    assert rsi.low == 20.0
    assert made["own"]() is not made["own"]()  # a market has its own


def test_a_strategy_that_cannot_be_loaded_is_named_with_the_settings_file(tmp_path: Path) -> None:
    config = tmp_path / "marketd.toml"
    config.write_text("[strategies.own]\nkind = 'mine.py:Mine'\nstake = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_strategies(load(config), config=config)
    assert str(caught.value) == (
        f'{config}: [strategies.own] kind = "mine.py:Mine": {tmp_path}/mine.py: '
        "cannot be read: No such file or directory"
    )
