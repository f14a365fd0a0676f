"""The daemon goes on where an import ends: its prices are its own, and the time between is a gap."""

from daemons import FIVE, Settings, Workshop, assert_stored_as_sent
from databases import MariaDB, SqliteDatabase, stored_ticks

from domain.clock import now_us

MAP = """
[[tables]]
table = "ticks"
kind = "ticks"
market = "EURUSD@sim"
time = { column = "at", form = "unix_us" }
columns = { price = "price", seq = "id" }
"""
LARGE = 2**62  # ids of theirs, larger than the venue's numbers
SECOND_US = 1_000_000


def test_live_prices_follow_on_imported_ones(
    workshop: Workshop, sqlite: SqliteDatabase, mariadb_server: MariaDB
) -> None:
    mariadb_server.make_sound()
    theirs, until_us = mariadb_server.new_database(), now_us() - 3_600 * SECOND_US
    mariadb_server.execute(f"CREATE TABLE {theirs}.ticks (id BIGINT PRIMARY KEY, at BIGINT, price DOUBLE)")
    rows = ", ".join(f"({LARGE + n}, {until_us - (9 - n) * SECOND_US}, 1.5)" for n in range(10))
    mariadb_server.execute(f"INSERT INTO {theirs}.ticks VALUES {rows}")
    simulator = workshop.simulator("--rate", "20")
    settings = Settings(url=simulator.url, database=sqlite, symbols=FIVE)
    workshop.change(settings)
    (workshop.folder / "map.toml").write_text(MAP, encoding="utf-8")
    done = workshop.command(
        "import", "--url", mariadb_server.url(theirs), "--map", str(workshop.folder / "map.toml"),
        "--password-file", str(mariadb_server.password_file), "--config", str(workshop.config),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    daemon = workshop.daemon(settings)
    daemon.wait_live()
    daemon.wait_stored(300)
    assert daemon.market("EURUSD")["duplicates"] == 0
    assert daemon.stop() == 0
    simulator.stop()
    mariadb_server.execute(f"DROP DATABASE {theirs}")
    assert_stored_as_sent(sqlite, workshop.ledger, source="trades")
    ticks = [tick for tick in stored_ticks(sqlite) if tick.market == "EURUSD@sim"]
    first_live = next(tick for tick in ticks if tick.source == "live")
    assert [tick.ts_us for tick in ticks if tick.source == "imported"][-1] == until_us
    gaps = sqlite.query(
        "SELECT from_us, to_us, cause FROM gap JOIN market ON market.id = market_id "
        "WHERE symbol = 'EURUSD' ORDER BY from_us"
    )
    assert gaps[0] == (until_us, first_live.ts_us, "downtime")
