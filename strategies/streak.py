"""`kind = "streak"`: candles of one colour in a row."""

import attrs
from attrs import validators

from domain.trades import Direction
from strategies.built_in import BuiltIn
from strategies.strategy import Decision, SeenCandle

DIRECTIONS = ("against", "follow")


def _check_direction(_: object, __: object, value: str) -> None:
    if value not in DIRECTIONS:
        raise ValueError('expected "against" or "follow"')


@attrs.define(kw_only=True, eq=False, slots=False)
class Streak(BuiltIn):
    """Trades once `length` candles in a row have closed on the same side of their opening.

    Against the streak, or with it. Decides with the candle that makes it `length`, and not again until
    a new streak has begun. A candle that closes where it opened ends a streak.
    """

    length: int = attrs.field(
        default=4,
        validator=validators.and_(validators.ge(1), validators.le(100)),
        metadata={"help": "candles in a row"},
    )
    direction: str = attrs.field(
        default="against",
        validator=_check_direction,
        metadata={"help": '"against" the streak, or "follow" it'},
    )

    @property
    def warm_up_candles(self) -> int:
        """One more than a streak, to tell one that is `length` long from a longer one."""
        return self.length + 1

    def begin(self) -> None:
        """Start over."""
        super().begin()
        self._streak = 0  # candles so far, negative where they fell

    def judge(self, candle: SeenCandle) -> Decision | None:
        """Take a candle; decide where it makes the streak long enough."""
        if candle.close == candle.open:
            self._streak = 0
        elif candle.close > candle.open:
            self._streak = max(self._streak, 0) + 1
        else:
            self._streak = min(self._streak, 0) - 1
        if abs(self._streak) != self.length:
            return None
        goes_up = (self._streak > 0) == (self.direction == "follow")
        return Decision(
            direction=Direction.UP if goes_up else Direction.DOWN,
            inputs={"streak": self._streak, "open": candle.open, "close": candle.close},
        )
