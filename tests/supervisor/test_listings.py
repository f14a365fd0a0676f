from pathlib import Path

import pytest
from keeping import keep_at_once
from trees import SYMBOLS, grown_tree

from domain.clock import now_us
from domain.instruments import Catalog, Instrument
from domain.states import State
from supervisor.listings import Listings, path_of, read_catalog

HOUR_US = 3_600_000_000


def listing(*symbols: str) -> Catalog:
    return Catalog(venue="sim", instruments={symbol: Instrument(symbol) for symbol in symbols})


async def test_a_refused_market_that_is_listed_no_longer_shows_what_it_may_be_called_now(
    tmp_path: Path,
) -> None:
    async with grown_tree(tmp_path, symbols=("EURUSD",)) as grown:
        await grown.all_live()
        row = grown.tree.board.markets["EURUSD@sim"]
        row.hold, row.reason = State.FAILED, "sim refuses 'EURUSD': gone; correct the symbol"
        grown.tree.listings.listed(listing("EURUSD", "GBPUSD"))
        assert row.reason == "sim refuses 'EURUSD': gone; correct the symbol"
        grown.tree.listings.listed(listing("EURUSD_X", "GBPUSD"))
        assert "nearest: EURUSD_X" in row.reason
        grown.tree.listings.listed(listing("EURUSD", "GBPUSD"))
        assert row.hold is None


async def test_a_first_start_on_a_saturday_says_so_and_names_what_is_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="marketd")
    opens_us = now_us() + 30 * HOUR_US
    locked = [Instrument(symbol, is_open=False, opens_us=opens_us) for symbol in SYMBOLS]
    catalog = Catalog(
        venue="sim", instruments={each.symbol: each for each in [*locked, Instrument("Bitcoin")]}
    )
    async with grown_tree(tmp_path) as grown:
        await grown.all_live()
        for instrument in locked:
            branch = grown.tree.markets[f"{instrument.symbol}@sim"]
            branch.port.hours.listed(instrument, at_us=now_us())
        listings = Listings(state_dir=tmp_path, markets=grown.tree.markets, keep=keep_at_once)
        listings.listed(catalog)
        listings.listed(catalog)
    said = [record.getMessage() for record in caplog.records if "markets are closed" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("sim: 3 of 3 markets are closed now, the first opens ")
    assert said[0].endswith("they start by themselves. Open now: Bitcoin")


async def test_the_list_and_its_hours_are_known_at_the_next_start(tmp_path: Path) -> None:
    opens_us = now_us() + 30 * HOUR_US
    catalog = Catalog(
        venue="sim",
        instruments={"EURUSD": Instrument("EURUSD", is_open=False, opens_us=opens_us)},
        payouts={"EURUSD": 82.0},
        listed_us=now_us(),
    )
    Listings(state_dir=tmp_path, markets={}, keep=keep_at_once).listed(catalog)
    found = read_catalog(tmp_path, "sim")
    assert (found.instruments, found.payouts, found.listed_us) == (
        catalog.instruments,
        catalog.payouts,
        catalog.listed_us,
    )
    assert Listings(state_dir=tmp_path, markets={}, keep=keep_at_once).remembered("sim").listed_us is None


def test_payouts_that_come_after_the_list_are_remembered_too(tmp_path: Path) -> None:
    catalog = Catalog(venue="sim", instruments={"EURUSD": Instrument("EURUSD")}, listed_us=now_us())
    listings = Listings(state_dir=tmp_path, markets={}, keep=keep_at_once)
    listings.listed(catalog)
    catalog.take_payouts({"EURUSD": 82.0})
    listings.terms_told(catalog)
    assert read_catalog(tmp_path, "sim").payouts == {"EURUSD": 82.0}


def test_a_remembered_list_that_is_broken_is_none(tmp_path: Path) -> None:
    path_of(tmp_path, "sim").write_bytes(b"{")
    assert read_catalog(tmp_path, "sim").instruments == {}
