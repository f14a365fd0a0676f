"""Judges the trades of a daemon that was killed again and again: pure, by arithmetic of its own.

Everything is worked out anew from the tables: ids, which state may follow which, what each contract
opened and ended at by the ticks and gaps, what it paid, what the account holds, whether a limit was
ever passed. Nothing of the code that traded is asked.
"""

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import attrs

from domain.gaps import Gap
from domain.market import Tick

SECOND_US, DAY_US = 1_000_000, 86_400_000_000
SHOWN = 5  # complaints of one kind; the others are counted
# Two markets' prices may be told to the trader the other way round than they came.
SLACK_US = 250_000

ENDED = {"won", "lost", "tied", "void", "refused"}
# Paper has no venue that could leave it without an answer for good; what is unknown is counted.
FOLLOWS = {
    "": {"intended"},
    "intended": {"sent", "refused", "unknown"},
    "sent": {"open", "refused", "unknown"},
    "open": {"won", "lost", "tied", "void", "unknown"},
    "unknown": {"open", "refused", "won", "lost", "tied", "void"},
}


class SignalSeen(NamedTuple):
    """A row of `signal`."""

    id: int
    market: str
    strategy: str
    ts_us: int
    direction: str
    expiry_s: int
    price: float
    outcome: str
    reason: str


class TradeSeen(NamedTuple):
    """A row of `trade`."""

    id: int
    signal_id: int
    market: str
    mode: str
    direction: str
    stake: Decimal
    payout_percent: float
    state: str
    intended_us: int
    sent_us: int | None
    opened_us: int | None
    open_price: float | None
    expires_us: int | None
    settled_us: int | None
    close_price: float | None
    profit: Decimal | None


class EventSeen(NamedTuple):
    """A row of `trade_event`."""

    id: int
    trade_id: int
    ts_us: int
    state: str
    cause: str


@attrs.frozen(kw_only=True)
class Terms:
    """What the settings and the venue's rules say."""

    latency_us: int
    is_tie_lost: bool
    payout_percent: float
    start: Decimal  # what the account began with
    stake: Decimal
    max_open: int
    max_open_per_market: int
    max_losses_in_a_row: int
    pause_us: int


@attrs.frozen(kw_only=True)
class Figures:
    """What status says of trading, and when."""

    at_us: int
    balance: Decimal
    open: int
    unknown: int
    trades_today: int
    realised_today: Decimal


@attrs.frozen(kw_only=True)
class Books:
    """All that is known at the end, when no trade is under way."""

    terms: Terms
    signals: Sequence[SignalSeen]
    trades: Sequence[TradeSeen]
    events: Sequence[EventSeen]
    ticks: Sequence[Tick]
    gaps: Sequence[Gap]
    figures: Figures
    # Of each life: the ids of signals and of events that its journal held when it was dead.
    accepted: Sequence[Set[int]] = ()


@attrs.frozen(kw_only=True)
class Result:
    """What a contract came to, worked out anew."""

    state: str
    open_price: float | None = None
    opened_us: int | None = None
    expires_us: int | None = None
    close_price: float | None = None
    settled_us: int | None = None


def judge_trades(books: Books) -> list[str]:
    """Return what is wrong with the trades."""
    return _Judge(books).judge()


def stable_id(*parts: str | int) -> int:
    """Return the id that these parts have: 53 bits of their hash."""
    text = "\0".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11


class _Market:
    """The ticks and gaps of one market, for looking up."""

    def __init__(self, ticks: Iterable[Tick], gaps: Iterable[Gap]) -> None:
        # What the venue's history filled in later, nobody had to settle by; it lies inside of gaps.
        self.ticks = sorted((tick for tick in ticks if tick.source == "live"), key=lambda tick: tick[1:3])
        self.times = [tick.ts_us for tick in self.ticks]
        self.gaps = list(gaps)

    def last_by(self, at_us: int) -> Tick | None:
        """Return the latest tick at or before a time."""
        number = bisect_right(self.times, at_us)
        return self.ticks[number - 1] if number else None

    def first_after(self, at_us: int) -> Tick | None:
        number = bisect_right(self.times, at_us)
        return self.ticks[number] if number < len(self.ticks) else None

    def is_inside_gap(self, at_us: int) -> bool:
        return any(gap.from_us < at_us and (gap.to_us is None or at_us < gap.to_us) for gap in self.gaps)

    def numbers_at(self, ts_us: int, price: float) -> list[int]:
        """Return the numbers of the ticks of that time and price."""
        end = bisect_right(self.times, ts_us)
        start = bisect_right(self.times, ts_us - 1)
        return [tick.seq for tick in self.ticks[start:end] if tick.price == price]


class _Judge:
    def __init__(self, books: Books) -> None:
        self.books = books
        self.terms = books.terms
        ticks: defaultdict[str, list[Tick]] = defaultdict(list)
        gaps: defaultdict[str, list[Gap]] = defaultdict(list)
        for tick in books.ticks:
            ticks[tick.market].append(tick)
        for gap in books.gaps:
            gaps[gap.market].append(gap)
        self.markets: Mapping[str, _Market] = {
            market: _Market(ticks[market], gaps[market]) for market in ticks.keys() | gaps.keys()
        }
        self.signals = {signal.id: signal for signal in books.signals}
        self.steps: defaultdict[int, list[EventSeen]] = defaultdict(list)
        for event in books.events:
            self.steps[event.trade_id].append(event)

    def judge(self) -> list[str]:
        checks = (
            self._what_was_accepted_is_there,
            self._each_signal_has_what_it_was_promised,
            self._ids_are_those_of_what_they_name,
            self._steps_are_legal_and_none_is_missing,
            self._all_have_ended,
            self._results_are_those_of_the_prices,
            self._limits_were_kept,
            self._figures_add_up,
        )
        return [line for check in checks for line in _few(check())]

    # --- none forgotten, none doubled -----------------------------------------------------------

    def _what_was_accepted_is_there(self) -> Iterator[str]:
        there = self.signals.keys() | {event.id for event in self.books.events}
        for number, ids in enumerate(self.books.accepted):
            for id_ in sorted(ids - there):
                yield f"accepted in life {number} and forgotten: signal or event {id_}"

    def _each_signal_has_what_it_was_promised(self) -> Iterator[str]:
        trades = Counter(trade.signal_id for trade in self.books.trades)
        for signal in self.books.signals:
            wanted = 1 if signal.outcome == "approved" else 0
            if trades[signal.id] != wanted:
                yield f"{trades[signal.id]} trades of a signal that was {signal.outcome}: {signal}"
            if (signal.reason == "") != (signal.outcome == "approved"):
                yield f"{signal.outcome} with the reason {signal.reason!r}: {signal}"
        for trade in self.books.trades:
            found = self.signals.get(trade.signal_id)
            if found is None:
                yield f"a trade without its signal: {trade}"
            elif (found.market, found.direction) != (trade.market, trade.direction):
                yield f"a trade unlike its signal {found}: {trade}"
        for market_and_tick, count in Counter(
            (each[1], each[2], each[3]) for each in self.books.signals
        ).items():
            if count > 1:
                yield f"{count} signals of one strategy on one tick: {market_and_tick}"
        known = {trade.id for trade in self.books.trades}
        for trade_id in self.steps.keys() - known:
            yield f"steps of a trade that is not there: {trade_id}"

    def _ids_are_those_of_what_they_name(self) -> Iterator[str]:
        """And so a second decision on the same tick cannot be another trade."""
        for signal in self.books.signals:
            key = (signal.strategy, signal.market, signal.ts_us)
            numbers = self._market(signal.market).numbers_at(signal.ts_us, signal.price)
            if not numbers:
                yield f"decided on a price that is not kept: {signal}"
            elif signal.id not in {stable_id("signal", *key, number) for number in numbers}:
                yield f"its id is not its own: {signal}"
        for trade in self.books.trades:
            found = self.signals.get(trade.signal_id)
            if found is None:
                continue
            key = (trade.mode, found.strategy, found.market, found.ts_us)
            numbers = self._market(found.market).numbers_at(found.ts_us, found.price)
            if trade.id not in {stable_id("trade", *key, number) for number in numbers}:
                yield f"its id is not its own: {trade}"

    # --- its steps ------------------------------------------------------------------------------

    def _steps_are_legal_and_none_is_missing(self) -> Iterator[str]:
        for trade in self.books.trades:
            steps = self.steps[trade.id]
            numbers = {stable_id(trade.id, number): number for number in range(len(steps))}
            if {step.id for step in steps} != numbers.keys() or not steps:
                yield f"its steps are not numbered from 0 on: {[step.state for step in steps]}, {trade}"
                continue
            states = [step.state for step in sorted(steps, key=lambda step: numbers[step.id])]
            for before, after in zip(["", *states], states, strict=False):
                if after not in FOLLOWS.get(before, set()):
                    yield f"{before or 'nothing'} became {after}: {states}, {trade}"
            if states[-1] != trade.state:
                yield f"its last step is {states[-1]}: {trade}"

    def _all_have_ended(self) -> Iterator[str]:
        for trade in self.books.trades:
            if trade.state not in ENDED and trade.state != "unknown":
                yield f"never came to its end: {trade}"

    # --- what it came to --------------------------------------------------------------------------

    def _results_are_those_of_the_prices(self) -> Iterator[str]:
        for trade in self.books.trades:
            signal = self.signals.get(trade.signal_id)
            if signal is not None and trade.state in ENDED:
                yield from self._judge_result(trade, signal)

    def _judge_result(self, trade: TradeSeen, signal: SignalSeen) -> Iterator[str]:
        if trade.stake != self.terms.stake or trade.payout_percent != self.terms.payout_percent:
            yield f"not at the stake and payout of the settings: {trade}"
        expected = self._work_out(signal)
        if trade.state == "refused":
            causes = [step.cause for step in self.steps[trade.id] if step.state == "refused"]
            if causes == ["no_price"] and expected.state != "refused":
                yield f"refused for want of a price, and there was one: {expected}, {trade}"
            if trade.profit or trade.opened_us is not None or trade.settled_us is not None:
                yield f"refused, and yet it has a result: {trade}"
            return
        found = Result(
            state=trade.state,
            open_price=trade.open_price,
            opened_us=trade.opened_us,
            expires_us=trade.expires_us,
            close_price=trade.close_price,
            settled_us=trade.settled_us,
        )
        if found != expected:
            yield f"it came to {expected}, and {found} is written down: {trade}"
        if trade.profit != self._profit(trade):
            yield f"its profit is {self._profit(trade)}: {trade}"

    def _work_out(self, signal: SignalSeen) -> Result:
        """Return what a contract on this signal came to, by the ticks and gaps that are kept."""
        market = self._market(signal.market)
        opens_us = signal.ts_us + self.terms.latency_us
        expires_us = opens_us + signal.expiry_s * SECOND_US
        opening = market.last_by(opens_us)
        if market.is_inside_gap(opens_us) or opening is None:
            return Result(state="refused")
        opened = Result(state="open", open_price=opening.price, opened_us=opens_us, expires_us=expires_us)
        if market.is_inside_gap(expires_us):
            return attrs.evolve(opened, state="void", settled_us=expires_us)
        closing, after = market.last_by(expires_us), market.first_after(expires_us)
        if closing is None or after is None:
            return opened
        moved = closing.price - opening.price
        if moved == 0:
            state = "lost" if self.terms.is_tie_lost else "tied"
        else:
            state = "won" if (moved > 0) == (signal.direction == "up") else "lost"
        return attrs.evolve(opened, state=state, close_price=closing.price, settled_us=after.received_us)

    def _profit(self, trade: TradeSeen) -> Decimal:
        if trade.state == "won":
            cents = trade.stake * Decimal(repr(trade.payout_percent))
            return Decimal(int(cents.to_integral_value(ROUND_FLOOR))) / 100
        return -trade.stake if trade.state == "lost" else Decimal(0)

    # --- limits and figures -----------------------------------------------------------------------

    def _limits_were_kept(self) -> Iterator[str]:
        entered = sorted(
            (trade for trade in self.books.trades if trade.state != "refused"),
            key=lambda trade: trade.intended_us,
        )
        under_way: list[TradeSeen] = []
        pauses = self._pauses(entered)
        for trade in entered:
            at_us = trade.intended_us
            # Told as it came: of its own market exactly, of the others but for the slack.
            under_way = [each for each in under_way if each.settled_us is None or each.settled_us > at_us]
            here = [each for each in under_way if each.market == trade.market]
            sure = [
                each
                for each in under_way
                if each.intended_us < at_us - SLACK_US
                and (each.settled_us is None or each.settled_us > at_us + SLACK_US)
            ]
            if len(here) >= self.terms.max_open_per_market:
                yield f"the market had {len(here)} open already: {trade}"
            if len(sure) >= self.terms.max_open:
                yield f"{len(sure)} were open already: {trade}"
            for from_us, to_us in pauses:
                if from_us + SLACK_US < at_us < to_us - SLACK_US:
                    yield f"in the pause from {from_us} to {to_us}: {trade}"
            under_way.append(trade)

    def _pauses(self, trades: Iterable[TradeSeen]) -> list[tuple[int, int]]:
        """Return the pauses that losses in a row made."""
        ended = sorted(
            (trade.settled_us, trade.id, trade.state)
            for trade in trades
            if trade.state in ("won", "lost") and trade.settled_us is not None
        )
        run, pauses = 0, list[tuple[int, int]]()
        for at_us, _, state in ended:
            run = run + 1 if state == "lost" else 0
            if run and run % self.terms.max_losses_in_a_row == 0:
                pauses.append((at_us, at_us + self.terms.pause_us))
        return pauses

    def _figures_add_up(self) -> Iterator[str]:
        said, trades = self.books.figures, self.books.trades
        day_us = said.at_us - said.at_us % DAY_US

        def is_today(at_us: int | None) -> bool:
            return at_us is not None and day_us <= at_us < day_us + DAY_US

        worked_out = Figures(
            at_us=said.at_us,
            balance=self.terms.start + sum((trade.profit or Decimal(0) for trade in trades), Decimal(0)),
            open=sum(trade.state not in ENDED for trade in trades),
            unknown=sum(trade.state == "unknown" for trade in trades),
            trades_today=sum(is_today(trade.intended_us) for trade in trades if trade.state != "refused"),
            realised_today=sum(
                (trade.profit or Decimal(0) for trade in trades if is_today(trade.settled_us)), Decimal(0)
            ),
        )
        if said != worked_out:
            yield f"status says {said}, and the tables {worked_out}"

    def _market(self, market: str) -> _Market:
        return self.markets.get(market) or _Market((), ())


def _few(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    more = len(found) - SHOWN
    return found[:SHOWN] + ([f"… and {more} more of this kind"] if more > 0 else [])
