"""What a page about trades is made of, whoever traded: the daemon on paper, or a backtest."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from domain.gaps import Gap
from domain.trades import Position
from strategies.statistics import Result


class AnyCandle(Protocol):
    """A candle, from wherever it comes: `domain.market.Candle`, `HistoryCandle` and their like."""

    @property
    def open_us(self) -> int:
        """When it begins."""

    @property
    def open(self) -> float:
        """The first price."""

    @property
    def high(self) -> float:
        """The highest price."""

    @property
    def low(self) -> float:
        """The lowest price."""

    @property
    def close(self) -> float:
        """The last price."""


@attrs.frozen(kw_only=True)
class PriceChart:
    """One market's prices, on which the trades of a report are marked.

    `candles` are of one timeframe, the oldest first, as many as there are: the page makes fewer,
    longer ones of them. A gap that is open ends with the last candle.
    """

    market: str
    timeframe_s: int
    candles: Sequence[AnyCandle]
    gaps: Sequence[Gap] = ()


@attrs.frozen(kw_only=True)
class Report:
    """Trades of one mode in one currency.

    `facts` stand under the title, by name: the span, the mode, the strategy and its settings.
    `warnings` are sentences that must be read before any number. `results` are all that settled;
    `trades` are listed one by one, whatever their state, and need not be all: `left_out` says how many
    are missing from the list. `refused` counts the signals that a limit refused, by its name.
    `zone` is that of every time on the page and of the hours of day.
    """

    title: str
    currency: str
    zone: datetime.tzinfo
    results: Sequence[Result]
    facts: Mapping[str, str] = attrs.field(factory=dict)
    warnings: Sequence[str] = ()
    trades: Sequence[Position] = ()
    left_out: int = 0
    refused: Mapping[str, int] = attrs.field(factory=dict)
    charts: Sequence[PriceChart] = ()
