"""One HTML file about trades, which asks nobody for anything: drawings of our own, no script, one style."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from xml.etree.ElementTree import Element

from domain.errors import MarketdError
from strategies.statistics import Figures, by_hour, by_market, by_strategy, figures
from supervisor.reports.candles import draw_prices
from supervisor.reports.curve import draw_curve
from supervisor.reports.hours import draw_hours
from supervisor.reports.keys import add_price_key, add_rate_key
from supervisor.reports.markup import add, as_text, document
from supervisor.reports.rates import draw_rates
from supervisor.reports.report import Report
from supervisor.reports.tables import add_counts, add_figures, add_trades
from supervisor.reports.words import gain, money, percent

ALL = "all"
STYLE_FILE = Path(__file__).with_name("page.css")
HOW_TO_READ = (
    "Win rate: of the trades that were won or lost. Ties and void trades (an expiry in a gap) are left out.",
    "95 % interval: Wilson's. Of a hundred such intervals about five miss the rate that lies behind the "
    "trades; who looks at twenty groups will find one that seems good, or bad, by luck alone. Trades that "
    "ran at the same time are not independent, so it is rather too narrow.",
    "Break-even: the win rate at which these trades, with their stakes and the payouts agreed for them, "
    "would have brought nothing. At a payout of 80 % it is 55.6 %.",
    "Drawdown: the largest fall of the profit from the highest it had been. Losing run: the most losses "
    "without a win between them.",
    "None of this says what the next trade will bring.",
)


def write_page(reports: Sequence[Report], path: Path) -> None:
    """Write the page, whole or not at all. Raises MarketdError that names the file and what is wrong."""
    try:
        _write_whole(page_of(reports), path.resolve())
    except OSError as exc:
        raise MarketdError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _write_whole(text: str, path: Path) -> None:
    """Put a file in the place of the one there is; devices and pipes are none."""
    if path.exists() and not path.is_file():
        raise OSError("it is there already, and no file")
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)  # of one that was killed
    try:
        with fresh.open("x", encoding="utf-8") as file:  # follows no link that somebody laid there
            file.write(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def page_of(reports: Sequence[Report]) -> str:
    """Return the text of an HTML page; equal reports give an equal page."""
    style = STYLE_FILE.read_text(encoding="utf-8")
    html, body = document(title=" · ".join(report.title for report in reports), style=style)
    for number, report in enumerate(reports):
        _add_report(add(body, "main" if number == 0 else "article", class_="report"), report, number=number)
    how = add(body, "section")
    add(how, "h2", "How to read this")
    for sentence in HOW_TO_READ:
        add(how, "p", sentence, class_="soft")
    return as_text(html)


def _add_report(parent: Element, report: Report, *, number: int) -> None:
    add(parent, "h1", report.title)
    facts = add(parent, "dl", class_="facts")
    for name, text in report.facts.items():
        pair = add(facts, "div")
        add(pair, "dt", name)
        add(pair, "dd", text)
    for warning in report.warnings:
        add(parent, "p", warning, class_="warning", role="note")
    every = figures(report.results)
    _add_verdict(parent, every)
    _add_tiles(parent, every, currency=report.currency)
    if report.results:
        _add_profit(parent, report, number=number)
        _add_groups(parent, report, every, number=number)
        _add_hours(parent, report, number=number)
    _add_prices(parent, report, number=number)
    _add_trades(parent, report)
    if report.refused:
        refused = _section(parent, "Signals refused")
        add_counts(refused, report.refused, caption="By the limit that refused them")


def _section(parent: Element, title: str) -> Element:
    section = add(parent, "section")
    add(section, "h2", title)
    return section


def _add_verdict(parent: Element, every: Figures) -> None:
    card = add(parent, "div", class_="verdict")
    add(card, "strong", f"{every.verdict[0].upper()}{every.verdict[1:]}")
    if every.interval is not None:
        text = (
            f"{every.won:,} of {every.won + every.lost:,} trades were won: {percent(every.win_rate)}. "
            f"The rate behind them may be anything from {percent(every.interval.low)} to "
            f"{percent(every.interval.high)}; {percent(every.break_even)} are needed to lose nothing."
        )
        add(card, "p", text.replace(" %", "\u00a0%"))


def _add_tiles(parent: Element, every: Figures, *, currency: str) -> None:
    tiles = add(parent, "div", class_="tiles")
    kind = "gain" if every.profit > Decimal(0) else "loss" if every.profit < Decimal(0) else ""
    beside = ", ".join(
        f"{count:,} {name}" for name, count in (("tied", every.tied), ("void", every.void)) if count
    )
    for name, text, small, class_ in (
        ("Profit", gain(every.profit), f"{currency}, of {money(every.staked)} staked", kind),
        (
            "Trades",
            f"{every.trades:,}",
            f"{every.won:,} won, {every.lost:,} lost" + (beside and f", {beside}"),
            "",
        ),
        ("Win rate", percent(every.win_rate), f"break-even {percent(every.break_even)}", ""),
        ("Largest drawdown", money(every.drawdown), currency, ""),
        ("Longest losing run", str(every.losing_run), "losses", ""),
    ):
        tile = add(tiles, "div", class_="tile")
        add(tile, "span", name)
        add(tile, "b", text, class_=class_)
        add(tile, "small", small)


def _add_profit(parent: Element, report: Report, *, number: int) -> None:
    section = _section(parent, f"Profit over time, in {report.currency}")
    draw_curve(section, report, name=f"curve-{number}")


def _add_groups(parent: Element, report: Report, every: Figures, *, number: int) -> None:
    section = _section(parent, "Win rates against break-even")
    markets, strategies = by_market(report.results), by_strategy(report.results)
    rows = {ALL: every}
    rows |= {f"{name} (strategy)": each for name, each in strategies.items() if len(strategies) > 1}
    rows |= {name: each for name, each in markets.items() if len(markets) > 1}
    draw_rates(section, rows, name=f"rates-{number}", title="Win rates, their intervals and break-even")
    add_rate_key(section)
    add_figures(section, {**markets, ALL: every}, head="MARKET", caption="Per market")
    add_figures(section, strategies, head="STRATEGY", caption="Per strategy")


def _add_hours(parent: Element, report: Report, *, number: int) -> None:
    section = _section(parent, f"Per hour of day, {report.zone}")
    hours = by_hour(report.results, zone=report.zone)
    draw_hours(section, hours, currency=report.currency, name=f"hours-{number}")
    named = {f"{hour:02d}:00": each for hour, each in hours.items()}
    more = add(section, "details")
    add(more, "summary", "The numbers")
    draw_rates(more, named, name=f"hour-rates-{number}", title="Win rates by hour, intervals and break-even")
    add_figures(more, named, head="HOUR", caption="By the hour in which a trade was decided")


def _add_prices(parent: Element, report: Report, *, number: int) -> None:
    charts = [chart for chart in report.charts if chart.candles]
    if not charts:
        return
    section = _section(parent, "Prices and trades")
    add_price_key(section)
    if report.left_out:
        add(section, "p", f"{report.left_out:,} earlier trades are not marked.", class_="soft")
    for place, chart in enumerate(charts):
        frame = add(
            section, "div", class_="scroll wide", tabindex="0", role="region", aria_label=chart.market
        )
        draw_prices(frame, chart, report.trades, name=f"prices-{number}-{place}", zone=report.zone)


def _add_trades(parent: Element, report: Report) -> None:
    section = _section(parent, "Trades")
    if not report.trades:
        add(section, "p", "None.", class_="soft")
        return
    count = f"{len(report.trades):,} listed"
    if report.left_out:
        count += f", the latest; {report.left_out:,} earlier ones are left out"
    add_trades(section, report.trades, caption=f"{count}; times in {report.zone}", zone=report.zone)
