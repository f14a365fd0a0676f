from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trees import grown_tree, make_tree, unread_log, until
from trio.testing import MockClock

from supervisor.daemon import TELL_EVERY_S, Daemon
from supervisor.desired import DesiredState
from supervisor.life import Life
from supervisor.notify import Notifier
from supervisor.sections import Settings
from supervisor.watchdog import Due, Pulse, Watchdog

PERIOD_S = 60.0


@attrs.define(kw_only=True, eq=False)
class Manager(Notifier):
    """A service manager that hears everything at once."""

    address: str = ""
    watchdog_s: float | None = PERIOD_S
    heard: list[tuple[float, str]] = attrs.field(factory=list)

    def _send(self, text: str = "", status: str = "") -> None:
        self.heard.append((trio.current_time(), text.partition("=")[0] or "STATUS"))

    def times(self, what: str) -> list[float]:
        return [at for at, said in self.heard if said == what]


@asynccontextmanager
async def watching(
    manager: Manager, tasks: Mapping[str, Due], *, is_stopping: Callable[[], bool] = lambda: False
) -> AsyncIterator[None]:
    """Run a watchdog for the length of the block."""
    watchdog = Watchdog(manager=manager, tasks=tasks, is_stopping=is_stopping)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("period_s", "pings"), [(4.0, 15), (60.0, 3), (None, 0)])
async def test_the_manager_hears_of_us_twice_in_each_period(
    autojump_clock: MockClock, period_s: float | None, pings: int
) -> None:
    manager = Manager(watchdog_s=period_s)
    async with watching(manager, {}):
        await trio.sleep(31.0)
    assert len(manager.times("WATCHDOG")) == pings


async def test_a_task_that_hangs_ends_the_pings(autojump_clock: MockClock) -> None:
    manager = Manager()
    due = trio.current_time() + 100.0
    async with watching(manager, {"accepting": lambda: due}):
        await trio.sleep(1_000.0)
    last = max(manager.times("WATCHDOG"))
    # well before the manager would have lost its patience with a task that was late by it
    assert due <= last <= due + PERIOD_S / 2


async def test_a_task_that_waits_for_the_disk_is_as_good_as_one_that_turns(autojump_clock: MockClock) -> None:
    manager = Manager()
    async with watching(manager, {"accepting": lambda: None}):
        await trio.sleep(1_000.0)
    assert len(manager.times("WATCHDOG")) >= 1_000 / PERIOD_S


async def test_after_a_pause_of_the_whole_process_each_task_has_its_turn_first(
    mock_clock: MockClock,
) -> None:
    manager, pulse = Manager(), Pulse()
    async with trio.open_nursery() as nursery, watching(manager, {"pulse": lambda: pulse.due_at}):
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(pulse.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(PERIOD_S * 0.9)
        with trio.fail_after(10 * PERIOD_S):
            while not manager.times("WATCHDOG"):
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(0.5)
        nursery.cancel_scope.cancel()
    assert manager.times("WATCHDOG")[0] < PERIOD_S


async def test_a_task_that_turns_again_is_believed(autojump_clock: MockClock) -> None:
    manager = Manager()
    due: list[float | None] = [trio.current_time()]
    async with watching(manager, {"accepting": lambda: due[0]}):
        await trio.sleep(200.0)
        due[0] = None
        before = len(manager.times("WATCHDOG"))
        await trio.sleep(100.0)
    assert len(manager.times("WATCHDOG")) > before


async def test_during_a_stop_nothing_need_turn(autojump_clock: MockClock) -> None:
    manager = Manager()
    due = trio.current_time()
    async with watching(manager, {"accepting": lambda: due}, is_stopping=lambda: True):
        await trio.sleep(200.0)
    assert max(manager.times("WATCHDOG")) > due + PERIOD_S


# --- of a real tree ---------------------------------------------------------------------------


async def test_the_tasks_of_a_healthy_tree_turn(tmp_path: Path) -> None:
    async with grown_tree(tmp_path) as grown:
        writer, pulse = grown.tree.writer, grown.tree.pulse
        seen: set[float | None] = set()

        def have_turned() -> bool:
            seen.add(writer.accepting_due_at)
            return len(seen) > 5 and pulse.due_at is not None

        await until(have_turned)
        turn = pulse.due_at
        await until(lambda: pulse.due_at != turn)


def make_daemon(manager: Manager, folder: Path) -> Daemon:
    return Daemon(
        tree=make_tree(Settings(), folder, DesiredState()),
        reread=None,
        log=unread_log(),
        life=Life(state_dir=folder),
        has_memory=True,
        manager=manager,
    )


async def test_a_long_start_asks_for_more_time_and_a_stop_is_said_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    manager = Manager()
    daemon = make_daemon(manager, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.tell_manager)
        await trio.sleep(2.5 * TELL_EVERY_S)
        assert len(manager.times("EXTEND_TIMEOUT_USEC")) == 2
        daemon.is_ready = True
        await trio.sleep(2 * TELL_EVERY_S)
        assert len(manager.times("STATUS")) == 2
        daemon.tree.stop()
        await trio.sleep(10 * TELL_EVERY_S)
        nursery.cancel_scope.cancel()
    assert [said for _, said in manager.heard][-1] == "STOPPING"
    assert len(manager.times("STOPPING")) == 1
