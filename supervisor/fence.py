"""The fence round strategies: one that raises, does not end or is slow again and again is found out.

Strategies run in the loop, where nothing may take long: every other market waits meanwhile. Code that
waits inside C (one huge multiplication) cannot be interrupted; the service manager's watchdog ends that.
"""

import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs

from domain.errors import StrategyOverran
from strategies.desk import Seat
from strategies.strategy import Strategy
from supervisor import signals
from supervisor.supervise import failure_of, words_of

ENDS_WITHIN_S = 1.0  # a call that takes longer is taken for an endless loop
LOADS_WITHIN_S = 10.0  # a user's file: it may import a large library on a slow disk
AGAIN_S = 0.05  # into code that swallows even this, once more
SLOW_S = 0.020  # of our time: twenty times what a price may take from the wire to a decision
LAST_CALLS, SLOW_CALLS = 10, 3  # slow so often in so many is not bad luck


class _Clock:
    """What a call costs: time on the wall, processor time, and how often we gave the processor away."""

    __slots__ = ("_all_cpu_s", "_cpu_s", "_waits", "_wall_s")

    def __init__(self) -> None:
        self._wall_s = time.perf_counter()
        self._cpu_s = time.thread_time()
        self._all_cpu_s = time.process_time()
        self._waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    def slow_ms(self) -> float:
        """Return how long it took where that was too long, else 0.

        Time in which the system ran somebody else is not the strategy's: what it computed is, and
        what it slept or waited for. Of that wait, what our other threads computed is not either: it
        had to give the interpreter to them.
        """
        took_s = time.perf_counter() - self._wall_s
        if took_s <= SLOW_S:
            return 0.0
        cpu_s = time.thread_time() - self._cpu_s
        if cpu_s > SLOW_S:
            return cpu_s * 1_000
        has_waited = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw > self._waits
        waited_s = took_s - (time.process_time() - self._all_cpu_s)
        return waited_s * 1_000 if has_waited and waited_s > SLOW_S else 0.0


@attrs.define(eq=False)
class Fence:
    """Calls strategies for the desks. For the main thread, one call at a time.

    A seat whose strategy raises, does not end or is slow again and again is set aside with its reason,
    and `told` of it. Knows each method's last calls.
    """

    told: Callable[[Seat], None]
    _slow: dict[tuple[str, str, str], deque[float]] = attrs.field(factory=dict)  # ms, 0 for quick calls

    def __attrs_post_init__(self) -> None:
        signals.on_alarm(_ring)

    def __call__(self, seat: Seat, method: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a strategy's method returns; None where it fails, and then the seat is set aside."""
        results: list[Any] = []
        clock = _Clock()
        try:
            failure = _timed(lambda: results.append(method(*arguments)), within_s=ENDS_WITHIN_S)
        except StrategyOverran:
            self._set_aside(seat, f"did not return within {ENDS_WITHIN_S:g} s")
            return None
        except KeyboardInterrupt as error:  # not a Ctrl-C: the daemon has a handler of its own for that
            failure = error
        finally:
            signals.stop_alarm()
        if failure is not None:
            self._set_aside(seat, _text(failure, type(seat.strategy)))
            return None
        asked = arguments[0] if arguments and callable(arguments[0]) else method
        slow = self._count((seat.market, seat.name, _name(asked)), clock.slow_ms())
        if slow:
            self._set_aside(seat, slow)
        return results[0]

    def _set_aside(self, seat: Seat, reason: str) -> None:
        seat.set_aside = reason
        for key in [key for key in self._slow if key[:2] == (seat.market, seat.name)]:
            del self._slow[key]
        self.told(seat)

    def _count(self, key: tuple[str, str, str], slow_ms: float) -> str:
        """Count a call; return what is wrong with the last ones together."""
        calls = self._slow.get(key)
        if calls is None:
            if not slow_ms:
                return ""  # most are never slow, and cost nothing here
            calls = self._slow[key] = deque(maxlen=LAST_CALLS)
        calls.append(slow_ms)
        slow = [each for each in calls if each]
        if not slow:
            del self._slow[key]
        if len(slow) < SLOW_CALLS:
            return ""
        return (
            f"slow: {len(slow)} of its last {len(calls)} calls of {key[2]} took more than "
            f"{SLOW_S * 1_000:.0f} ms, the last {slow[-1]:.0f} ms"
        )


def failure_in_time(work: Callable[[], object]) -> BaseException | None:
    """Load something of a user's; return what it failed with, `TimeoutError` where it does not end.

    For the main thread: nothing else goes on meanwhile, in a reload either.
    """
    signals.on_alarm(_ring)
    try:
        return _timed(work, within_s=LOADS_WITHIN_S)
    except StrategyOverran as overran:
        error = TimeoutError(f"did not end within {LOADS_WITHIN_S:g} s")
        return error.with_traceback(overran.__traceback__)
    finally:
        signals.stop_alarm()


def _timed(work: Callable[[], object], *, within_s: float) -> BaseException | None:
    signals.set_alarm(after_s=within_s, again_s=AGAIN_S)
    return failure_of(work)


# What a strategy runs under: an alarm that rings anywhere else is none of ours, and means nothing.
_INSIDE = _timed.__code__


def _ring(frame: FrameType | None) -> None:
    """The alarm went off: raise into what a strategy calls, and into nothing else."""
    if frame is None or frame.f_code is _INSIDE:
        return
    outer = frame.f_back
    while outer is not None:
        if outer.f_code is _INSIDE:
            raise StrategyOverran
        outer = outer.f_back


def _name(method: Callable[..., Any]) -> str:
    return str(getattr(method, "__name__", type(method).__name__))  # a `partial` has none


def _text(error: BaseException, cls: type[Strategy]) -> str:
    """Return what an exception says, with the last place it passed in the strategy's own file, if any."""
    own = getattr(sys.modules.get(cls.__module__), "__file__", None)
    step, place, place_in_own = error.__traceback__, "", ""
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        place = f" at {name.rpartition('/')[2]}:{step.tb_lineno}"
        if name == own:
            place_in_own = place
        step = step.tb_next
    return f"{type(error).__name__}: {words_of(error)}{place_in_own or place}"
