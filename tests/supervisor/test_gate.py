from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from keeping import keep_at_once
from trio.testing import MockClock

from supervisor import gate as gate_module
from supervisor.gate import Gate, budget_wait_s, read_connects, write_connects
from venues.protocol import Budget

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US


class WallClock:
    """The wall clock, going with the test's monotonic one; `stepped_us` is what somebody set it by."""

    def __init__(self) -> None:
        self.stepped_us = 0

    def now_us(self) -> int:
        return 1_700_000_000_000_000 + round(trio.current_time() * 1_000_000) + self.stepped_us


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr(gate_module, "now_us", clock.now_us)
    return clock


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "connects-sim.json"


def make_gate(memory: Path, *budgets: Budget, starts_per_pass: int = 1) -> Gate:
    """Return a gate with a spacing of 0.4 s that remembers what is in its file."""
    return Gate(
        spacing_s=0.4,
        starts_per_pass=starts_per_pass,
        budgets=budgets,
        connects=read_connects(memory),
        memory=memory,
        keep=keep_at_once,
    )


class Arrivals:
    """Sends waiters to a gate in a known order, and notes who passed when."""

    def __init__(self, gate: Gate, nursery: trio.Nursery) -> None:
        self._gate = gate
        self._nursery = nursery
        self.passed: list[str] = []
        self.passed_at: list[float] = []

    async def subscribe(self, name: str, *, connection: str = "sim/1") -> trio.CancelScope:
        """Return the waiter's scope once it stands in line."""
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                await self._gate.pass_subscribe(connection)
                self._note(name)

        self._nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        return scope

    async def connect(self, name: str) -> None:
        async def wait() -> None:
            await self._gate.pass_connect()
            self._note(name)

        self._nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()

    def _note(self, name: str) -> None:
        self.passed.append(name)
        self.passed_at.append(trio.current_time())

    def gaps(self) -> list[float]:
        """Return the times between those who passed."""
        pairs = pairwise(self.passed_at)
        return [round(later - earlier, 6) for earlier, later in pairs]


# --- spacing and order ----------------------------------------------------------------------------


async def test_27_first_starts_are_spaced(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory), nursery)
    for n in range(27):
        await arrivals.subscribe(f"{n}")
    await trio.sleep(60.0)
    assert arrivals.gaps() == [0.4] * 26


async def test_the_first_does_not_wait(autojump_clock: MockClock, wall: WallClock, memory: Path) -> None:
    before = trio.current_time()
    await make_gate(memory).pass_subscribe("sim/1")
    assert trio.current_time() == before


async def test_restarts_are_spaced_like_first_starts(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    gate = make_gate(memory)
    times: list[float] = []

    async def start_and_restart() -> None:
        for _ in range(3):
            await gate.pass_subscribe("sim/1")
            times.append(trio.current_time())

    for _ in range(9):
        nursery.start_soon(start_and_restart)
    await trio.sleep(60.0)
    assert len(times) == 27
    assert all(later - earlier >= 0.4 - 1e-9 for earlier, later in pairwise(times))


async def test_who_comes_first_is_served_first(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory), nursery)
    names = [f"{n}" for n in range(27)]
    for name in names:
        await arrivals.subscribe(name)
    await trio.sleep(60.0)
    assert arrivals.passed == names


async def test_connects_and_subscribes_stand_in_one_line(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, Budget(100, 60)), nursery)
    await arrivals.subscribe("first")
    await arrivals.connect("second")
    await arrivals.subscribe("third")
    await arrivals.connect("fourth")
    await trio.sleep(60.0)
    assert arrivals.passed == ["first", "second", "third", "fourth"]
    assert arrivals.gaps() == [0.4] * 3


async def test_connects_that_come_in_one_moment_keep_their_order(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    gate = make_gate(memory, Budget(100, 60))
    passed: list[int] = []
    came: list[int] = []

    async def connect(number: int) -> None:
        came.append(number)
        await gate.pass_connect()
        passed.append(number)

    for number in range(27):
        nursery.start_soon(connect, number)
    await trio.sleep(60.0)
    assert passed == came


async def test_who_gives_up_in_line_costs_the_others_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory), nursery)
    await arrivals.subscribe("first")
    scope = await arrivals.subscribe("gives up")
    await arrivals.subscribe("third")
    scope.cancel()
    await trio.sleep(60.0)
    assert arrivals.passed == ["first", "third"]
    assert arrivals.gaps() == [0.4]


async def test_a_new_spacing_holds_from_the_next_pass_on(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    gate = make_gate(memory)
    arrivals = Arrivals(gate, nursery)
    await arrivals.subscribe("first")
    gate.spacing_s = 5.0
    for name in ("second", "third"):
        await arrivals.subscribe(name)
    await trio.sleep(60.0)
    assert arrivals.gaps() == [0.4, 5.0]


# --- a pass that several share --------------------------------------------------------------------


async def test_subscribes_of_one_connection_share_a_pass(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, starts_per_pass=3), nursery)
    for n in range(7):
        await arrivals.subscribe(f"{n}")
    await trio.sleep(60.0)
    # the first found the gate open; the rest wait by threes
    assert arrivals.gaps() == [0.4, 0.0, 0.0, 0.4, 0.0, 0.0]


async def test_subscribes_of_different_connections_share_no_pass(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, starts_per_pass=100), nursery)
    for n in range(4):
        await arrivals.subscribe(f"{n}", connection=f"sim/{n}")
    await trio.sleep(60.0)
    assert arrivals.gaps() == [0.4] * 3


async def test_those_who_share_a_pass_come_through_when_its_leader_gives_up(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, starts_per_pass=3), nursery)
    await arrivals.subscribe("before")
    leader = await arrivals.subscribe("leader")
    await arrivals.subscribe("second")
    await arrivals.subscribe("third")
    leader.cancel()
    await trio.sleep(60.0)
    assert sorted(arrivals.passed) == ["before", "second", "third"]
    assert arrivals.gaps() == [0.4, 0.0]


async def test_a_sharer_that_gives_up_leaves_the_pass_to_the_others(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, starts_per_pass=3), nursery)
    await arrivals.subscribe("before")
    await arrivals.subscribe("leader")
    sharer = await arrivals.subscribe("sharer")
    sharer.cancel()
    await trio.sleep(60.0)
    assert arrivals.passed == ["before", "leader"]


# --- the venue's own budget -----------------------------------------------------------------------


async def test_connects_keep_to_the_budget(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, Budget(3, 60)), nursery)
    for n in range(7):
        await arrivals.connect(f"{n}")
    await trio.sleep(300.0)
    assert len(arrivals.passed) == 7
    pairs = zip(arrivals.passed_at, arrivals.passed_at[3:], strict=False)
    assert all(later - earlier >= 60.0 - 1e-3 for earlier, later in pairs)


async def test_of_several_budgets_each_is_kept(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, Budget(2, 10), Budget(3, 100)), nursery)
    for n in range(4):
        await arrivals.connect(f"{n}")
    await trio.sleep(300.0)
    assert arrivals.passed_at[2] - arrivals.passed_at[0] >= 10.0 - 1e-3
    assert arrivals.passed_at[3] - arrivals.passed_at[0] >= 100.0 - 1e-3


async def test_subscribes_go_on_while_connects_wait_for_the_budget(
    autojump_clock: MockClock, nursery: trio.Nursery, wall: WallClock, memory: Path
) -> None:
    arrivals = Arrivals(make_gate(memory, Budget(1, 60)), nursery)
    await arrivals.connect("connect")
    await arrivals.connect("too soon")
    await arrivals.subscribe("subscribe")
    await trio.sleep(10.0)
    assert arrivals.passed == ["connect", "subscribe"]


async def test_a_restart_of_the_daemon_does_not_renew_the_budget(
    autojump_clock: MockClock, wall: WallClock, memory: Path
) -> None:
    await make_gate(memory, Budget(1, 60)).pass_connect()
    before = trio.current_time()
    await make_gate(memory, Budget(1, 60)).pass_connect()
    assert trio.current_time() - before == pytest.approx(60.0, abs=1e-3)


async def test_no_more_is_remembered_than_the_longest_window(
    autojump_clock: MockClock, wall: WallClock, memory: Path
) -> None:
    gate = make_gate(memory, Budget(100, 10))
    for _ in range(30):
        await gate.pass_connect()
        await trio.sleep(1.0)
    assert len(read_connects(memory)) <= 10


async def test_a_clock_that_was_wrong_for_a_day_costs_at_most_one_window(
    autojump_clock: MockClock, wall: WallClock, memory: Path
) -> None:
    write_connects(memory, [wall.now_us() + DAY_US])
    gate = make_gate(memory, Budget(1, 60))
    before = trio.current_time()
    await gate.pass_connect()
    assert trio.current_time() - before == pytest.approx(60.0, abs=1e-3)


async def test_a_clock_that_is_set_back_costs_at_most_one_window(
    autojump_clock: MockClock, wall: WallClock, memory: Path
) -> None:
    gate = make_gate(memory, Budget(1, 60))
    await gate.pass_connect()
    wall.stepped_us = -DAY_US
    before = trio.current_time()
    await gate.pass_connect()
    assert trio.current_time() - before == pytest.approx(60.0, abs=1e-3)


async def test_a_memory_that_cannot_be_written_hinders_nobody(
    autojump_clock: MockClock, wall: WallClock, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path / "missing" / "connects.json", Budget(2, 60))
    before = trio.current_time()
    await gate.pass_connect()
    await gate.pass_connect()
    assert trio.current_time() - before == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("connects", "wait_s"),
    [([], 0.0), ([MINUTE_US], 0.0), ([0, MINUTE_US], 0.0), ([1, MINUTE_US], 1e-6), ([MINUTE_US] * 3, 60.0)],
)
def test_the_wait_ends_when_the_oldest_that_counts_leaves_the_window(
    connects: list[int], wait_s: float
) -> None:
    assert budget_wait_s(connects, [Budget(2, 60)], MINUTE_US) == wait_s


@pytest.mark.parametrize("content", [b"", b"[1, 2", b'{"a": 1}', b'["1"]', b"\xff\xfe"])
def test_an_unreadable_memory_is_an_empty_one(memory: Path, content: bytes) -> None:
    memory.write_bytes(content)
    assert read_connects(memory) == []


def test_a_missing_memory_is_an_empty_one(memory: Path) -> None:
    assert read_connects(memory) == []


def test_what_is_written_is_read_again(memory: Path) -> None:
    write_connects(memory, [1, 2, 3])
    assert read_connects(memory) == [1, 2, 3]
