"""The trader: decides on what strategies wish for, and keeps the ledger. One for all markets."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from actors.desks import Acknowledged, Item, TraderBox, Unkept
from actors.mailbox import Mailbox
from domain.clock import now_us
from domain.crash_points import crash_point
from domain.messages import Answerable
from domain.trades import LedgerRow, Order, OrderRefused, TradeOpened, TradeSettled
from strategies.desk import Wish
from strategies.risk import Conditions
from strategies.trading import Trading

CRASH_POINTS = {TradeOpened: "trade.opened", TradeSettled: "trade.settled"}
DURABLE_WITHIN_S = 1.0  # DESIGN §5: an intent that is not on disk by then is not traded


@attrs.define(kw_only=True, eq=False)
class TraderPlace:
    """All that outlives a trader's runs. Owned by the tree.

    `intended` are approved orders that are not on disk yet, `due` those that wait for the broker's
    mailbox. `handled` is called after each lot, `tell` with its rows.
    """

    box: TraderBox
    trading: Trading
    unkept: Unkept
    broker: Mailbox[Order]
    conditions: Callable[[Wish], Conditions]
    handled: Callable[[], None]
    tell: Callable[[Sequence[LedgerRow]], None]
    intended: deque[Order] = attrs.field(factory=deque)
    due: deque[Order] = attrs.field(factory=deque)

    @property
    def is_idle(self) -> bool:
        """Whether no order waits here."""
        return not self.intended and not self.due


class Trader:
    """The actor that knows every trade; a new one is made for each run.

    Reads: its mailbox, what happened on each market in order. Writes: rows to the writer, orders to the
    broker, for whose mailbox they wait. Owns: nothing; `Trading` and what is not kept are its place's.
    Crashes on: a bug, which switches all trading off. A restart forgets: nothing; what was approved and
    not given to the broker is refused.
    """

    def __init__(self, place: TraderPlace) -> None:
        self._place = place
        self._has_orders = trio.Event()

    async def run(self) -> None:
        """Decide and keep, for ever."""
        place = self._place
        self._refuse(place.due, cause="not_sent", detail="the trader was started over")
        self._refuse(place.intended, cause="not_sent", detail="the trader was started over")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.unkept.keep, name="trader/keep")
            nursery.start_soon(self._hand_on, name="trader/orders")
            while True:
                await self._serve(await self._take())

    async def _take(self) -> Sequence[Item]:
        """Wait for something, and take all there is."""
        mailbox = self._place.box.mailbox
        items = [await mailbox.get()]
        with contextlib.suppress(trio.WouldBlock):
            while len(items) < mailbox.bound:
                items.append(mailbox.get_nowait())
        self._place.box.make_room()
        return items

    async def _serve(self, items: Sequence[Item]) -> None:
        """Decide on all, keep all in one lot, and give the orders to the broker once they are on disk."""
        place = self._place
        answers: list[Answerable] = []
        rows = self.handle(items, answers)
        if not rows:
            return
        number = place.unkept.add(rows)
        place.tell(rows)
        place.handled()
        if not answers and not place.intended:
            return
        with trio.move_on_after(DURABLE_WITHIN_S):
            await place.unkept.kept(number)
        if not place.unkept.has_kept(number):
            detail = f"its intent was not on disk within {DURABLE_WITHIN_S:g} s"
            self._refuse(place.intended, cause="not_durable", detail=detail)
            return  # who waits for an answer has a deadline of its own
        for answer in answers:
            answer.set(None)
        if place.intended:
            crash_point("trade.intended")
            place.due.extend(place.intended)
            place.intended.clear()
            self._has_orders.set()

    async def _hand_on(self) -> None:
        """Give orders to the broker as it has room: deciding goes on meanwhile, it may wait for us."""
        due = self._place.due
        while True:
            await self._has_orders.wait()
            self._has_orders = trio.Event()
            while due:
                await self._place.broker.put(due[0])
                due.popleft()

    def handle(self, items: Sequence[Item], answers: list[Answerable]) -> Sequence[LedgerRow]:
        """Decide on wishes and take note of outcomes, in order; return the rows that say so.

        Orders are added to those intended; whoever is to hear that its outcome is kept, to `answers`.
        """
        place, rows = self._place, list[LedgerRow]()
        for item in items:
            match item:
                case Wish():
                    decided = place.trading.decide(item, place.conditions(item))
                    rows += decided.rows
                    if decided.order is not None:
                        crash_point("trade.decided")
                        place.intended.append(decided.order)
                case Acknowledged(outcome=outcome, answer=answer):
                    rows += place.trading.take(outcome)
                    answers.append(answer)
                case _:
                    rows += place.trading.take(item)
                    if type(item) in CRASH_POINTS:
                        crash_point(CRASH_POINTS[type(item)])
        return rows

    def _refuse(self, orders: deque[Order], *, cause: str, detail: str) -> None:
        """Refuse what no broker has got: it never will."""
        rows: list[LedgerRow] = []
        while orders:
            trade = orders.popleft().position.trade
            refused = OrderRefused(trade_id=trade.id, at_us=now_us(), cause=cause, detail=detail)
            rows += self._place.trading.take(refused)
        if rows:
            self._place.unkept.add(rows)
            self._place.tell(rows)
            self._place.handled()
