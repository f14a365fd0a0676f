import functools
from collections.abc import Callable, Iterator

import pytest
from databases import AnyDatabase, OpenStore, open_store
from traded import (
    FIRST_US,
    MINUTE_US,
    Kept,
    a_trade,
    its_signal,
    its_steps,
    refused_signal,
    some_trades,
    ticks_every_second,
)

from domain.gaps import Gap
from domain.trades import Position, TradeEvent, stable_id
from storage.history import Span
from storage.ledger_rows import insert_trade_events
from storage.session import Session
from storage.trades import (
    TradePage,
    WholeTrade,
    newest_refused,
    refusals,
    ticks_around,
    trade_page,
    whole_trade,
)

EURUSD, GBPUSD = "EURUSD@sim", "GBPUSD@sim"
EVERYTHING = Span()
# Several of one moment: a page must neither end within them for ever nor leave one out.
TRADES = some_trades(EURUSD, GBPUSD, count=21) + some_trades(EURUSD, count=4, strategies=("streak",))
TICKS = ticks_every_second(EURUSD, count=120) + ticks_every_second(GBPUSD, count=3)
REASONS = ("stale_price: the price is 9000 ms old", "stale_price: the price is 8000 ms old", "drain")
SIGNALS = [
    *map(its_signal, TRADES),
    *(refused_signal(reason, number=number) for number, reason in enumerate(REASONS)),
    refused_signal("drain", number=9, market=GBPUSD),
]
GAPS = [
    Gap(EURUSD, FIRST_US - 9, FIRST_US, "stale"),  # ended as the first trade was decided
    Gap(EURUSD, FIRST_US + 5_000_000, FIRST_US + 7_000_000, "disconnect", "full", "a note"),
    Gap(GBPUSD, FIRST_US + 5_000_000, FIRST_US + 7_000_000, "downtime"),
    Gap(EURUSD, FIRST_US + MINUTE_US, None, "stale"),
    Gap(EURUSD, FIRST_US + 10 * MINUTE_US, FIRST_US + 11 * MINUTE_US, "stale"),
]


@pytest.fixture
def store(database: AnyDatabase) -> Iterator[OpenStore]:
    with open_store(database.target) as opened:
        kept = Kept(ticks=TICKS, trades=TRADES, signals=SIGNALS, gaps=GAPS)
        opened.pool.run(kept.write)
        yield opened


def in_order(trades: list[Position]) -> list[Position]:
    return sorted(trades, key=lambda each: (each.trade.intended_us, each.trade.id))


def id_of(store: OpenStore, symbol: str) -> int:
    [(found,)] = store.pool.run(
        lambda session: session.query("SELECT id FROM market WHERE symbol = ?", (symbol,))
    )
    return int(found)


def all_pages(store: OpenStore, *, limit: int, **asked: object) -> list[Position]:
    """Return the trades of all pages, as many as fit on each."""
    given = {"market_id": None, "is_open": False, "span": EVERYTHING, **asked}
    found: list[Position] = []
    after = None
    while True:
        read: Callable[[Session], TradePage] = functools.partial(
            trade_page, after=after, limit=limit, **given
        )
        page = store.pool.run(read)
        assert len(page.trades) <= limit
        found += page.trades
        assert len(found) <= len(TRADES)  # and not for ever
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 7, 25, 100])
def test_every_trade_is_on_one_page_as_it_was_written(store: OpenStore, limit: int) -> None:
    assert all_pages(store, limit=limit) == in_order(TRADES)


def test_pages_of_one_market_of_a_time_and_of_what_is_under_way(store: OpenStore) -> None:
    of_one = [each for each in in_order(TRADES) if each.trade.market == GBPUSD]
    assert all_pages(store, limit=3, market_id=id_of(store, "GBPUSD")) == of_one
    under_way = [each for each in in_order(TRADES) if each.trade.state in ("open", "unknown")]
    assert all_pages(store, limit=3, is_open=True) == under_way
    both = [each for each in under_way if each.trade.market == GBPUSD]
    assert all_pages(store, limit=3, is_open=True, market_id=id_of(store, "GBPUSD")) == both != []
    first, last = in_order(TRADES)[3].trade.intended_us, in_order(TRADES)[-2].trade.intended_us
    inside = [each for each in in_order(TRADES) if first <= each.trade.intended_us < last]
    assert all_pages(store, limit=3, span=Span(from_us=first, to_us=last)) == inside


def whole(store: OpenStore, position: Position) -> WholeTrade:
    found = store.pool.run(functools.partial(whole_trade, trade_id=position.trade.id))
    assert found is not None
    return found


def test_one_trade_comes_with_its_signal_steps_gaps_and_prices(store: OpenStore) -> None:
    first = TRADES[0]
    found = whole(store, first)
    assert found.position == first
    assert found.signal == its_signal(first)
    assert found.events == its_steps(first)
    # Opened half a second after the first tick, for a minute.
    assert found.at_opening == TICKS[:4]
    assert found.at_expiry == TICKS[58:64]
    assert found.gaps == [GAPS[1], GAPS[3]]


def test_tick_of_that_very_moment_is_the_last_one_before_and_stands_once(store: OpenStore) -> None:
    read = functools.partial(ticks_around, market=EURUSD, id_=id_of(store, "EURUSD"))
    assert store.pool.run(functools.partial(read, at_us=TICKS[5].ts_us)) == TICKS[3:9]
    assert store.pool.run(functools.partial(read, at_us=TICKS[5].ts_us - 1)) == TICKS[2:8]


def test_trade_that_never_opened_has_no_prices_around_it(store: OpenStore) -> None:
    [refused, *_] = [each for each in TRADES if each.trade.state == "refused"]
    found = whole(store, refused)
    assert (found.at_opening, found.at_expiry) == ([], [])


def test_steps_of_one_moment_stand_in_the_order_in_which_they_follow(store: OpenStore) -> None:
    lost = a_trade("lost", market="AUDUSD@sim")
    trade_id = lost.trade.id
    steps = [
        TradeEvent(stable_id(trade_id, "again", number), trade_id, FIRST_US + MINUTE_US, state, "", "")
        for number, state in enumerate(("intended", "sent", "open", "lost"))
    ]
    store.pool.run(Kept(ticks=ticks_every_second("AUDUSD@sim", count=1), trades=[lost]).write)

    def write(session: Session) -> None:
        session.begin()
        insert_trade_events(session, events=steps[::-1])
        session.commit()

    store.pool.run(write)
    assert [step for step in whole(store, lost).events if step in steps] == steps


def test_unknown_id_is_no_trade(store: OpenStore) -> None:
    assert store.pool.run(functools.partial(whole_trade, trade_id=7)) is None


def test_newest_refused_signals_come_first(store: OpenStore) -> None:
    read = functools.partial(newest_refused, market_id=id_of(store, "EURUSD"), limit=2)
    assert [each.reason for each in store.pool.run(read)] == ["drain", REASONS[1]]


def test_refused_signals_are_counted_by_the_limit_s_name(store: OpenStore) -> None:
    def counted(**asked: object) -> dict[str, int]:
        given = {"market_id": None, "span": EVERYTHING, **asked}
        read: Callable[[Session], dict[str, int]] = functools.partial(refusals, **given)
        return store.pool.run(read)

    assert counted() == {"stale_price": 2, "drain": 2}
    assert counted(market_id=id_of(store, "GBPUSD")) == {"drain": 1}
    assert counted(span=Span(from_us=FIRST_US + 1, to_us=FIRST_US + 3)) == {"stale_price": 1, "drain": 1}
