"""What of trading the database knows: the trades of before, ticks a desk missed, candles to warm up by."""

import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio

from actors.mailbox import Answer
from domain.clock import now_us
from domain.errors import StorageBusy
from domain.events import Event, emit
from domain.states import Desired
from domain.trades import FINAL, Mode, OrderRefused, Position, TradeState
from storage.ledger import remembered, total_profit
from storage.past import past_gaps, past_ticks
from storage.session import Session
from storage.steps import step_counts
from storage.warm_up import latest_candles
from strategies.arrival import as_taken
from strategies.strategy import SeenCandle

if TYPE_CHECKING:
    from actors.desks import DeskPlace
    from supervisor.floor import Floor
    from supervisor.tree import Tree

Result = TypeVar("Result")

AGAIN_S = 5.0  # a database that does not answer is asked again
PAGE_ROWS = 2_000
COUNTED_US = 3 * 86_400_000_000  # limits count today's trades and, where the clock steps back, a day's more
NOT_SEEN = "backfill"  # the source of ticks that came afterwards: their gap decides, not they
WARM_UP_S = 5.0  # prices wait so long for stored candles; a minute's first is partial anyway


@attrs.frozen(kw_only=True)
class Known:
    """The trades of before that matter, what all of a mode have brought, and the steps of those under way."""

    positions: Sequence[Position]
    profit: Decimal
    steps: Mapping[int, int]

    @property
    def under_way(self) -> Sequence[Position]:
        """Those whose result is still to come, or not known."""
        return [position for position in self.positions if position.trade.id in self.steps]

    @classmethod
    def read(cls, session: Session, *, mode: Mode) -> "Known":
        """Read it, all as of one moment."""
        positions = remembered(session, mode=mode, since_us=now_us() - COUNTED_US)
        under_way = [position.trade.id for position in positions if position.state not in FINAL]
        return cls(
            positions=positions,
            profit=total_profit(session, mode=mode),
            steps=step_counts(session, trades=under_way),
        )


class Ledger:
    """Reads for the trading floor, in a task of its own; a database that is away is asked again, for ever.

    At the start: which trades are under way, how the day has gone, and, tick by tick, what ended while
    we were away. Until that is known nothing is traded. Then for each desk that misses ticks: those that
    are stored.
    """

    def __init__(self, tree: "Tree") -> None:
        self._tree = tree
        self._known: Known | None = None
        self._lost: dict[str, DeskPlace] = {}
        self._changed = trio.Event()

    # --- for the tree -------------------------------------------------------------------------

    def lost(self, place: "DeskPlace") -> None:
        """A desk misses ticks that are recorded."""
        self._lost[place.market] = place
        self._changed.set()

    async def run(self, floor: "Floor") -> None:
        """Read what is wanted, for ever."""
        await self._tree.writer.recovered()
        if self._known is None:
            self._known = await self._tell(floor)
        await self._bring_all()
        floor.be_ready(self._known)  # what ended while we were away is known, and counts
        while True:
            self._changed = trio.Event()
            await self._changed.wait()
            await self._bring_all()

    async def _bring_all(self) -> None:
        """Bring each desk what it misses, until none misses anything."""
        while self._lost:
            market, place = next(iter(self._lost.items()))
            await self._bring(place)
            if place.recovering is None:
                del self._lost[market]

    async def show_stored(self, place: "DeskPlace", before_us: int) -> None:
        """Show strategies the candles they need to begin with; at the deadline they begin without."""
        answer = Answer[None]()
        # In a task of its own: a thread that hangs in the database cannot be left by a deadline.
        self._tree.soon("warm up", partial(self._warm_up, place, before_us, answer))
        with trio.move_on_after(WARM_UP_S) as waiting:
            await answer.wait()
        if waiting.cancelled_caught:
            emit(
                Event.STRATEGY,
                f"{place.market}: strategies begin without stored candles: no answer within {WARM_UP_S:g} s",
                level=logging.WARNING,
                actor=f"market/{place.market}",
            )

    # --- trades of before ---------------------------------------------------------------------

    async def _tell(self, floor: "Floor") -> Known:
        """Read the trades of before, and let each desk have those that are under way there."""
        mode = Mode(self._tree.settings.trading.mode)
        known = await self._read(partial(Known.read, mode=mode))
        floor.remember(known)
        for position in known.under_way:
            place = floor.desks.of(position.trade.market)
            if position.state is TradeState.INTENDED:
                place.tell([_never_sent(position)])
                continue
            place.recover_from(position)
            self._lost[place.market] = place
        for market in {position.trade.market for position in known.under_way}:
            branch = self._tree.markets.get(market)
            if branch is not None and branch.port.row.desired is Desired.STOPPED:
                self._tree.entrance.run_until_settled(market)
        return known

    # --- ticks that a desk missed -------------------------------------------------------------

    async def _bring(self, place: "DeskPlace") -> None:
        """Let a desk's book catch up by what is stored, and take its place again."""
        since_us = place.recovers_from_us
        await self._tree.recall.known(place.market)  # else the gap that we were away in is not written yet
        place.keep_tail()
        await self._tree.writer.stored_now()
        for gap in await self._read(partial(past_gaps, market=place.market, from_us=since_us)):
            place.recover_gap(gap)
        after = (since_us, -1)
        while True:
            page = await self._read(partial(past_ticks, market=place.market, after=after, limit=PAGE_ROWS))
            place.recover(as_taken([tick for tick in page.ticks if tick.source != NOT_SEEN]))
            if page.next is None:
                break
            after = page.next
        place.end_recovery()

    # --- candles ------------------------------------------------------------------------------

    async def _warm_up(self, place: "DeskPlace", before_us: int, answer: Answer[None]) -> None:
        """Show a desk stored candles, unless its first tick has come by then."""
        try:
            await self._tree.writer.recovered()
            for seat in place.desk.seats:
                candles = await self._tree.writer.read(
                    partial(
                        latest_candles,
                        market=place.market,
                        timeframe_s=seat.strategy.timeframe_s,
                        before_us=before_us,
                        count=seat.strategy.warm_up_candles,
                        stored_s=self._tree.settings.storage.timeframes_s,
                    )
                )
                seen = [SeenCandle.of(each.candle, has_gap=not each.complete) for each in candles]
                place.show_candles(seat, seen)
        except StorageBusy as exc:
            emit(
                Event.STRATEGY,
                f"{place.market}: strategies begin without stored candles: {exc}",
                level=logging.WARNING,
                actor=f"market/{place.market}",
            )
        finally:
            answer.set(None)

    async def _read(self, work: Callable[[Session], Result]) -> Result:
        """Return what a read gives, as soon as the database answers."""
        while True:
            try:
                return await self._tree.writer.read(work)
            except StorageBusy:
                await trio.sleep(AGAIN_S)


def _never_sent(position: Position) -> OrderRefused:
    return OrderRefused(
        trade_id=position.trade.id,
        at_us=now_us(),
        cause="not_sent",
        detail="the daemon ended between deciding on it and sending it",
    )
