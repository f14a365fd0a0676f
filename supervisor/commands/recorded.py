"""What is recorded of one market, page by page, for a backtest; from the daemon or from its database."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from domain.gaps import Fill, Gap
from domain.market import Candle, Tick
from strategies.desk import Seat
from strategies.replay import StoredCandles
from strategies.strategy import SeenCandle
from supervisor.commands.pages import Page, ask_once, pages

NOT_SEEN = "backfill"  # the source of ticks that came afterwards
FROM_VENUE = "venue"  # the source of candles that came afterwards
LOOK_BACK = (2, 10, 100)  # times as far as the candles would reach that a strategy needs


@attrs.frozen(kw_only=True)
class Recorded(StoredCandles):
    """One market's recording in the span that the command line gives.

    As it was seen: what a venue's history filled in afterwards is left out, and its gaps count. With
    `is_filled` it is there, and gaps that were filled in full do not count.
    """

    arguments: argparse.Namespace
    market: str
    is_filled: bool

    def ticks(self) -> Iterator[Sequence[Tick]]:
        """Yield ticks in their order, page by page."""
        market = self.market
        for page in self._pages("history", kind="ticks"):
            yield [Tick(market, *row) for row in page["rows"] if row[-1] != NOT_SEEN or self.is_filled]

    def candles(self, timeframe_s: int) -> Iterator[Sequence[Candle]]:
        """Yield candles in their order, page by page."""
        for page in self._pages("history", kind="candles", timeframe_s=timeframe_s):
            yield [
                self._candle(timeframe_s, row)
                for row in page["rows"]
                if row[-1] != FROM_VENUE or self.is_filled
            ]

    def gaps(self) -> list[Gap]:
        """Return the gaps that count."""
        rows = [row for page in self._pages("gaps") for row in page["rows"]]
        gaps = [Gap(self.market, row[1], row[2], row[4], row[5]) for row in rows]
        return [gap for gap in gaps if gap.fill != Fill.FULL or not self.is_filled]

    def before(self, seat: Seat, ends_us: int) -> Sequence[SeenCandle]:
        """Return the latest stored candles of a seat's timeframe that end by a time, the oldest first."""
        timeframe_s, count = seat.strategy.timeframe_s, seat.strategy.warm_up_candles
        span_us = timeframe_s * 1_000_000
        found: list[SeenCandle] = []
        for times in LOOK_BACK if count else ():
            from_us = max(0, ends_us - times * count * span_us)
            reading = self._pages(
                "history",
                kind="candles",
                timeframe_s=timeframe_s,
                from_us=from_us,
                to_us=max(from_us, ends_us - span_us + 1),
            )
            found = [self._seen(timeframe_s, row) for page in reading for row in page["rows"]][-count:]
            if len(found) == count:
                break
        return found

    def _pages(self, command: str, **request: Any) -> Iterator[Page]:
        span = {name: request.pop(name) for name in ("from_us", "to_us") if name in request}
        arguments = argparse.Namespace(**(vars(self.arguments) | span))
        return pages(arguments, command, market=self.market, **request)

    def _candle(self, timeframe_s: int, row: Sequence[Any]) -> Candle:
        open_us, *prices, ticks, volume, _, _ = row
        opened, high, low, close = prices
        return Candle(
            market=self.market,
            timeframe_s=timeframe_s,
            open_us=open_us,
            open=opened,
            high=high,
            low=low,
            close=close,
            ticks=ticks,
            volume=volume,
        )

    def _seen(self, timeframe_s: int, row: Sequence[Any]) -> SeenCandle:
        is_complete = row[-2]
        return SeenCandle.of(self._candle(timeframe_s, row), has_gap=not is_complete)


def find_market(arguments: argparse.Namespace) -> str:
    """Return the whole id of the market that `--market` means; raise RejectedError where it means none."""
    return str(ask_once(arguments, "gaps", market=arguments.market, limit=1)["market"])
