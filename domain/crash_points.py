"""Named places at which a test can kill the process: `MARKETD_CRASH_AT=name:n`, the n-th time it is reached.

SIGKILL, as a power cut would be: nothing is flushed, no handler runs.
"""

import os
import signal
from collections import Counter
from functools import cache

VARIABLE = "MARKETD_CRASH_AT"

# In the order a price passes them. benchmarks/crash.py hits each of them in any daemon.
NAMES = (
    "accept.taken",  # out of the mailboxes, not in the journal
    "accept.appended",  # in the journal's transaction, not committed
    "accept.committed",
    "store.begun",  # the position is locked
    "store.inserted",
    "store.positioned",
    "store.committed",
    "trim.deleted",  # one slice, not committed
    "drop.deleted",  # the oldest ticks of a full journal, not committed
    "control.written",  # control.json.new is synced, not renamed
)

# In the order a trade passes them; only a daemon whose strategies trade does.
TRADE_NAMES = (
    "trade.decided",  # approved, not offered to the money lane
    "trade.intended",  # acknowledged, not given to the broker
    "trade.sent",  # acknowledged, not sent
    "trade.placed",  # sent, its answer not known
    "trade.opened",  # known to be open, not offered to the money lane
    "trade.settled",  # its result is known, not offered to the money lane
)
ALL_NAMES = NAMES + TRADE_NAMES

_reached: Counter[str] = Counter()


@cache
def _wanted() -> tuple[str, int] | None:
    name, _, count = os.environ.get(VARIABLE, "").partition(":")
    if not name:
        return None
    if name not in ALL_NAMES or not count.isdigit():
        raise SystemExit(
            f"{VARIABLE}={os.environ[VARIABLE]!r}: expected NAME:N, NAME of {', '.join(ALL_NAMES)}"
        )
    return name, int(count)


def crash_point(name: str) -> None:
    """Die here if this is the place and the time that the environment asks for."""
    wanted = _wanted()
    if wanted is None or wanted[0] != name:
        return
    _reached[name] += 1
    if _reached[name] == wanted[1]:
        os.kill(os.getpid(), signal.SIGKILL)
