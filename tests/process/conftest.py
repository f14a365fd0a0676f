"""Fixtures for tests of the daemon as a process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import FIVE, Daemon, Settings, Simulator, Start, Workshop
from databases import AnyDatabase


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A venue without faults for tests that want no other: 20 ticks a second a market."""
    simulator = Simulator("--rate", "20", log=tmp_path_factory.mktemp("calm") / "log", port=0)
    yield simulator
    simulator.kill()


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A place to start processes in; a failed test shows what they logged."""
    place = Workshop(tmp_path)
    yield place
    sys.stdout.write(place.close())


@pytest.fixture
def start(workshop: Workshop, calm: Simulator) -> Start:
    """Starts a daemon with five markets at the calm venue; returns it when they are live."""

    def start_five(database: AnyDatabase) -> tuple[Daemon, Settings]:
        settings = Settings(url=calm.url, database=database, symbols=FIVE)
        daemon = workshop.daemon(settings)
        daemon.wait_live()
        return daemon, settings

    return start_five
