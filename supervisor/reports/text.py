"""A report as tables of text."""

from collections.abc import Iterator, Mapping

from strategies.statistics import Figures, by_hour, by_market, by_strategy, figures
from supervisor.commands.tables import as_table
from supervisor.reports.report import Report
from supervisor.reports.tables import FIGURES, cells_of
from supervisor.reports.words import gain, money, percent


def report_lines(report: Report) -> Iterator[str]:
    """Yield the lines of a report: what was asked, the whole, then a table per market, strategy, hour."""
    yield report.title
    yield "   ".join(f"{name} {text}" for name, text in report.facts.items())
    for warning in report.warnings:
        yield f"! {warning}"
    every = figures(report.results)
    yield ""
    yield from summary_lines(every, currency=report.currency)
    if report.results:
        zone = report.zone
        hours = {f"{hour:02d}:00": each for hour, each in by_hour(report.results, zone=zone).items()}
        for head, groups in (
            ("MARKET", by_market(report.results)),
            ("STRATEGY", by_strategy(report.results)),
            (f"HOUR ({zone})", hours),
        ):
            yield ""
            yield from figures_table(groups, head=head)
    if report.refused:
        yield ""
        ordered = sorted(report.refused.items(), key=lambda item: (-item[1], item[0]))
        yield from as_table(("SIGNALS REFUSED BY", "COUNT"), ordered)


def summary_lines(every: Figures, *, currency: str) -> Iterator[str]:
    """Yield what all trades come to, and what may be said of it."""
    if every.trades == 0:
        yield "no trade has settled"
        return
    others = ", ".join(f"{n:,} {name}" for n, name in ((every.tied, "tied"), (every.void, "void")) if n)
    yield f"{every.trades:,} trades: {every.won:,} won, {every.lost:,} lost" + (
        f", {others}" if others else ""
    )
    yield (
        f"profit {gain(every.profit)} {currency} of {money(every.staked)} staked, "
        f"largest drawdown {money(every.drawdown)}, longest losing run {every.losing_run}"
    )
    if every.interval is not None:
        yield (
            f"win rate {percent(every.win_rate)}, 95 % interval {percent(every.interval.low)} to "
            f"{percent(every.interval.high)}, break-even {percent(every.break_even)}"
        )
    yield f"verdict: {every.verdict}"


def figures_table(groups: Mapping[str, Figures], *, head: str) -> list[str]:
    """Return a table with a line for each group."""
    return as_table((head, *FIGURES), [(name, *cells_of(each)) for name, each in groups.items()])
