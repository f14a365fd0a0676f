"""What the tree owns of trading over all runs of its actors: the desks, and the trader's mailbox."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import attrs

from actors.mailbox import Mailbox
from domain.gaps import Cause, Gap
from domain.market import Tick
from domain.messages import Answerable
from domain.trades import Outcome, Position
from strategies.desk import RESTARTING, Desk, Seat, Wish
from strategies.paper import PaperBook
from strategies.strategy import SeenCandle

TAIL_TICKS = 1_024  # kept while stored ones are read: what comes meanwhile goes on after them


@attrs.frozen(kw_only=True)
class Acknowledged:
    """An outcome whose sender goes on only once it is on disk."""

    outcome: Outcome
    answer: Answerable


Item = Outcome | Wish | Acknowledged


@attrs.define(kw_only=True, eq=False)
class TraderBox:
    """The trader's mailbox, and who waits for room in it.

    A wish that finds no room is told to `refused`; outcomes stay with their desk, which offers them
    again as soon as the trader has taken something out.
    """

    mailbox: Mailbox[Item]
    refused: Callable[[Wish], None]
    _waiting: dict[str, "DeskPlace"] = attrs.field(factory=dict)

    @property
    def has_room(self) -> bool:
        """Whether one more would fit."""
        return self.mailbox.used < self.mailbox.bound

    def wait(self, desk: "DeskPlace") -> None:
        """Let a desk offer again what it keeps."""
        self._waiting[desk.market] = desk

    def make_room(self) -> None:
        """Something was taken out: whoever waits may offer again."""
        waiting, self._waiting = self._waiting, {}
        for desk in waiting.values():
            desk.offer()


@attrs.define(kw_only=True, eq=False)
class DeskPlace:
    """One market's desk, and what of it is not told yet. A crash of the market's actor loses none of it.

    While stored ticks are read for contracts of before, or for ticks that were lost on the way here,
    `recovering` is the book: it takes the stored ones, then `tail`, what came meanwhile, and then the
    desk's place. It may be ahead of the desk for a moment; it ignores what it has had.
    """

    market: str
    desk: Desk
    box: TraderBox
    make_book: Callable[[], PaperBook]
    payout: Callable[[], float | None]
    lost: Callable[["DeskPlace"], None]  # told that ticks were lost: stored ones are to be read
    # Shows the strategies candles that had ended by a time; has a deadline of its own.
    show_stored: Callable[["DeskPlace", int], Awaitable[None]]
    is_warm: bool = False
    is_closing: bool = False  # no new trades: it is stopped once none is open
    last_us: int = -1  # the time of the last tick that came here
    recovering: PaperBook | None = None
    recovers_from_us: int = -1
    tail: deque[Tick] = attrs.field(factory=deque)
    is_tail_whole: bool = True
    _incoming: deque[Tick] = attrs.field(factory=deque)  # of the message that is being handled
    _is_at_work: bool = False  # also after a crash of the desk
    _shown_payout: float | None = None
    _untold: deque[Outcome | Acknowledged] = attrs.field(factory=deque)
    _away: dict[tuple[int, str], Gap] = attrs.field(factory=dict)  # until the first tick after each
    _steps_back: dict[int, Gap] = attrs.field(factory=dict)  # of the clock, by the time of the tick to come

    @property
    def book(self) -> PaperBook:
        """The book that contracts are placed in."""
        return self.recovering or self.desk.book

    # --- what happens -------------------------------------------------------------------------

    def pick_up(self) -> None:
        """Go on where the last run of the market's actor ended; after a crash of the desk it starts over."""
        if self._is_at_work:
            self._is_at_work = False
            self.desk.restart()
        if self.is_warm:
            self.follow(())

    def arrive(self, ticks: Sequence[Tick]) -> Tick:
        """Take in the ticks of a message before anybody waits; return the first that is to be followed."""
        self._incoming.extend(ticks)
        return self._incoming[0]

    async def begin_with(self, tick: Tick) -> None:
        """Before the first tick, and the first one after we were away, show strategies stored candles.

        As a backtest does: candles that had ended by the time since when we were away.
        """
        away = [gap for gap in self._away.values() if gap.to_us is not None and gap.to_us <= tick.ts_us]
        for gap in away:
            del self._away[gap.from_us, gap.cause]
        if away and self.last_us >= 0:
            self.desk.restart()
            self.is_warm = False
        while not self.is_warm:
            asked = [seat.strategy for seat in self.desk.seats]
            await self.show_stored(self, min((gap.from_us for gap in away), default=tick.ts_us))
            # Those that took a seat meanwhile have seen nothing yet.
            self.is_warm = list(map(id, asked)) == [id(seat.strategy) for seat in self.desk.seats]

    def show_candles(self, seat: Seat, candles: Sequence[SeenCandle]) -> None:
        """Show a strategy stored candles, unless its first tick has come, or it was replaced, meanwhile."""
        if not self.is_warm and any(each is seat for each in self.desk.seats):
            self.desk.warm_up(seat, candles)

    def follow(self, ticks: Sequence[Tick]) -> None:
        """Take the ticks of one message."""
        self._incoming.extend(ticks)
        while self._incoming:
            tick = self._incoming.popleft()
            self._is_at_work = True
            self.take(tick)
            self._is_at_work = False

    def take(self, tick: Tick) -> None:
        """Take the next tick; tell what it settles, opens and makes strategies wish for."""
        if self._steps_back and (step := self._steps_back.pop(tick.ts_us, None)):
            self._pass_on(step)
        payout = self.payout()
        if payout != self._shown_payout:
            self._shown_payout = payout
            self.desk.show_payout(payout)
        self.last_us = tick.ts_us
        if self.recovering is not None:
            self._keep_for_recovery(tick)
        if told := self.desk.take(tick):
            self.tell(told)

    def gap(self, gap: Gap) -> None:
        """Take note of a gap that has ended; it counts from the first tick at or after its end on."""
        if gap.cause == Cause.CLOCK:  # the ticks from before the step may not have come here yet
            self._steps_back[gap.from_us] = gap
        else:
            self._pass_on(gap)

    def dropped(self, ticks: Sequence[Tick]) -> None:
        """Ticks that are recorded were lost on their way here: the book is to have them all the same.

        The strategies are told of a gap.
        """
        since_us = self.last_us if self.last_us >= 0 else ticks[0].ts_us - 1
        if self.recovering is None:
            self.begin_recovery(since_us)
        self.is_tail_whole = False
        told = Gap(self.market, since_us, max(ticks[-1].ts_us, since_us) + 1, Cause.OVERFLOW)
        self.desk.gap(told)  # its book is an empty one meanwhile
        self.lost(self)

    def place(self, position: Position) -> None:
        """Take a position that is sent."""
        self.tell(self.book.place(position))

    def expire(self, gap: Gap, *, until_us: int) -> None:
        """End what opens or expires in a gap that is still open, up to a past time of the venue's."""
        self.tell(self.desk.book.expire(gap, until_us=until_us))

    def _pass_on(self, gap: Gap) -> None:
        if gap.cause in RESTARTING:
            self._away[gap.from_us, gap.cause] = gap
        if self.recovering is not None:
            self.tell(self.recovering.gap(gap))
        self.tell(self.desk.gap(gap))

    def replace(self, desk: Desk) -> None:
        """Go on with other strategies: they have seen nothing yet, the book is the same."""
        desk.book = self.desk.book
        self.desk, self.is_warm, self._shown_payout = desk, False, None

    # --- stored ticks -------------------------------------------------------------------------

    def begin_recovery(self, since_us: int) -> None:
        """Take the book out: it goes on by the ticks that are stored since, and has to catch up."""
        self.recovers_from_us = since_us
        self.recovering, self.desk.book = self.desk.book, self.make_book()
        self.keep_tail()

    def recover_from(self, position: Position) -> None:
        """Take a contract of before this run, into a book that begins with the tick it was decided on."""
        if self.recovering is None:
            self.recovers_from_us = position.ts_us
            self.recovering = self.make_book()
            self.keep_tail()
        self.recovers_from_us = min(self.recovers_from_us, position.ts_us)
        self.tell(self.recovering.place(position))

    def recover_gap(self, gap: Gap) -> None:
        """Let the book take note of a stored gap."""
        assert self.recovering is not None, "recovery has begun"
        self.tell(self.recovering.gap(gap))

    def keep_tail(self) -> None:
        """Keep the ticks that come from now on; those before are, or will be, among the stored ones."""
        self.tail.clear()
        self.is_tail_whole = True

    def recover(self, ticks: Sequence[Tick]) -> None:
        """Let the book take stored ticks, in their order."""
        assert self.recovering is not None, "recovery has begun"
        for tick in ticks:
            if told := self.recovering.take(tick):
                self.tell(told)

    def end_recovery(self) -> bool:
        """Give the book its place back; return False where the kept ticks are not whole: read on, then."""
        assert self.recovering is not None, "recovery has begun"
        if not self.is_tail_whole:
            return False
        self.recover(self.tail)
        self.desk.book, self.recovering = self.recovering, None
        self.tail.clear()
        return True

    def _keep_for_recovery(self, tick: Tick) -> None:
        if len(self.tail) >= TAIL_TICKS:
            self.is_tail_whole = False
        if self.is_tail_whole:
            self.tail.append(tick)

    # --- telling the trader -------------------------------------------------------------------

    def tell(self, items: Sequence[Item]) -> None:
        """Tell the trader, in order; what finds no room is kept, or, a wish, refused."""
        for item in items:
            if not self._untold and self.box.has_room:
                self.box.mailbox.put_nowait(item)
            elif isinstance(item, Wish):
                self.box.refused(item)
            else:
                self._untold.append(item)
                self.box.wait(self)

    def offer(self) -> None:
        """Offer again what found no room."""
        while self._untold and self.box.has_room:
            self.box.mailbox.put_nowait(self._untold.popleft())
        if self._untold:
            self.box.wait(self)
