"""`marketd markets` without a venue: whom it asks."""

import argparse
from pathlib import Path

import msgspec
import pytest

from domain.errors import MarketdError
from domain.instruments import Catalog, Instrument, Listing
from supervisor import visit
from supervisor.client import NoAnswer
from supervisor.commands import markets
from supervisor.listings import content_of, path_of
from supervisor.lock import held


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The venues that were visited, which always fails."""
    names: list[str] = []

    def fail(name: str, *_: object, **__: object) -> Catalog:
        names.append(name)
        raise MarketdError("the venue does not answer")

    monkeypatch.setattr(visit, "visit", fail)
    return names


def words(folder: Path) -> argparse.Namespace:
    """Return what was asked on the command line, of a state directory that knows nothing yet."""
    config = folder / "marketd.toml"
    config.write_text(
        '[storage]\nurl = "sqlite:///x.db"\n[venues.sim]\nprotocol = "olymptrade"\n'
        '[[markets]]\nvenue = "sim"\nsymbols = ["EURUSD"]\n'
    )
    state = folder / "state"
    state.mkdir(mode=0o700)
    return argparse.Namespace(config=config, state_dir=state, venue="sim", open=False, toml=False)


def remember(state: Path) -> None:
    catalog = Catalog(venue="sim")
    catalog.take(Listing((Instrument("EURUSD", "EUR/USD"),), is_whole=True), at_us=1)
    path_of(state, "sim").write_bytes(msgspec.json.encode(content_of(catalog)))


def test_where_no_daemon_runs_the_venue_is_asked_and_then_the_memory(
    tmp_path: Path, visits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(tmp_path)
    remember(arguments.state_dir)
    assert markets.run(arguments) == 0
    assert visits == ["sim"]
    assert "EUR/USD" in capsys.readouterr().out


def test_a_daemon_that_does_not_answer_is_logged_in_all_the_same_so_the_venue_is_not_visited(
    tmp_path: Path, visits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(tmp_path)
    with held(arguments.state_dir):
        with pytest.raises(NoAnswer):
            markets.run(arguments)
        remember(arguments.state_dir)
        assert markets.run(arguments) == 0
    assert visits == []
    said = capsys.readouterr()
    assert "EUR/USD" in said.out
    assert "does not answer" in said.err
