"""Fixtures for tests that boot a machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machine, demand_machines, put_packages, running_machine


@pytest.fixture(autouse=True, scope="session")
def machines_can_boot() -> None:
    demand_machines()


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of kept layers that all test processes of this run share."""
    return tmp_path_factory.getbasetemp().parent / "layers"


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A clean one, on which nothing is installed yet; packages are fetched already."""
    with running_machine() as machine:
        put_packages(machine)
        yield machine
