from collections.abc import Callable

import attrs
import pytest
import trio
from dealing import MARKET, sent, tick_at, us
from desks import Told, told_by
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import paper_broker
from actors.desks import Acknowledged
from actors.mailbox import Mailbox
from actors.paper_broker import GRACE_US, SENT_WITHIN_S, BrokerPlace, PaperBroker, Silence
from domain.gaps import Cause, Gap
from domain.trades import Order, OrderRefused, OrderSent, TradeOpened, TradeSettled, TradeState
from strategies.paper import Offer

NOW_US = us(1_000)
GOOD = Offer(payout_percent=80.0)
TALKS = Silence(gap=None, venue_us=NOW_US)


@pytest.fixture(autouse=True)
def our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_broker, "now_us", lambda: NOW_US)


@attrs.define(kw_only=True, eq=False)
class Played:
    """A broker's place with one market; the test plays the trader."""

    place: BrokerPlace
    told: Told
    silence: Silence = TALKS

    async def run(self) -> None:
        await PaperBroker(self.place).run()

    def acknowledge(self) -> list[object]:
        """Take what the trader would be given, and answer that it is kept."""
        found: list[object] = []
        for item in self.told.items():
            if isinstance(item, Acknowledged):
                item.answer.set(None)
                found.append(item.outcome)
            else:
                found.append(item)
        return found


def played(*, offer: Offer = GOOD) -> Played:
    told = told_by()
    one = Played(
        place=BrokerPlace(
            mailbox=Mailbox(name="broker", bound=16),
            desks={MARKET: told.place},
            silence=lambda _: one.silence,
            offer=lambda _: offer,
        ),
        told=told,
    )
    return one


def order_of(*, number: int = 1, late_us: int = 0) -> Order:
    return Order(position=sent(999, trade_id=number), send_by_us=NOW_US - late_us)


async def answers(one: Played, *orders: Order) -> list[object]:
    """Let the broker carry out these orders; return all that it tells."""
    found: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        for order in orders:
            await one.place.mailbox.put(order)
        for _ in orders:
            await wait_all_tasks_blocked()
            found += one.acknowledge()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return found + one.acknowledge()


def cause_of(outcome: object) -> str:
    assert isinstance(outcome, OrderRefused), outcome
    return outcome.cause


async def test_an_order_is_placed_once_it_is_written_down_that_it_is_sent(autojump_clock: MockClock) -> None:
    one = played()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await one.place.mailbox.put(order_of())
        await wait_all_tasks_blocked()
        assert one.told.place.book.positions == ()
        assert one.acknowledge() == [OrderSent(trade_id=1, at_us=NOW_US)]
        await wait_all_tasks_blocked()
        assert [position.trade.id for position in one.told.place.book.positions] == [1]
        nursery.cancel_scope.cancel()


async def test_an_order_may_go_out_up_to_its_latest_time(autojump_clock: MockClock) -> None:
    assert await answers(played(), order_of(late_us=0)) == [OrderSent(trade_id=1, at_us=NOW_US)]


async def test_an_order_that_comes_too_late_is_not_sent(autojump_clock: MockClock) -> None:
    one = played()
    [refused] = await answers(one, order_of(late_us=1))
    assert cause_of(refused) == "not_sent"
    assert one.told.place.book.positions == ()


async def test_an_order_whose_sending_cannot_be_written_down_in_time_is_refused(
    autojump_clock: MockClock,
) -> None:
    one = played()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await one.place.mailbox.put(order_of())
        await trio.sleep(SENT_WITHIN_S + 0.1)
        nursery.cancel_scope.cancel()
    sent_, refused = one.acknowledge()
    assert isinstance(sent_, OrderSent)
    assert cause_of(refused) == "not_durable"
    assert one.told.place.book.positions == ()


@pytest.mark.parametrize(
    ("offer", "cause"),
    [
        (Offer(is_open=False, payout_percent=80.0), "closed"),
        (Offer(payout_percent=None), "payout"),
        (attrs.evolve(GOOD, least_stake=11), "stake"),
        (attrs.evolve(GOOD, most_stake=9), "stake"),
    ],
)
async def test_what_the_venue_would_not_take_is_refused(
    autojump_clock: MockClock, offer: Offer, cause: str
) -> None:
    [refused] = await answers(played(offer=offer), order_of())
    assert cause_of(refused) == cause


async def test_a_late_order_opens_by_the_ticks_that_came_meanwhile(autojump_clock: MockClock) -> None:
    one = played()
    one.told.place.follow([tick_at(at_s, price) for at_s, price in ((999, 1.0), (999.4, 1.1), (999.6, 1.2))])
    outcomes = await answers(one, order_of())
    assert [type(outcome) for outcome in outcomes] == [OrderSent, TradeOpened]
    assert isinstance(outcomes[1], TradeOpened)
    assert outcomes[1].open_price == 1.1


# --- while no price comes -------------------------------------------------------------------------

SINCE_US = us(999.7)


def silent(*, until_us: int) -> Silence:
    return Silence(gap=Gap(MARKET, SINCE_US, None, Cause.DISCONNECT), venue_us=until_us)


def with_open_trade() -> tuple[Played, int]:
    """Return a broker with a trade that is open, and when it expires."""
    one = played()
    one.told.place.follow([tick_at(999, 1.0)])
    one.told.place.place(sent(999, expiry_s=5))
    one.told.place.follow([tick_at(999.6, 1.1), tick_at(999.7, 1.1)])
    [opened] = one.told.items()
    assert isinstance(opened, TradeOpened)
    return one, opened.expires_us


@pytest.mark.parametrize(("late_us", "is_void"), [(0, True), (-1, False)])
async def test_a_trade_that_expires_while_prices_are_missing_is_void_at_once(
    late_us: int, *, is_void: bool
) -> None:
    one, expires_us = with_open_trade()
    one.silence = silent(until_us=expires_us + GRACE_US + late_us)
    PaperBroker(one.place).look()
    found = one.told.items()
    assert [item.state for item in found if isinstance(item, TradeSettled)] == [TradeState.VOID] * is_void


async def test_where_prices_come_nothing_is_void() -> None:
    one, expires_us = with_open_trade()
    one.silence = Silence(gap=None, venue_us=expires_us + us(60))
    PaperBroker(one.place).look()
    assert one.told.items() == []


async def test_while_stored_ticks_are_looked_through_nothing_is_void() -> None:
    one, expires_us = with_open_trade()
    one.told.place.begin_recovery(0)
    one.silence = silent(until_us=expires_us + us(60))
    PaperBroker(one.place).look()
    assert one.told.items() == []


async def test_it_looks_every_second(autojump_clock: MockClock) -> None:
    one, expires_us = with_open_trade()
    one.silence = silent(until_us=expires_us + us(60))
    with trio.move_on_after(1.5):
        await one.run()
    assert len(one.told.items()) == 1


# --- crashes --------------------------------------------------------------------------------------


async def crash(one: Played, *, after: Callable[[], None]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await one.place.mailbox.put(order_of())
        await wait_all_tasks_blocked()
        after()
        nursery.cancel_scope.cancel()


async def test_the_order_that_it_crashed_at_is_refused(autojump_clock: MockClock) -> None:
    one = played()
    await crash(one, after=lambda: None)
    assert one.place.current is not None
    [_, refused, sent_] = [*one.acknowledge(), *await answers(one, order_of(number=2))]
    assert cause_of(refused) == "not_sent"
    assert isinstance(sent_, OrderSent)


async def test_an_order_that_is_placed_is_left_in_peace_after_a_crash(autojump_clock: MockClock) -> None:
    one = played()
    one.told.place.place(sent(999))
    one.place.current = order_of()
    assert await answers(one, order_of(number=2)) == [OrderSent(trade_id=2, at_us=NOW_US)]
