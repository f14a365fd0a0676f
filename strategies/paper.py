"""Contracts on paper: opened and settled by the ticks that came, as the venue's rules have it."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs

from domain.clock import as_text
from domain.contracts import ContractRules, OpensAt, Tie
from domain.gaps import Cause, Gap
from domain.market import Tick
from domain.trades import (
    Direction,
    OrderRefused,
    Outcome,
    Position,
    TradeOpened,
    TradeSettled,
    TradeState,
)
from strategies.known_gaps import KnownGaps, shares
from strategies.tick_ring import TickRing

SECOND_US = 1_000_000
NEVER_US = 2**63 - 1
OWN_TICKS = "ticks"  # `close_source` of a result of ours

NONE: tuple[Outcome, ...] = ()


def our_time(tick: Tick) -> int:
    """Return when a tick reached us by our clock; of one that did not come live, its own time."""
    return tick.received_us if tick.source == "live" else tick.ts_us


@attrs.frozen(kw_only=True)
class Offer:
    """What a venue offers on one market at a moment; None where it does not say or has no bound."""

    is_open: bool = True
    payout_percent: float | None = None
    least_stake: Decimal | None = None
    most_stake: Decimal | None = None


def find_refusal(position: Position, offer: Offer, *, at_us: int) -> OrderRefused | None:
    """Return what the venue would say to an order that it does not take, None where it takes it."""

    def refused(cause: str, detail: str) -> OrderRefused:
        return OrderRefused(trade_id=position.trade.id, at_us=at_us, cause=cause, detail=detail)

    stake = position.trade.stake
    if not offer.is_open:
        return refused("closed", f"{position.trade.market} is closed")
    if offer.payout_percent is None or offer.payout_percent <= 0:
        return refused("payout", f"{position.trade.market} pays nothing now")
    if offer.least_stake is not None and stake < offer.least_stake:
        return refused("stake", f"{stake} is less than the venue's least stake, {offer.least_stake}")
    if offer.most_stake is not None and stake > offer.most_stake:
        return refused("stake", f"{stake} is more than the venue's greatest stake, {offer.most_stake}")
    return None


@attrs.define(kw_only=True, eq=False)
class Contract:
    """A position on its way: not open yet while it has no price."""

    position: Position
    opens_us: int
    expires_us: int
    open_price: float | None

    @property
    def due_us(self) -> int:
        """A tick later than this decides its next step."""
        return self.opens_us if self.open_price is None else self.expires_us


class PaperBook:
    """The contracts of one market. What becomes of one depends on ticks and gaps alone.

    It does not depend on when the order came: a late one opens and settles by the ticks that came
    meanwhile, as long as the ring reaches back to them. A tick that is not after the last one, by
    time and number, is ignored; a gap of cause `clock` lets the time begin anew. A gap counts from the
    first tick at or after its end on.
    """

    __slots__ = ("_contracts", "_due_us", "_gaps", "_open_gap", "_ring", "_rules", "market")

    def __init__(self, *, market: str, rules: ContractRules) -> None:
        self.market = market
        self._rules = rules
        self._contracts: dict[int, Contract] = {}
        self._due_us = NEVER_US  # the earliest of all
        self._ring = TickRing()
        self._gaps = KnownGaps()
        self._open_gap: Gap | None = None  # of whoever asks now

    @property
    def positions(self) -> tuple[Position, ...]:
        """What has not come to its end, in the order of placing."""
        return tuple(contract.position for contract in self._contracts.values())

    def place(self, position: Position) -> Sequence[Outcome]:
        """Take a position that is sent, or open already; return what the ticks so far make of it."""
        trade = position.trade
        opens_us = position.ts_us + self._rules.latency_us if trade.opened_us is None else trade.opened_us
        contract = Contract(
            position=position,
            opens_us=opens_us,
            expires_us=trade.expires_us or opens_us + position.expiry_s * SECOND_US,
            open_price=trade.open_price,
        )
        self._contracts[trade.id] = contract
        return self._settle_due()

    def take(self, tick: Tick) -> Sequence[Outcome]:
        """Take the next tick; return what it decides, in the order of placing."""
        if not self._ring.take(tick):
            return NONE
        ts_us = tick.ts_us
        if ts_us > self._due_us or (self._gaps.has_news and self._gaps.pass_time(ts_us)):
            self._gaps.pass_time(ts_us)
            return self._settle_due()
        return NONE

    def gap(self, gap: Gap) -> Sequence[Outcome]:
        """Take note of a gap that has an end; a later word on the same one replaces it.

        Returns what it decides at once: where it is told after ticks that came later, and where the
        clock stepped back.
        """
        if gap.to_us is None:
            return NONE
        self._gaps.put(gap)
        seen_us = self._ring.last_us
        if gap.cause == Cause.CLOCK:
            self._ring.step_back(gap.from_us)
            seen_us = max(seen_us, gap.to_us)
        if self._gaps.pass_time(seen_us):
            return self._settle_due()
        return NONE

    def step_back(self, to_us: int) -> None:
        """Forget the ticks after a time: theirs was a mistake."""
        self._ring.step_back(to_us)

    def expire(self, gap: Gap, *, until_us: int) -> Sequence[Outcome]:
        """End what opens or expires inside a gap that is still open, up to `until_us`, which has passed.

        `until_us` is the venue's time; no tick from before it may come any longer.
        """
        self._open_gap = gap._replace(to_us=until_us + 1)
        try:
            return self._settle_due()
        finally:
            self._open_gap = None

    def _settle_due(self) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for contract in list(self._contracts.values()):
            outcomes += self._advance(contract)
        self._due_us = min((contract.due_us for contract in self._contracts.values()), default=NEVER_US)
        return outcomes

    def _advance(self, contract: Contract) -> Iterator[Outcome]:
        """Yield the next steps of a contract, as far as they are known."""
        if contract.open_price is None:
            opening = self._open(contract)
            if opening is None:
                return
            yield opening
            if isinstance(opening, OrderRefused):
                del self._contracts[opening.trade_id]
                return
            contract.open_price = opening.open_price
        result = self._close(contract, contract.open_price)
        if result is not None:
            del self._contracts[result.trade_id]
            yield result

    def _open(self, contract: Contract) -> TradeOpened | OrderRefused | None:
        at_us = contract.opens_us
        # A first tick after the time from beyond a gap is none; a latest one before it is.
        gap = self._gap_within(at_us, at_us + 1 + self._is_first_after)
        if gap is not None:
            return self._no_price(contract, f"it was to open inside a gap ({gap.cause})")
        before, after = self._ring.around(at_us)
        if after is None:
            return None
        entry = after if self._is_first_after else before
        if before is None or entry is None:
            return self._no_price(contract, "the order came after the ticks that it was to open at")
        if entry.ts_us > contract.expires_us:
            return self._no_price(contract, "no price came before it was to end")
        return TradeOpened(
            trade_id=contract.position.trade.id,
            at_us=our_time(after),
            opened_us=at_us,
            open_price=entry.price,
            expires_us=contract.expires_us,
        )

    def _no_price(self, contract: Contract, detail: str) -> OrderRefused:
        return OrderRefused(
            trade_id=contract.position.trade.id, at_us=contract.opens_us, cause="no_price", detail=detail
        )

    def _close(self, contract: Contract, open_price: float) -> TradeSettled | None:
        at_us = contract.expires_us
        gap = self._gap_within(at_us, at_us + 1)
        if gap is not None:
            return self._void(contract, f"it ended inside a gap ({gap.cause})")
        before, after = self._ring.around(at_us)
        if after is None:
            return None
        if before is None:
            return self._void(contract, "the ticks that it ended at are not at hand any longer")
        trade = contract.position.trade
        return TradeSettled(
            trade_id=trade.id,
            at_us=our_time(after),
            state=self._result(Direction(trade.direction), open_price=open_price, close_price=before.price),
            close_price=before.price,
            close_source=OWN_TICKS,
            detail=f"opened at {open_price!r}, the last price by its end was {before.price!r}, "
            f"of {as_text(before.ts_us)}",
        )

    def _void(self, contract: Contract, detail: str) -> TradeSettled:
        return TradeSettled(
            trade_id=contract.position.trade.id,
            at_us=contract.expires_us,
            state=TradeState.VOID,
            close_price=None,
            close_source=OWN_TICKS,
            detail=detail,
        )

    def _result(self, direction: Direction, *, open_price: float, close_price: float) -> TradeState:
        if close_price == open_price:
            return TradeState.TIED if self._rules.tie is Tie.REFUNDED else TradeState.LOST
        return (
            TradeState.WON if (close_price > open_price) is (direction is Direction.UP) else TradeState.LOST
        )

    @property
    def _is_first_after(self) -> bool:
        return self._rules.opens_at is OpensAt.FIRST_AFTER

    def _gap_within(self, from_us: int, to_us: int) -> Gap | None:
        if self._open_gap is not None and shares(self._open_gap, from_us, to_us):
            return self._open_gap
        return self._gaps.within(from_us, to_us)
