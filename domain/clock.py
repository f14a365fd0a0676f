"""The one home of wall time. Ages and deadlines use the monotonic clock instead."""

import time

read_ns = time.time_ns  # tests that live through days in moments put another clock here


def now_us() -> int:
    """Return the wall clock: microseconds since 1970, UTC."""
    return read_ns() // 1_000


def as_text(ts_us: int) -> str:
    """Return `ts_us` as ISO 8601 in UTC with microseconds, as logs and pages show it."""
    seconds, micros = divmod(ts_us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z"
