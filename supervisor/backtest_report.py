"""What is said of a backtest: what was assumed, how much of the time was seen, what came of it."""

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import attrs

from domain.gaps import AT_REST, Gap
from domain.trades import Position, TradeState
from strategies.replay import Replay
from strategies.statistics import results_of
from supervisor.backtesting import Backtest
from supervisor.chart_candles import ChartCandles
from supervisor.reports.report import PriceChart, Report
from supervisor.reports.words import moment_in

SECOND_US = 1_000_000
MOST_LISTED = 5_000  # trades that a page lists one by one


@attrs.frozen(kw_only=True)
class Coverage:
    """How much of the time between the first price and the last was seen; lengths in microseconds."""

    from_us: int
    to_us: int
    missing_us: int  # in gaps
    rest_us: int  # of these, while the market was closed or stopped
    gaps: int

    @property
    def seen(self) -> float:
        """The share of the time that the market did not rest in which prices were seen, 0 to 1."""
        awake_us = self.to_us - self.from_us - self.rest_us
        return 1.0 - (self.missing_us - self.rest_us) / awake_us if awake_us > 0 else 0.0


def coverage(gaps: Iterable[Gap], *, from_us: int, to_us: int) -> Coverage:
    """Return how much of a span lies in gaps."""
    inside = [gap for gap in gaps if gap.from_us < to_us and (gap.to_us is None or gap.to_us > from_us)]
    at_rest = [gap for gap in inside if gap.cause in AT_REST]
    return Coverage(
        from_us=from_us,
        to_us=to_us,
        missing_us=_together_us(inside, from_us=from_us, to_us=to_us),
        rest_us=_together_us(at_rest, from_us=from_us, to_us=to_us),
        gaps=len(inside) - len(at_rest),
    )


def _together_us(gaps: Iterable[Gap], *, from_us: int, to_us: int) -> int:
    """Return how long gaps are together, where they overlap once, as far as they lie in a span."""
    total_us, reached_us = 0, from_us
    for gap in sorted(gaps):
        end_us = to_us if gap.to_us is None else min(gap.to_us, to_us)
        total_us += max(0, end_us - max(gap.from_us, reached_us))
        reached_us = max(reached_us, end_us)
    return total_us


@attrs.frozen(kw_only=True)
class Findings:
    """A backtest that has run, and what it ran over. `is_filled`: with what a venue told afterwards."""

    backtest: Backtest
    replay: Replay
    gaps: Sequence[Gap]
    is_filled: bool
    chart: ChartCandles | None = None

    @property
    def covered(self) -> Coverage:
        """How much of the time was seen."""
        return coverage(self.gaps, from_us=self.replay.first_us or 0, to_us=self.replay.last_us)

    @property
    def trades(self) -> Sequence[Position]:
        """The trades that were opened and have ended, in the order in which they did."""
        return [each for each in self.replay.ended if each.state is not TradeState.REFUSED]


def report_of(found: Findings, *, zone: datetime.tzinfo) -> Report:
    """Return what a page and a table are made of."""
    backtest, replay, covered, trades = found.backtest, found.replay, found.covered, found.trades
    section = backtest.settings.strategies[backtest.strategy]
    own = ", ".join(f"{name} = {value}" for name, value in section.options.items())
    return Report(
        title=f"Backtest of {backtest.strategy} on {backtest.market}",
        currency=replay.trading.account.currency,
        zone=zone,
        facts={
            "strategy": f"{section.kind}{f' ({own})' if own else ''}, expiry {section.expiry_s} s",
            "from": moment_in(zone, covered.from_us),
            "to": moment_in(zone, covered.to_us),
            "prices": _prices_text(found),
            "seen": f"{covered.seen * 100:.2f} % of the time",
            "payout": f"{backtest.payout:g} % (assumed for every trade)",
        },
        warnings=list(_warnings(found)),
        results=results_of(trades),
        trades=trades[-MOST_LISTED:],
        left_out=max(0, len(trades) - MOST_LISTED),
        refused=replay.refused,
        charts=[] if found.chart is None else [_chart(found, found.chart)],
    )


def _prices_text(found: Findings) -> str:
    candle_s = found.backtest.candle_s
    what = "ticks" if candle_s is None else f"candles of {candle_s} s"
    return f"{found.replay.ticks:,} {what}{', filled' if found.is_filled else ''}"


def _warnings(found: Findings) -> Iterator[str]:
    replay, covered = found.replay, found.covered
    for seat in replay.desk.seats:
        if seat.set_aside:
            yield f"{seat.name} was set aside {seat.set_aside}. It was not asked from there on"
    if found.backtest.candle_s is not None:
        yield (
            "Prices are from candles: trades open and end with candles, high and low come in a guessed "
            "order, and the order of prices within a candle is not known"
        )
    if covered.gaps:
        missing_s = (covered.missing_us - covered.rest_us) / SECOND_US
        gaps = "1 gap" if covered.gaps == 1 else f"{covered.gaps:,} gaps"
        yield f"{gaps}: {missing_s:,.0f} s without prices. What ends in one is void"
    if found.is_filled:
        yield "Prices that the venue told afterwards were taken in: nobody could trade on them"
    refused = Counter(each.trade.state for each in replay.ended)[TradeState.REFUSED]
    if refused:
        yield f"{refused} orders were refused: no price to open at, or the venue's stake limits"
    still_open = len(replay.desk.book.positions)
    if still_open:
        yield f"{still_open} trades were still open when the prices ended, and are left out"


def _chart(found: Findings, chart: ChartCandles) -> PriceChart:
    return PriceChart(
        market=found.backtest.market,
        timeframe_s=chart.timeframe_s,
        candles=chart.candles,
        gaps=found.gaps,
    )
