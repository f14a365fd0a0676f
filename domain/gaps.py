"""Times without ticks: the causes, and the rows of the `gap` table."""

import enum
from typing import NamedTuple


class Cause(enum.StrEnum):
    """Why ticks are missing; `gap.cause`."""

    DISCONNECT = "disconnect"
    STALE = "stale"
    OVERFLOW = "overflow"
    JOURNAL_FULL = "journal_full"
    DOWNTIME = "downtime"
    STOPPED = "stopped"
    CLOSED = "closed"
    CLOCK = "clock"
    REFUSED = "refused"


# The market was at rest and nothing is wrong: these count neither in status nor against trading.
AT_REST = frozenset({Cause.STOPPED, Cause.CLOSED})


class Gap(NamedTuple):
    """A row of `gap` as it stands: no tick of `market` lies between the two times, both exclusive.

    `to_us` is None while the gap is open. A later row of equal `(market, from_us, cause)` replaces
    the earlier one. A NamedTuple, because the journal holds it.
    """

    market: str
    from_us: int
    to_us: int | None
    cause: str
    fill: str = "none"
    fill_note: str = ""
