"""Trading in a whole tree, beside a simulated venue."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trees import SYMBOLS, Grown, grown_tree, make_settings, until

from actors.desks import DeskPlace
from actors.trader import Trader
from actors.writer import Writer
from domain.errors import RejectedError, StorageBusy
from domain.market import Tick
from domain.states import State
from supervisor import desired, ledger, reload
from supervisor.floor import NOT_READ
from supervisor.sections import MarketsSettings
from supervisor.trading_sections import StrategySettings, TradingSettings

ONE = "EURUSD@sim"
ENDLESS = TradingSettings(
    max_open_trades=1_000,
    max_open_per_market=1_000,
    max_trades_per_day=100_000,
    max_daily_loss=Decimal(100_000),
    max_losses_in_a_row=1_000,
)


def trading_settings(
    *, expiry_s: int = 1, limits: TradingSettings = ENDLESS, **changed: Any
) -> dict[str, Any]:
    """Return settings of a tree that trades almost every second on each market."""
    quick = StrategySettings(
        kind="streak", expiry_s=expiry_s, stake=Decimal(10), options={"length": 1, "timeframe_s": 1}
    )
    return {
        "markets": (MarketsSettings(venue="sim", symbols=SYMBOLS, strategies=("quick",)),),
        "strategies": {"quick": attrs.evolve(quick, **changed)},
        "trading": limits,
    }


def under_way(grown: Grown, market: str | None = None) -> int:
    floor = grown.tree.floor
    if floor is None:
        return 0
    return floor.under_way if market is None else floor.open_on(market)


def entered(grown: Grown) -> int:
    """Return how many trades there have been."""
    assert grown.tree.floor is not None
    return len(grown.tree.floor.trading.positions)


def reasons(answer: dict[str, Any]) -> list[str]:
    return [block["reason"] for block in answer["blocks"]]


def stored(state_dir: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(state_dir / "marketd.db")) as connection:
        return [row[0] for row in connection.execute(sql).fetchall()]


def wanted(state_dir: Path) -> desired.DesiredState:
    found = desired.read(state_dir)
    assert found is not None
    return found


# --- switches ---------------------------------------------------------------------------------------


async def test_while_a_switch_is_on_nothing_is_opened_and_why_names_each(tmp_path: Path) -> None:
    off = desired.DesiredState(
        drain=True, kill_switch=desired.KillSwitch(who="uid 0", when_us=1, reason="looks odd")
    )
    async with grown_tree(tmp_path, desired=off, **trading_settings()) as grown:
        await grown.all_live()
        await until(lambda: grown.status()["trading"]["is_ready"])
        answer = await grown.ask("why", market="EURUSD")
        assert answer["market"] == ONE
        assert reasons(answer) == ["kill_switch", "drain"]
        assert answer["blocks"][0]["text"] == "looks odd (uid 0)"
        await grown.ask("drain", on=False)
        await grown.ask("kill_switch", on=False, reason="looked at it")
        assert (wanted(tmp_path).drain, wanted(tmp_path).kill_switch) == (False, None)
        assert reasons(await grown.ask("why", market="EURUSD")) == []
        before = entered(grown)
        await until(lambda: under_way(grown) > 0)
        floor = grown.tree.floor
        assert floor is not None
        markets = floor.desks.places
        used = {market: floor.limits_on(market)["max_open_per_market"]["used"] for market in markets}
        assert used == {market: under_way(grown, market) for market in markets}
    assert before == 0


async def test_a_kill_switch_is_remembered_with_who_and_why_and_wants_a_reason(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        for reason in (None, " "):
            with pytest.raises(RejectedError, match="say why"):
                await grown.ask("kill_switch", on=True, reason=reason)
        assert await grown.ask("kill_switch", on=True, reason="news") == {
            "kill_switch": True,
            "remembered": True,
        }
        await grown.ask("kill_switch", on=True, reason="again")
        switch = wanted(tmp_path).kill_switch
        assert switch is not None
        assert (switch.who, switch.reason) == ("uid 0, pid 1", "news")


async def test_a_trader_that_crashes_switches_all_trading_off_and_sees_trades_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=2)) as grown:
        await until(lambda: under_way(grown) > 0)
        with monkeypatch.context() as patched:
            patched.setattr(Trader, "handle", lambda *_: 1 / 0)
            await until(lambda: grown.tree.desired.kill_switch is not None)
        switch = grown.tree.desired.kill_switch
        assert switch is not None
        assert switch.reason == "the trader crashed: ZeroDivisionError('division by zero')"
        await until(lambda: wanted(tmp_path).kill_switch == switch)
        assert grown.tree.floor is not None
        await until(lambda: grown.tree.floor is not None and grown.tree.floor.box.mailbox.used == 0)


# --- stopping ---------------------------------------------------------------------------------------


async def test_a_market_with_open_trades_stops_once_they_have_ended(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=2)) as grown:
        await until(lambda: under_way(grown, ONE) > 0)
        await grown.ask("market", action="stop", markets=["EURUSD"])
        [row] = [row for row in grown.status()["markets"] if row["id"] == ONE]
        assert (row["state"], row["desired"]) == ("live", "stopped")
        assert row["reason"].startswith("stops once its ")
        assert reasons(await grown.ask("why", market=ONE)) == ["stopped"]
        await until(lambda: grown.state(ONE) == State.STOPPED)
        assert under_way(grown, ONE) == 0
        assert grown.state("GBPUSD@sim") == State.LIVE
    assert stored(tmp_path, "SELECT COUNT(*) FROM trade WHERE state = 'void'") == [0]


async def test_a_market_that_is_started_before_its_trades_have_ended_goes_on(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=2)) as grown:
        await until(lambda: under_way(grown, ONE) > 0)
        await grown.ask("market", action="stop", markets=[ONE])
        await grown.ask("market", action="start", markets=[ONE])
        assert reasons(await grown.ask("why", market=ONE)) == []


async def test_a_stop_after_trades_waits_for_them_and_opens_none(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=2)) as grown:
        await until(lambda: under_way(grown) > 0)
        answer = await grown.ask("shutdown", after_trades=True)
        assert answer["open"] > 0
        assert "drain" in reasons(await grown.ask("why", market=ONE))
        assert not grown.tree.is_stopping
        with trio.fail_after(30):
            await grown.ended.wait()
    assert stored(tmp_path, "SELECT COUNT(*) FROM trade WHERE settled_us IS NULL AND state != 'refused'") == [
        0
    ]
    assert not wanted(tmp_path).drain


async def test_a_stop_after_trades_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=600)) as grown:
        await until(lambda: under_way(grown) > 0)
        await grown.ask("shutdown", after_trades=True, max_wait_s=0.1)
        with trio.fail_after(30):
            await grown.ended.wait()
    assert stored(tmp_path, "SELECT COUNT(*) FROM trade WHERE state IN ('sent', 'open')") != [0]


# --- the next run -----------------------------------------------------------------------------------


async def leave_open(state_dir: Path, **changed: Any) -> list[int]:
    """Let a tree end with trades open; return their ids."""
    async with grown_tree(state_dir, **trading_settings(**changed)) as grown:
        await until(lambda: under_way(grown) > 1)
    return stored(state_dir, "SELECT id FROM trade WHERE state IN ('intended', 'sent', 'open')")


async def test_trades_of_before_end_without_strategies_too(tmp_path: Path) -> None:
    left = await leave_open(tmp_path, expiry_s=3)
    async with grown_tree(tmp_path) as grown:
        await until(lambda: grown.status()["trading"]["is_ready"] and under_way(grown) == 0)
    ends = stored(tmp_path, "SELECT state FROM trade")
    assert len(ends) >= len(left)
    assert set(ends) <= {"won", "lost", "tied", "void", "refused"}


async def test_trades_of_a_market_that_is_gone_are_void_with_a_cause(tmp_path: Path) -> None:
    left = await leave_open(tmp_path, expiry_s=3)
    markets = (MarketsSettings(venue="sim", symbols=("AUDUSD",)),)
    async with grown_tree(tmp_path, markets=markets) as grown:
        await until(lambda: grown.status()["trading"]["is_ready"] and under_way(grown) == 0)
    ends = stored(tmp_path, "SELECT state FROM trade")
    assert len(ends) >= len(left)
    assert set(ends) <= {"won", "lost", "tied", "void", "refused"}
    details = stored(tmp_path, "SELECT detail FROM trade_event WHERE state = 'void'")
    assert all("gap" in detail for detail in details)


async def test_a_stopped_market_runs_until_its_trades_of_before_have_ended(tmp_path: Path) -> None:
    await leave_open(tmp_path, expiry_s=4)
    stopped = desired.DesiredState(stopped=[f"{symbol}@sim" for symbol in SYMBOLS])
    async with grown_tree(tmp_path, desired=stopped, **trading_settings()) as grown:
        await until(lambda: grown.status()["trading"]["is_ready"])
        await until(lambda: under_way(grown) == 0)
        await until(lambda: all(grown.state(f"{symbol}@sim") == State.STOPPED for symbol in SYMBOLS))


async def test_until_the_trades_of_before_are_known_nothing_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await leave_open(tmp_path, expiry_s=600)
    monkeypatch.setattr(ledger, "AGAIN_S", 0.02)
    read, is_away = Writer.read, [True]

    async def read_when_back(self: Writer, work: Any) -> Any:
        if is_away[0]:
            raise StorageBusy("the database is away")
        return await read(self, work)

    monkeypatch.setattr(Writer, "read", read_when_back)
    async with grown_tree(tmp_path, **trading_settings()) as grown:
        await until(lambda: grown.tree.board.markets[ONE].ticks > 60)
        found = grown.status()["trading"]
        assert (found["is_ready"], found["reason"], found["open"]) == (False, NOT_READ, 0)
        assert reasons(await grown.ask("why", market=ONE)) == ["not_ready"]
        is_away[0] = False
        await until(lambda: entered(grown) > len(left))  # of before, and new ones


async def test_ticks_that_a_full_mailbox_dropped_are_brought_from_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=3)) as grown:
        await until(lambda: under_way(grown, ONE) > 0)
        desk = grown.tree.markets[ONE].place.desk
        assert desk is not None
        lost: list[Tick] = []

        def drop(place: DeskPlace, ticks: Sequence[Tick]) -> Tick:  # as if each found the mailbox full
            lost.extend(ticks)
            place.dropped(ticks)
            return ticks[0]

        with monkeypatch.context() as patched:
            patched.setattr(DeskPlace, "arrive", drop)
            await until(lambda: len(lost) > 90)
        await until(lambda: desk.recovering is None)
        await grown.ask("shutdown", after_trades=True)
        with trio.fail_after(30):
            await grown.ended.wait()
    assert set(stored(tmp_path, "SELECT DISTINCT state FROM trade")) <= {"won", "lost", "tied"}
    assert stored(tmp_path, "SELECT COUNT(*) FROM gap WHERE cause = 'overflow'") == [0]


# --- settings ---------------------------------------------------------------------------------------


def limit(grown: Grown, name: str) -> Any:
    return grown.status()["trading"]["limits"][name]["limit"]


def kept_limit(state_dir: Path, name: str) -> Any:
    found = desired.read(state_dir)  # None before the first save
    return None if found is None or found.limits is None else found.limits.limits[name]


async def test_a_limit_is_lowered_at_once_and_raised_by_no_restart(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings()) as grown:
        lower = attrs.evolve(ENDLESS, max_open_trades=3)
        reload.apply(grown.tree, make_settings(grown.port, **trading_settings(limits=lower)))
        assert limit(grown, "max_open_trades") == 3
        reload.apply(grown.tree, make_settings(grown.port, **trading_settings()))
        assert limit(grown, "max_open_trades") == 3
        await until(lambda: kept_limit(tmp_path, "max_open_trades") == 3)
    async with grown_tree(tmp_path, desired=wanted(tmp_path), **trading_settings()) as again:
        assert limit(again, "max_open_trades") == 3


async def test_changed_strategies_are_made_anew_and_open_trades_stay(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=600)) as grown:
        await until(lambda: under_way(grown) > 0)
        floor = grown.tree.floor
        assert floor is not None
        before, open_trades = floor.desks.places[ONE].desk.seats[0], under_way(grown)
        reload.apply(grown.tree, make_settings(grown.port, **trading_settings(stake=Decimal(7))))
        assert floor.desks.places[ONE].desk.seats[0] is not before
        assert under_way(grown) >= open_trades
        await until(lambda: any(each.trade.stake == Decimal(7) for each in floor.trading.positions.under_way))


async def test_prices_that_wait_for_a_market_that_changes_settle_its_trades_all_the_same(
    tmp_path: Path,
) -> None:
    async with grown_tree(tmp_path, **trading_settings(expiry_s=600)) as grown:
        await until(lambda: under_way(grown, ONE) > 0)
        place = grown.tree.markets[ONE].place
        last_us = place.row.last_tick_us
        assert last_us is not None
        assert place.desk is not None
        for number in (1, 2):  # the first is handed to the market at once
            place.mailbox.put_nowait([Tick(ONE, last_us + number, 0, 1.0, None, None, None, last_us)])
        grown.tree.remove_market(ONE)
        assert place.desk.recovering is not None
        await until(lambda: place.desk is not None and place.desk.recovering is None)


async def test_strategies_that_come_with_a_reload_trade(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        assert grown.tree.floor is None
        assert reasons(await grown.ask("why", market=ONE)) == ["no_strategies"]
        reload.apply(grown.tree, make_settings(grown.port, **trading_settings()))
        await until(lambda: under_way(grown) > 0)


async def test_strategies_come_to_a_market_and_leave_it_without_a_gap_in_its_prices(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        row = grown.tree.board.markets[ONE]
        reload.apply(grown.tree, make_settings(grown.port, **trading_settings()))
        await until(lambda: under_way(grown, ONE) > 0)
        done = reload.apply(grown.tree, make_settings(grown.port))
        floor = grown.tree.floor
        assert floor is not None
        assert [*floor.desks.places[ONE].desk.seats] == []
        await until(lambda: under_way(grown) == 0)
        assert (row is grown.tree.board.markets[ONE], row.restarts) == (True, 0)
        assert grown.tree.markets[ONE].port.gaps.count == 0
    assert "3 changed" in done
    assert set(stored(tmp_path, "SELECT DISTINCT state FROM trade")) <= {"won", "lost", "tied"}


# --- a missing control.json ---------------------------------------------------------------------------


async def test_limits_are_not_kept_before_it_is_known_whether_the_file_was_lost(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, **trading_settings()) as grown:
        keeper = grown.tree.keeper
        await until((tmp_path / desired.FILE_NAME).exists)
        (tmp_path / desired.FILE_NAME).unlink()
        keeper.is_held = True
        assert not await keeper.save()
        assert not (tmp_path / desired.FILE_NAME).exists()
        keeper.is_held = False
        assert await keeper.save()
