"""How long a tick waits until it is in the journal: from its receipt to the return of the append.

    python -m benchmarks.latency

A daemon of its own, with a stopwatch round `Acceptor.accept`; venue and daemon each on a core.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import DAEMON_CORE, ROOT, pinned, venue
from venues.simulated.prices import FX_PAIRS

SECONDS = 20
PAIRS = tuple(FX_PAIRS)
FLUSH_AFTER_MS = 100
BUDGET_MS = FLUSH_AFTER_MS + 50

DAEMON = """
import atexit, json, sys
from domain.clock import now_us
from storage import acceptor
waits = []
accept = acceptor.Acceptor.accept
def timed(self, *, money, ticks):
    outcome = accept(self, money=money, ticks=ticks)
    now = now_us()
    waits.extend(now - tick.received_us for tick in ticks)
    return outcome
acceptor.Acceptor.accept = timed
atexit.register(lambda: open(sys.argv.pop(), "w").write(json.dumps(waits)))
from supervisor.cli import run_command
from supervisor import signals
signals.install()
raise SystemExit(run_command(sys.argv[1:-1]))
"""


def waits_ms(url: str, symbols: tuple[str, ...]) -> list[float]:
    """Return what each tick waited, in order of length; the first seconds are left out."""
    with tempfile.TemporaryDirectory(prefix="marketd-bench-") as name:
        folder = Path(name)
        config = folder / "marketd.toml"
        config.write_text(
            f"[storage]\nflush_after_ms = {FLUSH_AFTER_MS}\n"
            "[supervision]\nstart_delay_ms = 5\nstarts_per_pass = 50\n"
            f'[venues.v]\nprotocol = "binance"\nurl = "{url}"\nsource = "quotes"\n'
            f'[[markets]]\nvenue = "v"\nsymbols = {list(symbols)}\n'
        )
        out = folder / "waits.json"
        words = ["run", "--config", str(config), "--state-dir", str(folder / "state"), str(out)]
        command = pinned(DAEMON_CORE, [sys.executable, "-c", DAEMON, *words])
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
        time.sleep(SECONDS)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        found = json.loads(out.read_text())
    return sorted(wait / 1_000 for wait in found[len(found) // 10 :])


def main() -> None:
    thousand = tuple(f"S{number:03d}USD" for number in range(1_000))
    for name, symbols, rate in (
        ("27 × 2/s", PAIRS, 2),
        ("27 × 20/s", PAIRS, 20),
        ("1,000 × 2/s", thousand, 2),
    ):
        with venue(symbols, rate=rate) as url:
            waits = waits_ms(url, symbols)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(
            f"{name:12} {len(waits):7,} ticks: wire to journal p50 {p50:.0f}, p99 {p99:.0f}, worst "
            f"{waits[-1]:.0f} ms; p99 / budget of {BUDGET_MS} ms {p99 / BUDGET_MS:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
