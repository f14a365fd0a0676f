"""What the service tells its manager and the journal, and what it is told by signals."""

import json

from daemons import FIVE, states, wait_until
from service import STATE_DIR, Service


def start_five(service: Service) -> None:
    """Start the service with five markets at a venue; return when they are live."""
    service.venue("--rate", "20")
    service.configure(symbols=FIVE)
    service.start()
    service.wait_live()


def test_sigusr1_shows_the_status_and_restarts_nothing(service: Service) -> None:
    start_five(service)
    before = service.pid
    service.kill("SIGUSR1")
    path = service.machine.path(f"{STATE_DIR}/status.json")
    wait_until(path.exists, what="status.json written")
    assert states(json.loads(path.read_bytes())) == dict.fromkeys(FIVE, "live")
    wait_until(lambda: len(service.entries("EVENT=status")) >= len(FIVE), what="a line for each child")
    assert (service.pid, service.show("NRestarts")) == (before, "0")


def test_reload_takes_what_changed(service: Service) -> None:
    start_five(service)
    before = service.pid
    service.configure(symbols=("EURUSD", "EURGBP"))
    service.machine.run("systemctl", "reload", "marketd")
    status = service.wait_until(lambda status: len(status["markets"]) == 2, what="the new markets")
    assert {row["symbol"]: row["restarts"] for row in status["markets"]}["EURUSD"] == 0
    assert (service.pid, service.show("ActiveState")) == (before, "active")


def test_reload_of_a_broken_file_keeps_what_was_and_says_so(service: Service) -> None:
    start_five(service)
    before = service.pid
    service.configure(symbols=("EURUSD",), more="stale_after_sec = 1")
    service.machine.run("systemctl", "reload", "marketd")
    wait_until(lambda: service.entries("EVENT=reload", "PRIORITY=3"), what="refused")
    [said] = service.entries("EVENT=reload")
    assert "stale_after_sec" in said["MESSAGE"]
    assert "/etc/marketd/marketd.toml" in said["MESSAGE"]
    assert states(service.status()) == dict.fromkeys(FIVE, "live")
    assert (service.pid, service.show("ActiveState"), service.show("SubState")) == (
        before,
        "active",
        "running",
    )


def test_manager_knows_how_we_are(service: Service) -> None:
    service.machine.run("systemctl", "stop", "mariadb")
    service.start()
    wait_until(
        lambda: service.show("StatusText").startswith("0 of 27 markets live, database down ("),
        what="its status line",
    )


def test_journal_shows_the_life_of_one_market(service: Service) -> None:
    start_five(service)
    entries = service.entries("MARKET=EURUSD@sim")
    assert {entry["MARKET"] for entry in entries} == {"EURUSD@sim"}
    assert {entry["VENUE"] for entry in entries} == {"sim"}
    assert [entry["STATE"] for entry in entries if entry["EVENT"] == "state"][-1] == "live"
    for entry in entries:
        assert entry["_TRANSPORT"] == "journal"
        assert entry["_SYSTEMD_UNIT"] == "marketd.service"
        assert entry["SYSLOG_IDENTIFIER"] == "marketd"
        assert entry["PRIORITY"] in {"3", "4", "5", "6"}
        assert entry["ACTOR"]
        assert "EURUSD@sim" in entry["MESSAGE"]


def test_entries_of_an_event_are_found_by_its_id(service: Service) -> None:
    service.start()
    service.stop()
    [ready] = service.entries("EVENT=ready")
    [again] = service.entries(f"MESSAGE_ID={ready['MESSAGE_ID']}")
    assert again["EVENT"] == "ready"
    assert [entry["PRIORITY"] for entry in service.entries("EVENT=stop")] == ["6", "6"]
