"""What a simulated venue is to serve."""

from pathlib import Path

import attrs

from venues.simulated.faults import Fault
from venues.simulated.hours import Hours
from venues.simulated.prices import FX_PAIRS

PROTOCOLS = ("olymptrade", "deriv", "binance", "kraken")


@attrs.frozen(kw_only=True)
class SimulateOptions:
    """What to serve. `rate` is ticks a second for each market, `speed` how much faster than recorded.

    With `prices` every market follows that file; with `replay` a recording is played instead of
    generated ticks, and the markets mean nothing.
    """

    protocol: str = "binance"
    host: str = "127.0.0.1"
    port: int = 0
    markets: tuple[str, ...] = FX_PAIRS
    rate: float = 2.0
    seed: int = 1
    prices: Path | None = None
    replay: Path | None = None
    speed: float = 1.0
    ledger: Path | None = None
    faults: tuple[Fault, ...] = ()
    hours: Hours = Hours.ALWAYS
