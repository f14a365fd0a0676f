"""The tables of a page: whatever a drawing shows stands in one of them too."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element

from domain.trades import Position
from strategies.statistics import Figures
from supervisor.reports.markup import add
from supervisor.reports.words import gain, moment, money, payout, percent, price

FIGURES = (
    "TRADES", "WON", "LOST", "TIED", "VOID", "WIN RATE", "95 % INTERVAL", "BREAK-EVEN", "PROFIT",
    "DRAWDOWN", "LOSING RUN", "VERDICT",
)  # fmt: skip
TRADES = (
    "DECIDED", "MARKET", "STRATEGY", "DIRECTION", "RESULT", "PROFIT", "STAKE", "PAYOUT", "OPENED",
    "OPEN PRICE", "EXPIRY", "CLOSE PRICE", "TRADE",
)  # fmt: skip
WORDS = frozenset(
    {"VERDICT", "TRADE", "MARKET", "STRATEGY", "DIRECTION", "RESULT", "DECIDED", "OPENED", "EXPIRY", "LIMIT"}
)


def cells_of(figures: Figures) -> tuple[str, ...]:
    """Return what stands under `FIGURES`."""
    interval = figures.interval
    return (
        str(figures.trades),
        str(figures.won),
        str(figures.lost),
        str(figures.tied),
        str(figures.void),
        percent(figures.win_rate),
        "–" if interval is None else f"{interval.low * 100:.1f} – {percent(interval.high)}",
        percent(figures.break_even),
        gain(figures.profit),
        money(figures.drawdown),
        str(figures.losing_run),
        figures.verdict,
    )


def add_figures(parent: Element, groups: Mapping[str, Figures], *, head: str, caption: str) -> None:
    """Add a table with a row for each group."""
    body = _table(parent, (head, *FIGURES), caption=caption, words={head, *WORDS})
    for group, figures in groups.items():
        row = add(body, "tr")
        add(row, "th", group, scope="row", class_="word")
        for column, text in zip(FIGURES, cells_of(figures), strict=True):
            add(row, "td", text, **_class(column, text))


def add_trades(parent: Element, trades: Iterable[Position], *, caption: str, zone: datetime.tzinfo) -> None:
    """Add a table with a row for each trade, in the order given."""
    body = _table(parent, TRADES, caption=caption, words=WORDS)
    for each in trades:
        row = add(body, "tr", class_=each.trade.state)
        for column, text in zip(TRADES, _trade_cells(each, zone=zone), strict=True):
            add(row, "td", text, **_class(column, text))


def add_counts(parent: Element, counts: Mapping[str, int], *, caption: str) -> None:
    """Add how many signals each limit refused, the most first."""
    body = _table(parent, ("LIMIT", "SIGNALS"), caption=caption, words=WORDS)
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        row = add(body, "tr")
        add(row, "th", name, scope="row", class_="word")
        add(row, "td", f"{count:,}")


def _table(parent: Element, heads: Sequence[str], *, caption: str, words: Iterable[str]) -> Element:
    known = frozenset(words)
    frame = add(parent, "div", class_="scroll", tabindex="0", role="region", aria_label=caption)
    table = add(frame, "table")
    add(table, "caption", caption)
    line = add(add(table, "thead"), "tr")
    for head in heads:
        text = head if head.isdigit() else head.capitalize()
        add(line, "th", text, scope="col", **({"class_": "word"} if head in known else {}))
    return add(table, "tbody")


def _class(column: str, text: str) -> dict[str, str]:
    if column == "VERDICT":
        return {"class_": "word long"}
    if column == "PROFIT" and text[0] in "+−":
        return {"class_": "loss" if text.startswith("−") else "gain"}
    return {"class_": "word"} if column in WORDS else {}


def _trade_cells(each: Position, *, zone: datetime.tzinfo) -> tuple[str, ...]:
    trade = each.trade
    return (
        moment(each.ts_us, zone=zone),
        trade.market,
        each.strategy,
        trade.direction,
        trade.state,
        "–" if trade.profit is None else gain(trade.profit),
        money(trade.stake),
        payout(trade.payout_percent),
        _after(each.ts_us, trade.opened_us, zone=zone),
        price(trade.open_price),
        _after(each.ts_us, trade.expires_us, zone=zone),
        price(trade.close_price),
        str(trade.id),
    )


def _after(begin_us: int, ts_us: int | None, *, zone: datetime.tzinfo) -> str:
    """Return a time, without its date where that is the date at which it began."""
    day, _, clock = moment(ts_us, zone=zone).partition(" ")
    return clock if moment(begin_us, zone=zone).startswith(day) and clock else f"{day} {clock}".strip()
