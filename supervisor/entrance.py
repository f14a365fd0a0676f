"""The way to the trading floor, which is imported and opened only where something is traded."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from actors.market import MarketPlace
from domain.errors import StorageBusy
from domain.gaps import Gap, GapTracker
from domain.market import Tick
from storage.under_way import has_trades_under_way
from supervisor.market_specs import MarketSpec
from supervisor.sections import Settings
from supervisor.switching import start_market, stop_market

if TYPE_CHECKING:
    from actors.desks import DeskPlace
    from supervisor.floor import Floor
    from supervisor.seats import Roster
    from supervisor.tree import Tree

LOOK_AGAIN_S = 5.0  # a database that does not answer is asked again for trades of before
FOR_EVER_S = float("inf")


class Entrance:
    """Opens the floor where markets have strategies, or trades of before are under way. One in the tree.

    `floor` is None while nothing is traded: then each of these has nothing to do.
    """

    def __init__(self, tree: "Tree") -> None:
        self.floor: Floor | None = None
        self._tree = tree
        self._roster = self.load(tree.settings)

    def load(self, settings: Settings) -> "Roster | None":
        """Return the strategies that settings name, None where there are none; raise `ConfigError`."""
        if not any(section.strategies for section in settings.markets):
            return None
        from supervisor.seats import Roster

        return Roster(settings, config=self._tree.config)

    # --- opening ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the floor, or, without strategies, look whether trades of before want it."""
        if self._roster is None:
            self._tree.soon("trades of before", self._look)
        else:
            self.open(self._roster)

    def open(self, roster: "Roster | None") -> None:
        """Open the floor, and let every market have its desk."""
        from supervisor.desk_keeper import Stored
        from supervisor.floor import Floor, Hands, Surroundings
        from supervisor.ledger import Ledger
        from supervisor.outside import Outside
        from supervisor.terms import currency_of

        tree, ledger = self._tree, Ledger(self._tree)
        currency = currency_of(tree.settings.trading)
        around = Surroundings(
            keeper=tree.keeper,
            inbox=tree.inbox,
            outside=Outside(venues=tree.venues, markets=tree.markets, currency=currency),
            hands=Hands(
                start=tree.start_helper,
                soon=tree.soon,
                stop_market=lambda market: stop_market(tree.markets[market]),
            ),
        )
        stored = Stored(lost=ledger.lost, show=ledger.show_stored)
        floor = self.floor = Floor(settings=tree.settings, roster=roster, around=around, stored=stored)
        floor.open()
        for branch in tree.markets.values():
            branch.place.desk = floor.desks.seat(branch.spec, tracker=branch.port.gaps)
        tree.start_helper("ledger", partial(ledger.run, floor))

    async def _look(self) -> None:
        await self._tree.writer.recovered()
        while self.floor is None:
            try:
                is_wanted = await self._tree.writer.read(has_trades_under_way)
            except StorageBusy:
                await trio.sleep(LOOK_AGAIN_S)
                continue
            if is_wanted:
                self.open(None)
            return

    def apply(self, roster: "Roster | None", reseated: Sequence[MarketSpec] = ()) -> None:
        """Use the tree's new settings; markets that are to be added are not there yet.

        Those in `reseated` have other strategies, and go on as they are.
        """
        for spec in reseated:
            self._tree.markets[spec.id].spec = spec
        if self.floor is not None:
            specs = [branch.spec for branch in self._tree.markets.values()]
            self.floor.apply(self._tree.settings, roster, specs)
            for spec in reseated:
                self._tree.markets[spec.id].place.desk = self.floor.desks.reseat(spec)
        elif roster is not None:
            self.open(roster)

    # --- markets ------------------------------------------------------------------------------

    def seat(self, spec: MarketSpec, *, tracker: GapTracker) -> "DeskPlace | None":
        """Return the desk of a market that is added, where something is traded on it."""
        return None if self.floor is None else self.floor.desks.seat(spec, tracker=tracker)

    def leave(self, market: str) -> None:
        """A market is removed."""
        if self.floor is not None:
            self.floor.leave(market)

    def gap(self, gap: Gap) -> None:
        """Take note of a gap that has ended."""
        if self.floor is not None:
            self.floor.desks.gap(gap)

    def lost(self, place: MarketPlace, ticks: list[Tick]) -> None:
        """A market's mailbox was full: its strategies hear of a gap, its trades go on by what is stored."""
        if place.desk is not None:
            place.desk.dropped(ticks)

    def stop_market(self, market: str) -> None:
        """Stop a market now, or, where trades are open on it, once they have ended."""
        if self.floor is None or not self.floor.close(market):
            stop_market(self._tree.markets[market])

    def run_until_settled(self, market: str) -> None:
        """Run a stopped market, on which trades are open, until they have ended."""
        start_market(self._tree.markets[market])
        self.stop_market(market)

    @property
    def mailboxes(self) -> Sequence[Any]:
        """Those that status shows."""
        return () if self.floor is None else self.floor.mailboxes

    @property
    def under_way(self) -> int:
        """How many trades have not come to their end, as far as is known."""
        return 0 if self.floor is None else self.floor.under_way

    # --- stopping -----------------------------------------------------------------------------

    async def take_last_orders(self) -> None:
        """Open no more trades; wait a moment for what is under way to the broker."""
        if self.floor is not None:
            await self.floor.take_last_orders()

    async def last_rows_kept(self) -> None:
        """Wait a moment until what happened last is on disk."""
        if self.floor is not None:
            await self.floor.last_rows_kept()

    def stop_after_trades(self, why: str, *, max_wait_s: float | None) -> int:
        """Open no more trades, and stop once none is under way; return how many are."""
        if self.floor is None:
            self._tree.stop(why)
            return 0
        self.floor.is_leaving = True
        wait_s = FOR_EVER_S if max_wait_s is None else max_wait_s
        self._tree.soon("last trades", partial(self._stop_when_settled, self.floor, why, wait_s))
        return self.floor.under_way

    async def _stop_when_settled(self, floor: "Floor", why: str, wait_s: float) -> None:
        with trio.move_on_after(wait_s):
            await floor.settle_all()
        self._tree.stop(f"{why}, {floor.under_way} trades under way")
