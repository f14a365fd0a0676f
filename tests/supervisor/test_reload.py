import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from trees import SYMBOLS, grown_tree, make_settings, unread_log, until

from domain.errors import MarketdError
from domain.states import State
from storage.settings import StorageSettings
from supervisor import reload
from supervisor.client import ask
from supervisor.daemon import Daemon
from supervisor.life import Life
from supervisor.policy import SupervisionSettings
from supervisor.reload import Changes, changes
from supervisor.sections import DoorSettings, MarketsSettings, ServiceSettings, Settings
from supervisor.settings import load
from supervisor.trading_sections import TradingSettings
from venues.settings import VenueSettings

GUARD_S = 60.0  # against hanging
A, B = VenueSettings(protocol="binance"), VenueSettings(protocol="binance", source="quotes")
OLD = Settings(
    venues={"a": A, "b": A},
    markets=(
        MarketsSettings(venue="a", symbols=("ONE", "TWO")),
        MarketsSettings(venue="b", symbols=("ONE",)),
    ),
)
NOTHING: dict[str, list[str]] = {}


def said(found: Changes) -> dict[str, list[str]]:
    """Return what differs, by kind: what is empty is left out, markets by their ids."""
    return {
        kind: [getattr(each, "id", each) for each in some]
        for kind, some in attrs.asdict(found, recurse=False).items()
        if some
    }


def with_markets(*sections: MarketsSettings) -> Settings:
    return attrs.evolve(OLD, markets=sections)


TABLE: list[tuple[str, Settings, dict[str, list[str]]]] = [
    ("nothing", OLD, NOTHING),
    (
        "a market more",
        with_markets(*OLD.markets, MarketsSettings(venue="b", symbols=("TWO",))),
        {"added_markets": ["TWO@b"]},
    ),
    (
        "whose trades these are",
        attrs.evolve(OLD, trading=TradingSettings(currency="EUR", paper_balance=Decimal(5))),
        {"needs_restart": ["[trading] currency", "[trading] paper_balance"]},
    ),
    ("a limit", attrs.evolve(OLD, trading=TradingSettings(max_open_trades=1)), NOTHING),
    (
        "other strategies on a market",
        with_markets(attrs.evolve(OLD.markets[0], strategies=("calm",)), *OLD.markets[1:]),
        {"reseated_markets": [f"{symbol}@{OLD.markets[0].venue}" for symbol in OLD.markets[0].symbols]},
    ),
    ("markets less", with_markets(OLD.markets[0]), {"removed_markets": ["ONE@b"]}),
    (
        "a market's own setting",
        with_markets(OLD.markets[0], attrs.evolve(OLD.markets[1], stale_after_s=7.0)),
        {"changed_markets": ["ONE@b"]},
    ),
    (
        "only the order",
        with_markets(OLD.markets[1], MarketsSettings(venue="a", symbols=("TWO", "ONE"))),
        NOTHING,
    ),
    (
        "another section with the same markets",
        with_markets(
            MarketsSettings(venue="a", symbols=("ONE",)),
            MarketsSettings(venue="a", symbols=("TWO",)),
            OLD.markets[1],
        ),
        NOTHING,
    ),
    (
        "a venue",
        attrs.evolve(OLD, venues={"a": A, "b": B}),
        {"changed_venues": ["b"], "changed_markets": ["ONE@b"]},
    ),
    (
        "a venue less",
        Settings(venues={"a": A}, markets=OLD.markets[:1]),
        {"removed_venues": ["b"], "removed_markets": ["ONE@b"]},
    ),
    ("a venue more", attrs.evolve(OLD, venues={"a": A, "b": A, "c": B}), {"added_venues": ["c"]}),
    ("supervision", attrs.evolve(OLD, supervision=SupervisionSettings(start_delay_ms=1)), NOTHING),
    ("the level of the log", attrs.evolve(OLD, service=ServiceSettings(log_level="debug")), NOTHING),
    (
        "the database",
        attrs.evolve(OLD, storage=StorageSettings(flush_rows=7)),
        {"needs_restart": ["[storage]"]},
    ),
    ("the page", attrs.evolve(OLD, door=DoorSettings(listen="")), {"needs_restart": ["[door]"]}),
    (
        "the state directory",
        attrs.evolve(OLD, service=ServiceSettings(state_dir="/elsewhere")),
        {"needs_restart": ["[service] state_dir"]},
    ),
    (
        "the recording",
        attrs.evolve(OLD, service=ServiceSettings(record_frames="/frames")),
        {"needs_restart": ["[service] record_frames"]},
    ),
]


@pytest.mark.parametrize(("new", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_differs_is_named_and_nothing_else(new: Settings, expected: dict[str, list[str]]) -> None:
    assert said(changes(OLD, new)) == expected


# --- on a running tree ------------------------------------------------------------------------------


async def test_an_added_market_comes_alive_beside_the_others(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        before = dict(grown.tree.markets)
        row = grown.tree.board.connections["sim/1"]
        reload.apply(grown.tree, make_settings(grown.port, symbols=(*SYMBOLS, "AUDUSD")))
        await until(lambda: grown.state("AUDUSD@sim") is State.LIVE)
        assert grown.tree.markets.items() >= before.items()
        assert [branch.child.row.restarts for branch in before.values()] == [0, 0, 0]
        assert grown.tree.board.connections == {"sim/1": row}
        assert row.restarts == 0


async def test_a_removed_market_ends_and_the_others_do_not_notice(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        gone = grown.tree.markets["USDJPY@sim"]
        row = grown.tree.board.connections["sim/1"]
        reload.apply(grown.tree, make_settings(grown.port, symbols=SYMBOLS[:2]))
        await until(lambda: gone.port.row.subscribed_at is None)
        assert list(grown.tree.markets) == ["EURUSD@sim", "GBPUSD@sim"]
        ticks = grown.tree.board.markets["EURUSD@sim"].ticks
        await until(lambda: grown.tree.board.markets["EURUSD@sim"].ticks > ticks + 3)
        assert [row.restarts, *(each.restarts for each in grown.tree.board.markets.values())] == [0, 0, 0]


async def test_a_changed_market_is_started_over_alone(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        before = dict(grown.tree.markets)
        new = make_settings(
            grown.port,
            markets=(
                MarketsSettings(venue="sim", symbols=SYMBOLS[:2]),
                MarketsSettings(venue="sim", symbols=SYMBOLS[2:], stale_after_s=7.0),
            ),
        )
        reload.apply(grown.tree, new)
        await grown.all_live()
        assert grown.tree.board.markets["USDJPY@sim"].stale_after_s == 7.0
        kept = [name for name, branch in grown.tree.markets.items() if before[name] is branch]
        assert kept == ["EURUSD@sim", "GBPUSD@sim"]
        assert grown.tree.board.connections["sim/1"].restarts == 0


async def test_new_supervision_reaches_those_who_run(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        new = SupervisionSettings(start_delay_ms=2, backoff_min_s=0.01, backoff_max_s=7.0)
        reload.apply(grown.tree, make_settings(grown.port, supervision=new))
        tree = grown.tree
        assert {branch.place.resubscribe_max_s for branch in tree.markets.values()} == {7.0}
        assert {branch.child.policy.settings for branch in tree.connections.values()} == {new}
        assert tree.venues["sim"].gate.spacing_s == 0.002


async def test_a_changed_venue_gets_new_sockets(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        old = grown.tree.board.connections["sim/1"]
        settings = make_settings(grown.port)
        venue = attrs.evolve(settings.venues["sim"], connect_timeout_s=3.0)
        reload.apply(grown.tree, attrs.evolve(settings, venues={"sim": venue}))
        await grown.all_live()
        await until(lambda: not old.is_open)
        assert grown.tree.board.connections["sim/1"] is not old


async def test_a_market_that_comes_again_goes_on_from_where_it_was(tmp_path: Path) -> None:
    storage = StorageSettings(flush_after_ms=10, store_every_ms=1000)  # which is behind at the change
    async with grown_tree(tmp_path, storage=storage) as grown:
        await grown.all_live()
        settings = grown.tree.settings
        venue = attrs.evolve(settings.venues["sim"], connect_timeout_s=3.0)
        reload.apply(grown.tree, attrs.evolve(settings, venues={"sim": venue}))
        await grown.all_live()
    with contextlib.closing(sqlite3.connect(tmp_path / "marketd.db")) as database:
        rows = database.execute("SELECT cause, to_us FROM gap WHERE from_us < to_us OR to_us IS NULL")
        causes = [cause for cause, to_us in rows if to_us is not None]
        inside = (
            "SELECT COUNT(*) FROM gap JOIN tick USING (market_id) WHERE ts_us > from_us AND ts_us < to_us"
        )
        assert database.execute(inside).fetchone() == (0,)
        assert database.execute("SELECT COUNT(*) FROM gap WHERE to_us IS NULL").fetchone() == (0,)
    assert sorted(set(causes)) == ["disconnect", "stopped"]


async def test_all_venues_can_go_and_come_again(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        settings = grown.tree.settings
        reload.apply(grown.tree, attrs.evolve(settings, venues={}, markets=()))
        assert (grown.tree.venues, grown.tree.connections, grown.tree.markets) == ({}, {}, {})
        reload.apply(grown.tree, settings)
        await grown.all_live()
        assert len(grown.tree.markets) == 3


async def test_a_stopped_market_stays_stopped_over_a_change(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.ask("market", action="stop", markets=["USDJPY"])
        changed = MarketsSettings(venue="sim", symbols=SYMBOLS, stale_after_s=7.0)
        reload.apply(grown.tree, make_settings(grown.port, markets=(changed,)))
        assert grown.state("USDJPY@sim") is State.STOPPED


RESTART_ONLY: dict[str, dict[str, Any]] = {
    "[storage]": {"storage": StorageSettings(flush_rows=7)},
    "[door]": {"door": DoorSettings(listen="")},
    "[service] state_dir": {"service": ServiceSettings(state_dir="/elsewhere")},
}


@pytest.mark.parametrize("changed", RESTART_ONLY.values(), ids=RESTART_ONLY.keys())
async def test_what_needs_a_restart_is_not_taken_for_in_force(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    async with grown_tree(tmp_path) as grown:
        old = grown.tree.settings
        reload.apply(grown.tree, attrs.evolve(old, **changed))
        assert changes(grown.tree.settings, old).needs_restart == ()


# --- at the wrong moment ----------------------------------------------------------------------------

SETTINGS_FILE = """
[venues.sim]
protocol = "binance"
url = "ws://127.0.0.1:1/stream"
[[markets]]
venue = "sim"
symbols = [{symbols}]
"""


async def test_a_reload_during_the_stop_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "marketd.toml"
    config.write_text(SETTINGS_FILE.format(symbols='"AUDUSD"'))
    async with grown_tree(tmp_path / "state") as grown:
        daemon = Daemon(
            tree=grown.tree,
            reread=partial(load, config),
            log=unread_log(),
            life=Life(state_dir=tmp_path),
            has_memory=True,
            is_ready=True,
        )
        await grown.stop()
        daemon.reload()
        assert [branch.spec.symbol for branch in grown.tree.markets.values()] == list(SYMBOLS)


# The settings file changes just after it was read, and whoever changed it says so at once.
CHANGES_AT_START = """
import os, signal, sys
from supervisor import cli, run, signals

signals.install()
load = run.load

def load_and_change(path):
    settings = load(path)
    if "TWO" not in path.read_text():
        path.write_text(path.read_text().replace('"ONE"', '"ONE", "TWO"'))
        os.kill(os.getpid(), signal.SIGHUP)
    return settings

run.load = load_and_change
sys.exit(cli.main())
"""


def markets_of(state_dir: Path) -> list[str]:
    try:
        return [row["id"] for row in ask(state_dir, "status")["markets"]]
    except MarketdError:
        return []


def test_a_reload_during_the_start_is_done_after_it(tmp_path: Path) -> None:
    config, state_dir = tmp_path / "marketd.toml", tmp_path / "state"
    config.write_text(SETTINGS_FILE.format(symbols='"ONE"'))
    words = ("run", "--config", config, "--state-dir", state_dir)
    with subprocess.Popen(
        [sys.executable, "-c", CHANGES_AT_START, *words], stderr=subprocess.DEVNULL
    ) as child:
        deadline = time.monotonic() + GUARD_S
        while markets_of(state_dir) != ["ONE@sim", "TWO@sim"]:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(signal.SIGTERM)
        assert child.wait(GUARD_S) == 0
