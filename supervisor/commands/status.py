"""`marketd status`: who is in which state, in a table or as JSON."""

import argparse
import sys
import time
from decimal import Decimal
from typing import Any

import msgspec

from domain.token import duration_text
from supervisor.client import NoAnswer, NotRunning, ask
from supervisor.commands.tables import as_table
from supervisor.commands.where import state_dir_of
from supervisor.reports.words import gain

AS_DESIRED, SOME_NOT, NOT_RUNNING, NO_ANSWER = 0, 1, 3, 4
GOOD_STATES = {"live", "closed", "stopped"}
WATCH_EVERY_S = 2.0
MOST_ASIDE = 5  # strategies that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `marketd status`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument("--watch", action="store_true", help="again every 2 s, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Show the status; return 0 every market is as desired, 1 some not, 3 not running, 4 no answer."""
    state_dir = state_dir_of(arguments)
    while True:
        try:
            status = ask(state_dir, "status")
        except NotRunning as exc:
            print(exc, file=sys.stderr)
            return NOT_RUNNING
        except NoAnswer as exc:
            print(exc, file=sys.stderr)
            return NO_ANSWER
        if arguments.json:
            print(msgspec.json.encode(status).decode(), flush=True)
        else:
            clear = "\x1b[H\x1b[J" if arguments.watch and sys.stdout.isatty() else ""
            print(clear + as_text(status), flush=True)
        if not arguments.watch:
            return exit_code(status)
        try:
            time.sleep(WATCH_EVERY_S)
        except KeyboardInterrupt:
            return exit_code(status)


def exit_code(status: dict[str, Any]) -> int:
    """Return 0 where every market is as desired."""
    return AS_DESIRED if all(row["state"] in GOOD_STATES for row in status["markets"]) else SOME_NOT


def _memory(process: dict[str, Any]) -> str:
    limit = process.get("memory_limit_bytes")  # a daemon of an older version says nothing of it
    of_limit = f" (limit {limit / 2**20:.0f})" if limit else ""
    short = ", memory short" if process.get("is_memory_short") else ""
    return f"{process['rss_bytes'] / 2**20:.1f} MiB{of_limit}{short}"


def _log_lines(status: dict[str, Any]) -> list[str]:
    """Return a line where the log is not whole; a daemon of an older version says nothing of it."""
    log = status.get("log", {"waiting": 0, "dropped": 0})
    if not log["dropped"]:
        return []
    return [f"log: {log['dropped']} entries dropped, {log['waiting']} wait to be written"]


def as_text(status: dict[str, Any]) -> str:
    """Return the status for people: a summary, then a line per venue, connection and market."""
    tables = (_venues(status["venues"]), _connections(status["connections"]), _markets(status["markets"]))
    return "\n".join([*_summary(status), *(line for table in tables for line in ("", *table))])


def _summary(status: dict[str, Any]) -> list[str]:
    writer, process = status["writer"], status["process"]
    live = sum(row["state"] == "live" for row in status["markets"])
    database = writer["db"] + (f" ({writer['db_reason']})" if writer["db_reason"] else "")
    drain = ", drain on" if status["trading"]["drain"] else ""
    killed = status["trading"]["kill_switch"]
    switch = f", kill switch on ({killed['reason']})" if killed else ""
    return [
        f"marketd {status['version']}, pid {status['pid']}, {status['mode']} trading{drain}{switch}",
        f"{live} of {len(status['markets'])} markets live; database {database}; "
        f"{writer['accepted']} ticks accepted, {writer['stored']} stored, {writer['dropped']} dropped",
        *_trading_lines(status["trading"]),
        _journal_line(writer),
        *_last_run_lines(status),
        f"{_memory(process)}, {process['threads']} threads, {process['fds']} files, "
        f"loop lag {process['loop_lag_ms']} ms",
        *_log_lines(status),
    ]


def _trading_lines(trading: dict[str, Any]) -> list[str]:
    """Return how trading stands, where something is traded; an older daemon says nothing of it."""
    if trading.get("balance") is None:
        return []
    daily = trading["limits"]["max_daily_loss"]
    line = (
        f"balance {trading['balance']} {trading['currency']}, {trading['open']} trades open, "
        f"{trading['trades_today']} today; won and lost today: {gain(Decimal(trading['realised_today']))}; "
        f"{daily['used']} of max_daily_loss {daily['limit']} in use"
    )
    if trading["unknown"]:
        line += f"; {trading['unknown']} UNKNOWN"
    blocked = [f"no new trades: {trading['reason']}"] if trading["reason"] else []
    aside = [row for row in trading["strategies"] if row["state"] == "set_aside"]
    return [
        line,
        *blocked,
        *(
            f"{row['strategy']} on {row['market']} is set aside: {row['reason']}"
            for row in aside[:MOST_ASIDE]
        ),
        *([f"and {len(aside) - MOST_ASIDE} more set aside"] if len(aside) > MOST_ASIDE else []),
    ]


def _venues(rows: list[dict[str, Any]]) -> list[str]:
    return as_table(
        ("VENUE", "PROTOCOL", "LISTED", "OPEN", "CLOCK ms", "TOKEN"),
        [
            (
                row["name"],
                row["protocol"],
                row["markets"] or None,
                row["open"] if row["markets"] else None,
                None if row["skew_ms"] is None else f"{row['skew_ms']:+.0f}",
                _token_cell(row["token"]),
            )
            for row in rows
        ],
    )


def _connections(rows: list[dict[str, Any]]) -> list[str]:
    names = ("name", "state", "markets", "frames", "unknown_frames", "restarts", "rtt_ms", "reason")
    return as_table(
        ("CONNECTION", "STATE", "MARKETS", "FRAMES", "UNKNOWN", "RESTARTS", "RTT ms", "REASON"),
        [tuple(row[name] for name in names) for row in rows],
    )


def _markets(rows: list[dict[str, Any]]) -> list[str]:
    return as_table(
        ("MARKET", "STATE", "PRICE", "AGE s", "TICKS", "RESTARTS", "GAPS", "REASON"),
        [
            (
                row["id"],
                row["state"],
                row["price"] if row["price"] is None else f"{row['price']:.10g}",
                None if row["age_ms"] is None else f"{row['age_ms'] / 1000:.1f}",
                row["ticks"],
                row["restarts"],
                row["gaps"],
                row["reason"],
            )
            for row in rows
        ],
    )


def _token_cell(token: dict[str, Any]) -> str | None:
    """Return how a venue's token stands: its time left, and what is wrong with it."""
    if token["state"] == "none":
        return token["reason"] or None
    if token["left_s"] is None or token["state"] in ("expired", "refused"):
        return str(token["state"])
    return f"{token['state']}, {duration_text(token['left_s'] * 1_000_000)} left"


def _last_run_lines(status: dict[str, Any]) -> list[str]:
    """Return why the run before this one ended, and what was saved of it."""
    last = status.get("last_run")
    if last is None:  # a daemon of an earlier version, in an update
        return []
    line = f"last run: {last['end']} ({last['detail']})"
    if last["ended_us"] is not None:
        line += f", {duration_text(status['started_us'] - last['ended_us'])} before this one"
    if last["recovered"]["ticks"]:
        line += f"; {last['recovered']['ticks']} ticks recovered from the journal"
    return [line]


def _journal_line(writer: dict[str, Any]) -> str:
    """Return how the journal stands, and how long the disk of the database will do."""
    line = f"journal {writer['journal_bytes'] / 2**20:.1f} MiB, {writer['journal_batches']} batches"
    if writer["unjournaled"]:
        line = "NOT JOURNALED: what comes in is not safe from a kill until it is stored"
    if writer["days_until_full"] is not None:
        line += f"; the database's disk is full in {writer['days_until_full']:.1f} days"
    return line
