"""The strategy API: what a strategy is shown, and what it may answer. docs/strategies.md shows how to use it.

A strategy decides on one market. It is shown the market's ticks and closed candles in the order of their
times, on paper, in a backtest and for money alike, and answers with a `Decision` or with None. It does no
I/O and reads no clock: `view.now_us` is the time. Whether a decision becomes a trade is for `risk` to say.
"""

import json
import math
from collections import deque
from collections.abc import Mapping

import attrs

from domain.errors import BadDecision, MissingHistory, StillWarmingUp, StrategyError
from domain.gaps import Gap
from domain.market import Candle, Tick
from domain.trades import Direction

__all__ = ["Decision", "Direction", "Gap", "SeenCandle", "Strategy", "StrategyError", "Tick", "View"]

Input = float | int | str | bool

MOST_INPUTS = 20
MOST_INPUT_CHARACTERS = 2_000  # of all inputs of a decision, as JSON
MOST_NAME_CHARACTERS = 40
MOST_CANDLES = 5_000  # that a strategy may have kept for it: 1 MB a market


@attrs.frozen(kw_only=True)
class SeenCandle(Candle):
    """A closed candle as a strategy sees it; `has_gap` says that prices are missing in it.

    There is no candle for an interval without a tick: a quiet market skips some.
    """

    has_gap: bool = False

    @property
    def end_us(self) -> int:
        """When it ended, exclusive; microseconds, UTC, the venue's clock."""
        return self.open_us + self.timeframe_s * 1_000_000

    @classmethod
    def of(cls, candle: Candle, *, has_gap: bool) -> "SeenCandle":
        """Return that candle, seen."""
        return cls(
            market=candle.market,
            timeframe_s=candle.timeframe_s,
            open_us=candle.open_us,
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            ticks=candle.ticks,
            volume=candle.volume,
            has_gap=has_gap,
        )


@attrs.frozen(kw_only=True)
class Decision:
    """A wish to trade now, and the numbers it rests on, which are kept with it for `marketd trade`.

    `direction` may be given as "up" or "down". `inputs` has at most 20 names of at most 40 characters
    and 2,000 characters as JSON; its values are finite numbers, text, true or false. Raises
    `BadDecision` for anything else.
    """

    direction: Direction
    inputs: Mapping[str, Input] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        try:
            object.__setattr__(self, "direction", Direction(self.direction))
        except ValueError:
            raise BadDecision(f'direction {self.direction!r}: expected "up" or "down"') from None
        _check_inputs(self.inputs)

    @property
    def inputs_json(self) -> str:
        """The inputs as a JSON object."""
        return json.dumps(dict(self.inputs), ensure_ascii=False)


def _check_inputs(inputs: object) -> None:
    if not isinstance(inputs, Mapping):
        raise BadDecision(f"inputs {inputs!r:.60}: expected names with their values")
    if len(inputs) > MOST_INPUTS:
        raise BadDecision(f"inputs: {len(inputs)} names, at most {MOST_INPUTS}")
    for name, value in inputs.items():
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME_CHARACTERS:
            raise BadDecision(
                f"inputs: {name!r:.60}: expected a name of at most {MOST_NAME_CHARACTERS} letters"
            )
        if not isinstance(value, float | int | str):
            raise BadDecision(f"inputs {name} = {value!r:.60}: expected a number, a text, true or false")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadDecision(f"inputs {name} = {value}: expected a finite number")
    if len(text := json.dumps(dict(inputs), ensure_ascii=False)) > MOST_INPUT_CHARACTERS:
        raise BadDecision(f"inputs: {len(text)} characters as JSON, at most {MOST_INPUT_CHARACTERS}")


@attrs.define(kw_only=True, eq=False)
class View:
    """What a strategy may know of its market at this moment; one for each strategy on each market.

    Owned by the market's desk, which brings it up to date before each call; a strategy only reads it.
    `now_us` is our clock's (the tick's receipt; in a backtest the tick's own time), `age_ms` how old the
    price is by it. `has_gap` says that prices are missing in the candle that is open now.
    `payout_percent` is what a won trade brings now, None where the venue has not said.
    """

    market: str
    price: float = math.nan
    ts_us: int = 0
    now_us: int = 0
    has_gap: bool = False
    payout_percent: float | None = None
    _closed: deque[SeenCandle]

    @classmethod
    def for_strategy(cls, strategy: "Strategy", *, market: str) -> "View":
        """Return a view that keeps as many candles as the strategy asks for."""
        return cls(market=market, closed=deque(maxlen=strategy.warm_up_candles))

    @property
    def age_ms(self) -> int:
        """How old the price is; never below 0."""
        return max(0, self.now_us - self.ts_us) // 1_000

    def candles(self, count: int) -> tuple[SeenCandle, ...]:
        """Return the latest closed candles of the strategy's timeframe, the oldest first.

        The candle that `on_candle` is called with is the last of them. While fewer than `count` have
        come the strategy is not asked on (`StillWarmingUp` ends the call; it need not be caught). More
        than `warm_up_candles` are never there: `MissingHistory`, and the strategy is set aside.
        """
        if not 0 < count <= (self._closed.maxlen or 0):
            raise MissingHistory(
                f"it asks for {count} candles, and its warm_up_candles keeps {self._closed.maxlen or 0}"
            )
        if count > len(self._closed):
            raise StillWarmingUp(f"{len(self._closed)} of {count} candles have come")
        return tuple(self._closed)[-count:]

    def show_tick(self, tick: Tick, *, now_us: int) -> None:
        """Bring it up to date with a tick; for the desk."""
        self.price, self.ts_us, self.now_us = tick.price, tick.ts_us, now_us

    def show_candle(self, candle: SeenCandle) -> None:
        """Add a closed candle; for the desk."""
        self._closed.append(candle)

    def forget_candles(self) -> None:
        """Forget the closed candles; for the desk, before it shows stored ones."""
        self._closed.clear()


@attrs.define(kw_only=True, eq=False, slots=False)
class Strategy:
    """What every strategy derives from. Its annotated fields are its own keys in `[strategies.NAME]`.

    Override what you need. A method that raises, runs longer than a second or is slow again and again
    has the strategy set aside on its market; the market's prices are recorded all the same.
    """

    timeframe_s: int = attrs.field(
        default=60,
        validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(86_400)),
        metadata={"help": "length of the candles it is shown, in seconds"},
    )

    def __attrs_post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Set up its own state; called once before anything else. ValueError says that keys are wrong."""

    @property
    def warm_up_candles(self) -> int:
        """How many closed candles it needs before it can decide; so many are kept for `view.candles`.

        At a start it is shown so many stored ones, where there are, and what it decides on them is
        not traded. From 0 to 5,000.
        """
        return 0

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Take a tick; return a decision, or None."""
        return None

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        """Take a candle that has just closed, and its market with it; return a decision, or None.

        It is called with the first tick after the candle's end, whose price `view.price` is.
        """
        return None

    def on_gap(self, gap: Gap) -> None:
        """Take note that no tick came between two times. Only told; the next tick comes after it."""


def wants_ticks(strategy: Strategy) -> bool:
    """Return whether a strategy has an `on_tick` of its own, so that the others cost nothing a tick."""
    return type(strategy).on_tick is not Strategy.on_tick


def check_strategy(strategy: Strategy) -> None:
    """Raise `StrategyError` unless a new strategy's `warm_up_candles` is a number that can be kept."""
    count = strategy.warm_up_candles
    if not isinstance(count, int) or not 0 <= count <= MOST_CANDLES:
        raise StrategyError(f"warm_up_candles is {count!r:.60}: expected 0 to {MOST_CANDLES}")
