"""Which database a command uses that does not ask the daemon, and who may have its password."""

import os
from pathlib import Path

import pytest

from domain.errors import ConfigError, PermanentError
from storage.settings import StorageSettings
from storage.target import MysqlTarget
from supervisor.commands import database
from supervisor.settings import Settings

SERVER = Settings(storage=StorageSettings(url="mysql://marketd@localhost/marketd"))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service's settings; beside them is what its unit loads as the password."""
    monkeypatch.setattr(database, "NAMED_BY_UNIT", tmp_path / "db-password")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "db-password").touch(mode=0o600)
    (tmp_path / "db-password").write_text("secret\n")
    return tmp_path / "marketd.toml"


def password(settings: Settings, config: Path) -> str:
    target = database.target_of(settings, config=config, state_dir=config.parent)
    assert isinstance(target, MysqlTarget)
    return target.password


def test_root_has_the_password_that_the_service_is_handed(config: Path) -> None:
    assert password(SERVER, config) == "secret"


def test_password_stays_with_the_service_s_own_settings(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert password(SERVER, other / "marketd.toml") == ""


def test_what_the_settings_or_the_service_manager_name_goes_first(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    named.touch(mode=0o600)
    named.write_text("named")
    storage = StorageSettings(url=SERVER.storage.url, password_file=str(named))
    assert password(Settings(storage=storage), config) == "named"
    handed = tmp_path / "handed"
    handed.mkdir()
    (handed / "db-password").write_text("handed")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert password(SERVER, config) == "handed"


def test_others_are_told_that_it_is_for_root(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermanentError, match="use sudo"):
        password(SERVER, config)


def test_password_that_others_can_read_is_refused(config: Path) -> None:
    config.with_name("db-password").chmod(0o644)
    with pytest.raises(ConfigError, match="lets others read it"):
        password(SERVER, config)


def test_embedded_database_asks_for_none(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = database.target_of(Settings(), config=config, state_dir=config.parent)
    assert str(found).startswith("sqlite:")
