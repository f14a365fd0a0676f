"""How a venue's fixed-time contracts open, end and pay: what paper trading imitates."""

import enum

import attrs


class OpensAt(enum.Enum):
    """The price a contract opens at."""

    LAST_BEFORE = "last_before"  # the latest tick at or before its opening
    FIRST_AFTER = "first_after"  # the first tick after it


class Tie(enum.Enum):
    """What becomes of a contract whose price ends where it began."""

    REFUNDED = "refunded"
    LOST = "lost"


@attrs.frozen(kw_only=True)
class ContractRules:
    """One venue's rules. A contract ends at the latest tick at or before its expiry.

    `latency_us` lies between the venue's time of the tick that was decided on and the opening.
    `payout_percent` is for venues that tell none; None where the venue tells it for each market.
    """

    opens_at: OpensAt
    tie: Tie
    latency_us: int
    least_expiry_s: int
    most_expiry_s: int
    payout_percent: float | None
