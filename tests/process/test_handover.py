"""A socket that the venue will close is replaced before: nothing is missing, and nobody starts over."""

import pytest
from daemons import Settings, Workshop, read_ledger, read_stored, restarts
from databases import SqliteDatabase

SILENT_FOR_MS = 1_500  # nothing is under way any more
TAKEN_OVER = "another socket has taken over"


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_shutdown_notices_one_after_the_other_cost_no_price_and_no_restart(
    workshop: Workshop, sqlite: SqliteDatabase, source: str
) -> None:
    faults = ("--fault", "shutdown@2", "--fault", "shutdown@4", "--fault", "silent@7")
    simulator = workshop.simulator("--rate", "40", *faults)
    daemon = workshop.daemon(Settings(url=simulator.url, database=sqlite, source=source))
    daemon.wait_live()
    status = daemon.wait_until(
        lambda status: min(row["age_ms"] for row in status["markets"]) > SILENT_FOR_MS, what="silent"
    )
    assert daemon.stop() == 0
    simulator.stop()
    assert sum(TAKEN_OVER in line["message"] for line in daemon.lines()) == 2
    assert set(restarts(status).values()) == {0}
    assert sqlite.query("SELECT * FROM gap") == []
    # During a handover both sockets were handed the same prices.
    assert set(read_stored(sqlite, source=source)) == set(read_ledger(workshop.ledger))
