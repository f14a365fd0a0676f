from pathlib import Path

from trees import grown_tree

from domain.instruments import Catalog, Instrument
from domain.states import State


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
