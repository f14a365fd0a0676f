import asyncio
import functools
import math
import os
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from domain.errors import MissingHistory
from strategies.desk import Seat
from strategies.strategy import Strategy, View
from supervisor import fence
from supervisor.fence import Fence, failure_in_time

GUARD_S = 60.0  # against hanging


@pytest.fixture(autouse=True)
def same_alarm_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is taken for an endless loop after 50 ms."""
    monkeypatch.setattr(fence, "ENDS_WITHIN_S", 0.05)
    monkeypatch.setattr(fence, "AGAIN_S", 0.005)


def a_seat() -> Seat:
    return Seat(name="mine", market="EURUSD@sim", expiry_s=60, make=Strategy)


def call(work: Callable[..., Any], *arguments: Any, seat: Seat | None = None) -> tuple[Any, Seat, list[Seat]]:
    """Return what a call gives, its seat, and those that were told of."""
    seat, told = seat or a_seat(), list[Seat]()
    return Fence(told.append)(seat, work, *arguments), seat, told


def test_what_a_strategy_returns_is_handed_on() -> None:
    result, seat, told = call(max, 1, 2)
    assert (result, seat.set_aside, told) == (2, "", [])


def test_a_strategy_that_raises_is_set_aside_with_the_place_in_its_code() -> None:
    def divides() -> float:
        return 1 / 0

    result, seat, told = call(divides)
    assert result is None
    assert seat.set_aside.startswith("ZeroDivisionError: division by zero at test_fence.py:")
    assert told == [seat]


def test_an_error_of_ours_says_what_it_is() -> None:
    def asks() -> None:
        raise MissingHistory("it asks for 10 candles, and its warm_up_candles keeps 0")

    _, seat, _ = call(asks)
    assert seat.set_aside.startswith(
        "MissingHistory: it asks for 10 candles, and its warm_up_candles keeps 0"
    )


class Asks(Strategy):
    """Asks for candles that nobody keeps."""

    def on_candle(self, candle: Any, view: View) -> None:
        view.candles(10)


def test_an_error_of_ours_is_found_in_the_strategys_own_file() -> None:
    seat = Seat(name="mine", market="EURUSD@sim", expiry_s=60, make=Asks)
    call(seat.strategy.on_candle, None, seat.view, seat=seat)
    assert re.fullmatch(
        r"MissingHistory: it asks for 10 candles, .* keeps 0 at test_fence\.py:\d+", seat.set_aside
    )


def test_a_strategy_that_wants_to_leave_does_not_end_the_daemon() -> None:
    _, seat, _ = call(exit, 3)
    assert seat.set_aside.startswith("SystemExit: 3")


class NoWords(BaseException):
    """One of an event loop's, say, that cannot even be shown."""

    def __str__(self) -> str:
        raise AttributeError("source")


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, NoWords])
def test_whatever_a_strategy_raises_does_not_end_the_daemon(error: type[BaseException]) -> None:
    def raises() -> None:
        raise error.__new__(error)

    _, seat, told = call(raises)
    assert seat.set_aside.startswith(error.__name__)
    assert told == [seat]


def test_a_method_without_a_name_is_called_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "SLOW_S", 0.0)  # so that it is counted
    result, seat, _ = call(functools.partial(max, 1), 2)
    assert (result, seat.set_aside) == (2, "")


# --- endless loops ----------------------------------------------------------------------------------


def spins() -> None:
    while True:
        pass


def swallows_exceptions() -> None:
    while True:
        try:  # noqa: SIM105 - as people write it
            time.sleep(0)
        except Exception:  # noqa: BLE001 - as people write it
            pass


def sleeps_for_ever() -> None:
    time.sleep(3_600)


def swallows_everything_twice() -> None:
    swallowed = 0
    while swallowed < 2:
        try:
            spins()
        except BaseException:  # noqa: BLE001 - as careless people write it
            swallowed += 1
    spins()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loops", [spins, swallows_exceptions, sleeps_for_ever, swallows_everything_twice])
def test_a_strategy_that_does_not_end_is_set_aside(loops: Callable[[], None]) -> None:
    result, seat, told = call(loops)
    assert result is None
    assert seat.set_aside == "did not return within 0.05 s"
    assert told == [seat]


@pytest.mark.usefixtures("impatient")
def test_after_an_endless_loop_no_alarm_goes_off_any_more() -> None:
    call(spins)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_from_elsewhere_hits_nothing() -> None:
    Fence(lambda _: None)
    os.kill(os.getpid(), signal.SIGALRM)
    assert math.fsum([0.5, 0.5]) == 1.0


def test_an_alarm_while_the_fence_itself_is_at_work_hits_nothing() -> None:
    def told(seat: Seat) -> None:  # called by the fence, outside of the strategy
        os.kill(os.getpid(), signal.SIGALRM)
        assert seat.set_aside

    assert Fence(told)(a_seat(), exit) is None


# --- slowness ---------------------------------------------------------------------------------------


class Clock:
    """A clock that the test turns: on the wall, of our processor time, of times we gave it away.

    And of what other threads of ours computed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.others_s = (0.0, 0.0, 0), 0.0
        monkeypatch.setattr(fence.time, "perf_counter", lambda: self.now[0])
        monkeypatch.setattr(fence.time, "thread_time", lambda: self.now[1])
        monkeypatch.setattr(fence.time, "process_time", lambda: self.now[1] + self.others_s)
        monkeypatch.setattr(fence.resource, "getrusage", lambda _: self)

    @property
    def ru_nvcsw(self) -> int:
        return self.now[2]

    def take(self, *, wall_ms: float, cpu_ms: float = 0.0, waits: int = 0, others_ms: float = 0.0) -> None:
        self.others_s += others_ms / 1_000
        wall_s, cpu_s, waited = self.now
        self.now = (wall_s + wall_ms / 1_000, cpu_s + cpu_ms / 1_000, waited + waits)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def calls(clock: Clock, *costs: dict[str, Any], seat: Seat | None = None) -> Seat:
    """Let a strategy's method cost so much each time."""
    seat, one = seat or a_seat(), Fence(lambda _: None)

    def on_candle(cost: dict[str, Any]) -> None:
        clock.take(**cost)

    for cost in costs:
        one(seat, on_candle, cost)
    return seat


COMPUTES = {"wall_ms": 50, "cpu_ms": 50}
SLEEPS = {"wall_ms": 50, "waits": 1}
PREEMPTED = {"wall_ms": 500, "cpu_ms": 1}
STOOD_ASIDE = {"wall_ms": 35, "cpu_ms": 10, "waits": 2, "others_ms": 20}  # for the interpreter
QUICK = {"wall_ms": 1, "cpu_ms": 1}


@pytest.mark.parametrize("cost", [COMPUTES, SLEEPS])
def test_a_strategy_that_is_slow_three_times_in_ten_is_set_aside(clock: Clock, cost: dict[str, Any]) -> None:
    seat = calls(clock, cost, *[QUICK] * 8, cost)
    assert not seat.set_aside
    seat = calls(clock, cost, *[QUICK] * 4, cost, *[QUICK] * 3, cost)
    assert seat.set_aside == "slow: 3 of its last 10 calls of on_candle took more than 20 ms, the last 50 ms"


def test_a_strategy_that_is_slow_now_and_then_is_not_set_aside(clock: Clock) -> None:
    assert not calls(clock, *[*[COMPUTES] * 2, *[QUICK] * 9] * 5).set_aside


@pytest.mark.parametrize("cost", [PREEMPTED, STOOD_ASIDE])
def test_time_that_others_had_is_not_the_strategys(clock: Clock, cost: dict[str, Any]) -> None:
    assert not calls(clock, *[cost] * 20).set_aside


def test_quick_ticks_do_not_hide_slow_candles(clock: Clock) -> None:
    seat, one = a_seat(), Fence(lambda _: None)

    def on_candle() -> None:
        clock.take(**COMPUTES)

    def on_tick() -> None:
        clock.take(**QUICK)

    for _ in range(3):
        for _ in range(50):
            one(seat, on_tick)
        one(seat, on_candle)
    assert "of on_candle" in seat.set_aside


def test_whoever_comes_back_begins_with_a_clean_slate(clock: Clock) -> None:
    seat, one = a_seat(), Fence(lambda _: None)

    def on_candle() -> None:
        clock.take(**COMPUTES)

    for _ in range(3):
        one(seat, on_candle)
    assert seat.set_aside
    seat.set_aside = ""
    for _ in range(2):
        one(seat, on_candle)
    assert not seat.set_aside


def test_loading_that_does_not_end_is_given_up_with_the_place_in_its_code(
    impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "LOADS_WITHIN_S", 0.05)

    def waits() -> None:
        time.sleep(GUARD_S)

    failure = failure_in_time(waits)
    assert isinstance(failure, TimeoutError)
    assert str(failure) == "did not end within 0.05 s"
    places = [frame.name for frame in traceback.extract_tb(failure.__traceback__)]
    assert "waits" in places
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_loading_tells_what_it_failed_with() -> None:
    assert failure_in_time(lambda: None) is None
    assert isinstance(failure_in_time(lambda: 1 / 0), ZeroDivisionError)
