"""`kind = "ema_cross"`: two averages cross."""

import attrs
from attrs import validators

from domain.trades import Direction
from strategies.built_in import BuiltIn
from strategies.indicators import Ema
from strategies.strategy import Decision, SeenCandle


@attrs.define(kw_only=True, eq=False, slots=False)
class EmaCross(BuiltIn):
    """Trades the way a fast exponential average of closes crosses a slow one.

    Up with the first candle whose fast average is above the slow one after a candle where it was not;
    down with the first where it is below after one where it was not.
    """

    fast: int = attrs.field(
        default=9,
        validator=validators.and_(validators.ge(2), validators.le(400)),
        metadata={"help": "candles of the fast average"},
    )
    slow: int = attrs.field(
        default=21,
        validator=validators.and_(validators.ge(3), validators.le(500)),
        metadata={"help": "candles of the slow average"},
    )

    @property
    def warm_up_candles(self) -> int:
        """Five times the slow average: what was before weighs less than 1 in 10,000."""
        return 5 * self.slow

    def begin(self) -> None:
        """Start over."""
        super().begin()
        if self.fast >= self.slow:
            raise ValueError(f"fast = {self.fast}: has to be below slow = {self.slow}")
        self._fast_ema, self._slow_ema = Ema(period=self.fast), Ema(period=self.slow)
        self._before: float | None = None

    def judge(self, candle: SeenCandle) -> Decision | None:
        """Take a close; decide where the averages cross."""
        fast, slow = self._fast_ema.add(candle.close), self._slow_ema.add(candle.close)
        if fast is None or slow is None:
            return None
        before, now = self._before, fast - slow
        self._before = now
        if before is None:
            return None
        inputs = {"fast": fast, "slow": slow, "fast_minus_slow_before": before, "close": candle.close}
        if before <= 0.0 < now:
            return Decision(direction=Direction.UP, inputs=inputs)
        if before >= 0.0 > now:
            return Decision(direction=Direction.DOWN, inputs=inputs)
        return None
