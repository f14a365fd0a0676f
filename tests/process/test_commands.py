"""The command line against a real daemon: exit codes, what is kept, how it ends."""

import json
import signal
import socket
import time
from typing import Any

from daemons import (
    CLOSED_PORT_URL,
    FIVE,
    MARKETD,
    WITHIN_S,
    Daemon,
    Settings,
    Start,
    Workshop,
    read_stored,
    restarts,
    states,
    wait_until,
)
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, stored_ticks

from supervisor.gate import connects_file

SECOND_STOP_AFTER_S = 1.0  # DESIGN §3: wrappers send the first one twice


# --- run --------------------------------------------------------------------------------------


def test_simulation_that_was_started_often_waits_for_nobody(workshop: Workshop) -> None:
    """Its venue is a new one each time, and has no attempts to count."""
    workshop.state_dir.mkdir()
    now = time.time_ns() // 1_000
    connects_file(workshop.state_dir, "sim").write_text(json.dumps([now - number for number in range(60)]))
    daemon = workshop.daemon_by([MARKETD, "run", "--simulated"])
    daemon.wait_until(lambda status: status["connections"][0]["state"] == "live", what="connected")
    assert daemon.stop() == 0


def test_simulation_needs_nothing_and_ends_cleanly_on_ctrl_c(workshop: Workshop) -> None:
    settings = workshop.folder / "quick.toml"
    settings.write_text("[supervision]\nstart_delay_ms = 20\n")
    daemon = workshop.daemon_by([MARKETD, "run", "--simulated", "--config", settings])
    status = daemon.wait_live()
    assert len(status["markets"]) == 27
    assert status["mode"] == "paper"
    assert daemon.stop(signal.SIGINT) == 0
    last = daemon.lines()[-1]
    assert (last["event"], last["exit_code"]) == ("stop", 0)
    assert (daemon.state_dir / "marketd.db").exists()


def test_first_start_holds_nothing_back(database: AnyDatabase, start: Start) -> None:
    daemon, _ = start(database)
    trading = daemon.status()["trading"]
    assert (trading["drain"], trading["kill_switch"]) == (False, None)


def test_lost_memory_beside_data_holds_trading_back(
    workshop: Workshop, database: AnyDatabase, start: Start
) -> None:
    daemon, settings = start(database)
    assert daemon.stop() == 0
    (daemon.state_dir / "control.json").unlink()
    status = workshop.daemon(settings).wait_ready()
    assert status["trading"]["drain"]
    assert status["trading"]["kill_switch"] is not None


def test_unreadable_memory_is_set_aside_and_holds_trading_back(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    workshop.state_dir.mkdir()
    (workshop.state_dir / "control.json").write_bytes(b'{"version": 1, "stopped": ["\xff"]}')
    daemon = workshop.daemon(Settings(url=CLOSED_PORT_URL, database=sqlite, symbols=FIVE))
    status = daemon.wait_ready()
    assert status["trading"]["drain"]
    assert status["trading"]["kill_switch"] is not None
    assert len(list(workshop.state_dir.glob("control.json.unreadable*"))) == 1


def test_broken_memory_of_connects_does_not_hinder_the_start(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    workshop.state_dir.mkdir()
    (workshop.state_dir / "connects-sim.json").write_bytes(b'["\xff"]')
    start(sqlite)


def test_wrong_settings_end_with_78(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    daemon = workshop.daemon(Settings(url="http://not-a-web-socket", database=sqlite, symbols=FIVE))
    assert daemon.wait() == 78


def test_second_daemon_is_refused_and_told_the_pid_of_the_first(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    second = workshop.daemon(settings)
    assert second.wait() == 1
    assert str(daemon.pid) in second.errors()
    assert states(daemon.status()) == dict.fromkeys(FIVE, "live")
    assert daemon.stop() == 0


def test_daemon_starts_while_others_ask_for_its_status(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    askers = [workshop.keep_asking() for _ in range(3)]
    settings = Settings(url=CLOSED_PORT_URL, database=sqlite, symbols=FIVE)
    for _ in range(3):
        daemon = workshop.daemon(settings)
        daemon.wait_ready()
        assert daemon.stop() == 0
    assert all(asker.is_running for asker in askers)


def test_killed_daemon_leaves_nothing_that_hinders_the_next(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    daemon.wait_stored(50)
    daemon.kill()
    again = workshop.daemon(settings)
    again.wait_live()
    assert again.stop() == 0
    assert len(stored_ticks(sqlite)) >= 50


# --- status -----------------------------------------------------------------------------------


def test_status_of_nobody_is_3(workshop: Workshop) -> None:
    assert workshop.command("status").returncode == 3


def test_status_is_1_until_every_market_is_as_desired_and_then_0(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    settings = Settings(url=f"ws://127.0.0.1:{port}/stream", database=sqlite, symbols=FIVE)
    daemon = workshop.daemon(settings)
    daemon.wait_ready()
    assert workshop.command("status").returncode == 1
    workshop.simulator("--rate", "20", port=port)
    daemon.wait_live()
    found = workshop.command("status", "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["pid"] == daemon.pid


def test_status_of_a_daemon_that_does_not_answer_is_4(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    daemon = workshop.daemon(Settings(url=CLOSED_PORT_URL, database=sqlite, symbols=FIVE))
    daemon.wait_ready()
    daemon.send(signal.SIGSTOP)
    assert workshop.command("status").returncode == 4
    daemon.send(signal.SIGCONT)
    assert daemon.stop() == 0


def test_request_that_makes_no_sense_is_answered_and_hurts_nobody(
    sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, _ = start(sqlite)
    for request in (
        b'{"command": "\xff"}',
        b"[]",
        b'{"command": "market", "arguments": {"action": [], "markets": ["EURUSD"]}}',
        b'{"command": "market", "arguments": {"action": "stop", "markets": [["EURUSD"]]}}',
        b'{"command": "market", "arguments": {"action": "stop", "markets": ["\\u0000"]}}',
        b'{"command": "drain", "arguments": {"on": "maybe"}}',
        b'{"command": "drain", "arguments": []}',
        b"[" * 60_000,
    ):
        answer = answer_of(daemon, request)
        assert answer["ok"] is False
        assert answer["error"]
    assert states(daemon.status()) == dict.fromkeys(FIVE, "live")


def answer_of(daemon: Daemon, request: bytes) -> dict[str, Any]:
    """Return what the control socket answers to this line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(15)
        connection.connect(str(daemon.state_dir / "control.sock"))
        connection.sendall(request + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            data = connection.recv(65_536)
            assert data, f"closed without an answer to {request[:60]!r}"
            answer += data
    found: dict[str, Any] = json.loads(answer)
    return found


# --- market -----------------------------------------------------------------------------------


def test_stopped_market_stays_stopped_over_a_restart_until_it_is_started(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, settings = start(sqlite)
    assert workshop.command("market", "stop", "EURUSD", "GBPUSD@sim").returncode == 0
    wanted = dict.fromkeys(FIVE, "live") | {"EURUSD": "stopped", "GBPUSD": "stopped"}
    status = daemon.wait_until(lambda status: states(status) == wanted, what="two stopped")
    assert {restarts(status)[symbol] for symbol in FIVE[2:]} == {0}
    assert workshop.command("status").returncode == 0  # it is as desired
    assert daemon.stop() == 0
    again = workshop.daemon(settings)
    again.wait_until(lambda status: states(status) == wanted, what="still stopped")
    assert workshop.command("market", "start", "all").returncode == 0
    again.wait_live()


def test_stopped_market_is_no_longer_sent(workshop: Workshop, sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    assert workshop.command("market", "stop", "EURUSD").returncode == 0
    before = daemon.status()
    # the venue may still send what it had under way; then nothing comes for longer than its spacing
    daemon.wait_until(lambda _: (daemon.market("EURUSD")["age_ms"] or 0) > 1_000, what="no more ticks")
    assert daemon.market("GBPUSD")["ticks"] > ticks_of(before, "GBPUSD")


def ticks_of(status: dict[str, Any], symbol: str) -> int:
    return sum(row["ticks"] for row in status["markets"] if row["symbol"] == symbol)


def test_restarted_market_starts_over_alone(workshop: Workshop, sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    assert workshop.command("market", "restart", "EURUSD").returncode == 0
    status = daemon.wait_live()
    assert restarts(status) == dict.fromkeys(FIVE, 0) | {"EURUSD": 1}
    before = ticks_of(status, "EURUSD")
    daemon.wait_until(lambda status: ticks_of(status, "EURUSD") > before + 20, what="ticks go on")


def test_market_that_nobody_knows_is_refused_by_name(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, _ = start(sqlite)
    found = workshop.command("market", "stop", "EURUSD", "NOSUCH")
    assert found.returncode == 1
    assert "NOSUCH" in found.stderr
    assert states(daemon.status()) == dict.fromkeys(FIVE, "live")


# --- the end ----------------------------------------------------------------------------------


def test_shutdown_waits_until_the_daemon_is_gone(
    workshop: Workshop, sqlite: SqliteDatabase, start: Start
) -> None:
    daemon, _ = start(sqlite)
    assert workshop.command("shutdown").returncode == 0
    assert daemon.wait(within_s=1.0) == 0
    assert workshop.command("status").returncode == 3


def start_and_pause_database(mariadb: MariadbDatabase, start: Start) -> Daemon:
    """Return a daemon whose database hangs while ticks wait for it."""
    daemon, _ = start(mariadb)
    daemon.wait_stored(20)
    mariadb.server.pause()
    daemon.wait_until(
        lambda status: status["writer"]["accepted"] > status["writer"]["stored"] + 50, what="ticks wait"
    )
    return daemon


def test_stop_with_a_hanging_database_leaves_the_ticks_to_the_next_start(
    workshop: Workshop, mariadb: MariadbDatabase, start: Start
) -> None:
    daemon = start_and_pause_database(mariadb, start)
    assert daemon.stop(within_s=24.0) == 0  # three times the budget
    assert daemon.lines()[-1]["event"] == "stop"
    assert "wait in the journal" in daemon.lines()[-1]["message"]
    accepted = int(daemon.lines()[-1]["message"].split()[1])
    mariadb.server.resume()
    settings = Settings(url=CLOSED_PORT_URL, database=mariadb, symbols=FIVE)
    assert accepted > 50
    workshop.daemon(settings)
    wait_until(lambda: len(read_stored(mariadb, source="trades")) >= accepted, what="stored")


def test_second_sigterm_leaves_at_once_and_loses_nothing_that_was_accepted(
    workshop: Workshop, mariadb: MariadbDatabase, start: Start
) -> None:
    daemon = start_and_pause_database(mariadb, start)
    accepted = daemon.status()["writer"]["accepted"]
    assert accepted > 50
    daemon.send(signal.SIGTERM)
    wait_until(lambda: daemon.has_said("stop"), what="stopping")
    begun_at = time.monotonic()
    # while the writer still has time for storing: else it would end by itself
    wait_until(lambda: time.monotonic() > begun_at + SECOND_STOP_AFTER_S + 0.1, what="a second later")
    assert daemon.stop() == 1
    last = daemon.lines()[-1]
    assert last["event"] == "stop"
    assert last["ticks"] == 0  # that are in no journal
    assert "exit_code" not in last  # it is not the end of an ordered stop
    mariadb.server.resume()
    again = workshop.daemon(Settings(url=CLOSED_PORT_URL, database=mariadb, symbols=FIVE))
    wait_until(lambda: len(read_stored(mariadb, source="trades")) >= accepted, what="stored")
    last = again.status()["last_run"]
    assert (last["end"], last["detail"]) == ("killed", "left at once on a second SIGTERM")


def test_second_sigterm_in_the_same_moment_counts_as_one(sqlite: SqliteDatabase, start: Start) -> None:
    daemon, _ = start(sqlite)
    daemon.send(signal.SIGTERM)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.lines()[-1]["exit_code"] == 0


def test_stop_with_a_half_open_socket_ends_in_order(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    simulator = workshop.simulator("--rate", "20", "--fault", "half-open@2")
    daemon = workshop.daemon(Settings(url=simulator.url, database=sqlite, symbols=FIVE))
    daemon.wait_live()
    daemon.wait_until(lambda status: min(row["age_ms"] for row in status["markets"]) > 500, what="half open")
    assert daemon.stop() == 0
    assert daemon.lines()[-1]["exit_code"] == 0


def test_stop_during_an_upgrade_that_is_never_answered_ends_in_order(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        url = f"ws://127.0.0.1:{never_answers.getsockname()[1]}/stream"
        daemon = workshop.daemon(
            Settings(url=url, database=sqlite, symbols=FIVE, connect_timeout_s=WITHIN_S * 2)
        )
        daemon.wait_until(
            lambda status: status["connections"][0]["state"] == "starting", what="waiting for the upgrade"
        )
        assert daemon.stop() == 0
