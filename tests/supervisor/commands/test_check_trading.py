import argparse
import tomllib
from pathlib import Path

import pytest

from supervisor.commands import check
from supervisor.commands.check_trading import check_trading
from supervisor.commands.findings import Level
from supervisor.settings import read_settings

MARKETS = """
[venues.one]
protocol = "binance"
[[markets]]
venue = "one"
symbols = ["BTCUSDT", "ETHUSDT"]
strategies = ["mine"]
"""
MINE = '[strategies.mine]\nkind = "rsi"\n'
SMALL = "[trading]\npaper_balance = 1000\n"


def findings(text: str) -> list[str]:
    return [str(each) for each in check_trading(read_settings(tomllib.loads(text)))]


def warnings(text: str) -> list[str]:
    found = check_trading(read_settings(tomllib.loads(text)))
    return [each.detail for each in found if each.level is Level.WARNING]


def test_a_strategy_is_told_with_its_stake_and_its_markets() -> None:
    assert findings(MARKETS + MINE + "stake = 10") == [
        "ok       strategy mine: rsi, trades of 60 s, on markets: 2, stake 10 USD",
        "ok       trading: on paper; a day may lose 500 USD, 200 trades a day, 10 open at a time; "
        "days end at midnight, UTC",
    ]
    percent = findings(MARKETS + MINE + "stake_percent = 0.5\n[trading]\ncurrency = 'EUR'")
    assert percent[0].endswith("stake 0.5 % of the balance, at first 50.00 EUR")


def test_a_ladder_is_told_with_its_stakes_its_loss_and_its_chances() -> None:
    told = findings(MARKETS + MINE + "stake = 10\nmartingale = { max_steps = 3 }")[1:4]
    assert told == [
        "ok       strategy mine: its ladder: after a loss the next stake is higher: 10, 20.00, 40.00. "
        "3 losses in a row lose 70.00 USD; a win at any step ends the ladder",
        "ok       strategy mine: if 55.6 % of trades win (the share that neither wins nor loses money where "
        "80 % are paid), a ladder loses all its steps once in 11 times; within 100 trades that happens at "
        "least once with 99.7 % chance",
        "ok       strategy mine: if 50.0 % of trades win (as with a coin), a ladder loses all its steps "
        "once in 8 times; within 100 trades that happens at least once with more than 99.9 % chance",
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (MINE + "stake = 10", "decides on no market: no [[markets]] names it in its strategies"),
        (
            MARKETS + MINE + "stake = 51\n" + SMALL + "max_daily_loss = 250",
            "a stake is 5.1 % of the balance of 1000 USD; above 5 % a short row of losses takes most of it",
        ),
        (
            MARKETS + MINE + "stake = 20\nmartingale = { max_steps = 3 }\n" + SMALL + "max_daily_loss = 250",
            "one lost ladder takes 14.0 % of the balance of 1000 USD. "
            "A ladder does not make a losing strategy win: it makes losses rarer and larger",
        ),
        (
            MARKETS + MINE + "stake = 20\n" + SMALL,
            "a day may lose 50 % of the balance of 1000 USD: [trading] max_daily_loss = 500",
        ),
    ],
)
def test_what_is_dangerous_is_a_warning(text: str, warning: str) -> None:
    assert warnings(text) == [warning]


def test_what_just_is_not_dangerous_is_no_warning() -> None:
    assert warnings(MARKETS + MINE + "stake = 50\n" + SMALL + "max_daily_loss = 250") == []


def test_a_strategy_that_cannot_be_loaded_exits_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "marketd.toml"
    config.write_text(MARKETS + MINE.replace("rsi", "my.py:Mine") + "stake = 10")
    (tmp_path / "my.py").write_text("import no_such_module\n")
    assert check.run(argparse.Namespace(config=config, state_dir=tmp_path)) == 78
    assert capsys.readouterr().out == (
        f'FAILED   settings: {config}: [strategies.mine] kind = "my.py:Mine": {tmp_path}/my.py line 1: '
        "ModuleNotFoundError: No module named 'no_such_module'\n"
    )
