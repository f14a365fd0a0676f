"""Real processes to measure: a simulated venue on one core, the daemon (and MariaDB) on another."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from supervisor.client import ask
from supervisor.token_files import FOLDER, make_folder, write_token
from venues import find_venue
from venues.protocol import TokenUse

if TYPE_CHECKING:
    from databases import MariaDB

ROOT = Path(__file__).parent.parent
MARKETD = Path(sys.executable).with_name("marketd")
CORES = sorted(os.sched_getaffinity(0))
VENUE_CORE, DAEMON_CORE = CORES[0], CORES[-1]
START_WITHIN_S = 180.0
QUICKLY = "start_delay_ms = 5\nstarts_per_pass = 50"  # [supervision]
QUOTES = 'source = "quotes"'  # [venues.NAME]
TICKS_PER_JIFFY_S = os.sysconf("SC_CLK_TCK")


@attrs.frozen(kw_only=True)
class Sample:
    """The kernel's account of a process, and what it says itself, at one moment."""

    at: float
    cpu_s: float
    rss_mib: float
    written: int
    status: dict[str, Any]


@attrs.define(kw_only=True, eq=False)
class Daemon:
    """A running daemon."""

    process: subprocess.Popen[bytes]
    state_dir: Path

    def log_end(self) -> str:
        return (self.state_dir / "log").read_text()[-2000:]

    def sample(self) -> Sample:
        pid = self.process.pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Sample(
            at=time.monotonic(),
            cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_JIFFY_S,
            rss_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            written=int(io["write_bytes"]),
            status=ask(self.state_dir, "status"),
        )

    def wait_live(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            with contextlib.suppress(Exception):
                states = [row["state"] for row in ask(self.state_dir, "status")["markets"]]
                if states and all(state == "live" for state in states):
                    return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(
                    f"the daemon did not come up:\n{(self.state_dir / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.1)

    def stop(self) -> float:
        """Stop it in order; return how long that took."""
        started = time.monotonic()
        self.process.terminate()
        if self.process.wait(timeout=60) != 0:
            raise SystemExit(f"the daemon ended badly:\n{self.log_end()}")
        return time.monotonic() - started


def pinned(core: int, command: Sequence[str | Path]) -> list[str | Path]:
    return ["taskset", "--cpu-list", str(core), *command]


def pin_server(server: "MariaDB") -> None:
    subprocess.run(["taskset", "-acp", str(DAEMON_CORE), str(server.pid)], check=True, capture_output=True)


@contextlib.contextmanager
def venue(
    symbols: Sequence[str],
    *,
    rate: float,
    protocol: str = "binance",
    faults: Sequence[str] = (),
    ledger: Path | None = None,
) -> Iterator[str]:
    """Serve these markets by `marketd simulate`, which may write down what it sends; give the address."""
    command = [
        MARKETD, "simulate", "--protocol", protocol, "--listen", "127.0.0.1:0",
        "--markets", ",".join(symbols), "--rate", str(rate), "--seed", "1",
        *(f"--fault={fault}" for fault in faults),
        *(() if ledger is None else ("--ledger", ledger)),
    ]  # fmt: skip
    with serving(command) as url:
        yield url


@contextlib.contextmanager
def flood_venue(symbols: Sequence[str]) -> Iterator[str]:
    """Serve one client as fast as it takes the quotes; give the address."""
    with serving([sys.executable, "-m", "benchmarks.flood_venue", ",".join(symbols)]) as url:
        yield url


@contextlib.contextmanager
def serving(command: Sequence[str | Path]) -> Iterator[str]:
    """Run a venue on its core; give the address it prints."""
    process = subprocess.Popen(pinned(VENUE_CORE, command), cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"ws://\S+", line)
        if found is None:
            raise SystemExit(f"the venue did not start: {line!r}")
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def daemon(
    urls: str | Sequence[str],
    symbols: Sequence[str],
    *,
    protocol: str = "binance",
    storage: str = "",
    supervision: str = QUICKLY,
    venue_lines: str = QUOTES,
) -> Iterator[Daemon]:
    """Run a daemon on these markets, divided evenly among the venues at these addresses."""
    urls = [urls] if isinstance(urls, str) else urls
    parts = [f"[supervision]\n{supervision}\n{storage}"]
    parts += [
        f'[venues.v{number}]\nprotocol = "{protocol}"\nurl = "{url}"\n{venue_lines}\n'
        f'[[markets]]\nvenue = "v{number}"\nsymbols = {list(symbols[number :: len(urls)])}\n'
        for number, url in enumerate(urls)
    ]
    needs_token = find_venue(protocol).token is TokenUse.REQUIRED
    tokens = [f"v{number}" for number in range(len(urls))] if needs_token else []
    with daemon_by("\n".join(parts), tokens=tokens) as running:
        yield running


@contextlib.contextmanager
def daemon_by(
    settings: str, *, tokens: Sequence[str] = (), command: Sequence[str | Path] = (MARKETD,)
) -> Iterator[Daemon]:
    """Run a daemon by the text of its settings; `tokens` are the venues that need one."""
    with tempfile.TemporaryDirectory(prefix="marketd-bench-") as folder:
        config = Path(folder) / "marketd.toml"
        config.write_text(settings)
        state_dir = Path(folder) / "state"
        make_folder(state_dir)
        for name in tokens:
            write_token(state_dir / FOLDER / name, "simulated")
        with (state_dir / "log").open("wb") as log:
            process = subprocess.Popen(
                pinned(DAEMON_CORE, [*command, "run", "--config", config, "--state-dir", state_dir]),
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        running = Daemon(process=process, state_dir=state_dir)
        try:
            running.wait_live()
            yield running
        finally:
            process.kill()
            process.wait()
