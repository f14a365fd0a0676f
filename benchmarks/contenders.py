"""The two that `benchmarks.beside` compares, each as a process on the daemon's core."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from benchmarks.harness import DAEMON_CORE, ROOT, START_WITHIN_S, daemon, pinned
from supervisor.client import ask
from venues.simulated.prices import FX_PAIRS

if TYPE_CHECKING:
    from databases import MariaDB

PAIRS = tuple(FX_PAIRS)
FILLED_WITHIN_S = 180.0
TRADES = 'source = "trades"'  # they are numbered, and have a history


class Contender(Protocol):
    """One of the two, running."""

    pid: int

    def worst_ms(self) -> float:
        """Return the longest that a loop of its made a task wait, in the last ten seconds."""

    def settle(self) -> None:
        """Wait until nothing more will come of what has happened."""

    def kept(self) -> dict[str, tuple[int, int, int]]:
        """Return of each market the first number it has stored, the last, and how many."""


Start = Callable[[str, "MariaDB"], contextlib.AbstractContextManager[Contender]]


@attrs.frozen(kw_only=True)
class OldBot:
    """`benchmarks.old_bot`."""

    pid: int
    figures_file: Path
    database: str
    server: "MariaDB"

    def figures(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            return dict(json.loads(self.figures_file.read_text()))
        return {"live": 0}

    def worst_ms(self) -> float:
        return float(self.figures()["worst_ms"])

    def settle(self) -> None:
        """It does nothing afterwards."""

    def kept(self) -> dict[str, tuple[int, int, int]]:
        sql = f"SELECT symbol, MIN(number), MAX(number), COUNT(*) FROM {self.database}.price GROUP BY symbol"
        return {symbol: numbers for symbol, *numbers in self.server.execute(sql)}


@contextlib.contextmanager
def old_bot(url: str, server: "MariaDB") -> Iterator[OldBot]:
    """Run the old bot until all its markets are live."""
    with tempfile.TemporaryDirectory(prefix="marketd-bench-") as folder:
        database = server.new_database()
        figures = Path(folder) / "figures"
        words = (url, server.url(database), server.password_file, figures, ",".join(PAIRS))
        command = [sys.executable, "-m", "benchmarks.old_bot", *words]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(pinned(DAEMON_CORE, command), cwd=ROOT, stderr=log)
        try:
            bot = OldBot(pid=process.pid, figures_file=figures, database=database, server=server)
            wait_until(lambda: bot.figures()["live"] == len(PAIRS), "the old bot's markets are live")
            yield bot
        finally:
            process.kill()
            process.wait()


@attrs.frozen(kw_only=True)
class Marketd:
    """The daemon, with the spacing of starts that it has by default."""

    pid: int
    state_dir: Path
    database: str
    server: "MariaDB"

    def worst_ms(self) -> float:
        return float(ask(self.state_dir, "status")["process"]["loop_lag_ms"])

    def settle(self) -> None:
        """Gaps are filled from the venue's history once they are over for ten seconds."""
        unfilled = f"SELECT COUNT(*) FROM {self.database}.gap WHERE cause <> 'downtime' AND fill <> 'full'"
        wait_until(lambda: self.server.execute(unfilled) == [(0,)], "gaps are filled", FILLED_WITHIN_S)

    def kept(self) -> dict[str, tuple[int, int, int]]:
        sql = (
            f"SELECT symbol, MIN(seq), MAX(seq), COUNT(*) FROM {self.database}.tick "
            f"JOIN {self.database}.market ON market.id = market_id GROUP BY symbol"
        )
        return {symbol: numbers for symbol, *numbers in self.server.execute(sql)}


@contextlib.contextmanager
def marketd(url: str, server: "MariaDB") -> Iterator[Marketd]:
    """Run the daemon until all its markets are live."""
    database = server.new_database()
    storage = f'[storage]\nurl = "{server.url(database)}"\npassword_file = "{server.password_file}"\n'
    with daemon(url, PAIRS, storage=storage, supervision="", venue_lines=TRADES) as running:
        yield Marketd(pid=running.process.pid, state_dir=running.state_dir, database=database, server=server)


def wait_until(holds: Callable[[], bool], what: str, within_s: float = START_WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.1)
