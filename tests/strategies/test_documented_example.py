"""The example of docs/strategies.md is a strategy as it stands there."""

import re
import tomllib
from pathlib import Path

import pytest
from dealing import MARKET, book_with, no_fence, tick_at
from documents import ROOT, Document

from domain.errors import ConfigError
from domain.trades import Direction
from strategies import BUILT_IN
from strategies.desk import Desk, Seat, Wish
from strategies.risk import Reason
from supervisor.settings import load, read_settings
from supervisor.terms import load_strategies

GUIDE = Document(ROOT / "docs/strategies.md")
[EXAMPLE] = [block.text for block in GUIDE.blocks if block.tag == "python"]
FIRST_TOML, EXAMPLE_TOML = [block.text for block in GUIDE.blocks if block.tag == "toml"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The settings file of the example, with the example beside it."""
    path = tmp_path / "marketd.toml"
    path.write_text(EXAMPLE_TOML)
    (tmp_path / "breakout.py").write_text(EXAMPLE)
    return path


def seat_of(config: Path) -> Seat:
    make = load_strategies(load(config), config=config)["breakout"]
    return Seat(name="breakout", market=MARKET, expiry_s=120, make=make)


def test_the_example_decides_where_the_price_leaves_its_range(config: Path) -> None:
    config.write_text(EXAMPLE_TOML.replace("length = 30", "length = 3"))
    seat = seat_of(config)
    desk = Desk(market=MARKET, seats=[seat], book=book_with(), fence=no_fence)
    prices = [1.0, 1.1, 1.0, 1.2, 1.1, 1.15, 1.3, 1.25, 1.0, 1.0]  # one a minute: the first is partial
    happened = [
        each for minute, price in enumerate(prices) for each in desk.take(tick_at(minute * 60, price))
    ]
    wishes = [each for each in happened if isinstance(each, Wish)]
    assert [(each.ts_us // 60_000_000, each.direction) for each in wishes] == [
        (7, Direction.UP),
        (9, Direction.DOWN),
    ]
    assert wishes[1].inputs == '{"close": 1.0, "high": 1.3, "low": 1.15, "decisions": 2}'
    assert not seat.set_aside


def test_the_example_says_what_is_wrong_with_its_keys(config: Path) -> None:
    config.write_text(EXAMPLE_TOML.replace("length = 30", "length = 1"))
    with pytest.raises(ConfigError, match=r"\[strategies.breakout\] length = 1: has to be 2 or more"):
        seat_of(config)


def test_the_settings_that_are_shown_are_good(config: Path) -> None:
    config.write_text(FIRST_TOML)
    settings = load(config)
    assert set(load_strategies(settings, config=config)) == {"calm"}
    assert read_settings(tomllib.loads(EXAMPLE_TOML)).strategies["breakout"].options == {"length": 30}


def test_every_built_in_and_every_reason_is_explained() -> None:
    rows = "\n".join(re.findall(r"^\|.*$", GUIDE.text, flags=re.MULTILINE))
    for name in (*BUILT_IN, *Reason):
        assert f"`{name}`" in rows, name
