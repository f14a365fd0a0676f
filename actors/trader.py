"""The trader: decides on what strategies wish for, and keeps the ledger. One for all markets."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from actors.desks import Acknowledged, Item, TraderBox
from actors.mailbox import Mailbox
from actors.trade_talk import TradeTalk
from actors.unkept import Unkept
from domain.clock import now_us
from domain.crash_points import crash_point
from domain.messages import Answerable
from domain.trades import LedgerRow, Order, OrderRefused, Outcome, TradeOpened, TradeSettled
from strategies.desk import Wish
from strategies.risk import Conditions
from strategies.trading import Trading

CRASH_POINTS = {TradeOpened: "trade.opened", TradeSettled: "trade.settled"}
DURABLE_WITHIN_S = 1.0  # DESIGN §5: an intent that is not on disk by then is not traded


@attrs.define(kw_only=True, eq=False)
class TraderPlace:
    """All that outlives a trader's runs. Owned by the tree.

    `taken` is what it took out of its mailbox and is not through with, `intended` are approved orders
    that are not on disk yet, `due` those that wait for the broker's mailbox. `handled` is called after
    each lot.
    """

    box: TraderBox
    trading: Trading
    unkept: Unkept
    broker: Mailbox[Order]
    conditions: Callable[[Wish], Conditions]
    handled: Callable[[], None]
    taken: deque[Item] = attrs.field(factory=deque)
    intended: deque[Order] = attrs.field(factory=deque)
    due: deque[Order] = attrs.field(factory=deque)
    talk: TradeTalk = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.talk = TradeTalk(self.trading)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits here."""
        return not (self.taken or self.intended or self.due)


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
        for orders in (place.due, place.intended):
            if orders:
                self._refuse(orders, cause="not_sent", detail="the trader was started over")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.unkept.keep, name="trader/keep")
            nursery.start_soon(self._hand_on, name="trader/orders")
            while True:
                if not place.taken:  # a crash leaves some
                    await self._take()
                await self._serve()

    async def _take(self) -> None:
        """Wait for something, and take all there is."""
        mailbox, taken = self._place.box.mailbox, self._place.taken
        taken.append(await mailbox.get())
        with contextlib.suppress(trio.WouldBlock):
            while len(taken) < mailbox.bound:
                taken.append(mailbox.get_nowait())
        self._place.box.make_room()

    async def _serve(self) -> None:
        """Decide on all, keep all in one lot, and give the orders to the broker once they are on disk."""
        place = self._place
        answers: list[Answerable] = []
        number = self.handle(answers)
        place.handled()
        if not answers and not place.intended:
            return
        with trio.move_on_after(DURABLE_WITHIN_S):
            await place.unkept.kept(number)
        if not place.unkept.has_kept(number):
            detail = f"its intent was not on disk within {DURABLE_WITHIN_S:g} s"
            if place.intended:
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

    def handle(self, answers: list[Answerable]) -> int:
        """Decide on what was taken and take note of outcomes, in order; return what their rows are called.

        Each leaves its rows before the next one's turn, so that a crash forgets none but its own. Orders
        are added to those intended; whoever is to hear that its outcome is kept, to `answers`.
        """
        place, number = self._place, 0
        while place.taken:
            item = place.taken.popleft()
            rows = self._decide(item) if isinstance(item, Wish) else self._note(item, answers)
            number = place.unkept.add(rows)
        return number

    def _decide(self, wish: Wish) -> Sequence[LedgerRow]:
        place = self._place
        decided = place.trading.decide(wish, place.conditions(wish))
        if decided.refused is not None:
            place.talk.refused(wish, decided.refused)
            return decided.rows if place.unkept.has_room else ()
        if decided.order is not None:
            crash_point("trade.decided")
            place.intended.append(decided.order)
        return decided.rows

    def _note(self, item: Outcome | Acknowledged, answers: list[Answerable]) -> Sequence[LedgerRow]:
        outcome = item.outcome if isinstance(item, Acknowledged) else item
        rows = self._take_note(outcome)
        if isinstance(item, Acknowledged):
            answers.append(item.answer)
        elif type(outcome) in CRASH_POINTS:
            crash_point(CRASH_POINTS[type(outcome)])
        return rows

    def _take_note(self, outcome: Outcome) -> Sequence[LedgerRow]:
        rows = self._place.trading.take(outcome)
        self._place.talk.happened(outcome)
        return rows

    def _refuse(self, orders: deque[Order], *, cause: str, detail: str) -> None:
        """Refuse what no broker has got: it never will."""
        while orders:
            trade = orders.popleft().position.trade
            refused = OrderRefused(trade_id=trade.id, at_us=now_us(), cause=cause, detail=detail)
            self._place.unkept.add(self._take_note(refused))
        self._place.handled()
