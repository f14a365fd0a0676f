"""`marketd report`: what trading has come to, as tables, and as a page."""

import argparse
import datetime
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from domain.trades import Mode, Position
from strategies.statistics import Result, result_of
from supervisor.commands.pages import ask_once, pages, span_of
from supervisor.commands.times import add_span
from supervisor.commands.where import settings_of
from supervisor.commands.zones import zone_of
from supervisor.reports.page import write_page
from supervisor.reports.report import Report
from supervisor.reports.text import report_lines
from supervisor.reports.words import moment_in
from supervisor.trade_reading import position_of

LISTED = 2_000  # trades that a page lists, the latest
# What is about money comes first.
TITLES = {
    Mode.REAL: "Trades with real money",
    Mode.DEMO: "Trades on the practice account",
    Mode.PAPER: "Trades on paper",
}
Key = tuple[Mode, str]  # with the currency


class Gathered:
    """The trades of one mode and currency as they come, few of them kept whole."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.others: Counter[str] = Counter()  # states of those without a result
        self.latest: deque[Position] = deque(maxlen=LISTED)
        self.count = 0
        self.first_us: int | None = None

    def add(self, position: Position) -> None:
        """Take the next trade, in the order in which they were intended."""
        self.count += 1
        if self.first_us is None:
            self.first_us = position.trade.intended_us
        self.latest.append(position)
        result = result_of(position)
        if result is None:
            self.others[position.trade.state] += 1
        else:
            self.results.append(result)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd report`."""
    parser.add_argument(
        "market", nargs="?", metavar="ID", help="SYMBOL@VENUE, or a unique SYMBOL; default: all"
    )
    add_span(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts into FILE too")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 0 also where nothing was traded."""
    reports = list(_reports(arguments))
    for number, report in enumerate(reports):
        if number > 0:
            print()
        print("\n".join(report_lines(report)))
    if arguments.html is not None:
        write_page(reports, arguments.html)
        print(f"\nwritten to {arguments.html}")
    return 0


def _reports(arguments: argparse.Namespace) -> Iterator[Report]:
    """Yield a report for each mode and currency, whose records never mix; one where there are none."""
    zone = zone_of(settings_of(arguments).service.zone)
    market, gathered = _gather(arguments)
    counted = ask_once(arguments, "refusals", market=market, **span_of(arguments))["counts"]
    for number, ((mode, currency), each) in enumerate(gathered.items()):
        yield Report(
            title=TITLES[mode] + (f" on {market}" if market else ""),
            currency=currency,
            zone=zone,
            results=each.results,
            facts=_facts(arguments, each, market=market, zone=zone),
            trades=tuple(reversed(each.latest)),
            left_out=each.count - len(each.latest),
            # A signal has no mode: counted once, with the last.
            refused=counted if number == len(gathered) - 1 else {},
        )


def _gather(arguments: argparse.Namespace) -> tuple[str | None, dict[Key, Gathered]]:
    """Return the market's full name, and the trades by mode and currency."""
    market: str | None = None
    found: dict[Key, Gathered] = {}
    for page in pages(arguments, "trades", market=arguments.market):
        market = page["market"]
        for row in page["rows"]:
            position = position_of(dict(zip(page["columns"], row, strict=True)))
            key = (Mode(position.trade.mode), position.trade.currency)
            found.setdefault(key, Gathered()).add(position)
    if not found:
        found[Mode.PAPER, ""] = Gathered()
    return market, dict(sorted(found.items(), key=lambda item: (list(TITLES).index(item[0][0]), item[0][1])))


def _facts(
    arguments: argparse.Namespace, each: Gathered, *, market: str | None, zone: datetime.tzinfo
) -> dict[str, str]:
    first = each.first_us if arguments.from_us is None else arguments.from_us
    facts = {
        "market": market or "all",
        "from": "the beginning" if first is None else moment_in(zone, first),
        "to": "now" if arguments.to_us is None else moment_in(zone, arguments.to_us),
    }
    others = ", ".join(f"{count:,} {state}" for state, count in sorted(each.others.items()))
    return facts | ({"not counted": others} if others else {})
