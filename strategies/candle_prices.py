"""Candles as prices, where a backtest has no ticks. Pure.

Four of each: its open, the nearer of high and low, the other, and its close, so that building candles from
them gives the same prices again. The open is dated a microsecond after the candle began and the close
a microsecond before it ended; contracts begin and end with candles, at the open of one and the close
of another.
"""

from collections.abc import Sequence

import attrs

from domain.contracts import ContractRules, OpensAt
from domain.gaps import Gap
from domain.market import Candle, Tick

SOURCE = "candle"


def rules_for_candles(rules: ContractRules) -> ContractRules:
    """Return a venue's rules for contracts that open with the candle in which they are decided on."""
    return attrs.evolve(rules, opens_at=OpensAt.FIRST_AFTER, latency_us=-1)


def gap_for_candles(gap: Gap, *, timeframe_s: int) -> Gap:
    """Return a gap that ends with the open of the candle in which prices came again.

    The open is dated before that; and what ends with the candle before is inside of the gap.
    """
    if gap.to_us is None:
        return gap
    begins_us = gap.to_us - gap.to_us % (timeframe_s * 1_000_000)
    return gap._replace(to_us=min(gap.to_us, begins_us + 1)) if gap.from_us < begins_us else gap


def prices_of(candle: Candle) -> Sequence[Tick]:
    """Return a candle's four prices."""
    span_us = candle.timeframe_s * 1_000_000
    is_high_first = candle.high - candle.open <= candle.open - candle.low
    extremes = (candle.high, candle.low) if is_high_first else (candle.low, candle.high)
    prices = (candle.open, *extremes, candle.close)
    times_us = (1, span_us // 3, 2 * span_us // 3, span_us - 1)
    return [
        Tick(
            candle.market,
            candle.open_us + offset_us,
            0,
            price,
            None,
            None,
            candle.volume if number == 0 else None,
            candle.open_us + offset_us,
            SOURCE,
        )
        for number, (offset_us, price) in enumerate(zip(times_us, prices, strict=True))
    ]
