import argparse
import io
import re
import sys
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from supervisor.commands import init
from supervisor.commands.init import EXAMPLE_SYMBOLS, Answers, ask_all, settings_text
from supervisor.reference import SECTION_ORDER, keys_of
from supervisor.settings import Settings, load, market_specs, read_settings
from supervisor.trading_sections import StrategySettings
from venues import PROTOCOLS


class Terminal(io.StringIO):
    """A standard input that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def answering(*replies: str) -> Callable[[str], str]:
    """Return an `input` that gives these replies, then meets the end of its input."""
    rest = iter(replies)

    def ask(question: str) -> str:
        for reply in rest:
            return reply
        raise EOFError(question)

    return ask


def ask_quietly(*replies: str) -> tuple[Answers, list[str]]:
    told: list[str] = []
    return ask_all(answering(*replies), told.append), told


def run_init(path: Path, monkeypatch: pytest.MonkeyPatch, standard_input: io.StringIO) -> int:
    monkeypatch.setattr(sys, "stdin", standard_input)
    return init.run(argparse.Namespace(config=path, state_dir=None))


def uncommented(text: str) -> str:
    """Return the file with every default that is written out put to use."""
    return re.sub(r"^#(\w+ = .+)$", r"\1", text, flags=re.MULTILINE)


def test_enter_takes_every_default() -> None:
    assert ask_quietly("", "", "", "", "") == (Answers(), [])


def test_the_answers_end_up_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "ZoneInfo", str)  # not every machine has zone data
    answers, told = ask_quietly(
        "binance", "spot", "BNBUSDT, SOLUSDT", "mysql://marketd@localhost/marketd", "Europe/Lisbon"
    )
    settings = read_settings(tomllib.loads(settings_text(answers)))
    assert told == []
    assert [spec.id for spec in market_specs(settings)] == ["BNBUSDT@spot", "SOLUSDT@spot"]
    assert settings.storage.url == "mysql://marketd@localhost/marketd"
    assert settings.service.zone == "Europe/Lisbon"


def test_a_wrong_answer_is_explained_and_asked_again() -> None:
    wrong = ("binanse", "My Venue", "'][x]", "A@B", "Mars")
    answers, told = ask_quietly(
        wrong[0], "binance", wrong[1], wrong[2], "spot", wrong[3], "BTCUSDT", "", wrong[4], ""
    )
    assert answers == Answers(venue="spot", symbols=("BTCUSDT",))
    assert len(told) == len(wrong)
    assert all(repr(answer) in line for answer, line in zip(wrong, told, strict=True))


def test_what_init_writes_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new/marketd.toml"
    assert run_init(path, monkeypatch, io.StringIO()) == 0
    settings = load(path)
    assert [spec.id for spec in market_specs(settings)] == ["BTCUSDT@binance", "ETHUSDT@binance"]
    assert settings.unused == ()
    defaults = attrs.evolve(settings, venues={}, markets=())
    assert defaults == Settings()


def test_the_defaults_in_the_comments_are_the_defaults() -> None:
    text = settings_text(Answers())
    as_written = read_settings(tomllib.loads(text))
    assert uncommented(text) != text
    # The headings of strategies and of what is not used yet are commented out: their keys would go astray.
    used = text.partition("#[strategies.example]")[0]
    assert read_settings(tomllib.loads(uncommented(used))) == as_written


def test_the_sections_that_are_commented_out_load_when_put_to_use() -> None:
    _, heading, unused = settings_text(Answers()).partition("#[strategies.example]")
    text = uncommented(re.sub(r"^#\[", "[", heading + unused, flags=re.MULTILINE))
    settings = read_settings(tomllib.loads(text))
    assert settings.strategies == {"example": StrategySettings(kind="rsi", stake=Decimal(10))}
    assert attrs.evolve(settings, strategies={}) == Settings()


def all_keys() -> Iterator[tuple[str, str]]:
    for heading, _, cls in SECTION_ORDER:
        yield from ((heading, key.name) for key in keys_of(cls))


@pytest.mark.parametrize(("heading", "key"), list(all_keys()))
def test_every_key_is_in_the_file_with_its_help(heading: str, key: str) -> None:
    start = re.escape(heading.partition("NAME")[0])
    _, section = re.split(rf"^#?{start}", settings_text(Answers()), flags=re.MULTILINE)
    section = section.partition("\n\n")[0]
    assert re.search(rf"^# .+\n#?{key} =", section, flags=re.MULTILINE)


def test_every_protocol_has_symbols_to_begin_with() -> None:
    assert tuple(EXAMPLE_SYMBOLS) == PROTOCOLS
    for protocol in PROTOCOLS:
        ask_all(answering(protocol, "", "", "", ""), pytest.fail)


def test_a_file_that_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "marketd.toml"
    path.write_text("mine")
    assert run_init(path, monkeypatch, io.StringIO()) == 1
    assert path.read_text() == "mine"


def test_a_file_that_appears_while_asking_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "marketd.toml"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        init.write_new(path, "ours")
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert run_init(tmp_path / "file/marketd.toml", monkeypatch, io.StringIO()) == 1


def test_the_end_of_the_input_while_asking_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "marketd.toml"
    assert run_init(path, monkeypatch, Terminal("binance\n")) == 1
    assert not path.exists()


def test_ctrl_c_while_asking_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    path = tmp_path / "marketd.toml"
    assert run_init(path, monkeypatch, Terminal()) == 1
    assert not path.exists()


def test_without_a_file_named_it_writes_the_working_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", None)  # as a daemon has it
    assert init.run(argparse.Namespace(config=None, state_dir=None)) == 0
    assert load(tmp_path / "marketd.toml").venues.keys() == {"binance"}
