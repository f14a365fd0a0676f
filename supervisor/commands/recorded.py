"""What is recorded of one market, page by page, for a backtest; from the daemon or from its database."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from domain.gaps import Fill, Gap
from domain.market import Candle, Tick
from strategies.arrival import as_taken
from strategies.desk import Seat
from strategies.replay import StoredCandles
from strategies.strategy import SeenCandle
from supervisor.commands.pages import ask_once, pages

NOT_SEEN = "backfill"  # the source of ticks that came afterwards
FROM_VENUE = "venue"  # the source of candles that came afterwards
SEARCH_STEPS = 24  # from 1970 to within 2 min


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
        """Yield ticks in their order, page by page; without those that a desk ignored for coming late."""
        market = self.market
        for page in pages(self.arguments, "history", market=market, kind="ticks"):
            rows = [row for row in page["rows"] if row[-1] != NOT_SEEN or self.is_filled]
            yield as_taken([Tick(market, *row) for row in rows])

    def candles(self, timeframe_s: int) -> Iterator[Sequence[Candle]]:
        """Yield candles in their order, page by page."""
        for page in pages(
            self.arguments, "history", market=self.market, kind="candles", timeframe_s=timeframe_s
        ):
            yield [
                self._candle(timeframe_s, row)
                for row in page["rows"]
                if row[-1] != FROM_VENUE or self.is_filled
            ]

    def gaps(self) -> list[Gap]:
        """Return the gaps that count."""
        rows = [row for page in pages(self.arguments, "gaps", market=self.market) for row in page["rows"]]
        gaps = [Gap(self.market, row[1], row[2], row[4], row[5]) for row in rows]
        return [gap for gap in gaps if gap.fill != Fill.FULL or not self.is_filled]

    def before(self, seat: Seat, ends_us: int) -> Sequence[SeenCandle]:
        """Return the latest stored candles of a seat's timeframe that end by a time, the oldest first."""
        timeframe_s, count = seat.strategy.timeframe_s, seat.strategy.warm_up_candles
        if count == 0:
            return ()
        page = ask_once(
            self.arguments,
            "last_candles",
            market=self.market,
            timeframe_s=timeframe_s,
            before_us=ends_us,
            count=count,
        )
        return [SeenCandle.of(self._candle(timeframe_s, row), has_gap=not row[-1]) for row in page["rows"]]

    def last_us(self, *, by_us: int) -> int:
        """Return about when the last tick by a time came: enough for a bar that shows how far a run is."""
        from_us = self.arguments.from_us or 0
        return by_us if from_us >= by_us else self._search(from_us, by_us)

    def _search(self, from_us: int, to_us: int) -> int:
        for _ in range(SEARCH_STEPS):
            middle_us = (from_us + to_us) // 2
            page = ask_once(
                self.arguments, "history", market=self.market, kind="ticks", from_us=middle_us, limit=1
            )
            from_us, to_us = (middle_us, to_us) if page["rows"] else (from_us, middle_us)
        return to_us

    def _candle(self, timeframe_s: int, row: Sequence[Any]) -> Candle:
        open_us, opened, high, low, close, ticks, volume, *_ = row
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


def find_market(arguments: argparse.Namespace) -> str:
    """Return the whole id of the market that `--market` means; raise RejectedError where it means none."""
    return str(ask_once(arguments, "gaps", market=arguments.market, limit=1)["market"])
