"""`marketd backtest`: a strategy over a market's recorded prices, with the daemon or without."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from domain.clock import as_text, now_us
from domain.errors import ConfigError, RejectedError
from domain.market import Tick
from domain.trades import Position
from strategies.candle_prices import gap_for_candles, prices_of
from strategies.replay import Replay
from supervisor.backtest_report import Findings, report_of
from supervisor.backtesting import Backtest
from supervisor.chart_candles import ChartCandles
from supervisor.commands.recorded import Recorded, find_market
from supervisor.commands.rows import table_printer
from supervisor.commands.times import add_span
from supervisor.commands.where import settings_of, state_dir_of
from supervisor.reports.page import write_page
from supervisor.reports.text import report_lines
from supervisor.settings import find_config

SHOW_EVERY_S = 0.1
BAR = 24  # characters
COLUMNS = (
    "opened_us", "direction", "stake", "payout_percent", "open_price", "expires_us", "close_price", "result",
    "profit", "trade",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd backtest`."""
    parser.add_argument("--strategy", metavar="NAME", required=True, help="NAME of a [strategies.NAME] section")
    parser.add_argument("--market", metavar="ID", required=True, help="SYMBOL@VENUE, or a unique SYMBOL")
    add_span(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the trades on the candles")
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
    backtest = Backtest(
        settings=settings_of(arguments),
        config=_config_of(arguments),
        state_dir=state_dir_of(arguments),
        strategy=arguments.strategy,
        market=find_market(arguments),
        payout_percent=arguments.payout,
        candle_s=arguments.candles,
    )
    found = _run(backtest, arguments)
    if found.replay.first_us is None:
        what = "ticks" if backtest.candle_s is None else f"candles of {backtest.candle_s} s"
        raise RejectedError(f"no {what} of {backtest.market} are stored in that time: see `marketd history`")
    report = report_of(found, zone=found.zone)
    _print_trades(found.trades)
    print("\n".join(report_lines(report)))
    if arguments.html is not None:
        write_page([report], arguments.html)
        print(f"\n{arguments.html} shows the trades on the candles")
    return 1 if any(seat.set_aside for seat in found.replay.desk.seats) else 0
