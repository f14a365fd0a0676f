"""Hours for tests that are about something else."""

from domain.gaps import GapLedger, GapTracker
from domain.hours import MarketHours


def always_open(market: str = "EURUSD@sim") -> MarketHours:
    """Return the hours of a market that is open and of which no hours are known."""
    return MarketHours(gaps=GapTracker(market=market, ledger=GapLedger()))
