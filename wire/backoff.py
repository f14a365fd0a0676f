"""How long to wait before trying again. Pure."""

import random
from collections.abc import Callable


def bound_s(*, attempt: int, min_s: float, max_s: float) -> float:
    """Return the exponential bound of the given attempt (0 is the first), in seconds."""
    return min(max_s, min_s * 2.0 ** min(attempt, 63))


def delay_s(
    *,
    attempt: int,
    min_s: float,
    max_s: float,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float:
    """Return a delay uniform between `min_s` and the attempt's exponential bound.

    The whole range is drawn from, so that clients that lost the same server at one moment come
    back spread out, also once the bound has reached `max_s`.
    """
    return uniform(min_s, max(min_s, bound_s(attempt=attempt, min_s=min_s, max_s=max_s)))
