from pathlib import Path

import pytest

from domain.errors import ConfigError
from supervisor.market_specs import MarketSpec, market_specs
from supervisor.seats import Roster
from supervisor.settings import load

OWN = """
from strategies.strategy import Strategy

class Mine(Strategy):
    length: int = 3
"""
SETTINGS = """
[venues.one]
protocol = "binance"
[[markets]]
venue = "one"
symbols = ["BTCUSDT", "ETHUSDT"]
strategies = ["own", "calm"]
[[markets]]
venue = "one"
symbols = ["LTCUSDT"]
strategies = ["calm"]
[strategies.own]
kind = "mine.py:Mine"
stake = 1
expiry_s = 30
[strategies.calm]
kind = "rsi"
stake = 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file with a strategy of its own beside it."""
    (tmp_path / "mine.py").write_text(OWN)
    path = tmp_path / "marketd.toml"
    path.write_text(SETTINGS)
    return path


def roster_of(config: Path) -> Roster:
    return Roster(load(config), config=config)


def specs_of(config: Path) -> dict[str, MarketSpec]:
    return {spec.symbol: spec for spec in market_specs(load(config))}


def test_each_market_has_seats_of_its_own(config: Path) -> None:
    roster, specs = roster_of(config), specs_of(config)
    first, second = roster.seats(specs["BTCUSDT"]), roster.seats(specs["ETHUSDT"])
    assert [(each.name, each.market, each.expiry_s) for each in first] == [
        ("own", "BTCUSDT@one", 30),
        ("calm", "BTCUSDT@one", 60),
    ]
    assert first[0].strategy is not second[0].strategy
    assert [each.name for each in roster.seats(specs["LTCUSDT"])] == ["calm"]


def changed(config: Path, before: Roster) -> set[str]:
    roster = roster_of(config)
    return {symbol for symbol, spec in specs_of(config).items() if roster.has_changed(spec, before)}


def test_nothing_has_changed_where_nothing_was(config: Path) -> None:
    assert changed(config, roster_of(config)) == set()


def test_a_changed_section_changes_the_markets_that_it_decides_on(config: Path) -> None:
    before = roster_of(config)
    config.write_text(SETTINGS.replace("expiry_s = 30", "expiry_s = 31"))
    assert changed(config, before) == {"BTCUSDT", "ETHUSDT"}


def test_a_changed_file_changes_them_too(config: Path) -> None:
    before = roster_of(config)
    (config.parent / "mine.py").write_text(OWN.replace("length: int = 3", "length: int = 4"))
    assert changed(config, before) == {"BTCUSDT", "ETHUSDT"}


def test_a_file_that_does_not_load_leaves_what_runs(config: Path) -> None:
    before, specs = roster_of(config), specs_of(config)
    (config.parent / "mine.py").write_text("x = 1 / 0")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        roster_of(config)
    seat = before.seats(specs["BTCUSDT"])[0]
    seat.start_over()
    assert vars(seat.strategy)["length"] == 3
