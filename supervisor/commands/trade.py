"""`marketd trade ID`: everything about one trade, so that its result can be worked out again by hand."""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

import attrs

from domain.clock import as_text
from domain.market import MAX_INTEGER
from domain.trades import Direction, Position, Trade
from supervisor.commands.pages import ask_once
from supervisor.commands.tables import as_table
from supervisor.reports.explain import arithmetic, disagreement
from supervisor.reports.words import gain, money, payout
from supervisor.trade_reading import position_of

Row = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Moment:
    """When a trade opened or ended, and the price it had then; None where it never came to that."""

    name: str
    price_name: str
    at_us: int | None
    price: float | None

    @classmethod
    def of_opening(cls, trade: Trade) -> Self:
        """Return the opening of a trade."""
        return cls(
            name="opened", price_name="the opening price", at_us=trade.opened_us, price=trade.open_price
        )

    @classmethod
    def of_expiry(cls, trade: Trade) -> Self:
        """Return the end of a trade."""
        return cls(
            name="expiry", price_name="the closing price", at_us=trade.expires_us, price=trade.close_price
        )

    def mark(self, place: str, tick: Row) -> str:
        """Return what to say of a tick: whether it has the trade's price."""
        return f"{place}: {self.price_name}" if tick["price"] == self.price else place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd trade`."""
    parser.add_argument("id", type=_id, metavar="ID", help="the trade's id, as `marketd trades` prints it")


def _id(text: str) -> int:
    """Return a trade's id."""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MAX_INTEGER:
        raise argparse.ArgumentTypeError(f"{text!r} is no trade's id: expected a number of `marketd trades`")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Print the trade; 1 where there is none of this id."""
    print("\n".join(trade_lines(ask_once(arguments, "trade", id=arguments.id))))
    return 0


def trade_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the answer to `trade` says, line by line."""
    position = position_of(answer["trade"])
    trade = position.trade
    yield f"trade {trade.id}: {trade.state}" + ("" if trade.profit is None else f", {gain(trade.profit)}")
    yield arithmetic(trade)
    wrong = disagreement(trade)
    if wrong is not None:
        yield f"THIS DOES NOT ADD UP, please report it: {wrong}"
    yield ""
    yield from _pairs(_facts(position, answer["signal"]))
    for title, lines in (
        ("steps", _events(answer["events"])),
        ("prices around the opening", _ticks(answer["at_opening"], Moment.of_opening(trade))),
        ("prices around the expiry", _ticks(answer["at_expiry"], Moment.of_expiry(trade))),
        ("gaps between decision and expiry", _gaps(answer["gaps"])),
    ):
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)


def _facts(position: Position, signal: Row | None) -> Iterator[tuple[str, str]]:
    trade = position.trade
    yield "market", trade.market
    yield "mode", trade.mode
    yield "strategy", f"{position.strategy or '-'}, {trade.direction} for {position.expiry_s} s"
    if signal is not None:
        yield (
            "decided on",
            f"{signal['price']!r} of {as_text(signal['ts_us'])}, {signal['price_age_ms']} ms old",
        )
        yield "because of", _inputs(signal["inputs"])
    yield "stake, payout", f"{money(trade.stake)} {trade.currency} at {payout(trade.payout_percent)}"
    if trade.open_price is not None:
        yield "opened at", f"{trade.open_price!r} of {_time(trade.opened_us)}"
        if signal is not None:
            yield "slippage", _slippage(trade, signal["price"])
        yield "latency", _latency(trade, position.ts_us)
    if trade.expires_us is not None:
        yield "expiry", _time(trade.expires_us)
    if trade.close_price is not None:
        source = "our own ticks" if trade.close_source == "ticks" else f"the {trade.close_source}'s word"
        yield "closed at", f"{trade.close_price!r}, by {source}"
    if trade.settled_us is not None:
        yield "settled", _time(trade.settled_us)
    if trade.venue_trade_id is not None:
        yield "the venue's id", trade.venue_trade_id


def _pairs(facts: Iterator[tuple[str, str]]) -> Iterator[str]:
    for name, text in facts:
        yield f"{name:<15}{text}"


def _time(ts_us: int | None) -> str:
    return "-" if ts_us is None else as_text(ts_us)


def _inputs(inputs: Any) -> str:
    if not isinstance(inputs, Mapping):
        return str(inputs)
    return ", ".join(f"{name} {_input(value)}" for name, value in inputs.items()) or "-"


def _input(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _slippage(trade: Trade, decided: float) -> str:
    """Return by how much the price had moved when the trade opened, and for whom that was."""
    moved = Decimal(repr(trade.open_price)) - Decimal(repr(decided))
    if moved == 0:
        return "none: it opened at the price decided on"
    is_worse = (moved > 0) == (trade.direction == Direction.UP)
    return f"{moved:+f} from the price decided on, {'worse' if is_worse else 'better'} for this direction"


def _latency(trade: Trade, decided_us: int) -> str:
    """Return how long it took, each part between two times of one clock."""
    parts = []
    if trade.opened_us is not None:
        took_ms = (trade.opened_us - decided_us) / 1000
        parts.append(f"{took_ms:.0f} ms from the price to the opening by the venue's clock")
    if trade.sent_us is not None:
        took_ms = (trade.sent_us - trade.intended_us) / 1000
        parts.append(f"{took_ms:.0f} ms from the decision to sending by ours")
    return ", ".join(parts)


def _events(events: Sequence[Row]) -> list[str]:
    rows = [(as_text(each["ts_us"]), each["state"], each["cause"], each["detail"] or None) for each in events]
    return as_table(("TIME", "STATE", "CAUSE", "DETAIL"), rows) if rows else ["none"]


def _gaps(gaps: Sequence[Row]) -> list[str]:
    rows = [(as_text(each["from_us"]), _time(each["to_us"]), each["cause"], each["fill"]) for each in gaps]
    return as_table(("FROM", "TO", "CAUSE", "FILL"), rows) if rows else ["none"]


def _ticks(ticks: Sequence[Row], moment: Moment) -> list[str]:
    """Return prices with the moment between them, and which of them the trade has."""
    if moment.at_us is None:
        return ["it never came to that"]
    if not ticks:
        return ["they are not kept any longer"]
    before = [each for each in ticks if each["ts_us"] <= moment.at_us]
    after = ticks[len(before) :]
    rows = [_tick(each) for each in before[:-1]]
    rows += [_tick(each, moment.mark("the last one by then", each)) for each in before[-1:]]
    rows.append((as_text(moment.at_us), "", "", moment.name))
    rows += [_tick(each, moment.mark("the first one after", each)) for each in after[:1]]
    rows += [_tick(each) for each in after[1:]]
    return as_table(("TIME", "PRICE", "SOURCE", ""), rows)


def _tick(tick: Row, mark: str = "") -> tuple[str, ...]:
    return as_text(tick["ts_us"]), repr(tick["price"]), tick["source"], mark
