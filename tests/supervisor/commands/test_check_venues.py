import importlib.util
from pathlib import Path

import pytest
from jwts import jwt_until

from domain.clock import now_us
from supervisor.commands.check_venues import check_venues
from supervisor.commands.findings import Finding, Level
from supervisor.sections import Settings
from supervisor.token_files import make_folder, write_token
from venues.settings import VenueSettings

HOUR_US = 3_600_000_000


def settings(protocol: str) -> Settings:
    return Settings(venues={"mine": VenueSettings(protocol=protocol)})


def found(protocol: str, state: Path) -> list[Finding]:
    return list(check_venues(settings(protocol), state=state))


def keep(state: Path, token: str) -> None:
    make_folder(state)
    write_token(state / "tokens" / "mine", token)


def test_a_venue_that_needs_a_token_and_has_none_says_how_to_set_it(tmp_path: Path) -> None:
    [finding] = found("olymptrade", tmp_path)
    assert finding.level is Level.FAILED
    assert "marketd token set mine" in finding.detail


def test_a_venue_whose_prices_need_no_token_is_good_without(tmp_path: Path) -> None:
    [finding] = found("deriv", tmp_path)
    assert finding.level is Level.OK


@pytest.mark.parametrize(
    ("hours", "level"), [(47, Level.OK), (11, Level.WARNING), (1, Level.WARNING), (-1, Level.FAILED)]
)
def test_the_time_that_is_left_decides(tmp_path: Path, hours: int, level: Level) -> None:
    keep(tmp_path, jwt_until(now_us() + hours * HOUR_US))
    [finding] = found("olymptrade", tmp_path)
    assert finding.level is level


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    keep(tmp_path, "verysecret")
    [finding] = found("olymptrade", tmp_path)
    assert "verysecret" not in str(finding)


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, "verysecret")
    (tmp_path / "tokens" / "mine").chmod(0o644)
    [finding] = found("olymptrade", tmp_path)
    assert finding.level is Level.FAILED


@pytest.mark.parametrize("protocol", ["binance", "kraken"])
def test_without_the_extra_it_is_said_what_is_missing(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(protocol, tmp_path) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    [finding] = found(protocol, tmp_path)
    assert finding.level is Level.WARNING
    assert "pip install 'marketd[rest]'" in finding.detail
