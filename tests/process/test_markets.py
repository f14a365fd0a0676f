"""`marketd markets` as a process: with the daemon, without it, and without the venue."""

import subprocess
import tomllib

from daemons import MARKETD, Settings, Workshop
from databases import SqliteDatabase

from supervisor.listings import path_of


def markets(workshop: Workshop, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MARKETD, "markets", "--config", workshop.config, "--state-dir", workshop.state_dir, *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def deriv(workshop: Workshop, database: SqliteDatabase, *faults: str) -> Settings:
    simulator = workshop.simulator("--protocol", "deriv", *faults)
    return Settings(
        url=f"ws://127.0.0.1:{simulator.port}",
        database=database,
        protocol="deriv",
        source="quotes",
        symbols=("EURUSD", "GBPUSD"),
    )


def test_the_venue_itself_is_asked_where_no_daemon_runs(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    workshop.change(deriv(workshop, sqlite))
    found = markets(workshop)
    assert found.returncode == 0
    assert "frxEURUSD  EUR/USD" in found.stdout
    assert "27 markets, 27 open" in found.stdout


def test_the_daemon_tells_what_it_knows_without_another_log_in(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    daemon = workshop.daemon(deriv(workshop, sqlite))
    daemon.wait_live()
    before = daemon.status()["connections"]
    assert "27 markets, 27 open" in markets(workshop, "--open").stdout
    assert daemon.status()["connections"][0]["restarts"] == before[0]["restarts"]


def test_what_is_printed_as_toml_is_a_section_of_the_settings(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    workshop.change(deriv(workshop, sqlite))
    [section] = tomllib.loads(markets(workshop, "--toml").stdout)["markets"]
    assert section["venue"] == "sim"
    assert len(section["symbols"]) == 27


def test_what_is_remembered_is_told_with_its_time_where_the_venue_is_away(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    daemon = workshop.daemon(deriv(workshop, sqlite))
    daemon.wait_live()
    daemon.stop()
    assert path_of(workshop.state_dir, "sim").exists()
    workshop.change(Settings(url="ws://127.0.0.1:1", database=sqlite, protocol="deriv", source="quotes"))
    found = markets(workshop)
    assert found.returncode == 0
    assert "frxEURUSD" in found.stdout
    assert "this is how it was at" in found.stderr


def test_a_venue_that_is_away_and_was_never_seen_is_an_error(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    workshop.change(Settings(url="ws://127.0.0.1:1", database=sqlite, protocol="deriv", source="quotes"))
    found = markets(workshop)
    assert found.returncode == 1
    assert "refused" in found.stderr


def test_a_venue_that_is_not_in_the_settings_is_named(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    workshop.change(Settings(url="ws://127.0.0.1:1", database=sqlite))
    found = markets(workshop, "--venue", "nowhere")
    assert found.returncode == 78
    assert "'nowhere'" in found.stderr
