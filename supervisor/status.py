"""What `marketd status` shows and SIGUSR1 writes. The names are part of the contract (DESIGN §7)."""

import os
import threading
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import msgspec
import trio

from domain.clock import now_us
from domain.states import ConnectionRow, Desired, MarketRow
from supervisor.board import reason_of
from supervisor.branches import VenueBranch
from supervisor.last_run import LastRun
from supervisor.log_writer import LogWriter
from supervisor.memory import rss_bytes
from supervisor.policy import connection_state
from supervisor.tree import Tree

FILE_NAME = "status.json"
NOTHING_TRADES: dict[str, Any] = {
    "currency": None,
    "balance": None,
    "is_ready": False,
    "reason": "no market has strategies",
    "open": 0,
    "unknown": 0,
    "open_real": 0,
    "trades_today": 0,
    "realised_today": "0",
    "paused_until_us": None,
    "limits": {},
    "ladders": [],
    "strategies": [],
}
LAG_EVERY_S = 0.5
LAG_SAMPLES = 20  # so `loop_lag_ms` is the worst of the last 10 s


@attrs.define(eq=False)
class LoopLag:
    """How late the loop wakes a sleeping task: what every tick waits at the worst."""

    _samples: deque[float] = attrs.field(factory=lambda: deque([0.0], maxlen=LAG_SAMPLES))
    due_at: float | None = None  # when it turns next, at the latest

    async def measure(self) -> None:
        """Measure for ever."""
        while True:
            due = self.due_at = trio.current_time() + LAG_EVERY_S
            await trio.sleep_until(due)
            self._samples.append((trio.current_time() - due) * 1000)

    def worst_ms(self) -> float:
        """Return the worst lag of the last seconds."""
        return round(max(self._samples), 3)


def build(
    tree: Tree, *, version: str, started_us: int, is_ready: bool, lag: LoopLag, log: LogWriter
) -> dict[str, Any]:
    """Return the status as it is now."""
    return {
        "written_us": now_us(),
        "version": version,
        "pid": os.getpid(),
        "started_us": started_us,
        "mode": tree.settings.trading.mode,
        "ready": is_ready,
        "markets": [_market(tree, row) for row in tree.board.markets.values()],
        "venues": [_venue(tree, branch) for branch in tree.venues.values()],
        "connections": [_connection(tree, row) for row in tree.board.connections.values()],
        "writer": _writer(tree),
        "mailboxes": {name: attrs.asdict(box.statistics()) for name, box in tree.mailboxes().items()},
        "trading": trading(tree),
        "process": _process(tree, lag),
        "log": attrs.asdict(log.figures()),
    }


def trading(tree: Tree) -> dict[str, Any]:
    """Return how trading stands; `is_ready` is whether trades may be opened, as far as we can say."""
    switches = {
        "mode": tree.settings.trading.mode,
        "drain": tree.desired.drain,
        "kill_switch": tree.desired.kill_switch and attrs.asdict(tree.desired.kill_switch),
    }
    if tree.floor is None:
        return switches | NOTHING_TRADES
    return switches | tree.floor.figures()


def _market(tree: Tree, row: MarketRow) -> dict[str, Any]:
    branch = tree.markets[row.name]
    now = trio.current_time()
    return {
        "id": row.name,
        "symbol": row.symbol,
        "venue": row.venue,
        "state": tree.board.market_state(row),
        "desired": Desired.STOPPED if _closing(tree, row) else row.desired,
        "reason": _closing(tree, row)
        or reason_of(row)
        or reason_of(row.connection)
        or _pause_of(tree, row)
        or None,
        "last_tick_us": row.last_tick_us,
        "age_ms": None if row.last_tick_at is None else round((now - row.last_tick_at) * 1000),
        "price": row.price,
        "ticks": row.ticks,
        "duplicates": branch.port.stamper.duplicates,
        "restarts": row.restarts,
        "gaps": branch.port.gaps.count,
        "next_try_s": _next_try_s(row),
    }


def _closing(tree: Tree, row: MarketRow) -> str:
    """Return why a market runs that is to be stopped, "" where that is not so."""
    desk = tree.markets[row.name].place.desk
    if tree.floor is None or desk is None or not desk.is_closing:
        return ""
    return f"stops once its {tree.floor.open_on(row.name)} open trades have ended"


def _venue(tree: Tree, branch: VenueBranch) -> dict[str, Any]:
    place = branch.place
    return {
        "name": place.name,
        "protocol": place.venue.protocol,
        "listed_us": place.catalog.listed_us,
        "markets": len(place.catalog.instruments),
        "open": sum(each.is_open for each in place.catalog.instruments.values()),
        "skew_ms": place.skew.skew_ms,
        "token": tree.tokens.status(place.name),
    }


def _connection(tree: Tree, row: ConnectionRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "venue": row.venue,
        "state": connection_state(row),
        "reason": reason_of(row) or _pause_of(tree, row) or None,
        "markets": len(tree.connections[row.name].place.ports),
        "frames": row.frames,
        "unknown_frames": row.unknown_frames,
        "new_fields": row.new_fields,
        "restarts": row.restarts,
        "rtt_ms": None if row.rtt_ms is None else round(row.rtt_ms, 3),
    }


def _pause_of(tree: Tree, row: MarketRow | ConnectionRow) -> str:
    """Return why a row that is to run does not yet: everybody waits, after too many bad ends."""
    return tree.pause.reason() if row.desired is Desired.RUNNING else ""


def last_run(last: LastRun, tree: Tree) -> dict[str, Any]:
    """Return how the run before this one ended, and what it had accepted that only we stored."""
    recovered = tree.writer.statistics().recovered
    return {
        "end": last.end,
        "detail": last.detail,
        "started_us": last.started_us,
        "ended_us": last.ended_us,
        "recovered": attrs.asdict(recovered),
    }


def _next_try_s(row: MarketRow) -> float | None:
    if row.next_try_at is None:
        return None
    return round(max(0.0, row.next_try_at - trio.current_time()), 1)


def _writer(tree: Tree) -> dict[str, Any]:
    figures = tree.writer.statistics()
    return {
        "accepted": figures.accepted,
        "stored": figures.stored,
        "dropped": figures.dropped,
        "journal_batches": figures.journal_batches,
        "journal_bytes": figures.journal_bytes,
        "unjournaled": figures.unjournaled,
        "days_until_full": _rounded(figures.days_until_full),
        "db": figures.db,
        "db_reason": figures.db_reason or None,
        "statements": figures.statements,
        "connects": figures.connects,
    }


def _rounded(days: float | None) -> float | None:
    return None if days is None else round(days, 1)


def _process(tree: Tree, lag: LoopLag) -> dict[str, Any]:
    return {
        "rss_bytes": rss_bytes(),
        "memory_limit_bytes": tree.memory.limit_bytes,
        "is_memory_short": tree.memory.is_short,
        "threads": _count(Path("/proc/self/task")) or threading.active_count(),
        "fds": _count(Path("/proc/self/fd")),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "loop_lag_ms": lag.worst_ms(),
    }


def _count(folder: Path) -> int | None:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return None


def write(state_dir: Path, status: dict[str, Any]) -> None:
    """Write `status.json`: to a new file, renamed, so that a reader never sees half of one."""
    fresh = state_dir / f"{FILE_NAME}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n")
    fresh.chmod(0o640)
    fresh.rename(state_dir / FILE_NAME)


class Line(NamedTuple):
    """What SIGUSR1 logs of one child."""

    actor: str
    text: str


def lines(found: dict[str, Any]) -> list[Line]:
    """Return a line per connection and market, and one of the writer."""
    writer = found["writer"]
    return [
        *(
            Line(
                f"connection/{row['name']}",
                f"{row['name']} {row['state']}, {row['markets']} markets, {row['frames']} frames, "
                f"{row['restarts']} restarts",
            )
            for row in found["connections"]
        ),
        *(
            Line(
                f"market/{row['id']}",
                f"{row['id']} {row['state']}, price {row['price']}, {row['ticks']} ticks, "
                f"age {row['age_ms']} ms, {row['restarts']} restarts, {row['gaps']} gaps",
            )
            for row in found["markets"]
        ),
        Line(
            "writer",
            f"writer: {writer['accepted']} accepted, {writer['stored']} stored, {writer['dropped']} dropped, "
            f"database {writer['db']}",
        ),
    ]
