import functools
from collections.abc import Iterator

import pytest
from databases import AnyDatabase, OpenStore, open_store

from domain.errors import RejectedError
from storage.markets import FoundMarket, find_market
from storage.session import Session

STORED = [(1, "EURUSD", "sim"), (2, "EURUSD", "old"), (3, "GBPUSD", "old"), (4, "BTC/USD", "kraken")]
CONFIGURED = ("EURUSD@sim", "USDJPY@sim", "GBPUSD@sim")


@pytest.fixture
def store(database: AnyDatabase) -> Iterator[OpenStore]:
    def insert(session: Session) -> None:
        session.begin()
        session.execute_many("INSERT INTO market (id, symbol, venue) VALUES (?, ?, ?)", STORED)
        session.commit()

    with open_store(database.target) as opened:
        opened.pool.run(insert)
        yield opened


def find(store: OpenStore, name: str, *configured: str) -> FoundMarket:
    return store.pool.run(functools.partial(find_market, name=name, configured=configured))


def refusal(store: OpenStore, name: str, *configured: str) -> str:
    with pytest.raises(RejectedError) as refused:
        find(store, name, *configured)
    assert repr(name) in str(refused.value)
    return str(refused.value)


def test_market_is_found_by_its_whole_name(store: OpenStore) -> None:
    assert find(store, "EURUSD@old") == FoundMarket(name="EURUSD@old", id=2)
    assert find(store, "BTC/USD@kraken", *CONFIGURED) == FoundMarket(name="BTC/USD@kraken", id=4)


def test_symbol_is_enough_where_one_venue_has_it(store: OpenStore) -> None:
    assert find(store, "BTC/USD", *CONFIGURED) == FoundMarket(name="BTC/USD@kraken", id=4)
    assert find(store, "GBPUSD") == FoundMarket(name="GBPUSD@old", id=3)


def test_market_of_the_settings_without_rows_is_known(store: OpenStore) -> None:
    assert find(store, "USDJPY", *CONFIGURED) == FoundMarket(name="USDJPY@sim", id=None)


def test_symbol_at_several_venues_is_refused_with_all_of_them(store: OpenStore) -> None:
    assert "EURUSD@old, EURUSD@sim" in refusal(store, "EURUSD")
    assert "GBPUSD@old, GBPUSD@sim" in refusal(store, "GBPUSD", *CONFIGURED)


def test_unknown_market_is_refused_with_the_nearest_names(store: OpenStore) -> None:
    assert "GBPUSD@old" in refusal(store, "GBPUSX")
    assert "EURUSD@sim" in refusal(store, "eurusd@sim")
    assert "USDJPY@sim" in refusal(store, "USDJPX", *CONFIGURED)
    assert "did you mean" not in refusal(store, "something else")


@pytest.mark.parametrize(
    "name", ["", "@", "EURUSD@", "@sim", "EURUSD@sim ", "EURUSD ", "a@b@c", "'\0%s?🙂" * 99]
)
def test_name_that_is_none_finds_nothing(store: OpenStore, name: str) -> None:
    refusal(store, name)
