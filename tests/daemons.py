"""The daemon and the simulator as processes of their own, looked at from outside."""

import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import attrs
from databases import AnyDatabase, MariadbDatabase, stored_ticks

from supervisor.client import NoAnswer, NotRunning, ask
from venues.simulated.prices import FX_PAIRS

MARKETD = Path(sys.executable).with_name("marketd")
WITHIN_S = 45.0  # a guard against hanging: what is waited for takes a second or two
LOOK_EVERY_S = 0.03
# The main thread, the log's, and one at most to accept, to store, to read, to write small files, to save what
# is desired, and to show life. An idle one ends after ten seconds, so how many there are goes up and down.
MOST_THREADS = 8
CLOSED_PORT_URL = "ws://127.0.0.1:1/stream"  # tcpmux: nobody listens there

FIVE = ("EURUSD", "GBPUSD", "USDJPY", "AUDUSD", "USDCAD")  # markets, where 27 would tell no more

Status = dict[str, Any]
Each = TypeVar("Each", bound="Running")


def wait_until(holds: Callable[[], object], *, what: str, within_s: float = WITHIN_S) -> None:
    """Look again and again until something holds; fail where it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(LOOK_EVERY_S)


# --- processes --------------------------------------------------------------------------------


class Running:
    """A child process with its output in files."""

    def __init__(self, command: Sequence[str | Path], *, log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, *, within_s: float = WITHIN_S) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(timeout=within_s)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = WITHIN_S) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.send(number)
        return self.wait(within_s=within_s)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(timeout=WITHIN_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def first_line(self) -> str:
        """Wait for its first line of output and return it."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], WITHIN_S)
        assert ready, f"no line within {WITHIN_S} s:\n{self.errors()}"
        return self.process.stdout.readline().decode()

    def errors(self) -> str:
        """Return all of its standard error so far."""
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged as JSON lines."""
        return [json.loads(line) for line in self.errors().splitlines() if line.startswith("{")]

    def has_said(self, event: str, **fields: object) -> bool:
        """Return whether a line of the log is such an event with at least these fields."""
        wanted = {"event": event, **fields}
        return any(wanted.items() <= line.items() for line in self.lines())

    def cpu_s(self) -> float:
        """Return the processor time it has spent so far."""
        # the fields after the command's name, which may hold spaces: proc_pid_stat(5), 14 and 15
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Simulator(Running):
    """`marketd simulate` on a port of its own; `prefix` is a command that starts it elsewhere."""

    def __init__(self, *arguments: str, log: Path, port: int, prefix: Sequence[str] = ()) -> None:
        listen = f"127.0.0.1:{port}"
        command = [MARKETD, "simulate", "--protocol", "binance", "--listen", listen, *arguments]
        super().__init__([*prefix, *command], log=log)
        self.url = self.first_line().removeprefix("listening on ").strip()
        self.port = int(self.url.rpartition(":")[2].partition("/")[0])


class Daemon(Running):
    """`marketd run` in a state directory of its own."""

    def __init__(self, command: Sequence[str | Path], *, state_dir: Path, log: Path) -> None:
        super().__init__([*command, "--state-dir", state_dir], log=log)
        self.state_dir = state_dir

    def status(self) -> Status:
        """Return what `marketd status --json` shows."""
        found: Status = ask(self.state_dir, "status")
        return found

    def ask(self, command: str, **arguments: object) -> Any:
        """Return the answer to a command."""
        return ask(self.state_dir, command, **arguments)

    def market(self, symbol: str) -> dict[str, Any]:
        """Return one market's part of the status."""
        [found] = [row for row in self.status()["markets"] if row["symbol"] == symbol]
        return dict(found)

    def wait_until(
        self, holds: Callable[[Status], object], *, what: str, within_s: float = WITHIN_S
    ) -> Status:
        """Ask for the status until something holds of it; return that status."""
        deadline = time.monotonic() + within_s
        status: Status = {}
        while time.monotonic() < deadline:
            assert self.is_running, f"ended with {self.process.returncode}, waiting until {what}"
            with contextlib.suppress(NotRunning, NoAnswer):  # not yet
                status = self.status()
                if holds(status):
                    return status
            time.sleep(LOOK_EVERY_S)
        raise AssertionError(f"not within {within_s} s: {what}; last: {summary(status)}")

    def wait_ready(self) -> Status:
        return self.wait_until(lambda status: status["ready"], what="ready")

    def wait_live(self, *, within_s: float = WITHIN_S) -> Status:
        """Wait until every market is live."""
        return self.wait_until(all_live, what="all live", within_s=within_s)

    def wait_stored(self, count: int) -> None:
        """Wait until so many ticks are stored."""
        self.wait_until(lambda status: status["writer"]["stored"] >= count, what=f"{count} ticks stored")


def all_live(status: Status) -> bool:
    """Return whether there are markets and every one is live."""
    return {row["state"] for row in status["markets"]} == {"live"}


def restarts(status: Status) -> dict[str, int]:
    """Return how often each market had to start over."""
    return {row["symbol"]: row["restarts"] for row in status["markets"]}


def states(status: Status) -> dict[str, str]:
    """Return each market's state."""
    return {row["symbol"]: row["state"] for row in status["markets"]}


def summary(status: Status) -> object:
    """Return the parts of a status that a failed test shows."""
    return status and {
        "markets": [
            (row["id"], row["state"], row["restarts"], row["ticks"], row["reason"])
            for row in status["markets"]
        ],
        "connections": status["connections"],
        "writer": status["writer"],
    }


# --- settings ---------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Settings:
    """A settings file for tests: everything quicker than an operator would want it."""

    url: str
    database: AnyDatabase
    symbols: Sequence[str] = tuple(FX_PAIRS)
    protocol: str = "binance"
    source: str = "trades"
    stale_after_s: float = 60.0
    connect_timeout_s: float = 1.0
    start_delay_ms: int = 15
    starts_per_pass: int = 1
    backoff_min_s: float = 0.2
    backoff_max_s: float = 1.0
    probe_every_s: float = 60.0
    store_every_ms: int = 200
    log_level: str = "info"
    storage: str = ""  # more lines of [storage]
    venue: str = ""  # more lines of [venues.sim]
    more: str = ""

    def text(self) -> str:
        """Return the file's text."""
        password = ""
        if isinstance(self.database, MariadbDatabase):
            password = f'password_file = "{self.database.server.password_file}"'
        return f"""
[service]
log_level = "{self.log_level}"
[storage]
url = "{self.database.url}"
{password}
store_every_ms = {self.store_every_ms}
{self.storage}
[supervision]
start_delay_ms = {self.start_delay_ms}
starts_per_pass = {self.starts_per_pass}
backoff_min_s = {self.backoff_min_s}
backoff_max_s = {self.backoff_max_s}
healthy_after_s = 0.5
probe_every_s = {self.probe_every_s}
[venues.sim]
protocol = "{self.protocol}"
url = "{self.url}"
source = "{self.source}"
stale_after_s = {self.stale_after_s}
connect_timeout_s = {self.connect_timeout_s}
{self.venue}
[[markets]]
venue = "sim"
symbols = {json.dumps(list(self.symbols))}
{self.more}
"""


class Workshop:
    """Starts daemons and simulators in a test's own folder, and ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "marketd.toml"
        self.state_dir = folder / "state"
        self.ledger = folder / "ledger.jsonl"
        self._numbers = itertools.count(1)
        self._started: list[Running] = []

    def simulator(self, *arguments: str, port: int = 0) -> Simulator:
        """Start a simulator with a ledger; return when it listens."""
        more = () if "--ledger" in arguments else ("--ledger", str(self.ledger))
        return self._keep(Simulator(*arguments, *more, log=self._log("simulator"), port=port))

    def daemon(self, settings: Settings) -> Daemon:
        """Start the daemon with these settings."""
        self.change(settings)
        return self.daemon_by([MARKETD, "run", "--config", self.config])

    def change(self, settings: Settings) -> None:
        """Write other settings into the file of a running daemon."""
        self.config.write_text(settings.text(), encoding="utf-8")

    def daemon_by(self, command: Sequence[str | Path]) -> Daemon:
        """Start the daemon by this command line, to which the state directory is added."""
        return self._keep(Daemon(command, state_dir=self.state_dir, log=self._log("daemon")))

    def faulty_daemon(self, settings: Settings, *, fault: str) -> Daemon:
        """Start the daemon after `fault`, Python statements that break something in it."""
        self.change(settings)
        return self.daemon_by(self.faulty(fault))

    def faulty(self, fault: str) -> list[str | Path]:
        """Return the command line of a daemon after `fault`."""
        script = self.folder / "faulty.py"
        script.write_text(f"{fault}\nfrom supervisor.cli import main\nraise SystemExit(main())\n")
        return [sys.executable, script, "run", "--config", self.config]

    def running(self, command: Sequence[str | Path], *, name: str) -> Running:
        """Start a process of another kind."""
        return self._keep(Running(command, log=self._log(name)))

    def keep_asking(self) -> Running:
        """Start a process that looks all the time whether a daemon runs here."""
        script = f"""
from pathlib import Path
from supervisor.lock import holder
while True:
    holder(Path({str(self.state_dir)!r}))
"""
        return self._keep(Running([sys.executable, "-c", script], log=self._log("asker")))

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run another command of `marketd` on the same state directory."""
        return subprocess.run(
            [MARKETD, *words, "--state-dir", self.state_dir],
            capture_output=True, text=True, check=False, timeout=WITHIN_S,
        )  # fmt: skip

    def close(self) -> str:
        """End what is still running; return all logs, for whoever looks at a failed test."""
        for each in self._started:
            each.kill()
        return "\n".join(f"--- {each.log.name}\n{each.errors()[-6_000:]}" for each in self._started)

    def _keep(self, started: Each) -> Each:
        self._started.append(started)
        return started

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._numbers)}.log"


# How the fixture `start` starts a daemon with five markets and returns it when they are live.
Start = Callable[[AnyDatabase], tuple[Daemon, Settings]]


# --- the oracle -------------------------------------------------------------------------------


class Sent(NamedTuple):
    """One tick as the wire carried it; a quote has no time."""

    symbol: str
    ts_us: int | None
    seq: int
    price: float

    @classmethod
    def parse(cls, line: str) -> Self:
        found = json.loads(line)
        return cls(found["symbol"], found["ts_us"], found["seq"], found["price"])


def read_ledger(path: Path) -> list[Sent]:
    """Return what the simulator handed to sockets: by market, and of each in the order it was sent."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted((Sent.parse(line) for line in lines), key=lambda sent: sent.symbol)


def read_stored(
    database: AnyDatabase, *, source: str, how: Sequence[str] = ("live", "backfill")
) -> list[Sent]:
    """Return the `tick` table, by market and `(ts_us, seq)`; of quotes without the time we stamped."""
    return [
        Sent(
            tick.market.partition("@")[0],
            tick.ts_us if source == "trades" else None,
            tick.seq,
            tick.price,
        )
        for tick in stored_ticks(database)
        if tick.source in how
    ]


def differences(stored: Iterable[Sent], sent: Iterable[Sent]) -> dict[str, list[Sent]]:
    """Return a few of what is missing and of what is too much: readable where 30,000 rows differ."""
    has, wants = set(stored), set(sent)
    return {"missing": sorted(wants - has)[:5], "too much": sorted(has - wants)[:5]}


def assert_stored_as_sent(database: AnyDatabase, ledger: Path, *, source: str) -> None:
    """Fail unless the table holds exactly what the ledger says, in its order."""
    stored, sent = read_stored(database, source=source), read_ledger(ledger)
    assert len(sent) > 0
    assert differences(stored, sent) == {"missing": [], "too much": []}
    assert len(stored) == len(sent)
    assert stored == sent
