"""What the built-in strategies share: when a candle is decided on, and when they start over."""

import attrs

from strategies.strategy import Decision, SeenCandle, Strategy, View

MOST_TIMEFRAMES_APART = 5  # a restart costs a candle or two, and need not cost the indicators


@attrs.define(kw_only=True, eq=False, slots=False)
class BuiltIn(Strategy):
    """A strategy that decides on closed candles only, and on whole and fresh ones only.

    It takes every candle into account, and decides on none in which prices are missing, and on none
    that ended more than a timeframe before the tick it is called with (a quiet market). Where two
    candles that follow each other began more than 5 timeframes apart, it starts over.
    """

    def begin(self) -> None:
        """Start over."""
        self._latest_us: int | None = None

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        """Take a candle; decide if it is whole and fresh."""
        span_us = candle.timeframe_s * 1_000_000
        if self._latest_us is not None and candle.open_us - self._latest_us > MOST_TIMEFRAMES_APART * span_us:
            self.begin()
        self._latest_us = candle.open_us
        decision = self.judge(candle)
        if candle.has_gap or view.ts_us - candle.end_us > span_us:
            return None
        return decision

    def judge(self, candle: SeenCandle) -> Decision | None:
        """Take a candle into account; return what would be decided on it."""
        raise NotImplementedError
