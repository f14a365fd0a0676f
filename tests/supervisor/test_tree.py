import contextlib
import socket
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import trio
from trees import grown_tree, make_settings, make_tree, until

from actors.accepting import Accepting
from actors.control import Peer
from actors.market import Market
from domain.database import Contact
from domain.events import LOGGER, Event
from domain.gaps import Cause
from domain.market import Tick
from domain.states import Desired, State
from supervisor.desired import DesiredState
from supervisor.policy import SupervisionSettings
from supervisor.sections import MarketsSettings
from supervisor.tree import data_s
from venues.simulated.faults import Fault, Kind


def stored(state_dir: Path) -> int:
    with contextlib.closing(sqlite3.connect(state_dir / "marketd.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM tick").fetchone()[0])


async def test_every_market_comes_alive(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        assert {row["state"] for row in grown.status()["markets"]} == {"live"}


async def test_prices_that_the_writers_mailbox_cannot_hold_are_said_and_written_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)
    inbox = make_tree(make_settings(1), tmp_path, DesiredState()).inbox
    tick = Tick("EURUSD@sim", 1, 0, 1.0, None, None, None, 1)
    inbox.ticks.put_nowait([tick])
    inbox.ticks.put_nowait([tick] * inbox.ticks.bound)
    assert [record.__dict__["event"] for record in caplog.records] == [Event.OVERFLOW]
    assert [gap.cause for gap in inbox.gaps.take()] == [Cause.OVERFLOW]


async def test_an_ordered_stop_stores_every_accepted_tick(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        await until(lambda: grown.tree.board.markets["EURUSD@sim"].ticks > 5)
        await grown.stop()
        assert grown.tree.finished is not None
        assert grown.tree.finished.lost == 0
        assert grown.tree.exit_code == 0
        received = sum(row.ticks for row in grown.tree.board.markets.values())
    assert stored(tmp_path) == received


async def test_a_stop_before_anything_is_open_ends_too(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.stop()
        assert grown.ended.is_set()


async def test_a_stop_asked_for_before_the_tree_runs_ends_it(tmp_path: Path) -> None:
    tree = make_tree(make_settings(9, symbols=()), tmp_path, DesiredState())
    tree.stop()

    async def handle(command: str, arguments: Mapping[str, Any], peer: Peer) -> None:
        raise NotImplementedError

    with trio.fail_after(30):
        await tree.run(handle=handle, leave=pytest.fail, task_status=trio.TASK_STATUS_IGNORED)
    assert tree.finished is not None


async def test_the_markets_of_one_venue_share_its_socket(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        assert list(grown.tree.connections) == ["sim/1"]


async def test_a_socket_holds_no_more_markets_than_the_settings_say(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as first:
        venue = attrs.evolve(first.tree.settings.venues["sim"], markets_per_connection=2)
    async with grown_tree(tmp_path / "new", venues={"sim": venue}) as grown:
        shared = [len(branch.place.ports) for branch in grown.tree.connections.values()]
        assert shared == [2, 1]


async def test_a_market_that_was_stopped_by_command_stays_stopped(tmp_path: Path) -> None:
    async with grown_tree(tmp_path, desired=DesiredState(stopped=["GBPUSD@sim"])) as grown:
        await grown.all_live()
        assert grown.state("GBPUSD@sim") is State.STOPPED


async def test_a_market_without_autostart_waits_for_a_command(tmp_path: Path) -> None:
    markets = (MarketsSettings(venue="sim", symbols=("EURUSD",), autostart=False),)
    async with grown_tree(tmp_path, markets=markets) as grown:
        assert grown.tree.board.markets["EURUSD@sim"].desired is Desired.STOPPED


async def test_a_crash_of_one_market_leaves_the_others_and_its_ticks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Market.handle

    def crash_on_gbpusd(self: Market, ticks: Any) -> Any:
        if self._row.name == "GBPUSD@sim":
            raise ZeroDivisionError
        return handle(self, ticks)

    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        monkeypatch.setattr(Market, "handle", crash_on_gbpusd)
        rows = grown.tree.board.markets
        await until(lambda: rows["GBPUSD@sim"].hold is State.QUARANTINED)
        ticks = rows["GBPUSD@sim"].ticks
        await until(lambda: rows["GBPUSD@sim"].ticks > ticks + 3)
        assert rows["EURUSD@sim"].restarts == 0
        assert grown.state("EURUSD@sim") is State.LIVE
        await grown.stop()
        received = sum(row.ticks for row in rows.values())
    assert stored(tmp_path) == received


async def test_a_venue_that_cannot_be_reached_is_backed_off_from_and_not_quarantined(
    tmp_path: Path,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = make_settings(nobody.getsockname()[1])
        async with grown_tree(tmp_path, venues=settings.venues) as grown:
            row = grown.tree.board.connections["sim/1"]
            await until(lambda: row.restarts > 10)
            assert row.hold in (None, State.BACKING_OFF)


async def test_a_socket_that_is_lost_is_opened_again_and_each_market_counts_one_restart(
    tmp_path: Path,
) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        grown.tree.connections["sim/1"].child.restart()
        await until(lambda: grown.tree.board.connections["sim/1"].restarts == 1)
        await until(lambda: all(row.restarts for row in grown.tree.board.markets.values()))
        await grown.all_live()
        assert [row.restarts for row in grown.tree.board.markets.values()] == [1, 1, 1]


async def test_lost_sockets_are_never_taken_for_our_bug(tmp_path: Path) -> None:
    resets = tuple(Fault(kind=Kind.RESET, at_s=0.1 * n, duration_s=0.0) for n in range(1, 11))
    async with grown_tree(tmp_path, faults=resets) as grown:
        row = grown.tree.board.connections["sim/1"]
        await until(lambda: row.restarts >= 8)
        assert row.hold in (None, State.BACKING_OFF)


async def test_the_last_market_of_a_connection_closes_it(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        row = grown.tree.board.connections["sim/1"]
        for market in list(grown.tree.markets):
            grown.tree.remove_market(market)
        await until(lambda: not row.is_open)
        assert (grown.tree.connections, grown.tree.board.connections) == ({}, {})


async def test_a_bug_behind_the_control_socket_is_answered_and_ends_nothing(tmp_path: Path) -> None:
    async def crash(command: str, arguments: Mapping[str, Any], peer: Peer) -> None:
        raise ZeroDivisionError

    async with grown_tree(tmp_path, handle=crash) as grown:
        stream = await trio.open_unix_socket(tmp_path / "control.sock")
        async with stream:
            await stream.send_all(b'{"id": 7, "command": "status"}\n')
            answer = msgspec.json.decode(await stream.receive_some())
        assert (answer["id"], answer["ok"]) == (7, False)
        assert not grown.ended.is_set()


async def test_a_writer_that_crashes_ends_the_daemon_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()

        async def crash(self: Accepting) -> bool:
            raise ZeroDivisionError

        monkeypatch.setattr(Accepting, "accept", crash)
        with trio.fail_after(30):
            await grown.ended.wait()
        assert grown.tree.exit_code == 1


async def test_the_first_contact_with_a_new_database_is_told(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        assert grown.contact is Contact.FRESH


async def test_new_supervision_settings_reach_gates_and_policies(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        fresh = SupervisionSettings(start_delay_ms=900, starts_per_pass=9, backoff_max_s=7.0)
        grown.tree.apply_supervision(attrs.evolve(grown.tree.settings, supervision=fresh))
        gate = grown.tree.venues["sim"].gate
        assert (gate.spacing_s, gate.starts_per_pass) == (0.9, 9)
        children = [branch.child for branch in grown.tree.markets.values()]
        children += [branch.child for branch in grown.tree.connections.values()]
        assert {child.policy.settings for child in children} == {fresh}


@pytest.mark.parametrize(
    ("since", "until_", "expected"), [(None, 5.0, 0.0), (5.0, None, 0.0), (3.0, 5.0, 2.0), (5.0, 3.0, 0.0)]
)
def test_data_flowed_from_first_to_last(since: float | None, until_: float | None, expected: float) -> None:
    assert data_s(since, until_) == expected


async def test_data_of_an_earlier_run_does_not_reset_the_backoff(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        child = grown.tree.connections["sim/1"].child
        row = grown.tree.board.connections["sim/1"]
        await grown.all_live()
        await until(lambda: (row.data_until or 0.0) > (row.data_since or 0.0))
        assert child.data_s(0.0) > 0.0
        assert child.data_s(trio.current_time()) == 0.0


async def test_a_market_that_had_data_resets_its_backoff_though_it_is_unsubscribed_by_then(
    tmp_path: Path,
) -> None:
    async with grown_tree(tmp_path) as grown:
        began = trio.current_time()
        branch = grown.tree.markets["EURUSD@sim"]
        await grown.all_live()
        branch.child.stop()
        await until(lambda: branch.port.row.subscribed_at is None)
        assert branch.child.data_s(began) > 0.0
