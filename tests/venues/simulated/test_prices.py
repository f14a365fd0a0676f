import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN
from venues.simulated.prices import (
    FX_LISTINGS,
    FX_PAIRS,
    PriceLoop,
    PricePath,
    Quote,
    listing_of,
    parse_prices,
)

symbols = st.one_of(st.sampled_from(FX_PAIRS), st.from_regex(SYMBOL_PATTERN, fullmatch=True))
seeds = st.integers(min_value=-(2**63), max_value=2**63)


def walk(*, seed: int, symbol: str, steps: int) -> list[Quote]:
    path = PricePath(seed=seed, symbol=symbol)
    return [path.next() for _ in range(steps)]


def test_there_are_27_different_pairs() -> None:
    assert len(FX_PAIRS) == len(set(FX_PAIRS)) == 27


@given(seed=seeds, symbol=symbols)
def test_prices_are_positive_and_the_bid_is_below_the_ask(seed: int, symbol: str) -> None:
    for bid, ask in walk(seed=seed, symbol=symbol, steps=200):
        assert 0.0 < float(bid) < float(ask)


@given(seed=seeds, symbol=symbols)
def test_a_path_is_the_same_for_the_same_seed(seed: int, symbol: str) -> None:
    assert walk(seed=seed, symbol=symbol, steps=50) == walk(seed=seed, symbol=symbol, steps=50)


@given(seed=seeds, symbol=symbols, other=symbols)
def test_a_path_does_not_depend_on_what_else_is_served(seed: int, symbol: str, other: str) -> None:
    alone = walk(seed=seed, symbol=symbol, steps=50)
    path, beside = PricePath(seed=seed, symbol=symbol), PricePath(seed=seed, symbol=other)
    together = []
    for _ in range(50):
        beside.next()
        together.append(path.next())
    assert together == alone


def test_another_seed_gives_another_path() -> None:
    assert walk(seed=1, symbol="EURUSD", steps=50) != walk(seed=2, symbol="EURUSD", steps=50)


def test_two_markets_move_differently() -> None:
    quotes = [walk(seed=1, symbol=symbol, steps=50) for symbol in ("EURUSD", "EURUSDT")]
    assert quotes[0] != quotes[1]


@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_a_long_walk_stays_realistic(seed: int) -> None:
    path = PricePath(seed=seed, symbol="EURUSD")
    start = FX_LISTINGS["EURUSD"].start
    for _ in range(50_000):
        quote = path.next()
    assert 0.8 * start < float(quote.bid) < 1.25 * start


@pytest.mark.parametrize("symbol", FX_PAIRS)
def test_a_pair_is_quoted_with_its_own_decimals(symbol: str) -> None:
    quote = PricePath(seed=1, symbol=symbol).next()
    decimals = 3 if symbol.endswith("JPY") else 5
    assert [len(price.partition(".")[2]) for price in quote] == [decimals, decimals]


def test_a_coin_starts_at_a_plausible_price() -> None:
    assert 10_000 < listing_of("BTCUSDT").start < 1_000_000


def test_other_spellings_of_a_pair_are_quoted_alike() -> None:
    assert listing_of("EUR/USD") == listing_of("eurusd") == listing_of("EURUSDT") == FX_LISTINGS["EURUSD"]


def test_prices_of_a_file_are_replayed_in_a_loop() -> None:
    lines = ["timestamp,bid,ask\n", "2013-01-01 22:00:00.295000+00:00,86.655,86.728\n", "x,86.657,86.730\n"]
    loop = PriceLoop(parse_prices(lines, name="ticks.csv"))
    assert [loop.next() for _ in range(3)] == [
        Quote("86.655", "86.728"),
        Quote("86.657", "86.730"),
        Quote("86.655", "86.728"),
    ]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "ticks.csv, line 1: no column ask, bid"),
        (["timestamp,bid\n", "x,1\n"], "ticks.csv, line 1: no column ask"),
        (["bid,ask\n"], "ticks.csv: no prices"),
        (["bid,ask\n", "1,2\n", "abc,2\n"], "ticks.csv, line 3: bid 'abc'"),
        (["bid,ask\n", "1\n"], "ticks.csv, line 2: ask None"),
        (["bid,ask\n", "0.0,1\n"], "ticks.csv, line 2: bid '0.0'"),
        (["bid,ask\n", "-1,1\n"], "ticks.csv, line 2: bid '-1'"),
        (["bid,ask\n", "nan,1\n"], "ticks.csv, line 2: bid 'nan'"),
        (["bid,ask\n", "1,1e400\n"], "ticks.csv, line 2: ask '1e400'"),
        (["bid,ask\n", "2,1\n"], "ticks.csv, line 2: bid 2 is above ask 1"),
    ],
)
def test_a_bad_price_file_is_named_with_its_line(lines: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_prices(lines, name="ticks.csv")
    assert str(error.value).startswith(complaint)
