"""How much one user of Deriv may ask, over all of his sockets together.

Two official pages disagree; the stricter of both, seen 2026-11-23 (see `venues/deriv.py`).
"""

from collections.abc import Mapping

from venues.simulated.limits import Limit

MOST_CONNECTIONS = 5  # of a user
MOST_SUBSCRIPTIONS = 100  # of a connection
MOST_A_SECOND = 100  # requests of a connection
MOST_PINGS_A_SECOND = 10  # of a connection; outside of the rows
IDLE_S = 120.0  # a connection without a request for so long is closed
MOST_REFUSED = 10  # requests over the limit, then the connection is closed. Not documented: ours

# Calls that share a row; requests a minute and an hour.
_TRADES = ("proposal", "proposal_open_contract", "buy", "sell")
_ROWS: Mapping[tuple[str, ...], tuple[int, int]] = {
    _TRADES: (360, 14_400),
    ("balance", "statement"): (100, 2_000),
    ("portfolio", "profit_table"): (30, 1_500),
    (): (220, 14_400),  # all others
}


class UserLimits:
    """What one user has asked for lately. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._rows = {
            calls: (Limit(most=minutely, window_s=60.0), Limit(most=hourly, window_s=3_600.0))
            for calls, (minutely, hourly) in _ROWS.items()
        }

    def exceeds(self, call: str, *, at_s: float) -> bool:
        """Count a request; return whether that is one too many in its row."""
        row = next((calls for calls in self._rows if call in calls), ())
        minutely, hourly = self._rows[row]
        return minutely.exceeds(at_s) | hourly.exceeds(at_s)  # it counts in both
