from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from domain.errors import ConnectionLost, InvariantError, PermanentError, RejectedError
from domain.states import ChildRow, Desired, State
from supervisor.policy import RestartPolicy, SupervisionSettings
from supervisor.supervise import Child, guarded, run_beside, run_essential

SETTINGS = SupervisionSettings(backoff_min_s=10.0, backoff_max_s=10.0, probe_every_s=60.0)
HALF_A_DAY_S = 12 * 3600.0


# --- children, named by their fault ---------------------------------------------------------------


class Healthy:
    """Runs until cancelled."""

    def __init__(self) -> None:
        self.began_at: list[float] = []
        self.is_running = False

    async def run(self) -> None:
        self.began_at.append(trio.current_time())
        self.is_running = True
        try:
            await self.live()
        finally:
            self.is_running = False

    async def live(self) -> None:
        await trio.sleep_forever()


@attrs.define
class FailsEachTime(Healthy):
    """Fails at once, or after a time, with the same error."""

    error: Exception
    after_s: float = 0.0
    began_at: list[float] = attrs.field(factory=list)
    is_running: bool = False

    async def live(self) -> None:
        if self.after_s:
            await trio.sleep(self.after_s)
        raise self.error


class FailsOnce(Healthy):
    """Crashes in its first run only."""

    async def live(self) -> None:
        if len(self.began_at) == 1:
            raise ZeroDivisionError
        await trio.sleep_forever()


class ReturnsEarly(Healthy):
    """Ends as if its work could be done."""

    async def live(self) -> None:
        await trio.lowlevel.checkpoint()


class RaisesInCleanUp(Healthy):
    """Cannot even be cancelled without an error."""

    async def live(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in clean-up")


class RaisesInCleanUpOfANursery(Healthy):
    """One of its two tasks raises when cancelled: Cancelled and ValueError come out together."""

    async def live(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(RaisesInCleanUp().live)


class CleansUpSlowly(Healthy):
    """Says goodbye for 3 s when cancelled."""

    async def live(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3.0)


def make_child(actor: Healthy, *, settings: SupervisionSettings = SETTINGS) -> Child:
    row = ChildRow(name="child")
    return Child(name="child", run=actor.run, row=row, policy=RestartPolicy(settings=settings))


@pytest.fixture
async def keep(
    nursery: trio.Nursery,
) -> Callable[[Child], Awaitable[None]]:
    """Start a child, and let it come as far as it gets without time passing."""

    async def start(child: Child) -> None:
        nursery.start_soon(child.keep_alive)
        await trio.testing.wait_all_tasks_blocked()

    return start


Keep = Callable[[Child], Awaitable[None]]
settle = trio.testing.wait_all_tasks_blocked


# --- failing ----------------------------------------------------------------------------------------


async def test_a_crashed_child_is_restarted_at_once(autojump_clock: MockClock, keep: Keep) -> None:
    actor = FailsOnce()
    child = make_child(actor)
    await keep(child)
    assert actor.is_running
    assert len(set(actor.began_at)) == 1
    assert child.row.restarts == 1


async def test_a_child_the_outside_failed_waits_and_says_until_when(
    autojump_clock: MockClock, keep: Keep
) -> None:
    child = make_child(FailsEachTime(ConnectionLost("refused")))
    await keep(child)
    assert (child.row.hold, child.row.reason) == (State.BACKING_OFF, "refused")
    assert child.row.next_try_at == trio.current_time() + 10.0


async def test_a_child_that_waited_long_enough_tries_again(autojump_clock: MockClock, keep: Keep) -> None:
    actor = FailsEachTime(ConnectionLost("refused"))
    await keep(make_child(actor))
    await trio.sleep(25.0)
    assert [at - actor.began_at[0] for at in actor.began_at] == [0.0, 10.0, 20.0]


async def test_a_row_says_nothing_of_the_past_while_its_child_runs(
    autojump_clock: MockClock, keep: Keep
) -> None:
    child = make_child(FailsEachTime(ConnectionLost("refused"), after_s=1.0))
    await keep(child)
    await trio.sleep(11.5)
    assert (child.row.hold, child.row.reason, child.row.next_try_at) == (None, "", None)


async def test_a_permanent_failure_is_not_tried_again(autojump_clock: MockClock, keep: Keep) -> None:
    actor = FailsEachTime(PermanentError("correct the symbol"))
    child = make_child(actor)
    await keep(child)
    await trio.sleep(HALF_A_DAY_S)
    assert len(actor.began_at) == 1
    assert (child.row.hold, child.row.reason) == (State.FAILED, "correct the symbol")
    assert child.row.next_try_at is None


async def test_the_sixth_crash_quarantines_and_one_probe_a_minute_follows(
    autojump_clock: MockClock, keep: Keep
) -> None:
    actor = FailsEachTime(ZeroDivisionError("bug"))
    child = make_child(actor)
    await keep(child)
    assert len(actor.began_at) == 6
    assert child.row.hold is State.QUARANTINED
    await trio.sleep(150.0)
    assert [at - actor.began_at[0] for at in actor.began_at[6:]] == [60.0, 120.0]


async def test_an_error_without_words_is_named_by_its_class(autojump_clock: MockClock, keep: Keep) -> None:
    child = make_child(FailsEachTime(ConnectionLost()))
    await keep(child)
    assert child.row.reason == "ConnectionLost"


async def test_the_worst_of_a_group_decides(autojump_clock: MockClock, keep: Keep) -> None:
    group = ExceptionGroup("both", [ConnectionLost("lost"), PermanentError("no such symbol")])
    child = make_child(FailsEachTime(group))
    await keep(child)
    assert (child.row.hold, child.row.reason) == (State.FAILED, "no such symbol")


async def test_a_child_that_returns_is_our_bug(autojump_clock: MockClock, keep: Keep) -> None:
    actor = ReturnsEarly()
    child = make_child(actor)
    await keep(child)
    await trio.sleep(1.0)
    assert len(actor.began_at) == 6
    assert child.row.hold is State.QUARANTINED


async def test_the_backoff_is_reset_by_the_data_of_the_run_that_failed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    asked_since: list[float] = []
    actor = FailsEachTime(ConnectionLost("lost"), after_s=5.0)
    child = make_child(actor)
    child.data_s = lambda began: asked_since.append(began) or 0.0  # type: ignore[func-returns-value]
    nursery.start_soon(child.keep_alive)
    await trio.sleep(40.0)
    assert len(asked_since) == 3
    assert asked_since == actor.began_at[:3]


async def test_whoever_watches_is_told_of_each_hold(autojump_clock: MockClock, keep: Keep) -> None:
    seen: list[State | None] = []
    child = make_child(FailsEachTime(ConnectionLost("lost")))
    child.changed = lambda: seen.append(child.row.hold)
    await keep(child)
    assert seen == [State.BACKING_OFF]


# --- stop, start, restart, remove, retire: in every state ---------------------------------------------

STATES: dict[str, Callable[[], Healthy]] = {
    "running": Healthy,
    "backing off": lambda: FailsEachTime(ConnectionLost("lost")),
    "quarantined": lambda: FailsEachTime(ZeroDivisionError("bug")),
    "failed": lambda: FailsEachTime(PermanentError("no")),
}
in_every_state = pytest.mark.parametrize("make", STATES.values(), ids=STATES.keys())


@in_every_state
async def test_a_stop_works_at_once_and_lasts(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    actor = make()
    child = make_child(actor)
    await keep(child)
    runs = len(actor.began_at)
    child.stop()
    await settle()
    assert not actor.is_running
    assert (child.row.desired, child.row.hold, child.row.next_try_at) == (Desired.STOPPED, None, None)
    await trio.sleep(HALF_A_DAY_S)
    assert len(actor.began_at) == runs


@in_every_state
async def test_a_stop_is_not_a_restart(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    child = make_child(make())
    await keep(child)
    before = child.row.restarts
    child.stop()
    await settle()
    assert child.row.restarts == before


@in_every_state
async def test_a_start_ends_any_wait_at_once(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    actor = make()
    await keep(child := make_child(actor))
    actor.live = trio.sleep_forever  # type: ignore[method-assign]
    child.start()
    await settle()
    assert actor.is_running
    assert child.row.hold is None


@in_every_state
async def test_a_stopped_child_starts_again(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    actor = make()
    await keep(child := make_child(actor))
    child.stop()
    await settle()
    actor.live = trio.sleep_forever  # type: ignore[method-assign]
    child.start()
    await settle()
    assert actor.is_running
    assert child.row.desired is Desired.RUNNING


@in_every_state
async def test_stop_and_start_in_one_breath_leave_it_running(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    actor = make()
    await keep(child := make_child(actor))
    actor.live = trio.sleep_forever  # type: ignore[method-assign]
    child.stop()
    child.start()
    await settle()
    assert actor.is_running


@in_every_state
async def test_start_and_stop_in_one_breath_leave_it_stopped(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    actor = make()
    await keep(child := make_child(actor))
    child.start()
    child.stop()
    await settle()
    assert not actor.is_running


@in_every_state
async def test_a_restart_begins_a_new_run_and_counts_once(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    actor = make()
    await keep(child := make_child(actor))
    runs, restarts = len(actor.began_at), child.row.restarts
    actor.live = trio.sleep_forever  # type: ignore[method-assign]
    child.restart()
    await settle()
    assert actor.is_running
    assert len(actor.began_at) == runs + 1
    assert child.row.restarts == restarts + 1


async def test_a_restart_of_a_stopped_child_starts_it(autojump_clock: MockClock, keep: Keep) -> None:
    actor = Healthy()
    await keep(child := make_child(actor))
    child.stop()
    await settle()
    child.restart()
    await settle()
    assert actor.is_running


async def test_a_start_of_one_that_runs_changes_nothing(autojump_clock: MockClock, keep: Keep) -> None:
    actor = Healthy()
    await keep(child := make_child(actor))
    child.start()
    await settle()
    assert len(actor.began_at) == 1


async def test_a_start_forgives_the_past(autojump_clock: MockClock, keep: Keep) -> None:
    actor = FailsEachTime(ZeroDivisionError("bug"))
    await keep(child := make_child(actor))
    child.start()
    await settle()
    assert len(actor.began_at) == 12


async def test_a_child_stopped_before_its_first_run_does_not_run(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    actor = Healthy()
    child = make_child(actor)
    nursery.start_soon(child.keep_alive)
    child.stop()
    await settle()
    assert actor.began_at == []


async def test_a_restart_waits_for_the_clean_up_of_the_old_run(autojump_clock: MockClock, keep: Keep) -> None:
    actor = CleansUpSlowly()
    await keep(child := make_child(actor))
    child.restart()
    await trio.sleep(5.0)
    assert [at - actor.began_at[0] for at in actor.began_at] == [0.0, 3.0]


@in_every_state
async def test_a_removed_child_ends(autojump_clock: MockClock, make: Callable[[], Healthy]) -> None:
    actor = make()
    child = make_child(actor)
    async with trio.open_nursery() as nursery:  # left only when keep_alive returns
        nursery.start_soon(child.keep_alive)
        await settle()
        child.remove()
        with trio.fail_after(1.0):
            await settle()
    assert not actor.is_running


async def test_a_stopped_child_can_be_removed(autojump_clock: MockClock) -> None:
    child = make_child(Healthy())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.keep_alive)
        await settle()
        child.stop()
        await settle()
        child.remove()
    assert child.row.desired is Desired.STOPPED


async def test_a_retired_child_runs_to_its_own_end_and_not_again(
    autojump_clock: MockClock,
) -> None:
    actor = FailsEachTime(ConnectionLost("closed"), after_s=7.0)
    child = make_child(actor)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.keep_alive)
        await settle()
        child.retire()
    assert trio.current_time() == actor.began_at[0] + 7.0
    assert len(actor.began_at) == 1


# --- clean-up that raises ---------------------------------------------------------------------------

BAD_CLEAN_UP = pytest.mark.parametrize("make", [RaisesInCleanUp, RaisesInCleanUpOfANursery])


@BAD_CLEAN_UP
async def test_a_clean_up_that_raises_does_not_hinder_a_stop(
    autojump_clock: MockClock, keep: Keep, make: Callable[[], Healthy]
) -> None:
    await keep(child := make_child(make()))
    child.stop()
    await settle()
    assert (child.row.desired, child.row.hold) == (Desired.STOPPED, None)


@BAD_CLEAN_UP
async def test_a_clean_up_that_raises_does_not_break_the_stop_of_everything(
    autojump_clock: MockClock, make: Callable[[], Healthy]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_child(make()).keep_alive)
        await settle()
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught


@BAD_CLEAN_UP
async def test_a_clean_up_that_raises_breaks_no_stop_that_cancels_child_and_nursery_together(
    autojump_clock: MockClock, make: Callable[[], Healthy]
) -> None:
    child = make_child(make())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.keep_alive)
        await settle()
        child.remove()
        nursery.cancel_scope.cancel()
    assert child.row.hold is None


async def test_a_sibling_does_not_notice_a_crash(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    sibling = Healthy()
    nursery.start_soon(make_child(sibling).keep_alive)
    nursery.start_soon(make_child(FailsEachTime(ZeroDivisionError("bug"))).keep_alive)
    await trio.sleep(1_000.0)
    assert sibling.is_running
    assert len(sibling.began_at) == 1


async def test_what_is_no_exception_of_ours_to_hold_passes() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    child = Child(
        name="child", run=interrupted, row=ChildRow(name="child"), policy=RestartPolicy(settings=SETTINGS)
    )
    with pytest.raises(KeyboardInterrupt):
        await child.keep_alive()


# --- what the daemon cannot live without --------------------------------------------------------------


async def test_an_essential_child_that_fails_gives_up_with_its_reason() -> None:
    reasons: list[str] = []
    await run_essential("writer", FailsEachTime(ZeroDivisionError("bug")).run, reasons.append)
    assert reasons == ["writer crashed: bug"]


async def test_an_essential_child_that_is_done_gives_nothing_up() -> None:
    reasons: list[str] = []
    await run_essential("writer", ReturnsEarly().run, reasons.append)
    assert reasons == []


async def test_an_essential_child_that_is_cancelled_gives_nothing_up(
    autojump_clock: MockClock,
) -> None:
    reasons: list[str] = []
    with trio.move_on_after(1.0) as scope:
        await run_essential("writer", RaisesInCleanUpOfANursery().run, reasons.append)
    assert scope.cancelled_caught
    assert reasons == []


async def test_what_runs_beside_everything_else_ends_nothing_where_it_fails() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_beside, "warm up", FailsEachTime(ZeroDivisionError("bug")).run)


# --- a fence round a call -----------------------------------------------------------------------------


async def test_a_bug_in_a_guarded_call_is_an_invariant_error() -> None:
    async def divide(value: int, /) -> float:
        return value / 0

    with pytest.raises(InvariantError):
        await guarded("control", divide)(1)


async def test_an_error_of_ours_in_a_guarded_call_stays_what_it_is() -> None:
    async def refuse() -> None:
        raise RejectedError("no")

    with pytest.raises(RejectedError):
        await guarded("control", refuse)()


async def test_a_guarded_call_returns_what_was_called_returns() -> None:
    async def add(*, left: int, right: int) -> int:
        return left + right

    assert await guarded("control", add)(left=1, right=2) == 3
