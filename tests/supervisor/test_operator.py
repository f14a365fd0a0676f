import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trees import SYMBOLS, Grown, grown_tree, until

from actors.mailbox import Mailbox
from domain.clock import now_us
from domain.errors import RejectedError, StorageBusy
from domain.gaps import Cause
from domain.instruments import Instrument
from domain.states import State
from supervisor import desired, operator

IDS = [f"{symbol}@sim" for symbol in SYMBOLS]


def wanted(state_dir: Path) -> desired.DesiredState:
    found = desired.read(state_dir)
    assert found is not None
    return found


async def live_tree_states(grown: Grown) -> list[str]:
    return [grown.state(market) for market in IDS]


# --- markets ----------------------------------------------------------------------------------------


async def test_a_stopped_market_stops_at_once_and_alone(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        assert await live_tree_states(grown) == ["stopped", "live", "live"]


async def test_a_stopped_market_is_unsubscribed_at_the_venue(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        rows = grown.tree.board.markets
        other = rows["GBPUSD@sim"]
        stopped = -1
        with trio.fail_after(30):
            while stopped != rows["EURUSD@sim"].ticks:  # still the same after ticks of the other
                stopped, seen = rows["EURUSD@sim"].ticks, other.ticks
                await until(lambda seen=seen: other.ticks > seen + 5)  # type: ignore[misc]


async def test_a_stopped_market_takes_no_price_while_the_venue_has_not_heard_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        branch, other = grown.tree.markets["EURUSD@sim"], grown.tree.markets["GBPUSD@sim"]
        with monkeypatch.context() as patched:
            patched.setattr(Mailbox, "put_nowait", lambda *_: False)
            await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        ticks, others = branch.port.row.ticks, other.port.row.ticks
        await until(lambda: other.port.row.ticks > others + 5)
        assert branch.port.row.ticks == ticks
        await grown.ask("market", action="start", markets=["EURUSD@sim"])
        await until(lambda: branch.port.row.ticks > ticks)


async def test_a_stop_is_remembered(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        result = await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        assert result == {"markets": ["EURUSD@sim"], "remembered": True}
        assert wanted(tmp_path).stopped == ["EURUSD@sim"]


async def test_a_started_market_comes_alive_again(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        await grown.ask("market", action="start", markets=["EURUSD@sim"])
        await until(lambda: grown.state("EURUSD@sim") is State.LIVE)
        assert (wanted(tmp_path).stopped, wanted(tmp_path).started) == ([], ["EURUSD@sim"])


async def test_from_a_start_to_the_first_tick_there_is_a_gap(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        port = grown.tree.markets["EURUSD@sim"].port
        await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        before, ticks = port.gaps.count, port.row.ticks
        await grown.ask("market", action="start", markets=["EURUSD@sim"])
        await until(lambda: port.row.ticks > ticks)
        assert port.gaps.count == before + 1
        assert port.gaps.open is None


async def test_a_start_of_a_running_market_makes_no_gap(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        gaps = grown.tree.markets["EURUSD@sim"].port.gaps
        before = gaps.count
        await grown.ask("market", action="start", markets=["EURUSD@sim"])
        assert gaps.count == before
        assert gaps.open is None


async def test_a_market_that_is_stopped_while_closed_is_stopped_until_it_is_started(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        port = grown.tree.markets["EURUSD@sim"].port
        port.hours.refused(at_us=now_us())
        await grown.ask("market", action="stop", markets=["EURUSD@sim"])
        port.hours.listed(Instrument("EURUSD"), at_us=now_us())
        assert port.gaps.open is not None
        assert port.gaps.open.cause == Cause.STOPPED
        before, ticks = port.gaps.count, port.row.ticks
        await grown.ask("market", action="start", markets=["EURUSD@sim"])
        await until(lambda: port.row.ticks > ticks)
        assert port.gaps.count == before + 1
        assert port.gaps.open is None


async def test_a_restarted_market_comes_alive_again_and_counts_it(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        await grown.ask("market", action="restart", markets=["EURUSD@sim"])
        await grown.all_live()
        assert [row.restarts for row in grown.tree.board.markets.values()] == [1, 0, 0]


async def test_all_means_all(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        result = await grown.ask("market", action="stop", markets=["all"])
        assert result["markets"] == IDS
        assert await live_tree_states(grown) == ["stopped"] * 3


async def test_a_symbol_that_is_unique_is_enough(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        assert (await grown.ask("market", action="stop", markets=["GBPUSD"]))["markets"] == ["GBPUSD@sim"]


async def test_a_market_named_twice_is_restarted_once(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        result = await grown.ask("market", action="restart", markets=["EURUSD", "EURUSD@sim"])
        assert result["markets"] == ["EURUSD@sim"]
        assert grown.tree.board.markets["EURUSD@sim"].restarts == 1


async def test_a_start_tries_a_connection_that_has_failed_again(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        row = grown.tree.board.connections["sim/1"]
        row.hold = State.FAILED
        assert grown.state("EURUSD@sim") is State.FAILED
        await grown.ask("market", action="start", markets=["EURUSD"])
        await grown.all_live()
        assert row.hold is None


REFUSED: list[dict[str, Any]] = [
    {"action": "stop", "markets": ["EURUSD@elsewhere"]},
    {"action": "stop", "markets": ["eurusd"]},
    {"action": "stop", "markets": ["EURUSD", "unknown"]},
    {"action": "stop", "markets": []},
    {"action": "stop", "markets": "EURUSD"},
    {"action": "stop", "markets": [1]},
    {"action": "stop"},
    {"action": "explode", "markets": ["EURUSD"]},
    {"action": ["stop"], "markets": ["EURUSD"]},
    {"action": None, "markets": ["EURUSD"]},
    {},
]


@pytest.mark.parametrize("arguments", REFUSED, ids=str)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    async with grown_tree(tmp_path) as grown:
        with pytest.raises(RejectedError):
            await grown.ask("market", **arguments)
        assert State.STOPPED not in await live_tree_states(grown)
        assert desired.read(tmp_path) is None


async def test_an_unknown_command_is_refused(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        with pytest.raises(RejectedError, match="explode"):
            await grown.ask("explode")


async def test_what_cannot_be_remembered_is_done_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_is_full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with grown_tree(tmp_path) as grown:
        monkeypatch.setattr(desired, "write", disk_is_full)
        result = await grown.ask("market", action="stop", markets=["EURUSD"])
        assert result["remembered"] is False
        assert grown.state("EURUSD@sim") is State.STOPPED


async def test_of_commands_at_one_time_the_last_is_on_disk(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for action in ("stop", "start"):
                    nursery.start_soon(partial(grown.ask, "market", action=action, markets=["all"]))
            assert wanted(tmp_path) == grown.tree.desired


# --- what is stored ---------------------------------------------------------------------------------


async def stored_page(grown: Grown, **arguments: Any) -> dict[str, Any]:
    """Ask for ticks until some are stored."""
    with trio.fail_after(30):
        while True:
            page: dict[str, Any] = await grown.ask("history", market="EURUSD", kind="ticks", **arguments)
            if page["rows"]:
                return page
            await trio.sleep(0.02)


async def test_history_is_what_the_writer_has_stored(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        page = await stored_page(grown, limit=1)
        assert page["market"] == "EURUSD@sim"
        assert (len(page["rows"]), page["columns"][0]) == (1, "ts_us")
        assert page["rows"][0][0] > 1_700_000_000_000_000


async def test_market_without_a_tick_yet_is_known_by_the_settings(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, symbols=("EURUSD", "NOTTHERE")) as grown:
        await stored_page(grown)
        page = await grown.ask("history", market="NOTTHERE", kind="candles")
        assert (page["market"], page["rows"]) == ("NOTTHERE@sim", [])


async def test_unknown_market_is_refused_with_the_nearest(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await stored_page(grown)
        connects = grown.status()["writer"]["connects"]
        for _ in range(3):
            with pytest.raises(RejectedError, match=r"'EURUSX'.*EURUSD@sim"):
                await grown.ask("history", market="EURUSX", kind="ticks")
        assert grown.status()["writer"]["connects"] == connects


async def test_wrong_argument_is_refused_and_reads_nothing(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        with pytest.raises(RejectedError, match="history limit = 'many'"):
            await grown.ask("history", market="EURUSD", kind="ticks", limit="many")
        with pytest.raises(RejectedError, match="gaps after"):
            await grown.ask("gaps", after="first")


async def test_database_that_does_not_answer_is_said_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def comes_back_late(_: Any) -> dict[str, Any]:
        with trio.CancelScope(shield=True):  # as a thread is, which nobody can cancel
            await trio.sleep(1.0)
        return {}

    async with grown_tree(tmp_path) as grown:
        monkeypatch.setattr(operator, "READ_S", 0.05)
        monkeypatch.setattr(grown.tree.writer, "read", comes_back_late)
        with pytest.raises(StorageBusy, match="gaps"):
            await grown.ask("gaps")


# --- the daemon -------------------------------------------------------------------------------------


async def test_shutdown_stops_in_order(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        assert await grown.ask("shutdown") == {"stopping": True}
        with trio.fail_after(30):
            await grown.ended.wait()


@pytest.mark.parametrize("is_on", [True, False])
async def test_drain_is_remembered(tmp_path: Path, *, is_on: bool) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.commands.set_drain(is_on=not is_on)
        assert await grown.ask("drain", on=is_on) == {"drain": is_on, "remembered": True}
        assert wanted(tmp_path).drain is is_on


@pytest.mark.parametrize("value", ["on", 1, None])
async def test_drain_is_on_or_off_and_nothing_else(tmp_path: Path, value: object) -> None:
    async with grown_tree(tmp_path) as grown:
        with pytest.raises(RejectedError):
            await grown.ask("drain", on=value)
        assert grown.tree.desired.drain is False


async def test_status_is_the_status(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        assert (await grown.ask("status"))["pid"] == grown.status()["pid"]


async def test_the_control_socket_is_not_for_everybody(tmp_path: Path) -> None:
    async with grown_tree(tmp_path):
        assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) & 0o007 == 0
