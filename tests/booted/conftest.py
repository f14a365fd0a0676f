"""Fixtures for tests that boot a machine."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installing import Server
from machines import Machine, demand_machines, kept_layer, put_packages, running_machine, sweep
from service import Service, install


@pytest.fixture(autouse=True, scope="session")
def machines_can_boot() -> None:
    demand_machines()
    sweep()


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of kept layers that all test processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    # only pytest-xdist's processes have a folder each below that of the run; it else holds earlier runs
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "layers"


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A clean one, on which nothing is installed yet; packages are fetched already."""
    with running_machine() as machine:
        put_packages(machine)
        yield machine


@pytest.fixture
def server(machine: Machine) -> Server:
    """The same, to install on."""
    return Server(machine=machine)


@pytest.fixture
def installed(layers: Path) -> Iterator[Server]:
    """One on which install.sh was run without a word, and which was started anew since."""
    with running_machine(layer=kept_layer(layers / "service", make=install)) as machine:
        machine.wait_shown("marketd", "ActiveState", "active")
        yield Server(machine=machine)


@pytest.fixture(scope="session")
def serving_machine(layers: Path) -> Iterator[Service]:
    """A machine with the service installed, for all tests of this process."""
    layer = kept_layer(layers / "service", make=install)
    with running_machine(layer=layer) as machine:
        service = Service(machine, layers)
        yield service
        service.close()


@pytest.fixture
def service(serving_machine: Service, tmp_path: Path) -> Iterator[Service]:
    """The service as it was installed: stopped, with settings, no state and an empty database."""
    serving_machine.make_new(tmp_path)
    yield serving_machine
    serving_machine.close()
    log = serving_machine.machine.run("journalctl", "--output=cat", "--lines=200", check=False).stdout
    sys.stdout.write(log)
