from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError
from strategies.ema_cross import EmaCross
from strategies.loading import Loader
from strategies.rsi import RsiReversal
from strategies.strategy import Strategy
from strategies.streak import Streak
from supervisor.read_section import nearest, read_section
from supervisor.supervise import failure_of

GOOD = """
from strategies.strategy import Decision, Strategy


class Mine(Strategy):
    \"\"\"Trades up after so many candles.\"\"\"

    length: int = 3
    share: float = 0.5

    @property
    def warm_up_candles(self):
        return self.length

    def begin(self):
        self.seen = 0
        if self.length < 1:
            raise ValueError(f"length = {self.length}: has to be 1 or more")

    def on_candle(self, candle, view):
        self.seen += 1
        return Decision(direction="up", inputs={"seen": self.seen}) if self.seen == self.length else None


class Other:
    pass
"""


def load(folder: Path, kind: str, options: Mapping[str, Any] | None = None) -> Strategy:
    loader = Loader(folder=folder, read=read_section, failure_of=failure_of, nearest=nearest)
    return loader.load(kind=kind, options=options or {}, where="[strategies.it]")()


def complaint(folder: Path, kind: str, options: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, kind, options)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "cls"), [("rsi", RsiReversal), ("ema_cross", EmaCross), ("streak", Streak)])
def test_a_built_in_needs_no_keys(tmp_path: Path, kind: str, cls: type[Strategy]) -> None:
    assert isinstance(load(tmp_path, kind), cls)


def test_a_users_class_needs_no_decorator(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(GOOD)
    strategy: Any = load(tmp_path, "my.py:Mine", {"length": 5, "share": 1, "timeframe_s": 300})
    assert (strategy.length, strategy.share, strategy.timeframe_s) == (5, 1.0, 300)
    assert (strategy.seen, strategy.warm_up_candles) == (0, 5)


def test_a_key_whose_field_has_no_type_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(GOOD.replace("length: int = 3", "length = 3"))
    assert complaint(tmp_path, "my.py:Mine", {"length": 5}) == (
        "[strategies.it] length: Mine has no type for it: write `length: int = 3` there"
    )


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "my.py"
    path.write_text(GOOD)
    assert load(tmp_path, "my.py:Mine").warm_up_candles == 3
    path.write_text(GOOD.replace("length: int = 3", "length: int = 4"))  # as long, in the same moment
    assert load(tmp_path, "my.py:Mine").warm_up_candles == 4
    assert [each.name for each in tmp_path.iterdir()] == ["my.py"]


def test_a_file_may_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(GOOD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load(elsewhere, f"{tmp_path}/my.py:Mine").warm_up_candles == 3
    assert load(elsewhere, "../my.py:Mine").warm_up_candles == 3


def test_a_users_class_may_be_an_attrs_class_or_derive_from_a_built_in(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "import attrs\nfrom strategies.streak import Streak\n\n"
        "@attrs.define(kw_only=True, eq=False, slots=False)\nclass Mine(Streak):\n    length: int = 9\n"
    )
    assert load(tmp_path, "my.py:Mine").warm_up_candles == 10


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "rsy",
            'kind = "rsy": expected "rsi", "ema_cross", "streak" or "FILE.py:CLASS"; did you mean "rsi"?',
        ),
        ("my.txt:Mine", 'kind = "my.txt:Mine": expected "rsi", '),
        ("my.py", 'kind = "my.py": expected "rsi", '),
        ("your.py:Mine", "/your.py: cannot be read: No such file or directory"),
        ("my.py:Mein", '/my.py: has no class Mein; did you mean "Mine"?'),
        ("my.py:Zzz", "/my.py: has no class Zzz; there are Mine"),
        ("my.py:Other", "/my.py: Other is no strategy: its class has to derive from Strategy"),
        ("my.py:Decision", "/my.py: Decision is no strategy"),
    ],
)
def test_a_kind_that_is_none_is_named(tmp_path: Path, kind: str, expected: str) -> None:
    (tmp_path / "my.py").write_text(GOOD)
    text = complaint(tmp_path, kind)
    assert text.startswith(f'[strategies.it] kind = "{kind}": ')
    assert expected in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x = 1\nclass Mine(\n", "/my.py line 2: SyntaxError: "),
        ("x = 1\ny = x / 0\n", "/my.py line 2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", "/my.py line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    raise SystemExit(3)\n\nf()\n", "/my.py line 2: SystemExit: 3"),
        ("x = 1\n", "/my.py: has no class Mine; there is no strategy in it"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_its_line(
    tmp_path: Path, content: str, expected: str
) -> None:
    (tmp_path / "my.py").write_text(content)
    assert expected in complaint(tmp_path, "my.py:Mine")


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("rsi", {"perod": 3}, '[strategies.it] perod: unknown key; did you mean "period"?'),
        ("rsi", {"period": "3"}, "[strategies.it] period = '3': Expected int, got str"),
        ("rsi", {"period": 1}, "[strategies.it] period = 1: must be >= 2"),
        ("rsi", {"low": 80}, "[strategies.it] low = 80: has to be below high = 70"),
        ("rsi", {"high": float("nan")}, "[strategies.it] high = nan: expected a finite number"),
        ("rsi", {"timeframe_s": 0}, "[strategies.it] timeframe_s = 0: must be >= 1"),
        ("ema_cross", {"fast": 21}, "[strategies.it] fast = 21: has to be below slow = 21"),
        (
            "streak",
            {"direction": "up"},
            """[strategies.it] direction = 'up': expected "against" or "follow\"""",
        ),
        ("my.py:Mine", {"length": 0}, "[strategies.it] length = 0: has to be 1 or more"),
        ("my.py:Mine", {"length": 1.5}, "[strategies.it] length = 1.5: Expected int, got float"),
        ("my.py:Mine", {"length": 5_001}, "[strategies.it] warm_up_candles is 5001: expected 0 to 5000"),
        ("my.py:Mine", {"lenght": 5}, '[strategies.it] lenght: unknown key; did you mean "length"?'),
    ],
)
def test_own_keys_are_checked(tmp_path: Path, kind: str, options: Mapping[str, Any], expected: str) -> None:
    (tmp_path / "my.py").write_text(GOOD)
    assert expected in complaint(tmp_path, kind, options)


def test_a_key_without_a_default_has_to_be_given(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(GOOD.replace("length: int = 3", "length: int"))
    assert complaint(tmp_path, "my.py:Mine") == "[strategies.it] length: missing"


def test_a_field_cannot_take_a_key_of_the_section(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(GOOD.replace("share", "stake"))
    assert "Mine has a field stake, which is a key of the section" in complaint(tmp_path, "my.py:Mine")


def test_a_strategy_that_cannot_begin_is_refused_with_what_it_raised(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(GOOD.replace("self.seen = 0", "self.seen = self.nothing"))
    assert complaint(tmp_path, "my.py:Mine") == (
        f"[strategies.it]: {tmp_path}/my.py line 16: AttributeError: 'Mine' object has no attribute 'nothing'"
    )
