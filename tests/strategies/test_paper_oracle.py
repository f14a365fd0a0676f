"""The paper book against results read off the whole recording, whenever its orders come."""

import random
from collections.abc import Sequence

import attrs
import pytest
from dealing import RULES, book_with, gap_of, sent, tick_at, us

from domain.contracts import ContractRules, OpensAt, Tie
from domain.gaps import Gap
from domain.market import Tick
from domain.trades import OrderRefused, Outcome, Position, TradeOpened, TradeSettled

Result = tuple[str, float | None, float | None, int]  # state, prices at both ends, when it was known


class Recording:
    """Ticks of unequal distances, some of equal times, and gaps between them, some inside of others."""

    def __init__(self, seed: int) -> None:
        chance, at_s = random.Random(seed), 0.0
        self.ticks: list[Tick] = []
        self.gaps: list[Gap] = []
        self.chance = chance
        for _ in range(250):
            step_s = chance.choice((0, 0.25, 0.5, 0.5, 1, 3))
            if step_s and self.ticks and chance.random() < 0.08:
                step_s += chance.choice((0, 8, 15))
                self.gaps.append(gap_of(at_s, at_s + step_s, chance.choice(("stale", "closed"))))
                if step_s > 4:
                    self.gaps.append(gap_of(at_s + 1, at_s + step_s - 1, "disconnect"))
            at_s += step_s
            self.ticks.append(tick_at(at_s, 1 + chance.randrange(4) / 4, seq=len(self.ticks)))

    def by(self, at_us: int) -> Tick:
        return [tick for tick in self.ticks if tick.ts_us <= at_us][-1]

    def after(self, at_us: int) -> Tick | None:
        return next((tick for tick in self.ticks if tick.ts_us > at_us), None)

    def is_missing(self, at_us: int) -> bool:
        return any(gap.from_us < at_us < (gap.to_us or 0) for gap in self.gaps)


def expected(recording: Recording, position: Position, rules: ContractRules) -> Result | None:
    """What becomes of a contract; None where the recording ends before that is known."""
    opens_us = position.ts_us + rules.latency_us
    expires_us = opens_us + us(position.expiry_s)
    after = recording.after(opens_us)
    if after is None:
        return None
    entry = recording.by(opens_us)
    is_missing = recording.is_missing(opens_us)
    if rules.opens_at is OpensAt.FIRST_AFTER:
        entry = after
        is_missing |= recording.is_missing(opens_us + 1) or entry.ts_us > expires_us
    if is_missing:
        return "refused", None, None, opens_us
    known = recording.after(expires_us)
    if recording.is_missing(expires_us):
        return ("void", entry.price, None, expires_us) if known else None
    if known is None:
        return None
    last = recording.by(expires_us).price
    if last == entry.price:
        state = "tied" if rules.tie is Tie.REFUNDED else "lost"
    else:
        state = "won" if (last > entry.price) == (position.trade.direction == "up") else "lost"
    return state, entry.price, last, known.received_us


def results(outcomes: Sequence[Outcome]) -> dict[int, Result]:
    opened = {each.trade_id: each.open_price for each in outcomes if isinstance(each, TradeOpened)}
    found: dict[int, Result] = {}
    for each in outcomes:
        if isinstance(each, OrderRefused):
            found[each.trade_id] = ("refused", None, None, each.at_us)
        elif isinstance(each, TradeSettled):
            assert each.trade_id not in found
            found[each.trade_id] = (each.state, opened[each.trade_id], each.close_price, each.at_us)
    return found


def played(recording: Recording, positions: Sequence[Position], rules: ContractRules) -> dict[int, Result]:
    """Let a book take the recording, with each order some time after the tick it was decided on."""
    book, outcomes = book_with(rules), list[Outcome]()
    gaps = sorted(recording.gaps, key=lambda gap: gap.to_us or 0, reverse=True)
    due = [(each.ts_us + us(recording.chance.choice((0, 0.3, 2, 20))), each.trade.id) for each in positions]
    orders = sorted(due, reverse=True)
    by_id = {position.trade.id: position for position in positions}
    for tick in recording.ticks:
        while gaps and (gaps[-1].to_us or 0) <= tick.ts_us:
            outcomes += book.gap(gaps.pop())
        outcomes += book.take(tick)
        while orders and orders[-1][0] <= tick.ts_us:
            outcomes += book.place(by_id[orders.pop()[1]])
    return results(outcomes)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("latency_us", [0, 500_000])
@pytest.mark.parametrize("opens_at", OpensAt)
def test_every_contract_goes_as_the_recording_has_it(seed: int, latency_us: int, opens_at: OpensAt) -> None:
    recording = Recording(seed)
    tie = Tie.REFUNDED if seed % 2 else Tie.LOST
    rules = attrs.evolve(RULES, latency_us=latency_us, opens_at=opens_at, tie=tie)
    positions = [
        sent(
            tick.ts_us / 1e6,
            trade_id=number,
            expiry_s=recording.chance.choice((1, 3, 10)),
            direction=recording.chance.choice(("up", "down")),
        )
        for number, tick in enumerate(recording.ticks[:-40:3])
    ]
    wanted = {position.trade.id: expected(recording, position, rules) for position in positions}
    found = played(recording, positions, rules)
    assert found == {trade_id: result for trade_id, result in wanted.items() if result is not None}
    assert len({state for state, *_ in found.values()}) >= 3
