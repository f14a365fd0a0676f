"""Whose turn it is: when which simulated market ticks. Pure."""

import math

MOST_AT_ONCE = 1_000  # ticks: 5 ms of work, then it is the sockets' turn


class Turns:
    """Makes each of `markets` markets tick `rate` times a second on average, evenly spread.

    Tick k is due at k / (rate × markets) seconds and belongs to market k modulo their number: no
    drift, and nothing to sort. What is more than a second late is left out, so that a simulator
    that was stopped for a while does not make up for it in one burst.
    """

    def __init__(self, *, rate: float, markets: int) -> None:
        self._per_second = rate * markets
        self._markets = markets
        self._made = 0

    def due(self, at_s: float) -> list[int]:
        """Return the indices of the markets whose ticks are due by then, in order, once each tick.

        At most 1,000 of them; the rest is still due.
        """
        due = int(at_s * self._per_second)
        first = max(self._made, due - math.ceil(self._per_second))
        self._made = max(self._made, min(due, first + MOST_AT_ONCE))
        return [number % self._markets for number in range(first, self._made)]

    def next_s(self) -> float:
        """Return when the next tick is due."""
        return (self._made + 1) / self._per_second
