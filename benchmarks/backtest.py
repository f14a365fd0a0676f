"""A million ticks of one market through a backtest: seconds, and the most memory it took.

    python -m benchmarks.backtest [TICKS]

The command as a user runs it, start and end included, on one core which it shares with MariaDB. The
budget for a million: under 30 s, RSS under 150 MiB.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests' private MariaDB

import attrs
from databases import Batch, open_store, running_mariadb

from benchmarks.harness import DAEMON_CORE, MARKETD, pin_server, pinned
from domain.market import Tick
from storage.target import SqliteTarget, Target

MARKET = "EURUSD@sim"
BATCH = 20_000
FIRST_US = 1_790_000_000_000_000
SETTINGS = """\
[service]
state_dir = "{state_dir}"
[storage]
{storage}
[venues.sim]
protocol = "binance"
[[markets]]
venue = "sim"
symbols = ["EURUSD"]
strategies = ["rsi", "busy"]
[strategies.rsi]
kind = "rsi"
stake = 10
[strategies.busy]
kind = "busy.py:Busy"
stake = 1
expiry_s = 60
[trading]
paper_balance = 1000000
max_trades_per_day = 100000
max_daily_loss = 1000000
max_losses_in_a_row = 1000
"""
BUSY = '''\
from strategies.strategy import Decision, Direction, Strategy, Tick, View


class Busy(Strategy):
    """Looks at every tick, and trades whenever nothing is open."""

    last: float = 0.0

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        rises, self.last = tick.price > self.last, tick.price
        if tick.seq % 120:
            return None
        return Decision(direction=Direction.UP if rises else Direction.DOWN, inputs={"price": tick.price})
'''


def fill(target: Target, *, ticks: int) -> None:
    """Store a random walk at two ticks a second."""
    walk, price = random.Random(7), 1.17
    with open_store(target) as store:
        for begin in range(0, ticks, BATCH):
            batch = []
            for n in range(begin, min(ticks, begin + BATCH)):
                price = max(0.5, price + walk.choice((-1, 0, 1)) * 1e-5)
                ts_us = FIRST_US + n * 500_000
                batch.append(Tick(MARKET, ts_us, n, round(price, 5), None, None, None, ts_us + 40_000))
            store.pool.run(partial(store.batches.store, batch=Batch(ticks=batch)))


def measure(name: str, storage: str, *, ticks: int) -> None:
    """Print a line for each strategy, with a page and without."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "busy.py").write_text(BUSY)
        config = folder / "marketd.toml"
        config.write_text(SETTINGS.format(state_dir=folder, storage=storage))
        for strategy in ("rsi", "busy"):
            for extra in ((), ("--html", folder / "page.html")):
                words = [MARKETD, "backtest", "--config", config, "--strategy", strategy]
                cost = run([*words, "--market", MARKET, *extra])
                how = f"{name:8} {strategy:5}{' --html' if extra else '':7}"
                print(
                    f"{how} {ticks:,} ticks: {cost.took_s:5.1f} s, our CPU {cost.cpu_s:5.1f} s, "
                    f"RSS {cost.rss_mib:5.1f} MiB; {cost.trades}",
                    flush=True,
                )


@attrs.frozen(kw_only=True)
class Cost:
    """What a run took; `trades` is the line that counts them."""

    took_s: float
    cpu_s: float
    rss_mib: float
    trades: str


def run(command: Sequence[str | Path]) -> Cost:
    """Run a command on the daemon's core; raise where it fails."""
    started = time.monotonic()
    with subprocess.Popen(pinned(DAEMON_CORE, command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(process.returncode)
    return Cost(
        took_s=time.monotonic() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        rss_mib=usage.ru_maxrss / 1024,
        trades=next(line for line in lines if " trades: " in line),
    )


def main() -> None:
    ticks = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "marketd.db"
        fill(SqliteTarget(path=path), ticks=ticks)
        measure("SQLite", f'url = "sqlite://{path}"', ticks=ticks)
    with running_mariadb() as server:
        pin_server(server)
        database = server.new_database()
        fill(server.target(database), ticks=ticks)
        storage = f'url = "{server.url(database)}"\npassword_file = "{server.password_file}"'
        measure("MariaDB", storage, ticks=ticks)


if __name__ == "__main__":
    main()
