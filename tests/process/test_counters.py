"""What the daemon costs in steady state, by the database's own counters."""

import time

import attrs
import pytest
from daemons import WITHIN_S, Daemon, Settings, Workshop
from databases import MariaDB, MariadbDatabase

MAX_STATEMENTS_A_S = 10  # DESIGN §8
TRANSACTIONS = 2  # that are looked at, or more
ASKED_BY_US = 2  # of `Questions`, between two looks: `Connections` and `Questions` of the later one


@attrs.frozen(kw_only=True)
class Look:
    """The server's counters at one moment (monotonic)."""

    at: float
    connections: int
    questions: int

    @classmethod
    def at_now(cls, server: MariaDB) -> "Look":
        connections = server.status("Connections")
        return cls(at=time.monotonic(), connections=connections, questions=server.status("Questions"))


def check_steady_state(daemon: Daemon, mariadb: MariadbDatabase, *, transactions: int) -> None:
    """Fail unless it stores so many times with no new connection and few statements."""
    stored_before = daemon.wait_until(lambda status: status["writer"]["stored"] > 0, what="stored")
    statements = stored_before["writer"]["statements"]
    before = Look.at_now(mariadb.server)
    after_status = daemon.wait_until(
        lambda status: status["writer"]["statements"] >= statements + 3 * transactions,
        what=f"{transactions} transactions",
        within_s=WITHIN_S + 6 * transactions,
    )
    after = Look.at_now(mariadb.server)
    assert after_status["writer"]["stored"] > stored_before["writer"]["stored"]
    assert after.connections == before.connections
    questions = after.questions - before.questions - ASKED_BY_US
    assert 0 < questions <= MAX_STATEMENTS_A_S * (after.at - before.at)
    assert after_status["writer"]["connects"] == stored_before["writer"]["connects"]


def start(workshop: Workshop, mariadb: MariadbDatabase, *, markets: int | None = None) -> Daemon:
    """Return a daemon whose markets are live, storing as seldom as by default."""
    more: tuple[str, ...] = ()
    settings = Settings(url="", database=mariadb, store_every_ms=2_000)
    if markets is not None:
        symbols = [f"M{number:04}" for number in range(markets)]
        more = ("--markets", ",".join(symbols))
        settings = attrs.evolve(settings, symbols=symbols, starts_per_pass=100)
    simulator = workshop.simulator("--rate", "2", *more)
    daemon = workshop.daemon(attrs.evolve(settings, url=simulator.url))
    daemon.wait_live(within_s=120.0)
    return daemon


def test_steady_state_makes_no_connection_and_few_statements(
    workshop: Workshop, mariadb: MariadbDatabase
) -> None:
    daemon = start(workshop, mariadb)
    check_steady_state(daemon, mariadb, transactions=TRANSACTIONS)


@pytest.mark.soak
def test_steady_state_of_a_thousand_markets_makes_no_connection_and_few_statements(
    workshop: Workshop, mariadb: MariadbDatabase
) -> None:
    daemon = start(workshop, mariadb, markets=1_000)
    check_steady_state(daemon, mariadb, transactions=15)


def test_daemon_keeps_at_most_two_connections(workshop: Workshop, mariadb: MariadbDatabase) -> None:
    mariadb.server.wait_alone()
    daemon = start(workshop, mariadb)
    assert mariadb.server.status("Threads_connected") - 1 in (1, 2)
    assert daemon.stop() == 0
    mariadb.server.wait_alone()
