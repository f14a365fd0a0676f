"""`kind = "rsi"`: RSI reversal."""

from typing import Any

import attrs
from attrs import validators

from domain.trades import Direction
from strategies.built_in import BuiltIn
from strategies.indicators import Rsi
from strategies.strategy import Decision, SeenCandle

PERCENT: Any = validators.and_(validators.gt(0), validators.lt(100))


@attrs.define(kw_only=True, eq=False, slots=False)
class RsiReversal(BuiltIn):
    """Trades the way back from an extreme of the relative strength index of closes.

    Up with the first candle whose index is `low` or more after one whose index was below `low`; down
    with the first whose index is `high` or less after one whose index was above `high`.
    """

    period: int = attrs.field(
        default=14,
        validator=validators.and_(validators.ge(2), validators.le(400)),
        metadata={"help": "candles that the index looks back on"},
    )
    low: float = attrs.field(
        default=30.0, validator=PERCENT, metadata={"help": "index below which the price has fallen far"}
    )
    high: float = attrs.field(
        default=70.0, validator=PERCENT, metadata={"help": "index above which the price has risen far"}
    )

    @property
    def warm_up_candles(self) -> int:
        """Ten periods: what was before weighs less than 1 in 10,000."""
        return 10 * self.period + 1

    def begin(self) -> None:
        """Start over."""
        super().begin()
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g}: has to be below high = {self.high:g}")
        self._rsi = Rsi(period=self.period)
        self._before: float | None = None

    def judge(self, candle: SeenCandle) -> Decision | None:
        """Take a close; decide where the index comes back."""
        before, now = self._before, self._rsi.add(candle.close)
        self._before = now
        if before is None or now is None:
            return None
        inputs = {"rsi": now, "rsi_before": before, "close": candle.close}
        if before < self.low <= now:
            return Decision(direction=Direction.UP, inputs=inputs)
        if before > self.high >= now:
            return Decision(direction=Direction.DOWN, inputs=inputs)
        return None
