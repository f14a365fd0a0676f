"""Spaces the starts at one venue, so that no burst of ours looks like an attack.

Every connect and every subscribe passes, first start and restart alike; the order is first come,
first served. Connects also keep to the venue's own budget, whose recent past is on disk, so that
a crash loop cannot burn it.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs
import msgspec
import trio

from domain.clock import now_us
from supervisor.small_files import Keep
from venues.protocol import Budget


@attrs.define(eq=False)
class _Pass:
    """One turn at the gate that several subscribes on one connection may share."""

    members: int = 1
    has_passed: bool = False
    settled: trio.Event = attrs.field(factory=trio.Event)  # passed, or its leader gave up


class Gate:
    """One venue's gate. Whoever waits here shows it by the state `waiting`."""

    def __init__(
        self,
        *,
        spacing_s: float,
        starts_per_pass: int,
        budgets: Sequence[Budget],
        connects: Sequence[int],
        memory: Path,
        keep: Keep,
    ) -> None:
        self.spacing_s = spacing_s
        self.starts_per_pass = starts_per_pass
        self._budgets = budgets
        self._connects = deque(connects)  # wall times in µs, as remembered in `memory`
        self._memory = memory
        self._keep = keep
        self._line = trio.StrictFIFOLock()
        self._opens_at = -float("inf")  # monotonic
        self._passes: dict[str, _Pass] = {}  # by connection: the pass still waiting in line

    @property
    def is_free(self) -> bool:
        """Whether nobody waits here."""
        return not self._line.locked() and not self._passes

    async def pass_connect(self) -> None:
        """Wait for a turn to connect, and for room in the venue's budget of attempts."""
        while True:
            if wait_s := self._budget_wait_s():
                await trio.sleep(wait_s)  # not in line: subscribes go on meanwhile
            async with self._line:
                await self._wait_spacing()
                if self._budget_wait_s() == 0:
                    self._opens_at = trio.current_time() + self.spacing_s
                    self._remember_connect()
                    return

    async def pass_subscribe(self, connection: str) -> None:
        """Wait for a turn to subscribe one market on `connection`.

        Up to `starts_per_pass` markets that wait for one connection share a turn.
        """
        while (shared := self._passes.get(connection)) and shared.members < self.starts_per_pass:
            shared.members += 1
            await shared.settled.wait()
            if shared.has_passed:
                return
        mine = self._passes[connection] = _Pass()
        try:
            async with self._line:
                await self._wait_spacing()
                self._opens_at = trio.current_time() + self.spacing_s
                mine.has_passed = True
        finally:
            if self._passes.get(connection) is mine:
                del self._passes[connection]
            mine.settled.set()

    def _budget_wait_s(self) -> float:
        now = now_us()
        # A time in the future (the clock stepped back) ages from now on, instead of blocking until then.
        self._connects = deque(min(ts_us, now) for ts_us in self._connects)
        return budget_wait_s(self._connects, self._budgets, now)

    async def _wait_spacing(self) -> None:
        await trio.sleep_until(max(self._opens_at, trio.current_time()))

    def _remember_connect(self) -> None:
        longest_us = max((budget.window_s for budget in self._budgets), default=0) * 1_000_000
        now = now_us()
        self._connects.append(now)
        while self._connects and self._connects[0] <= now - longest_us:
            self._connects.popleft()
        self._keep(self._memory, partial(write_connects, self._memory, tuple(self._connects)))


def budget_wait_s(connects: Sequence[int], budgets: Sequence[Budget], at_us: int) -> float:
    """Return how long to wait until one more connect keeps to every budget.

    `connects` are wall times in µs, oldest first, none in the future.
    """
    wait_us = 0
    for attempts, window_s in budgets:
        window_us = window_s * 1_000_000
        recent = [ts_us for ts_us in connects if ts_us > at_us - window_us]
        if len(recent) >= attempts:
            wait_us = max(wait_us, recent[-attempts] + window_us - at_us)
    return wait_us / 1_000_000


def connects_file(state_dir: Path, venue: str) -> Path:
    """Return where a venue's recent connects are remembered."""
    return state_dir / f"connects-{venue}.json"


def read_connects(path: Path) -> list[int]:
    """Return the connects remembered from before; none where the file is missing or broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[int])
    except (OSError, msgspec.DecodeError):
        return []


def write_connects(path: Path, connects: Sequence[int]) -> None:
    """Write them to a new file and rename it; not synced: after a power cut minutes have passed."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(list(connects)))
    fresh.rename(path)
