"""`marketd backtest`: a strategy over a market's recorded prices, with the daemon or without."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from domain.clock import as_text, now_us
from domain.errors import ConfigError, RejectedError
from domain.market import Tick, split_market_id
from domain.trades import Position
from strategies.candle_prices import gap_for_candles, prices_of
from strategies.replay import Replay
from supervisor.backtest_report import Findings, report_of
from supervisor.backtesting import Backtest
from supervisor.chart_candles import FIRST_S, ChartCandles
from supervisor.commands.recorded import Recorded, find_market
from supervisor.commands.rows import table_printer
from supervisor.commands.times import add_span
from supervisor.commands.where import settings_of, state_dir_of
from supervisor.commands.zones import zone_of
from supervisor.listings import read_catalog
from supervisor.reports.page import write_page
from supervisor.reports.text import report_lines
from supervisor.sections import Settings
from supervisor.settings import FILE_NAME, SIMULATED_VENUE, find_config, simulated_settings

Item = TypeVar("Item")

NO_ADDRESS = "ws://127.0.0.1"  # nobody connects
SHOW_EVERY_S = 0.1
BAR = 24  # characters
COLUMNS = (
    "opened_us", "direction", "stake", "payout_percent", "open_price", "expires_us", "close_price", "result",
    "profit", "trade",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd backtest`."""
    parser.add_argument("--strategy", metavar="NAME", required=True, help="which [strategies.NAME]")
    parser.add_argument("--market", metavar="ID", required=True, help="SYMBOL@VENUE, or a unique SYMBOL")
    add_span(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts into FILE too")
    parser.add_argument(
        "--filled",
        action="store_true",
        help="take in prices that came afterwards from the venue's history, which nobody could trade on",
    )
    parser.add_argument(
        "--payout",
        type=_percent,
        metavar="P",
        help="what a won trade brings, in percent; default: what the venue told last, else 80",
    )
    parser.add_argument(
        "--candles",
        type=_seconds,
        metavar="S",
        help="stored candles of S seconds in the place of ticks: coarser, and reaching back further",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the trades and what they come to; return 1 where there are no prices, or the strategy failed."""
    market = find_market(arguments)
    settings = _settings_of(arguments, venue=split_market_id(market)[1])
    backtest = Backtest(
        settings=settings,
        config=_config_of(arguments, settings),
        catalog=read_catalog(state_dir_of(arguments), split_market_id(market)[1]),
        strategy=arguments.strategy,
        market=market,
        payout_percent=arguments.payout,
        candle_s=arguments.candles,
    )
    found = _run(backtest, arguments)
    if found.replay.first_us is None:
        what = "ticks" if backtest.candle_s is None else f"candles of {backtest.candle_s} s"
        raise RejectedError(f"no {what} of {backtest.market} are stored in that time: see `marketd history`")
    report = report_of(found, zone=zone_of(backtest.settings.service.zone))
    _print_trades(found.trades)
    print("\n".join(report_lines(report)))
    if arguments.html is not None:
        write_page([report], arguments.html)
        print(f"\n{arguments.html} shows the trades on the candles")
    return 1 if any(seat.set_aside for seat in found.replay.desk.seats) else 0


def _settings_of(arguments: argparse.Namespace, *, venue: str) -> Settings:
    """Return the settings; for a market of `run --simulated`, which no file names, those of it."""
    settings = settings_of(arguments)
    if venue == SIMULATED_VENUE and venue not in settings.venues:
        return simulated_settings(settings, url=NO_ADDRESS)
    return settings


def _run(backtest: Backtest, arguments: argparse.Namespace) -> Findings:
    """Run it over what is recorded, with a bar on a terminal."""
    recorded = Recorded(arguments=arguments, market=backtest.market, is_filled=arguments.filled)
    gaps, candle_s = recorded.gaps(), backtest.candle_s
    replay = backtest.make(recorded)
    chart = None
    if arguments.html is not None:
        chart = ChartCandles(market=backtest.market, first_s=max(FIRST_S, candle_s or FIRST_S))
    progress = Progress(replay)
    if progress.is_shown:
        progress.to_us = recorded.last_us(by_us=arguments.to_us or now_us())
    if candle_s is None:
        replay.expect(gaps)
        for ticks in progress.watch(recorded.ticks()):
            replay.run(ticks if chart is None else _drawn(ticks, chart))
    else:
        replay.expect(gap_for_candles(gap, timeframe_s=candle_s) for gap in gaps)
        for candles in progress.watch(recorded.candles(candle_s)):
            prices = (prices_of(candle) for candle in candles)
            replay.run_candles(prices if chart is None else ([*_drawn(each, chart)] for each in prices))
    return Findings(backtest=backtest, replay=replay, gaps=gaps, is_filled=arguments.filled, chart=chart)


def _drawn(ticks: Iterable[Tick], chart: ChartCandles) -> Iterator[Tick]:
    """Yield prices, having shown them to the chart."""
    for tick in ticks:
        chart.add(tick)
        yield tick


class Progress:
    """A bar on standard error, where that is a terminal; how far it is, is told by the prices' times."""

    def __init__(self, replay: Replay) -> None:
        self.is_shown = sys.stderr.isatty()
        self.to_us = 0  # where the prices end
        self._replay = replay
        self._shown_at = 0.0

    def watch(self, pages: Iterable[Sequence[Item]]) -> Iterator[Sequence[Item]]:
        """Yield the pages, and show how far the replay is meanwhile."""
        for page in pages:
            yield page
            if self.is_shown and time.monotonic() - self._shown_at >= SHOW_EVERY_S:
                self._shown_at = time.monotonic()
                print(f"\r{self._line()}\x1b[K", end="", file=sys.stderr, flush=True)
        if self.is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        replay = self._replay
        if replay.first_us is None:
            return ""
        share = min(1.0, (replay.last_us - replay.first_us) / max(1, self.to_us - replay.first_us))
        full = round(share * BAR)
        return (
            f"[{'#' * full}{' ' * (BAR - full)}] {share * 100:3.0f} %  {as_text(replay.last_us)[:16]}  "
            f"{replay.ticks:,} prices, {len(replay.ended):,} trades"
        )


def _print_trades(trades: Sequence[Position]) -> None:
    if not trades:
        return
    show = table_printer(COLUMNS)
    show([_row(each) for each in trades])
    print()


def _row(position: Position) -> Sequence[object]:
    trade = position.trade
    return (
        trade.opened_us,
        trade.direction,
        f"{trade.stake:.2f}",
        trade.payout_percent,
        trade.open_price,
        trade.expires_us,
        trade.close_price,
        trade.state,
        None if trade.profit is None else f"{trade.profit:.2f}",
        trade.id,
    )


def _config_of(arguments: argparse.Namespace, settings: Settings) -> Path:
    """Return the settings file; strategies' own files are beside it. A simulation has neither."""
    if SIMULATED_VENUE in settings.venues:
        return arguments.config or Path(FILE_NAME)
    try:
        return find_config(arguments.config)
    except ConfigError as exc:
        raise RejectedError(f'--strategy "{arguments.strategy}": no settings file names it: {exc}') from exc


def _percent(text: str) -> float:
    return _positive(text, float, most=1_000.0)


def _seconds(text: str) -> int:
    return int(_positive(text, int, most=86_400))


def _positive(text: str, read: Callable[[str], float], *, most: float) -> float:
    try:
        value = read(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= most:
        what = "a whole number" if read is int else "a number"
        raise argparse.ArgumentTypeError(f"{text}: expected {what} over 0 and at most {most:g}")
    return value
