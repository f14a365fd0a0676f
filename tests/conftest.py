"""Fixtures for everybody."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from databases import AnyDatabase, MariaDB, MariadbDatabase, SqliteDatabase, running_mariadb
from journald import Journald, running_journald

from domain.events import LOGGER
from storage.target import SqliteTarget

# How long an example may take says more of a busy machine than of the code.
hypothesis.settings.register_profile(
    "marketd", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("marketd")


@pytest.fixture(autouse=True)
def same_log_for_every_test() -> Iterator[None]:
    """Leave the one logger of the process as it was found, whoever opened the log."""
    before = (LOGGER.handlers[:], LOGGER.filters[:], LOGGER.propagate, LOGGER.level)
    yield
    LOGGER.handlers[:], LOGGER.filters[:], LOGGER.propagate = before[:3]
    LOGGER.setLevel(before[3])


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    with running_mariadb() as server:
        yield server


@pytest.fixture
def mariadb(mariadb_server: MariaDB) -> Iterator[MariadbDatabase]:
    """A new database of the private server; the test may kill, pause and misconfigure that."""
    mariadb_server.make_sound()
    name = mariadb_server.new_database()
    yield MariadbDatabase(target=mariadb_server.target(name), server=mariadb_server)
    mariadb_server.make_sound()
    mariadb_server.execute(f"DROP DATABASE {name}")


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteDatabase:
    """A new file that nobody has opened yet."""
    return SqliteDatabase(target=SqliteTarget(path=tmp_path / "marketd.db"))


@pytest.fixture(params=["sqlite", "mariadb"])
def database(request: pytest.FixtureRequest) -> AnyDatabase:
    """Both databases, one after the other."""
    found: AnyDatabase = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    """A real journald with an empty journal; the test may stop and kill it."""
    with running_journald(tmp_path) as running:
        yield running
