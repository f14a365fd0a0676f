import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from supervisor import client, lock
from supervisor.cli import COMMANDS, run_command

GUARD_S = 60.0  # against hanging
MARKETD = [sys.executable, "-c", "import sys; from supervisor.cli import main; sys.exit(main())"]


def marketd(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own, with nothing of the user's."""
    environment = {**os.environ, "HOME": str(cwd)}
    environment.pop("STATE_DIRECTORY", None)
    return subprocess.run(
        [*MARKETD, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=GUARD_S,
        cwd=cwd,
        env=environment,
    )


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_command([command, "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: marketd {command} ")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "simulate"])
def test_every_command_but_simulate_takes_settings_and_state(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_command([command, "--help"])
    shown = capsys.readouterr().out
    assert "--config FILE" in shown
    assert "--state-dir DIR" in shown


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["explode"],
        ["status", "--explode"],
        ["market"],
        ["market", "stop"],
        ["market", "explode", "all"],
        ["drain"],
        ["drain", "maybe"],
        ["shutdown", "--max-wait", "long"],
        ["backup"],
        ["restore"],
        ["restore", "--replace"],
        ["simulate"],
        ["run", "--config"],
    ],
    ids=" ".join,
)
def test_wrong_words_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_command(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: marketd")


def test_a_file_with_the_name_of_a_command_is_no_command(tmp_path: Path) -> None:
    assert run_command(["status", "--state-dir", str(tmp_path / "run")]) == 3


# --- exit codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["market", "stop", "all"], ["drain", "on"], ["shutdown"]], ids=" ".join)
def test_a_command_to_nobody_exits_1(words: list[str], tmp_path: Path) -> None:
    assert run_command([*words, "--state-dir", str(tmp_path)]) == 1


def test_the_status_of_nobody_exits_3(tmp_path: Path) -> None:
    assert run_command(["status", "--state-dir", str(tmp_path)]) == 3


def test_the_status_of_a_daemon_that_hangs_exits_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SOCKETS", (client.OWN_SOCKET,))
    with lock.held(tmp_path):
        assert run_command(["status", "--state-dir", str(tmp_path)]) == 4


WRONG_SETTINGS = {
    "missing": None,
    "not TOML": "venues =",
    "unknown key": "[service]\nlog_levl = 'info'",
    "password file missing": '[storage]\nurl = "mysql://m@localhost/m"\npassword_file = "/missing"',
}


@pytest.mark.parametrize("text", WRONG_SETTINGS.values(), ids=WRONG_SETTINGS.keys())
def test_wrong_settings_exit_78_in_one_line(tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "marketd.toml"
    if text is not None:
        config.write_text(text)
    done = marketd("run", "--config", str(config), "--state-dir", str(tmp_path / "state"), cwd=tmp_path)
    assert done.returncode == 78, done.stderr
    assert "Traceback" not in done.stderr


def test_run_without_any_settings_exits_78_and_says_what_helps(tmp_path: Path) -> None:
    done = marketd("run", cwd=tmp_path)
    assert done.returncode == 78
    assert "marketd init" in done.stderr


def test_a_second_daemon_exits_1_and_names_the_first(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        done = marketd("run", "--simulated", "--state-dir", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert str(os.getpid()) in done.stderr


def test_migrate_makes_the_schema_and_exits_0(tmp_path: Path) -> None:
    (tmp_path / "marketd.toml").touch()
    done = marketd("migrate", "--state-dir", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "marketd.db").exists()


def test_migrate_of_a_newer_schema_exits_78_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "marketd.toml").touch()
    assert marketd("migrate", "--state-dir", str(tmp_path), cwd=tmp_path).returncode == 0
    with closing(sqlite3.connect(tmp_path / "marketd.db", isolation_level=None)) as database:
        database.execute("INSERT INTO schema_version VALUES (99, 0)")
    done = marketd("migrate", "--state-dir", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 78
    assert "version 99" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_beside_a_daemon_exits_1(tmp_path: Path) -> None:
    (tmp_path / "marketd.toml").touch()
    with lock.held(tmp_path):
        done = marketd("migrate", "--state-dir", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert not (tmp_path / "marketd.db").exists()


def test_a_reader_that_has_seen_enough_is_no_crash(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*MARKETD, "check", "--state-dir", str(tmp_path)],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=GUARD_S,
            cwd=tmp_path,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""


# --- a daemon of its own ------------------------------------------------------------------------------


def test_a_daemon_answers_every_command_and_shutdown_ends_it_with_0(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    with subprocess.Popen(
        [*MARKETD, "run", "--simulated", *state], stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stderr is not None
        next(line for line in daemon.stderr if '"ready"' in line)
        codes = {
            "status": run_command(["status", *state]),
            "json": run_command(["status", "--json", *state]),
            "stop": run_command(["market", "stop", "EURUSD", *state]),
            "unknown": run_command(["market", "stop", "BTCUSDT", *state]),
            "all": run_command(["market", "stop", "all", *state]),
            "as desired": run_command(["status", *state]),
            "drain": run_command(["drain", "on", *state]),
            "shutdown": run_command(["shutdown", *state]),
        }
        assert daemon.wait(GUARD_S) == 0
    assert codes == {
        "status": 1,  # not all of them live yet
        "json": 1,
        "stop": 0,
        "unknown": 1,
        "all": 0,
        "as desired": 0,
        "drain": 0,
        "shutdown": 0,
    }


def test_ctrl_c_ends_a_daemon_with_0(tmp_path: Path) -> None:
    command = [*MARKETD, "run", "--simulated", "--state-dir", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        for line in daemon.stderr:
            if '"ready"' in line:
                daemon.send_signal(signal.SIGINT)
        assert daemon.wait(GUARD_S) == 0
