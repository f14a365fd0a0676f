import json
import stat
from pathlib import Path

import pytest
import trio
from trees import SYMBOLS, grown_tree, until
from trio.testing import MockClock

from domain.states import State
from supervisor import status
from supervisor.desired import KillSwitch
from supervisor.memory import rss_bytes
from supervisor.status import LoopLag

# DESIGN §7: others rely on these names.
CONTRACT = {
    "": {
        "written_us", "version", "pid", "started_us", "mode", "ready", "markets", "venues",
        "connections", "writer", "mailboxes", "trading", "process", "log",
    },
    "market": {
        "id", "symbol", "venue", "state", "desired", "reason", "last_tick_us", "age_ms", "price",
        "ticks", "duplicates", "restarts", "gaps", "next_try_s",
    },
    "venue": {"name", "protocol", "listed_us", "markets", "open", "skew_ms", "token"},
    "connection": {
        "name", "venue", "state", "reason", "markets", "frames", "unknown_frames", "new_fields",
        "restarts", "rtt_ms",
    },
    "writer": {
        "accepted", "stored", "dropped", "journal_batches", "journal_bytes", "unjournaled",
        "days_until_full", "db", "db_reason", "statements", "connects",
    },
    "mailbox": {"used", "bound", "peak", "dropped"},
    "process": {
        "rss_bytes", "memory_limit_bytes", "is_memory_short", "threads", "fds", "tasks", "loop_lag_ms",
    },
    "log": {"waiting", "dropped"},
}  # fmt: skip


async def test_the_names_are_those_of_the_contract(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        found = grown.status()
    assert {
        "": found.keys(),
        "market": found["markets"][0].keys(),
        "venue": found["venues"][0].keys(),
        "connection": found["connections"][0].keys(),
        "writer": found["writer"].keys(),
        "mailbox": found["mailboxes"]["writer/ticks"].keys(),
        "process": found["process"].keys(),
        "log": found["log"].keys(),
    } == CONTRACT


async def test_every_mailbox_has_its_name(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        names = grown.status()["mailboxes"].keys()
    assert names == {
        "writer/ticks",
        "writer/events",
        "writer/money",
        *(f"market/{symbol}@sim" for symbol in SYMBOLS),
    }


async def test_a_live_market_has_a_price_and_an_age(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        row = grown.status()["markets"][0]
    assert (row["id"], row["symbol"], row["venue"]) == ("EURUSD@sim", "EURUSD", "sim")
    assert (row["state"], row["desired"], row["reason"]) == ("live", "running", None)
    assert row["price"] > 0
    assert row["age_ms"] >= 0
    assert row["ticks"] > 0


async def test_a_market_without_a_tick_has_neither_price_nor_age(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        row = grown.status()["markets"][0]
    assert (row["price"], row["age_ms"], row["last_tick_us"], row["next_try_s"]) == (None, None, None, None)


async def test_what_holds_a_market_says_why_and_until_when(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        row = grown.tree.board.markets["EURUSD@sim"]
        row.hold, row.reason = State.BACKING_OFF, "refused"
        row.next_try_at = trio.current_time() + 1e6
        found = grown.status()["markets"][0]
    assert found["state"] == "backing_off"
    assert found["reason"].startswith("refused")
    assert found["next_try_s"] == pytest.approx(1e6, abs=60.0)


async def test_a_market_whose_connection_is_held_says_why_it_waits(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        row = grown.tree.board.connections["sim/1"]
        row.hold, row.reason, row.is_open = State.BACKING_OFF, "connection refused", False
        found = grown.status()
        assert [market["reason"] for market in found["markets"]] == ["connection refused"] * 3
        row.hold = None


async def test_the_figures_of_the_writer_add_up(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        await until(lambda: grown.status()["writer"]["stored"] > 0)
        writer = grown.status()["writer"]
    assert writer["db"] == "up"
    assert writer["stored"] <= writer["accepted"]
    assert writer["dropped"] == 0
    # one to store, one to read, one for a moment to bring the schema up to date
    assert writer["connects"] in (1, 2, 3)


async def test_the_kill_switch_is_shown_with_who_and_why(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        grown.tree.desired.kill_switch = KillSwitch(who="uid 0", when_us=1, reason="because")
        assert grown.status()["trading"]["kill_switch"] == {"who": "uid 0", "when_us": 1, "reason": "because"}


async def test_the_file_holds_what_status_says(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        found = grown.status()
        status.write(tmp_path, found)
    assert json.loads((tmp_path / "status.json").read_text()) == found


def test_the_file_is_not_for_everybody_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    status.write(tmp_path, {"pid": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    assert stat.S_IMODE((tmp_path / "status.json").stat().st_mode) & 0o007 == 0


async def test_there_is_a_line_for_each_connection_market_and_the_writer(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        lines = status.lines(grown.status())
    markets = [f"market/{symbol}@sim" for symbol in SYMBOLS]
    assert [line.actor for line in lines] == ["connection/sim/1", *markets, "writer"]


async def test_the_lag_of_the_loop_is_the_worst_of_the_last_ten_seconds(autojump_clock: MockClock) -> None:
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.measure)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(0.75)  # nothing ran: a task due after 0.5 s is 0.25 s late
        await trio.testing.wait_all_tasks_blocked()
        worst = lag.worst_ms()
        await trio.sleep(11.0)
        later = lag.worst_ms()
        nursery.cancel_scope.cancel()
    assert worst == pytest.approx(250.0, abs=1.0)
    assert later < 1.0


def test_the_memory_of_this_process_is_more_than_a_python_needs() -> None:
    assert rss_bytes() > 5 * 2**20
