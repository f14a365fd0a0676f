"""The operating system's signals: remembered from the first moment, harmless at the last.

Standard library only, because `install` runs before anything slow is imported: an unhandled
SIGUSR1 kills a process, also one that is still starting.
"""

import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
HARMLESS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
HANDLED = (*STOPPING, *HARMLESS)

_remembered: Counter[int] = Counter()


def install() -> None:
    """From now on remember our signals instead of dying of them."""
    for number in HANDLED:
        signal.signal(number, _remember)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # ours only, of timers round strategies


def _remember(number: int, frame: FrameType | None) -> None:
    _remembered[number] += 1


def take_stopping() -> bool:
    """Return whether one that asks for a stop was remembered since the last look."""
    return sum(_remembered.pop(number, 0) for number in STOPPING) > 0


def forget() -> None:
    """Forget what was remembered: in a child process it was meant for the parent."""
    _remembered.clear()


async def received() -> AsyncGenerator[signal.Signals, None]:
    """Yield our signals as they come, those remembered first. Equal ones may coalesce.

    When the caller is done, the harmless ones are ignored and the stopping ones remembered, so
    that the last steps of a stop cannot be killed by a late SIGUSR1.
    """
    import trio

    try:
        with trio.open_signal_receiver(*HANDLED) as signals:
            for number in [number for number in HANDLED if _remembered.pop(number, 0)]:
                yield number
            async for value in signals:
                yield signal.Signals(value)
    finally:
        ignore_harmless()


def ignore_harmless() -> None:
    """Ignore the signals that mean nothing to a process that is about to end."""
    for number in HARMLESS:
        signal.signal(number, signal.SIG_IGN)


# --- the alarm, which ends a strategy that does not --------------------------------------------


def on_alarm(ring: Callable[[FrameType | None], None]) -> None:
    """Call `ring` with the frame that runs whenever the alarm goes off. For the main thread."""
    signal.signal(signal.SIGALRM, lambda _, frame: ring(frame))


def set_alarm(*, after_s: float, again_s: float) -> None:
    """Let the alarm go off after a time, and again and again from then on."""
    signal.setitimer(signal.ITIMER_REAL, after_s, again_s)


def stop_alarm() -> None:
    """Let no alarm go off any more; one that just did may still ring."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)
