import getpass
import io
import sys
import warnings
from pathlib import Path

import attrs
import pytest
from jwts import jwt_until

import venues
from domain.clock import now_us
from domain.token import HOUR_US
from supervisor import lock
from supervisor.cli import SETTINGS, USAGE, run_command
from supervisor.token_files import read_token
from venues.olymptrade_token import REFRESH_TOKEN
from venues.protocol import TokenUse

SECRET = "eyJ-a-secret"


class Terminal(io.StringIO):
    """A standard input that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _venue_with_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = attrs.evolve(
        venues.find_venue("binance"), protocol="tokens", token=TokenUse.REQUIRED, refresh_token=REFRESH_TOKEN
    )
    monkeypatch.setitem(venues._found, "tokens", venue)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "marketd.toml"
    path.write_text('[venues.olymp]\nprotocol = "tokens"\n[venues.open]\nprotocol = "binance"\n')
    return path


def token_command(
    *words: str, config: Path, monkeypatch: pytest.MonkeyPatch, typed: str = "", terminal: bool = False
) -> int:
    """Run `marketd token` with these words and what stands on standard input."""
    monkeypatch.setattr(sys, "stdin", Terminal() if terminal else io.StringIO(typed))
    folder = str(config.parent / "state")
    try:
        return run_command(["token", *words, "--config", str(config), "--state-dir", folder])
    except SystemExit as exit_:
        return int(str(exit_.code))


def stored(config: Path, name: str = "olymp") -> str | None:
    return read_token(config.parent / "state/tokens" / name)


def test_a_token_from_standard_input_is_stored(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = jwt_until(now_us() + 47 * HOUR_US + 60_000_000)
    code = token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed=f"{token}\n")
    assert (code, stored(config)) == (0, token)
    output = capsys.readouterr()
    assert "expires in 47 h" in output.out
    assert "marketd run" in output.out
    assert token not in output.out + output.err
    assert (config.parent / "state/tokens/olymp").stat().st_mode & 0o777 == 0o600


def test_on_a_terminal_it_is_asked_for_unseen(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return SECRET

    monkeypatch.setattr(getpass, "getpass", ask)
    code = token_command("set", "olymp", config=config, monkeypatch=monkeypatch, terminal=True)
    assert (code, stored(config)) == (0, SECRET)
    assert asked == ["token of olymp (not shown): "]


def test_a_terminal_that_would_show_it_is_not_used(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(prompt: str) -> str:
        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
        return SECRET

    monkeypatch.setattr(getpass, "getpass", ask)
    assert token_command("set", "olymp", config=config, monkeypatch=monkeypatch, terminal=True) == 1
    assert stored(config) is None


def test_a_refresh_token_has_a_file_of_its_own(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("set", "olymp", "--refresh")
    assert token_command(*words, config=config, monkeypatch=monkeypatch, typed=SECRET) == 0
    assert (stored(config, "olymp.refresh"), stored(config)) == (SECRET, None)


def test_the_settings_say_where_it_is_stored(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.parent / "elsewhere"
    config.write_text(f'[venues.olymp]\nprotocol = "tokens"\ntoken_file = "{path}"\n')
    assert token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed=SECRET) == 0
    assert read_token(path) == SECRET


@pytest.mark.parametrize(
    "typed",
    ["", "\n", f"{SECRET}\n{SECRET}\n", f"access_token={SECRET}", f"{SECRET} x", f"{SECRET}é"],
)
def test_what_can_be_no_token_leaves_the_old_one(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed="old")
    assert token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed=typed) == 1
    assert stored(config) == "old"
    assert SECRET not in capsys.readouterr().err


def test_an_expired_token_leaves_the_old_one(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed="old")
    expired = jwt_until(now_us() - HOUR_US)
    assert token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed=expired) == 1
    assert stored(config) == "old"
    assert "expired" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("set", "olymp", SECRET),
        ("set", "olymp", f"--token={SECRET}"),
        ("set", "olymp", "--token", SECRET),
        ("set", "olymp", f"--refresh={SECRET}"),
        ("set", "olymp", f"-{SECRET}"),
        ("olymp", SECRET),
        (SECRET,),
        (),
    ],
)
def test_a_token_as_an_argument_is_refused_and_not_repeated(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert token_command(*words, config=config, monkeypatch=monkeypatch, typed="good") == USAGE
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    assert "never an argument" in output.err
    assert stored(config) is None


def test_a_token_in_the_place_of_the_venue_is_not_repeated(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert token_command("set", SECRET, config=config, monkeypatch=monkeypatch, typed="good") == SETTINGS
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    assert "olymp, open" in output.err


@pytest.mark.parametrize("more", [(), ("--refresh",)])
def test_a_venue_without_tokens_takes_none(
    config: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    assert token_command("set", "open", *more, config=config, monkeypatch=monkeypatch, typed=SECRET) == 1
    assert stored(config, "open") is None


def test_a_folder_that_cannot_be_written_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "state").write_text("not a folder")
    assert token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed=SECRET) == 1
    assert "tokens/olymp cannot be written" in capsys.readouterr().err


def test_a_running_daemon_is_said_to_take_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock.held(config.parent / "state"):
        assert token_command("set", "olymp", config=config, monkeypatch=monkeypatch, typed=SECRET) == 0
    assert "takes it within 5 s" in capsys.readouterr().out
