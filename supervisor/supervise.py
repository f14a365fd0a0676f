"""Keeps one child alive. Every `except Exception` of the whole tree is here."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import attrs
import trio

from domain.errors import InvariantError, MarketdError, StrategyOverran
from domain.events import Event, emit
from domain.states import ChildRow, Desired, State
from supervisor.policy import Blame, Decision, RestartPolicy, blame, worst

TRACEBACK_CHARACTERS = 4_000  # the end of a traceback is the part that tells
MOST_WORDS = 500  # characters of a user's exception

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def outcome_of(name: str, run: Callable[[], Awaitable[None]]) -> Exception | None:
    """Run something; return what it failed with. Cancellation passes through, and nothing beside it."""
    try:
        await run()
    except Exception as error:
        return error
    except BaseExceptionGroup as group:  # cancelled from outside, and its clean-up failed
        failures, rest = group.split(Exception)
        if failures is not None:
            _log_failure(name, failures, "failed while it was stopped")
        if rest is not None:
            raise rest from None
    return None


def failure_of(call: Callable[[], object]) -> BaseException | None:
    """Call something of a user's, such as a strategy; return what it failed with, None where it did not.

    It waits for nothing of ours, so whatever it raises is its own: only Ctrl-C and the alarm are not.
    """
    try:
        call()
    except (KeyboardInterrupt, StrategyOverran):
        raise
    except BaseException as error:  # also `asyncio.CancelledError` and the like
        return error
    return None


def words_of(error: BaseException) -> str:
    """Return what an exception of a user's code says, cut short; its `__str__` may fail too."""
    said: list[str] = []
    failure = failure_of(lambda: said.append(str(error)))
    return said[0][:MOST_WORDS] if failure is None else "(it cannot say what)"


def guarded(
    name: str, call: Callable[Arguments, Awaitable[Result]]
) -> Callable[Arguments, Awaitable[Result]]:
    """Return `call` with a fence round it: a bug in it is logged, and raised as InvariantError."""

    async def call_guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        results: list[Result] = []

        async def run() -> None:
            results.append(await call(*args, **kwargs))

        error = await outcome_of(name, run)
        if error is None:
            return results[0]
        if isinstance(error, MarketdError):
            raise error
        _log_failure(name, error, "crashed")
        raise InvariantError(f"{name}: internal error, see the log: {error!r}") from error

    return call_guarded


async def run_essential(
    name: str, run: Callable[[], Awaitable[None]], give_up: Callable[[str], None]
) -> None:
    """Run what the daemon cannot live without: its failure ends the daemon, in order."""
    error = await outcome_of(name, run)
    if error is not None:
        _log_failure(name, error, "crashed")
        give_up(f"{name} crashed: {worst(error)}")


def _no_data(since: float) -> float:
    return 0.0


@attrs.define(kw_only=True, eq=False)
class Child:
    """One child of the tree: how to run it, its row on the board, and its way of failing.

    `run` makes a fresh actor each time and runs it; `data_s` tells how long data flowed in the
    run that just failed, given the time it began; `changed` is called whenever the row may show
    another state.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    row: ChildRow
    policy: RestartPolicy
    data_s: Callable[[float], float] = _no_data
    changed: Callable[[], None] = lambda: None
    _scope: trio.CancelScope | None = None
    _wake: trio.Event | None = None  # while it sleeps
    _is_removed: bool = False

    async def keep_alive(self) -> None:
        """Run the child again and again, as the policy decides, until it is removed."""
        while not self._is_removed:
            if self.row.desired is Desired.STOPPED or self.row.hold is State.FAILED:
                await self._sleep(None)
                continue
            started = trio.current_time()
            error = await self._run_once()
            if self._is_removed or error is None:
                continue
            now = trio.current_time()
            decision = self.policy.decide(
                worst(error), now=now, data_s=self.data_s(started), ran_s=now - started
            )
            await self._hold(decision, error)

    def stop(self) -> None:
        """Stop it now, also while it waits; it stays stopped until `start`."""
        self.row.desired = Desired.STOPPED
        self._release()
        self._interrupt()

    def start(self) -> None:
        """Start it now with its past forgiven; no effect on one that runs."""
        self.row.desired = Desired.RUNNING
        self._release()
        self.policy.forgive()
        self._wake_up()
        self.changed()

    def restart(self) -> None:
        """Start it over, wherever it is."""
        self.row.restarts += 1
        self.start()
        self._interrupt()

    def retire(self) -> None:
        """Let it end by itself: when its run returns, so does `keep_alive`."""
        self._is_removed = True

    def remove(self) -> None:
        """End it for good: `keep_alive` returns."""
        self._is_removed = True
        self._interrupt()

    async def _run_once(self) -> Exception | None:
        """Run it once; return what it failed with, None when it was interrupted.

        The scope stands inside `outcome_of`: what a cancelled child's clean-up raises is caught
        as its own, and neither breaks the stop nor hides behind the cancellation.
        """
        scope = self._scope = trio.CancelScope()
        error = await outcome_of(self.name, self._run_in_scope)
        if self._is_removed or scope.cancel_called:
            if error is not None and blame(worst(error)) is Blame.OURS:
                _log_failure(self.name, error, "failed while it was stopped")
            return None
        return error or InvariantError(f"{self.name} returned, although it is to run for ever")

    async def _run_in_scope(self) -> None:
        assert self._scope is not None
        with self._scope:
            await self.run()

    async def _hold(self, decision: Decision, group: Exception) -> None:
        error = worst(group)
        self.row.hold = decision.hold
        self.row.reason = f"{error}" or type(error).__name__
        if decision.delay_s is not None:
            self.row.next_try_at = trio.current_time() + decision.delay_s
        if decision.hold in (None, State.QUARANTINED):
            _log_failure(self.name, group, "crashed")
        if decision.hold is State.QUARANTINED:
            emit(
                Event.QUARANTINE,
                f"{self.name} quarantined after too many crashes: {self.row.reason}",
                level=logging.ERROR,
                actor=self.name,
                reason=self.row.reason,
            )
        self.changed()
        if await self._sleep(decision.delay_s):
            return  # by then somebody has said what is to become of it
        self._release()
        self.row.restarts += 1

    async def _sleep(self, delay_s: float | None) -> bool:
        """Sleep, for ever where the delay is None; return whether it was woken."""
        self._wake = wake = trio.Event()
        with trio.move_on_after(float("inf") if delay_s is None else delay_s):
            await wake.wait()
        return wake.is_set()

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _release(self) -> None:
        self.row.hold = None
        self.row.reason = ""
        self.row.next_try_at = None

    def _interrupt(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        self._wake_up()
        self.changed()


def _log_failure(name: str, error: Exception, what: str) -> None:
    """Say once what failed and where in the code; the traceback goes along as a field."""
    cause = worst(error)
    frames = traceback.extract_tb(cause.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    text = f"{type(cause).__name__}: {cause}"
    emit(
        Event.CRASH,
        f"{name} {what}: {text}{place}",
        level=logging.ERROR,
        actor=name,
        reason=text,
        traceback="".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:],
    )
