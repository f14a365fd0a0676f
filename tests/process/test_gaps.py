"""What is missing has a row that says so, from the last tick before to the first after."""

import pytest
from daemons import Settings, Workshop, read_stored
from databases import AnyDatabase, SqliteDatabase

SYMBOLS = ("EURUSD",)
GAPS = "SELECT from_us, to_us, cause FROM gap ORDER BY from_us, id"


def rows_without_ticks(database: AnyDatabase) -> list[tuple[int, int, str]]:
    """Return the gap rows; fail unless each begins and ends with neighbours in the table of ticks."""
    times = sorted(sent.ts_us or 0 for sent in read_stored(database, source="trades"))
    rows = list(database.query(GAPS))
    for from_us, to_us, _ in rows:
        assert times.index(to_us) == times.index(from_us) + 1
    return rows


@pytest.mark.parametrize(("fault", "cause"), [("close@1.5", "disconnect"), ("silent@1.5+2", "stale")])
def test_trouble_of_the_venue_is_one_row_from_tick_to_tick(
    workshop: Workshop, sqlite: SqliteDatabase, fault: str, cause: str
) -> None:
    simulator = workshop.simulator("--rate", "10", "--fault", fault)
    settings = Settings(url=simulator.url, database=sqlite, symbols=SYMBOLS, stale_after_s=1.0)
    daemon = workshop.daemon(settings)
    daemon.wait_live()
    daemon.wait_until(lambda status: status["markets"][0]["gaps"] == 1, what="a gap")
    ticks = daemon.market("EURUSD")["ticks"]
    daemon.wait_until(lambda status: status["markets"][0]["ticks"] > ticks + 5, what="it goes on")
    assert daemon.stop() == 0
    assert [row[2] for row in rows_without_ticks(sqlite)] == [cause]
    assert cause in workshop.command("gaps", "--config", str(workshop.config)).stdout


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_downtime_is_one_row_whether_the_stop_was_clean_or_not(
    workshop: Workshop, sqlite: SqliteDatabase, how: str
) -> None:
    simulator = workshop.simulator("--rate", "10")
    settings = Settings(url=simulator.url, database=sqlite, symbols=SYMBOLS)
    daemon = workshop.daemon(settings)
    daemon.wait_stored(5)
    getattr(daemon, how)()
    again = workshop.daemon(settings)
    again.wait_until(lambda status: status["markets"][0]["ticks"] > 5, what="it goes on")
    assert again.market("EURUSD")["gaps"] == 1
    assert again.stop() == 0
    assert [row[2] for row in rows_without_ticks(sqlite)] == ["downtime"]
