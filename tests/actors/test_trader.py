from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
from dealing import MARKET, RULES, us, wish_at
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.desks import Acknowledged, Item, TraderBox
from actors.mailbox import Answer, Mailbox
from actors.trader import DURABLE_WITHIN_S, Trader, TraderPlace
from actors.unkept import Unkept
from domain.errors import InvariantError, JournalFull
from domain.messages import KeepLedger
from domain.trades import (
    LedgerRow,
    Mode,
    Order,
    OrderRefused,
    OrderSent,
    Signal,
    Trade,
    TradeSettled,
    TradeState,
)
from strategies.desk import Wish
from strategies.limits import Limits
from strategies.risk import Conditions
from strategies.stake import Plan
from strategies.trading import Account, Trading

GOOD = Conditions(rules=RULES, payout_percent=80.0, price_age_ms=40, stale_after_ms=60_000)
GUARD_S = 600  # of a clock that jumps
MANY = attrs.evolve(Limits(), max_open_trades=100, max_open_per_market=100)


@attrs.define(kw_only=True, eq=False)
class Played:
    """A trader at work; the test plays the writer and the broker."""

    place: TraderPlace
    ledger: Mailbox[KeepLedger]
    handled: list[None]

    @property
    def trading(self) -> Trading:
        return self.place.trading

    @property
    def orders(self) -> Mailbox[Order]:
        return self.place.broker

    def put(self, *items: Item) -> None:
        for item in items:
            assert self.place.box.mailbox.put_nowait(item)

    def take_orders(self) -> list[Order]:
        found = []
        while self.orders.used:
            found.append(self.orders.get_nowait())
        return found

    async def keep(self) -> list[LedgerRow]:
        """Take what is to be kept next, and answer that it is."""
        with trio.fail_after(GUARD_S):
            offer = await self.ledger.get()
        offer.answer.set(None)
        await wait_all_tasks_blocked()
        return list(offer.rows)


def played(*, bound: int = 100, orders: int = 16, conditions: Conditions = GOOD) -> Played:
    account = Account(mode=Mode.PAPER, currency="USD", plans={"test": Plan(fixed=Decimal(10))})
    ledger, handled = Mailbox[KeepLedger](name="writer/money", bound=100), list[None]()
    place = TraderPlace(
        box=TraderBox(mailbox=Mailbox(name="trader", bound=bound), refused=deque[Wish]().append),
        trading=Trading(account=account, limits=MANY, balance=Decimal(10_000)),
        unkept=Unkept(ledger),
        broker=Mailbox(name="broker", bound=orders),
        conditions=lambda _: conditions,
        handled=lambda: handled.append(None),
    )
    return Played(place=place, ledger=ledger, handled=handled)


@asynccontextmanager
async def at_work(one: Played) -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Trader(one.place).run)
        await wait_all_tasks_blocked()
        yield nursery
        nursery.cancel_scope.cancel()


def states(rows: list[LedgerRow]) -> list[str]:
    return [row.state for row in rows if isinstance(row, Trade)]


def causes(one: Played, rows: list[LedgerRow]) -> list[str]:
    return [row.cause for row in rows if not isinstance(row, Trade | Signal)]


# --- deciding -------------------------------------------------------------------------------------


async def test_an_order_goes_out_once_its_intent_is_on_disk(autojump_clock: MockClock) -> None:
    one = played()
    async with at_work(one):
        one.put(wish_at(1))
        await wait_all_tasks_blocked()
        assert one.take_orders() == []
        rows = await one.keep()
        [order] = one.take_orders()
        assert order.position.state is TradeState.INTENDED
        assert [type(row).__name__ for row in rows] == ["Signal", "Trade", "TradeEvent"]


async def test_what_waits_is_decided_and_kept_together(autojump_clock: MockClock) -> None:
    one = played()
    async with at_work(one):
        one.put(*[wish_at(at_s) for at_s in range(1, 11)])
        await wait_all_tasks_blocked()
        assert len(await one.keep()) == 30
        assert [order.position.ts_us for order in one.take_orders()] == [us(at_s) for at_s in range(1, 11)]
        assert one.ledger.used == 0


async def test_a_refused_wish_is_kept_and_goes_nowhere(autojump_clock: MockClock) -> None:
    one = played(conditions=attrs.evolve(GOOD, is_draining=True))
    async with at_work(one):
        one.put(wish_at(1))
        [signal] = await one.keep()
        assert isinstance(signal, Signal)
        assert (signal.outcome, signal.reason) == ("refused", "drain: no new trades: draining")
        assert one.take_orders() == []


# --- what is not on disk in time ------------------------------------------------------------------


async def test_an_intent_that_is_late_is_refused_in_the_same_lane_and_never_sent(
    autojump_clock: MockClock,
) -> None:
    one = played()
    async with at_work(one):
        one.put(wish_at(1))
        await trio.sleep(DURABLE_WITHIN_S + 0.1)
        first = await one.keep()
        second = await one.keep()
        assert (states(first), states(second)) == (["intended"], ["refused"])
        assert causes(one, second) == ["not_durable"]
        assert one.take_orders() == []
        assert one.trading.positions.under_way == ()


async def test_an_intent_that_cannot_be_kept_is_offered_again_and_its_refusal_follows(
    autojump_clock: MockClock,
) -> None:
    one = played()
    async with at_work(one):
        one.put(wish_at(1))
        (await one.ledger.get()).answer.fail(JournalFull("no room"))
        await trio.sleep(3)
        rows = await one.keep()
        if len(rows) == 3:  # both waited for the same moment
            rows += await one.keep()
        assert states(rows) == ["intended", "refused"]
        assert one.take_orders() == []


async def test_while_rows_wait_the_trader_goes_on_deciding(autojump_clock: MockClock) -> None:
    one = played()
    async with at_work(one):
        one.put(wish_at(1))
        await trio.sleep(2)
        one.put(wish_at(2))
        await trio.sleep(2)
        assert one.place.box.mailbox.used == 0
        assert one.place.unkept.waits_s >= 4


# --- outcomes -------------------------------------------------------------------------------------


async def sent_order(one: Played) -> Order:
    one.put(wish_at(1))
    await one.keep()
    [order] = one.take_orders()
    return order


async def test_whoever_waits_for_an_outcome_to_be_kept_hears_when_it_is(autojump_clock: MockClock) -> None:
    one = played()
    async with at_work(one) as nursery:
        trade = (await sent_order(one)).position.trade
        answer, heard = Answer[None](), list[None]()

        async def wait() -> None:
            heard.append(await answer.wait())

        nursery.start_soon(wait)
        one.put(Acknowledged(outcome=OrderSent(trade_id=trade.id, at_us=us(2)), answer=answer))
        await wait_all_tasks_blocked()
        assert heard == []
        assert states(await one.keep()) == ["sent"]
        assert heard == [None]


async def test_a_result_is_kept_however_long_that_takes(autojump_clock: MockClock) -> None:
    one = played()
    async with at_work(one):
        trade = (await sent_order(one)).position.trade
        one.put(OrderSent(trade_id=trade.id, at_us=us(2)))
        await one.keep()
        one.put(
            TradeSettled(
                trade_id=trade.id, at_us=us(70), state=TradeState.WON, close_price=1.3, close_source="ticks"
            )
        )
        for _ in range(5):
            (await one.ledger.get()).answer.fail(JournalFull("no room"))
        assert states(await one.keep()) == ["won"]
        assert one.trading.balance == Decimal(10_008)


async def test_after_each_lot_the_tree_hears_of_it(autojump_clock: MockClock) -> None:
    one = played()
    async with at_work(one):
        one.put(wish_at(1))
        await one.keep()
        assert len(one.handled) == 1


# --- the broker's mailbox -------------------------------------------------------------------------


async def test_orders_wait_for_room_at_the_broker_while_deciding_goes_on(autojump_clock: MockClock) -> None:
    one = played(orders=1)
    async with at_work(one):
        one.put(wish_at(1), wish_at(2), wish_at(3))
        await one.keep()
        one.put(wish_at(4))
        assert states(await one.keep()) == ["intended"]
        taken = []
        for _ in range(4):
            taken.append(await one.orders.get())
            await wait_all_tasks_blocked()
        assert [order.position.ts_us for order in taken] == [us(at_s) for at_s in (1, 2, 3, 4)]


async def test_room_in_its_mailbox_is_offered_to_who_waits(autojump_clock: MockClock) -> None:
    one = played()
    waited: list[str] = []

    @attrs.define
    class Waits:
        market: str = MARKET

        def offer(self) -> None:
            waited.append(self.market)

    async with at_work(one):
        one.place.box.wait(Waits())  # type: ignore[arg-type]  # all of a desk that is used
        one.put(wish_at(1))
        await wait_all_tasks_blocked()
        assert waited == [MARKET]


# --- crashes --------------------------------------------------------------------------------------


async def run_until(one: Played, holds: Callable[[], bool]) -> None:
    """Run the trader until something holds, then end that run as a crash would."""
    async with at_work(one):
        with trio.fail_after(60):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.01)


@pytest.mark.parametrize("is_kept", [False, True])
async def test_what_was_approved_and_not_given_to_the_broker_is_refused_after_a_crash(
    autojump_clock: MockClock, *, is_kept: bool
) -> None:
    one = played(orders=1)
    async with at_work(one):
        one.put(wish_at(1), wish_at(2), wish_at(3))
        await wait_all_tasks_blocked()
        if is_kept:
            await one.keep()
    async with at_work(one):
        rows = await one.keep()
        while one.ledger.used:
            rows += await one.keep()
        refused = [row for row in rows if isinstance(row, Trade) and row.state == "refused"]
        out = [order.position.trade.id for order in one.take_orders()]
        assert len(refused) == 3 - len(out)
        assert not {trade.id for trade in refused} & set(out)
        assert len(one.trading.positions.under_way) == len(out)


async def test_rows_that_were_not_kept_before_a_crash_are_kept_after_it(autojump_clock: MockClock) -> None:
    one = played(conditions=attrs.evolve(GOOD, is_draining=True))
    async with at_work(one):
        one.put(wish_at(1))
        await one.ledger.get()
    async with at_work(one):
        [signal] = await one.keep()
        assert isinstance(signal, Signal)


async def test_an_outcome_of_a_trade_that_nobody_knows_crashes_it(autojump_clock: MockClock) -> None:
    one = played()
    one.put(OrderRefused(trade_id=7, at_us=0, cause="no_price"))
    with pytest.RaisesGroup(InvariantError):
        await Trader(one.place).run()


async def test_a_crash_forgets_only_what_it_was_at(autojump_clock: MockClock) -> None:
    one = played()
    fault = OrderRefused(trade_id=7, at_us=0, cause="no_price")
    one.put(wish_at(1), fault, wish_at(2))
    with pytest.RaisesGroup(InvariantError):
        await Trader(one.place).run()
    async with at_work(one):
        rows = await one.keep()
        while one.ledger.used:
            rows += await one.keep()
        signals = [row.ts_us for row in rows if isinstance(row, Signal)]
        assert signals == [us(1), us(2)]
        last = {row.signal_id: row.state for row in rows if isinstance(row, Trade)}
        assert list(last.values()) == ["refused", "intended"]  # the first had no chance to go out
        assert [order.position.ts_us for order in one.take_orders()] == [us(2)]


async def test_refused_signals_pile_up_only_so_far_while_nothing_can_be_kept(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.unkept.MOST_UNKEPT", 3)
    one = played(conditions=attrs.evolve(GOOD, is_draining=True))
    async with at_work(one):
        for at_s in range(1, 11):
            one.put(wish_at(at_s))
            await wait_all_tasks_blocked()
        assert len(one.place.unkept) == 3
