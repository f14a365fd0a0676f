"""A market's desk without a tree: a strategy that notes what it is shown, and who is told of what happens."""

from collections.abc import Callable
from typing import Any

import attrs
import trio
from dealing import MARKET, RULES, EveryCandle, no_fence

from actors.desks import DeskPlace, Item, TraderBox
from actors.mailbox import Mailbox
from domain.gaps import Gap
from domain.market import Tick
from strategies.desk import Desk, Seat, Wish
from strategies.paper import PaperBook
from strategies.strategy import Decision, SeenCandle, Strategy, View


@attrs.define(kw_only=True, eq=False)
class Notes(Strategy):
    """Never trades; notes what it is shown."""

    ticks: list[Tick] = attrs.field(factory=list)
    candles: list[SeenCandle] = attrs.field(factory=list)
    gaps: list[Gap] = attrs.field(factory=list)

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        self.ticks.append(tick)
        return None

    def on_candle(self, candle: SeenCandle, view: View) -> Decision | None:
        self.candles.append(candle)
        return None

    def on_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)


@attrs.define(kw_only=True, eq=False)
class Told:
    """A desk's place, and all that it told."""

    place: DeskPlace
    busy: list[Wish]  # refused, for want of room
    lost: list[DeskPlace]  # asked for stored ticks

    @property
    def notes(self) -> Notes:
        """The strategy that notes."""
        strategy = self.place.desk.seats[0].strategy
        assert isinstance(strategy, Notes)
        return strategy

    def items(self) -> list[Item]:
        """Take what the trader would be given."""
        box = self.place.box.mailbox
        found = []
        while box.used:
            found.append(box.get_nowait())
        self.place.box.make_room()
        return found


def told_by(
    make: Callable[[], Strategy] = Notes, *, market: str = MARKET, bound: int = 100, **changes: Any
) -> Told:
    """Return a desk's place with one strategy, which has had its stored candles."""

    async def show_nothing(_: DeskPlace, __: int) -> None:
        await trio.lowlevel.checkpoint()

    busy: list[Wish] = []
    lost: list[DeskPlace] = []
    seat = Seat(name="test", market=market, expiry_s=60, make=make)
    place = DeskPlace(
        market=market,
        desk=Desk(market=market, seats=[seat], book=new_book(market), fence=no_fence),
        box=TraderBox(mailbox=Mailbox[Item](name="trader", bound=bound), refused=busy.append),
        make_book=lambda: new_book(market),
        payout=lambda: 80.0,
        lost=lost.append,
        show_stored=show_nothing,
        is_warm=True,
    )
    return Told(place=attrs.evolve(place, **changes) if changes else place, busy=busy, lost=lost)


def new_book(market: str) -> PaperBook:
    return PaperBook(market=market, rules=RULES)


__all__ = ["EveryCandle", "Notes", "Told", "told_by"]
