"""Hosts of simulated sessions, for tests without sockets."""

from collections.abc import Callable

from venues.simulated.protocol import SimulatedTick

NOW_US = 1_795_000_000_000_000


class HostKeepsAll:
    """Notes what a session does; `pass_time` does what it put off. `now_us` is its wall clock."""

    def __init__(self, now_us: Callable[[], int] = lambda: NOW_US) -> None:
        self.now_us = now_us
        self.ticks: list[SimulatedTick] = []
        self.sent: list[str] = []
        self.closed: list[tuple[int, str]] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._now_s = 0.0

    def deliver(self, tick: SimulatedTick) -> None:
        self.ticks.append(tick)

    def send(self, text: str) -> None:
        self.sent.append(text)

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._later.append((self._now_s + delay_s, len(self._later), call))

    def take_sent(self) -> list[str]:
        """Return what was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent

    def pass_time(self, for_s: float) -> None:
        """Call what falls due meanwhile, in order, also what is put off meanwhile."""
        end_s = self._now_s + for_s
        while due := sorted(each for each in self._later if each[0] <= end_s):
            self._later.remove(due[0])
            self._now_s = due[0][0]
            due[0][2]()
        self._now_s = end_s
