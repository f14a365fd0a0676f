"""How long a price takes from the wire to the end of its decision, and what a slow strategy does to it.

    python -m benchmarks.deciding

Three strategies on each of 27 markets, which trade on paper. The venue is on the first core; the daemon
and MariaDB share the last. The venue's ledger says when it gave a tick to its socket, a stopwatch round
the desk when the desk was done with it; the way through the kernel is part of it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests' private MariaDB

import attrs
from databases import MariaDB, running_mariadb

from benchmarks.harness import QUICKLY, Sample, daemon_by, pin_server, venue
from domain.clock import now_us
from venues.simulated.prices import FX_PAIRS

PAIRS = tuple(FX_PAIRS)
SETTLE_S, SECONDS = 6, 20
TRADES = 'source = "trades"'  # they are numbered, so that the two accounts can be put together
BUDGET_MS = {2: 1.0, 20: 1.0, 74: 2.0}  # by ticks a second and market: 54, 540, 2,000 in all
SLOW_MARKET = "EURUSD"

DAEMON = """
import atexit, json, sys
from domain.clock import now_us
from strategies.desk import Desk
decided = []
take = Desk.take
def timed(self, tick):
    happened = take(self, tick)
    decided.append((self.market.partition("@")[0], tick.seq, now_us(), tick.received_us))
    return happened
Desk.take = timed
atexit.register(lambda: open(sys.argv.pop(), "w").write(json.dumps(decided)))
from supervisor.cli import run_command
from supervisor import signals
signals.install()
out = sys.argv.pop(1)
try:
    code = run_command(sys.argv[1:])
finally:
    sys.argv.append(out)
raise SystemExit(code)
"""

STRATEGIES = """
strategies = ["reversal", "cross", "streaks"]
[strategies.reversal]
kind = "rsi"
timeframe_s = 1
expiry_s = 5
stake = 1
[strategies.cross]
kind = "ema_cross"
timeframe_s = 1
expiry_s = 5
stake = 1
[strategies.streaks]
kind = "streak"
timeframe_s = 1
length = 3
expiry_s = 5
stake = 1
"""

LIMITS = """
[trading]
max_open_trades = 1000
max_trades_per_day = 1000000
max_daily_loss = 5000
max_losses_in_a_row = 1000
"""

SLOW = """
import time
from strategies.strategy import Strategy

class Slow(Strategy):
    def on_candle(self, candle, view):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
"""


# 50 ms of the processor with every candle, on a market of its own.
BESIDE = f"""
[strategies.slow]
kind = "FOLDER/slow.py:Slow"
timeframe_s = 1
stake = 1
[[markets]]
venue = "v"
symbols = ["{SLOW_MARKET}"]
strategies = ["slow"]
"""


@attrs.frozen(kw_only=True)
class Waits:
    """What each tick waited, in milliseconds, in order of length."""

    from_wire: Sequence[float]
    to_receipt: Sequence[float]  # in the kernel, and for the processor: ours has not begun with it
    from_receipt: Sequence[float]

    def line(self, *, budget_ms: float) -> str:
        p99 = quantile(self.from_wire, 0.99)
        parts = {"up to their receipt": self.to_receipt, "from it on": self.from_receipt}
        split = ", ".join(
            f"{name} p50 {quantile(part, 0.5):.2f}, p99 {quantile(part, 0.99):.2f} ms"
            for name, part in parts.items()
        )
        return (
            f"{len(self.from_wire):7,} ticks: wire to decision p50 {quantile(self.from_wire, 0.5):.2f}, "
            f"p99 {p99:.2f}, worst {self.from_wire[-1]:.1f} ms; of these {split}; "
            f"p99 / budget of {budget_ms:g} ms {p99 / budget_ms:.2f}"
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


def settings(server: MariaDB, url: str, *, symbols: Sequence[str], market_lines: str) -> str:
    """Return a settings file's text with a new database; `market_lines` go on from its `[[markets]]`."""
    return (
        f'[storage]\nurl = "{server.url(server.new_database())}"\n'
        f'password_file = "{server.password_file}"\n'
        f"[supervision]\n{QUICKLY}\n"
        f'[venues.v]\nprotocol = "binance"\nurl = "{url}"\n{TRADES}\n'
        f'[[markets]]\nvenue = "v"\nsymbols = {list(symbols)}\n{market_lines}'
    )


def measure(server: MariaDB, *, rate: float, market_lines: str, slow: str = "") -> tuple[Waits, Sample]:
    """Return what the ticks of all markets but a slow one waited, and the daemon at the end."""
    symbols = [symbol for symbol in PAIRS if symbol != slow]
    with tempfile.TemporaryDirectory(prefix="marketd-bench-") as name:
        folder = Path(name)
        (folder / "slow.py").write_text(SLOW)
        out, ledger = folder / "decided.json", folder / "ledger.jsonl"
        lines = market_lines.replace("FOLDER", str(folder))
        with (
            venue(PAIRS, rate=rate, ledger=ledger) as url,
            daemon_by(
                settings(server, url, symbols=symbols, market_lines=lines),
                command=[sys.executable, "-c", DAEMON, out],
            ) as running,
        ):
            time.sleep(SETTLE_S)
            began_us = now_us()
            time.sleep(SECONDS)
            sample = running.sample()
            running.stop()
        handed = map(json.loads, ledger.read_text().splitlines())
        sent_us = {(tick["symbol"], tick["seq"]): tick["sent_us"] for tick in handed}
        decided = [each for each in json.loads(out.read_text()) if each[2] >= began_us and each[0] != slow]
    waits = Waits(
        from_wire=sorted((at_us - sent_us[symbol, seq]) / 1_000 for symbol, seq, at_us, _ in decided),
        to_receipt=sorted(
            (received_us - sent_us[symbol, seq]) / 1_000 for symbol, seq, _, received_us in decided
        ),
        from_receipt=sorted((at_us - received_us) / 1_000 for _, _, at_us, received_us in decided),
    )
    return waits, sample


def memory(server: MariaDB) -> None:
    """Print what strategies cost in memory."""
    for name, market_lines in (("none", ""), ("three on each", STRATEGIES + LIMITS)):
        with (
            venue(PAIRS, rate=2) as url,
            daemon_by(settings(server, url, symbols=PAIRS, market_lines=market_lines)) as running,
        ):
            time.sleep(SETTLE_S + SECONDS)
            print(f"27 × 2/s, strategies: {name}: RSS {running.sample().rss_mib:.1f} MiB", flush=True)


def decisions(server: MariaDB) -> None:
    """Print how long decisions take at each rate, and beside a strategy that is too slow."""
    for rate, budget_ms in BUDGET_MS.items():
        waits, sample = measure(server, rate=rate, market_lines=STRATEGIES + LIMITS)
        trades = sample.status["trading"]["trades_today"]
        print(f"27 × {rate}/s {waits.line(budget_ms=budget_ms)}; {trades} trades", flush=True)
    waits, sample = measure(server, rate=20, market_lines=STRATEGIES + LIMITS + BESIDE, slow=SLOW_MARKET)
    print(f"27 × 20/s beside a slow one {waits.line(budget_ms=BUDGET_MS[20])}")
    for row in sample.status["trading"]["strategies"]:
        if row["state"] != "running":
            print(f"    status: {row['strategy']} on {row['market']} {row['state']}: {row['reason']}")


def main() -> None:
    with running_mariadb() as server:
        pin_server(server)
        decisions(server)
        memory(server)


if __name__ == "__main__":
    main()
