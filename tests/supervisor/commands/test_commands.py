import argparse
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError
from supervisor.client import NoAnswer, NotRunning
from supervisor.commands import drain, kill_switch, market, shutdown
from supervisor.commands import status as status_command
from supervisor.commands.where import state_dir_of


def words(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"config": None, "state_dir": Path("/state"), **given})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, and no service manager."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path


# --- where the daemon is ----------------------------------------------------------------------------


def test_the_state_directory_given_is_taken_whatever_the_settings(home: Path) -> None:
    (home / "marketd.toml").write_text("broken =")
    assert state_dir_of(words(state_dir=home / "x")) == home / "x"


def test_the_state_directory_of_the_settings_is_taken(home: Path) -> None:
    (home / "marketd.toml").write_text(f'[service]\nstate_dir = "{home}/y"')
    assert state_dir_of(words(state_dir=None)) == home / "y"


def test_without_settings_it_is_the_users_own(home: Path) -> None:
    assert state_dir_of(words(state_dir=None)) == home / ".local/state/marketd"


def test_a_settings_file_that_was_named_must_be_there(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        state_dir_of(words(state_dir=None, config=home / "missing.toml"))


# --- status -------------------------------------------------------------------------------------------


def make_venue(**token: object) -> dict[str, Any]:
    """Return one venue's part of a status."""
    whole = {"state": "none", "expires_us": None, "left_s": None, "reason": "", **token}
    return {
        "name": "sim",
        "protocol": "olymptrade",
        "listed_us": 1,
        "markets": 106,
        "open": 28,
        "skew_ms": -12.4,
        "token": whole,
    }


def make_status(*states: str) -> dict[str, Any]:
    """Return the status of a daemon with markets in these states."""
    return {
        "version": "0.1.0",
        "pid": 7,
        "started_us": 500_000_000,
        "mode": "paper",
        "markets": [
            {
                "id": f"M{n}@sim",
                "state": state,
                "price": 1.5,
                "age_ms": 20,
                "ticks": 3,
                "restarts": 0,
                "gaps": 2,
                "reason": None,
            }
            for n, state in enumerate(states)
        ],
        "venues": [make_venue()],
        "connections": [],
        "writer": {
            "db": "up",
            "db_reason": None,
            "accepted": 3,
            "stored": 3,
            "dropped": 0,
            "journal_batches": 7,
            "journal_bytes": 2**20,
            "unjournaled": False,
            "days_until_full": None,
        },
        "trading": {"drain": False, "kill_switch": None},
        "process": {"rss_bytes": 2**25, "threads": 2, "fds": 9, "loop_lag_ms": 0.1},
        "last_run": make_last_run(),
    }


def test_a_log_that_is_not_whole_is_shown_and_a_whole_one_is_not() -> None:
    dropped = make_status("live") | {"log": {"waiting": 2_000, "dropped": 7}}
    assert "log: 7 entries dropped, 2000 wait to be written" in status_command.as_text(dropped)
    whole = make_status("live") | {"log": {"waiting": 1, "dropped": 0}}
    assert "log:" not in status_command.as_text(whole)


def make_last_run(**given: object) -> dict[str, Any]:
    recovered = {"batches": 0, "ticks": 0}
    whole = {"end": "clean", "detail": "stopped on SIGTERM", "started_us": 1, "ended_us": 440_000_000}
    return {**whole, "recovered": recovered, **given}


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], 0),
        (["live", "closed", "stopped"], 0),
        *(
            (["live", state], 1)
            for state in ("failed", "quarantined", "backing_off", "waiting", "stale", "starting")
        ),
    ],
)
def test_the_exit_code_says_whether_all_is_as_desired(states: list[str], code: int) -> None:
    assert status_command.exit_code(make_status(*states)) == code


@pytest.mark.parametrize(("error", "code"), [(NotRunning("not running"), 3), (NoAnswer("no answer"), 4)])
def test_a_daemon_that_is_not_there_or_hangs_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(status_command, "ask", fail)
    assert status_command.run(words(json=False, watch=False)) == code


def test_the_table_has_a_line_for_each_market() -> None:
    lines = status_command.as_text(make_status("live", "waiting")).splitlines()
    assert [line.split()[:3] for line in lines[-2:]] == [
        ["M0@sim", "live", "1.5"],
        ["M1@sim", "waiting", "1.5"],
    ]


def test_what_is_not_known_is_a_dash() -> None:
    status = make_status("starting")
    status["markets"][0].update(price=None, age_ms=None)
    assert status_command.as_text(status).splitlines()[-1].split()[2:4] == ["-", "-"]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [("drain", True, "drain on"), ("kill_switch", {"reason": "news"}, "kill switch on (news)")],
)
def test_what_holds_trades_back_is_shown(key: str, value: object, shown: str) -> None:
    status = make_status("live")
    before = status_command.as_text(status)
    status["trading"][key] = value
    assert shown not in before
    assert shown in status_command.as_text(status).splitlines()[0]


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, "journal 1.0 MiB, 7 batches"),
        ({"unjournaled": True}, "NOT JOURNALED"),
        ({"days_until_full": 3.25}, "full in 3.2 days"),
    ],
)
def test_how_the_journal_and_the_disk_stand_is_shown(changed: dict[str, object], shown: str) -> None:
    status = make_status("live")
    status["writer"].update(changed)
    assert shown in status_command.as_text(status)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ({}, ""),
        ({"state": "good"}, "good"),
        ({"state": "good", "left_s": 47 * 3600}, "good, 47 h left"),
        ({"state": "expires soon", "left_s": 3_900}, "expires soon, 1 h 5 min left"),
        ({"state": "refused", "left_s": 3_900}, "refused"),
        ({"state": "none", "reason": "others can read it"}, "others can read it"),
    ],
)
def test_a_venue_shows_its_list_its_clock_and_how_long_its_token_lasts(
    token: dict[str, Any], shown: str
) -> None:
    status = make_status("live") | {"venues": [make_venue(**token)]}
    [line] = [line for line in status_command.as_text(status).splitlines() if line.startswith("sim ")]
    assert line.split(maxsplit=5)[:5] == ["sim", "olymptrade", "106", "28", "-12"]
    assert "".join(line.split(maxsplit=5)[5:]) == shown


def test_a_database_that_is_away_is_shown_with_its_reason() -> None:
    status = make_status("live")
    status["writer"].update(db="down", db_reason="connection refused")
    assert "connection refused" in status_command.as_text(status)


# --- market, drain, shutdown ------------------------------------------------------------------------


class Asked:
    """Stands for the daemon: keeps what it is asked, and answers the same each time."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result = result
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, state_dir: Path, command: str, **arguments: Any) -> dict[str, Any]:
        self.requests.append((command, arguments))
        return self.result


@pytest.mark.parametrize(("is_remembered", "code"), [(True, 0), (False, 1)])
def test_a_market_command_fails_where_it_will_not_outlast_a_restart(
    monkeypatch: pytest.MonkeyPatch, *, is_remembered: bool, code: int
) -> None:
    daemon = Asked({"markets": ["A@sim"], "remembered": is_remembered})
    monkeypatch.setattr(market, "ask", daemon)
    assert market.run(words(action="stop", markets=["A", "A"])) == code
    assert daemon.requests == [("market", {"action": "stop", "markets": ["A"]})]


@pytest.mark.parametrize(("switch", "is_on"), [("on", True), ("off", False)])
def test_drain_is_asked_for_as_said(monkeypatch: pytest.MonkeyPatch, switch: str, *, is_on: bool) -> None:
    daemon = Asked({"drain": is_on, "remembered": True})
    monkeypatch.setattr(drain, "ask", daemon)
    assert drain.run(words(switch=switch)) == 0
    assert daemon.requests == [("drain", {"on": is_on})]


@pytest.mark.parametrize(("is_gone", "code"), [(True, 0), (False, 1)])
def test_shutdown_succeeds_when_the_daemon_is_gone(
    monkeypatch: pytest.MonkeyPatch, *, is_gone: bool, code: int
) -> None:
    monkeypatch.setattr(shutdown, "ask", Asked({"stopping": True}))
    monkeypatch.setattr(shutdown, "wait_gone", lambda state_dir, within_s: is_gone)
    assert shutdown.run(words(after_trades=False, max_wait=None)) == code


def test_a_longest_wait_for_nothing_is_wrong_usage_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = Asked({"stopping": True})
    monkeypatch.setattr(shutdown, "ask", daemon)
    assert shutdown.run(words(after_trades=False, max_wait=60.0)) == 2
    assert daemon.requests == []
    assert "--max-wait goes with --after-trades only" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "x", "nan", "inf"])
def test_a_longest_wait_is_a_number_of_seconds(capsys: pytest.CaptureFixture[str], text: str) -> None:
    parser = argparse.ArgumentParser()
    shutdown.add_arguments(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--after-trades", f"--max-wait={text}"])
    assert f"{text!r} is no number of seconds from 0 up" in capsys.readouterr().err


@pytest.mark.parametrize(("max_wait_s", "within_s"), [(None, float("inf")), (60.0, 75.0)])
def test_a_shutdown_after_trades_is_waited_for_as_long_as_they_take(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    max_wait_s: float | None,
    within_s: float,
) -> None:
    daemon, waited = Asked({"stopping": True, "open": 3}), list[float]()

    def wait_gone(_: Path, *, within_s: float) -> bool:
        waited.append(within_s)
        return True

    monkeypatch.setattr(shutdown, "ask", daemon)
    monkeypatch.setattr(shutdown, "wait_gone", wait_gone)
    assert shutdown.run(words(after_trades=True, max_wait=max_wait_s)) == 0
    assert daemon.requests == [("shutdown", {"after_trades": True, "max_wait_s": max_wait_s})]
    assert waited == [within_s]
    assert capsys.readouterr().out.startswith("no new trades; 3 are under way")


@pytest.mark.parametrize(("switch", "is_on"), [("on", True), ("off", False)])
def test_the_kill_switch_is_asked_for_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, switch: str, *, is_on: bool
) -> None:
    daemon = Asked({"kill_switch": is_on, "remembered": True})
    monkeypatch.setattr(kill_switch, "ask", daemon)
    assert kill_switch.run(words(switch=switch, reason="news")) == 0
    assert daemon.requests == [("kill_switch", {"on": is_on, "reason": "news"})]


TRADES = {
    "balance": "9978.00",
    "currency": "USD",
    "open": 2,
    "unknown": 0,
    "trades_today": 6,
    "realised_today": "-22.00",
    "reason": None,
    "limits": {"max_daily_loss": {"limit": "500", "used": "42.00"}},
    "strategies": [],
}


def test_how_trading_stands_is_shown_where_something_trades() -> None:
    status = make_status("live")
    assert "balance" not in status_command.as_text(status)
    status["trading"] |= TRADES
    line = (
        "balance 9978.00 USD, 2 trades open, 6 today; won and lost today: −22.00; "
        "42.00 of max_daily_loss 500 in use"
    )
    assert line in status_command.as_text(status).splitlines()


def test_what_is_set_aside_and_why_nothing_is_opened_is_shown() -> None:
    status = make_status("live")
    row = {"market": "EURUSD@sim", "strategy": "mine", "state": "set_aside", "reason": "it raised"}
    status["trading"] |= TRADES | {"reason": "not known", "strategies": [row] * 7, "unknown": 1}
    lines = status_command.as_text(status).splitlines()
    assert lines.count("mine on EURUSD@sim is set aside: it raised") == 5
    assert "and 2 more set aside" in lines
    assert "no new trades: not known" in lines
    assert any(line.endswith("; 1 UNKNOWN") for line in lines)


LAST_RUNS = [
    ({}, "last run: clean (stopped on SIGTERM), 1 min before this one"),
    ({"ended_us": None}, "last run: clean (stopped on SIGTERM)"),
    (
        {"recovered": {"batches": 2, "ticks": 480}},
        "last run: clean (stopped on SIGTERM), 1 min before this one; 480 ticks recovered from the journal",
    ),
]


@pytest.mark.parametrize(("changed", "line"), LAST_RUNS)
def test_how_the_last_run_ended_is_shown(changed: dict[str, object], line: str) -> None:
    shown = status_command.as_text(make_status("live") | {"last_run": make_last_run(**changed)})
    assert line in shown.splitlines()


def test_a_daemon_of_an_earlier_version_is_shown_without_a_last_run() -> None:
    """As in an update, between the new files and the restart."""
    status = make_status("live")
    del status["last_run"]
    assert "last run" not in status_command.as_text(status)
