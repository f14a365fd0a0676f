"""The broker on paper: carries orders out at nobody's cost, by the prices that come."""

from collections.abc import Callable, Mapping

import attrs
import trio

from actors.desks import Acknowledged, DeskPlace
from actors.mailbox import Answer, Mailbox
from domain.clock import now_us
from domain.crash_points import crash_point
from domain.gaps import Gap
from domain.trades import Order, OrderRefused, OrderSent
from strategies.paper import Offer, find_refusal

SENT_WITHIN_S = 5.0  # an order whose `sent` is not on disk by then is not carried out
LOOK_EVERY_S = 1.0  # for what expires while no price comes
# A price from before the expiry may be under way so long; until then the gap may still end before it.
GRACE_US = 2_000_000


@attrs.frozen(kw_only=True)
class Silence:
    """A market's gap that is still open, and the venue's time now; `gap` is None where prices come."""

    gap: Gap | None
    venue_us: int


@attrs.define(kw_only=True, eq=False)
class BrokerPlace:
    """All that outlives a broker's runs. Owned by the tree.

    `desks` are by market. `silence` says whether prices are missing on one, `offer` what its venue
    would take now. `current` is the order that is being carried out.
    """

    mailbox: Mailbox[Order]
    desks: Mapping[str, DeskPlace]
    silence: Callable[[str], Silence]
    offer: Callable[[str], Offer]
    current: Order | None = None


class PaperBroker:
    """The actor that stands in for a venue's deals; a new one is made for each run.

    Reads: its mailbox of orders. Writes: to the trader, through the market's desk, what became of them.
    Owns: nothing; contracts are the desks'. Crashes on: a bug. A restart forgets: nothing; the order it
    was at is refused, unless it is placed.
    """

    def __init__(self, place: BrokerPlace) -> None:
        self._place = place

    async def run(self) -> None:
        """Carry orders out, and look after contracts that no price will end, for ever."""
        if self._place.current is not None:
            self._give_up(self._place.current)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, name="broker/watch")
            while True:
                self._place.current = await self._place.mailbox.get()
                await self._carry_out(self._place.current)
                self._place.current = None

    async def _carry_out(self, order: Order) -> None:
        trade, at_us = order.position.trade, now_us()
        desk = self._place.desks[trade.market]
        if at_us > order.send_by_us:
            late_ms = (at_us - order.send_by_us) // 1_000
            detail = f"{late_ms} ms after it was to be sent at the latest"
            desk.tell([OrderRefused(trade_id=trade.id, at_us=at_us, cause="not_sent", detail=detail)])
            return
        refusal = find_refusal(order.position, self._place.offer(trade.market), at_us=at_us)
        if refusal is not None:
            desk.tell([refusal])
            return
        if not await self._keep_sent(desk, OrderSent(trade_id=trade.id, at_us=at_us)):
            detail = f"that it is sent was not on disk within {SENT_WITHIN_S:g} s"
            refused = OrderRefused(trade_id=trade.id, at_us=now_us(), cause="not_durable", detail=detail)
            desk.tell([refused])
            return
        crash_point("trade.sent")
        desk.place(order.position)
        crash_point("trade.placed")

    async def _keep_sent(self, desk: DeskPlace, sent: OrderSent) -> bool:
        """Have it written down before it is done; return whether it was in time."""
        answer = Answer[None]()
        desk.tell([Acknowledged(outcome=sent, answer=answer)])
        with trio.move_on_after(SENT_WITHIN_S):
            await answer.wait()
            return True
        return False

    def _give_up(self, order: Order) -> None:
        trade = order.position.trade
        desk = self._place.desks[trade.market]
        if all(position.trade.id != trade.id for position in desk.book.positions):
            detail = "the broker was started over"
            desk.tell([OrderRefused(trade_id=trade.id, at_us=now_us(), cause="not_sent", detail=detail)])
        self._place.current = None

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """End what was to end while prices are missing: none that comes later can tell its result."""
        for market, desk in self._place.desks.items():
            if desk.recovering is not None or not desk.book.positions:
                continue
            silence = self._place.silence(market)
            if silence.gap is not None:
                desk.expire(silence.gap, until_us=silence.venue_us - GRACE_US)
