"""The trading floor: desks, trader and broker, wired. Imported only where something is traded.

market ─ desk ─▶ trader ─ risk ─▶ ledger (writer), then ─▶ broker ─▶ desk's book
          ▲                                                             │
          └──────────────── what became of the trade ◀──────────────────┘
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import attrs
import trio

from actors.desks import DeskPlace, Item, TraderBox
from actors.mailbox import Inbox, Mailbox
from actors.paper_broker import BrokerPlace, PaperBroker
from actors.trader import DURABLE_WITHIN_S, Trader, TraderPlace
from actors.unkept import Unkept
from domain.clock import now_us
from domain.events import Event, emit
from domain.trades import Mode, Order
from strategies.desk import Wish
from strategies.risk import Conditions, Reason, Refused
from strategies.trading import Account, Trading
from supervisor.desk_keeper import DeskKeeper, Stored
from supervisor.keeping import Keeper
from supervisor.ledger import Known
from supervisor.limits import LimitsToday
from supervisor.market_specs import MarketSpec
from supervisor.outside import Outside
from supervisor.policy import worst
from supervisor.seats import Roster
from supervisor.sections import Settings
from supervisor.supervise import outcome_of
from supervisor.terms import currency_of, limits_of

ORDERS_BOUND = 16  # trader → broker: the trader waits
OUTCOMES_ROOM = 256  # beside a wish of each strategy on each market
LAST_ORDERS_S = 2.0  # at a stop: for answers to orders under way
LAST_ROWS_S = 0.5
SETTLED_EVERY_S = 0.1
QUIET_EVERY_S = 0.01
NOT_READ = "the trades of before are not known yet: the database has not answered"
NOT_KEPT = "the ledger cannot be written: earlier rows wait for the journal"


@attrs.frozen(kw_only=True)
class Hands:
    """What the floor has the tree do. `start` starts a child that there is one of, `soon` a task, once.

    `stop_market` is called for a market that was to stop once its trades had ended.
    """

    start: Callable[[str, Callable[[], Awaitable[None]]], None]
    soon: Callable[[str, Callable[[], Awaitable[Any]]], None]
    stop_market: Callable[[str], None]


@attrs.frozen(kw_only=True)
class Surroundings:
    """What of the tree the floor works with."""

    keeper: Keeper
    inbox: Inbox
    outside: Outside
    hands: Hands


class Floor:
    """Everything that trades. All mailboxes, desks and books are made and kept here."""

    def __init__(
        self, *, settings: Settings, roster: Roster | None, around: Surroundings, stored: Stored
    ) -> None:
        self.not_ready: str | None = NOT_READ
        self.is_leaving = False  # a stop was asked for: no new trades in this run
        self.unkept = Unkept(around.inbox.ledger)
        self._keeper, self._outside, self._hands = around.keeper, around.outside, around.hands
        self._paper_balance = settings.trading.paper_balance
        self.limits = LimitsToday(wanted=limits_of(settings), keeper=around.keeper, save=self._save)
        account = Account(
            mode=Mode(settings.trading.mode),
            currency=currency_of(settings.trading),
            plans={} if roster is None else roster.plans(),
        )
        self.trading = Trading(account=account, limits=self.limits.at(now_us()), balance=Decimal(0))
        wishes = sum(len(section.symbols) * len(section.strategies) for section in settings.markets)
        self.box = TraderBox(
            mailbox=Mailbox[Item](name="trader", bound=wishes + OUTCOMES_ROOM), refused=self._refuse_busy
        )
        self.desks = DeskKeeper(roster=roster, outside=around.outside, box=self.box, stored=stored)
        self._orders = Mailbox[Order](name="broker", bound=ORDERS_BOUND)
        self._trader = TraderPlace(
            box=self.box,
            trading=self.trading,
            unkept=self.unkept,
            broker=self._orders,
            conditions=self._conditions_of,
            handled=self._handled,
        )
        self._broker = BrokerPlace(
            mailbox=self._orders,
            desks=self.desks.places,
            silence=self.desks.silence,
            offer=around.outside.offer,
        )

    def open(self) -> None:
        """Let trader and broker run."""
        self.limits.tell_later(now_us())
        self._hands.start("trader", self._run_trader)
        self._hands.start("broker", lambda: PaperBroker(self._broker).run())

    async def _run_trader(self) -> None:
        """Run the trader; what it fails with switches all trading off."""
        error = await outcome_of("trader", Trader(self._trader).run)
        if error is not None:
            self._keeper.kill(who="marketd", reason=f"the trader crashed: {worst(error)!r}")
            await self._keeper.save()
            raise error

    @property
    def mailboxes(self) -> Sequence[Mailbox[Any]]:
        """Those that status shows."""
        return (self.box.mailbox, self._orders)

    # --- trades of before ---------------------------------------------------------------------

    def remember(self, known: Known) -> None:
        """Take note of the trades of before."""
        self.trading.remember(known.positions, steps=known.steps)
        self.trading.balance = self._paper_balance + known.profit

    def be_ready(self, known: Known) -> None:
        """From now on trades may be opened."""
        self.not_ready = None
        emit(
            Event.TRADER,
            f"trading on paper is ready; balance {self.trading.balance} {self.trading.account.currency}, "
            f"{len(known.under_way)} trades under way",
            actor="trader",
        )

    # --- how it stands ------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """Return what status shows of it."""
        now = now_us()
        self.trading.limits = self.limits.at(now)
        reason = self._why_not_ready(None)
        return self.trading.figures(now) | {
            "is_ready": reason is None,
            "reason": reason,
            "open_real": 0,  # this version trades on paper only
            "strategies": [row for market in self.desks.places for row in self.desks.rows(market)],
        }

    def limits_on(self, market: str) -> dict[str, Any]:
        """Return the limits and how far they are used, of what is counted by market: on this one."""
        limits: dict[str, Any] = self.figures()["limits"]
        name = "max_open_per_market"
        return limits | {name: limits[name] | {"used": self.open_on(market)}}

    # --- what blocks entries ------------------------------------------------------------------

    def conditions(self, market: str, *, price_age_ms: int) -> Conditions:
        """Return what of the outside and of the operator blocks entries on a market now."""
        switch, place = self._keeper.wanted.kill_switch, self.desks.places.get(market)
        found = self._outside.conditions(market, price_age_ms=price_age_ms)
        return attrs.evolve(
            found,
            kill_switch=None if switch is None else f"{switch.reason} ({switch.who})",
            not_ready=self._why_not_ready(place),
            is_draining=self._keeper.wanted.drain or self.is_leaving,
            is_stopped=found.is_stopped or (place is not None and place.is_closing),
        )

    def _why_not_ready(self, place: DeskPlace | None) -> str | None:
        if self.not_ready is not None:
            return self.not_ready
        if self.unkept.waits_s > DURABLE_WITHIN_S:
            return NOT_KEPT
        if place is not None and place.recovering is not None:
            return "its trades of before are looked through"
        return None

    def _conditions_of(self, wish: Wish) -> Conditions:
        self.trading.limits = self.limits.at(wish.now_us)
        return self.conditions(wish.market, price_age_ms=wish.price_age_ms)

    def blocks(self, market: str) -> list[Refused]:
        """Return all that blocks entries on a market now."""
        self.trading.limits = self.limits.at(now_us())
        conditions = self.conditions(market, price_age_ms=self._outside.age_ms(market))
        return self.trading.blocks(market, now_us=now_us(), conditions=conditions)

    def objections(self, market: str) -> dict[str, Refused]:
        """Return, by strategy, what a wish of now would be refused for; who may trade is left out."""
        self.trading.limits = self.limits.at(now_us())
        conditions = self.conditions(market, price_age_ms=self._outside.age_ms(market))
        place, found = self.desks.places.get(market), dict[str, Refused]()
        for seat in place.desk.seats if place is not None else ():
            refused = self.trading.objection(
                seat.name, market, expiry_s=seat.expiry_s, now_us=now_us(), conditions=conditions
            )
            if refused is not None:
                found[seat.name] = refused
        return found

    def _refuse_busy(self, wish: Wish) -> None:
        """The trader has no room for a wish: write down that it was refused."""
        refused = Refused(reason=Reason.BUSY, text="the trader has too much to do")
        if self.unkept.has_room:
            self.unkept.add(self.trading.refuse(wish, refused).rows)

    # --- stopping -----------------------------------------------------------------------------

    def open_on(self, market: str) -> int:
        """Return how many trades are under way on a market."""
        return sum(position.trade.market == market for position in self.trading.positions.under_way)

    def close(self, market: str) -> bool:
        """Open no more trades on a market; return whether it has to run on until those of now have ended."""
        if not self.open_on(market):
            return False
        self.desks.places[market].is_closing = True
        return True

    def leave(self, market: str) -> None:
        """A market is removed; its desk stays while trades are open there."""
        self.desks.leave(market)
        self._handled()

    def go_on(self, market: str) -> None:
        """Trade on a market again that was to stop."""
        if market in self.desks.places:
            self.desks.places[market].is_closing = False

    @property
    def under_way(self) -> int:
        """How many trades have not come to their end."""
        return len(self.trading.positions.under_way)

    @property
    def is_settled(self) -> bool:
        """Whether it is known that nothing is open, and all of it is on disk."""
        return self.not_ready is None and not self.under_way and self.is_quiet

    @property
    def is_quiet(self) -> bool:
        """Whether nobody has anything to say: neither a wish, an order nor a row waits."""
        waits = self.box.mailbox.used, self._orders.used, len(self.unkept)
        return not any(waits) and self._trader.is_idle and self._broker.current is None

    async def take_last_orders(self) -> None:
        """Open no more trades; wait a moment for what is under way to the broker."""
        self.is_leaving = True
        await self._wait_quiet(within_s=LAST_ORDERS_S)

    async def last_rows_kept(self) -> None:
        """Wait a moment until what happened last is on disk."""
        await self._wait_quiet(within_s=LAST_ROWS_S)

    async def settle_all(self) -> None:
        """Open no more trades in this run; return when none is under way."""
        self.is_leaving = True
        while not self.is_settled:  # noqa: ASYNC110 - looked at now and then, once in a life
            await trio.sleep(SETTLED_EVERY_S)

    async def _wait_quiet(self, *, within_s: float) -> None:
        with trio.move_on_after(within_s):
            while not self.is_quiet:  # noqa: ASYNC110 - once in a life, not worth an event in every mailbox
                await trio.sleep(QUIET_EVERY_S)

    def _handled(self) -> None:
        """Some trades have changed: stop markets that waited for their last one, forget those gone."""
        places = self.desks.places
        open_on = {position.trade.market for position in self.trading.positions.under_way}
        for market in [market for market in places if market not in open_on]:
            if self.desks.is_gone(market):
                del places[market]
            elif places[market].is_closing:
                places[market].is_closing = False
                self._hands.stop_market(market)

    # --- settings -----------------------------------------------------------------------------

    def apply(self, settings: Settings, roster: Roster | None, specs: Iterable[MarketSpec]) -> None:
        """Go on by new settings: other limits, other stakes, and changed strategies made anew.

        `specs` are of markets that stay as they are; the others leave and are seated by the tree.
        """
        self.limits.wanted = limits_of(settings)
        self.trading.limits = self.limits.at(now_us())
        self.limits.tell_later(now_us())
        # What a strategy that is gone wished for a moment ago is refused, not forgotten.
        plans = {} if roster is None else roster.plans()
        self.trading.account = attrs.evolve(self.trading.account, plans=plans)
        self.desks.hire(roster, specs)

    def _save(self) -> None:
        self._hands.soon("limits", self._keeper.save)
