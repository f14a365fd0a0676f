from collections.abc import Mapping

import pytest

from domain import instruments
from domain.errors import PermanentError, UnknownSymbol
from domain.instruments import MOST_TOLD, Catalog, Instrument, Listing, find_instrument, nearest_symbols

OLYMP = (
    Instrument("EURUSD", "EUR/USD"),
    Instrument("EURUSD_OTC", "EUR/USD OTC"),
    Instrument("Bitcoin", "Bitcoin", aliases=("BTCUSD",)),
    Instrument("_BRN", "Brent", aliases=("BRENT",)),
)
DERIV = (Instrument("frxEURUSD", "EUR/USD"), Instrument("R_50", "Volatility 50 Index"))
KRAKEN = (Instrument("EUR/USD", "EUR/USD"), Instrument("BTC/USD", "BTC/USD"))


def find(name: str, *listed: Instrument) -> str:
    return find_instrument(name, {each.symbol: each for each in listed}, venue="v").symbol


@pytest.mark.parametrize(
    ("name", "listed", "symbol"),
    [
        ("EURUSD", OLYMP, "EURUSD"),
        ("EURUSD", DERIV, "frxEURUSD"),
        ("EURUSD", KRAKEN, "EUR/USD"),
        ("EUR/USD", OLYMP, "EURUSD"),
        ("eurusd", DERIV, "frxEURUSD"),
        ("frxEURUSD", DERIV, "frxEURUSD"),
        ("EURUSD-OTC", OLYMP, "EURUSD_OTC"),
        ("BTCUSD", OLYMP, "Bitcoin"),
        ("XBTUSD", KRAKEN, "BTC/USD"),
        ("r_50", DERIV, "R_50"),
        ("BRENT", OLYMP, "_BRN"),
    ],
)
def test_one_name_means_the_same_market_at_every_venue(
    name: str, listed: tuple[Instrument, ...], symbol: str
) -> None:
    assert find(name, *listed) == symbol


def test_an_unknown_name_is_told_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownSymbol, match=r"v lists no market 'EURUSDD'; nearest: EURUSD, EURUSD_OTC"):
        find("EURUSDD", *OLYMP)


def test_an_unknown_name_is_permanent() -> None:
    assert issubclass(UnknownSymbol, PermanentError)


def test_a_name_that_is_like_nothing_is_told_without_suggestions() -> None:
    with pytest.raises(UnknownSymbol, match=r"no market 'ZZZZ'; correct the symbol in the settings"):
        find("ZZZZ", *OLYMP)


def test_the_venues_own_spelling_goes_before_what_is_like_it() -> None:
    assert find("EURUSD", Instrument("EURUSD", "Euro future"), Instrument("frxEURUSD", "EUR/USD")) == "EURUSD"


def test_a_name_that_means_two_markets_is_refused_with_both() -> None:
    with pytest.raises(UnknownSymbol, match=r"'EURUSD' may mean several markets of v: frx1, frx2"):
        find("EURUSD", Instrument("frx1", "EUR/USD"), Instrument("frx2", "EURUSD"))


def test_a_whole_list_takes_the_place_of_the_one_before() -> None:
    catalog = Catalog(venue="v")
    catalog.take(Listing(OLYMP, is_whole=True), at_us=1)
    catalog.take(Listing(OLYMP[:1], is_whole=True), at_us=2)
    assert list(catalog.instruments) == ["EURUSD"]
    assert catalog.listed_us == 2


def test_a_part_of_a_list_changes_only_what_it_tells() -> None:
    catalog = Catalog(venue="v")
    catalog.take(Listing(OLYMP, is_whole=True), at_us=1)
    catalog.take(Listing((Instrument("EURUSD", "EUR/USD", is_open=False),), is_whole=False), at_us=2)
    assert [each.is_open for each in catalog.instruments.values()] == [False, True, True, True]


def test_an_empty_list_tells_nothing() -> None:
    catalog = Catalog(venue="v")
    catalog.take(Listing(OLYMP, is_whole=True), at_us=1)
    catalog.take(Listing((), is_whole=True), at_us=2)
    assert len(catalog.instruments) == 4


def test_the_nearest_names_are_told_in_the_venues_spelling() -> None:
    assert nearest_symbols("EURUSDX", DERIV) == ["frxEURUSD"]


def test_an_unknown_name_is_looked_for_once_until_the_names_change(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(venue="sim")
    asked: list[str] = []

    def find(name: str, known: Mapping[str, Instrument], *, venue: str) -> Instrument:
        asked.append(name)
        return find_instrument(name, known, venue=venue)

    monkeypatch.setattr(instruments, "find_instrument", find)
    eurusd = Instrument("frxEURUSD", "EUR/USD")
    catalog.take(Listing((eurusd,), is_whole=True), at_us=1)
    for is_open in (True, False, True):
        catalog.take(Listing((eurusd._replace(is_open=is_open),), is_whole=False), at_us=2)
        with pytest.raises(UnknownSymbol, match="lists no market 'EURO'"):
            catalog.find("EURO")
    assert asked == ["EURO"]
    catalog.take(Listing((eurusd._replace(aliases=("EURO",)),), is_whole=False), at_us=3)
    assert catalog.find("EURO").symbol == "frxEURUSD"


def test_a_venue_that_makes_up_names_for_ever_does_not_fill_the_memory() -> None:
    catalog = Catalog(venue="sim")
    for number in range(3):
        names = [f"{number}/{each}" for each in range(MOST_TOLD // 2)]
        catalog.take(Listing(tuple(map(Instrument, names)), is_whole=False), at_us=1)
        catalog.take_payouts(dict.fromkeys(names, 80.0))
    assert len(catalog.instruments) == len(catalog.payouts) == MOST_TOLD
    assert catalog.find("2/7").symbol == "2/7"
