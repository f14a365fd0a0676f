from typing import Any

import trio

from actors.connection import MarketPort
from actors.mailbox import BatchMailbox
from domain.gaps import GapLedger, GapTracker
from domain.market import Tick
from domain.stamping import Stamper
from domain.states import ConnectionRow, MarketRow
from storage.recall import Found
from storage.salvage import Survey
from supervisor.recall import Recall

MARKET = "EURUSD@sim"


def tick(ts_us: int) -> Tick:
    return Tick(MARKET, ts_us, 0, 1.0, None, None, None, ts_us)


def make_port() -> MarketPort:
    row = MarketRow(
        name=MARKET,
        symbol="EURUSD",
        venue="sim",
        stale_after_s=1.0,
        connection=ConnectionRow(name="sim/1", venue="sim"),
    )
    return MarketPort(
        row=row,
        mailbox=BatchMailbox(name="market", bound=10),
        stamper=Stamper(market=MARKET),
        gaps=GapTracker(market=MARKET, ledger=GapLedger()),
        changed=lambda: None,
    )


class StoresATickMeanwhile:
    """A database that is asked before the run's first tick, and answers after that is stored."""

    def __init__(self, port: MarketPort) -> None:
        self.port = port
        self.asked = 0

    async def read(self, work: Any) -> dict[str, Found]:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.asked > 1:
            return {MARKET: Found(last=tick(10), open_gaps=())}
        self.port.gaps.tick(100)
        return {MARKET: Found(last=tick(100), open_gaps=())}


async def test_a_tick_of_this_run_is_not_taken_for_what_was_before_it() -> None:
    port = make_port()
    database: Any = StoresATickMeanwhile(port)
    recall = Recall(writer=database, timeframe_s=60)
    recall.want(MARKET, port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recall.run)
        await recall.settle(deadline_s=30)
        nursery.cancel_scope.cancel()
    [gap] = port.gaps.ledger.take()
    assert gap[1:4] == (10, 100, "downtime")
    assert database.asked == 2


async def test_at_the_deadline_a_market_begins_with_what_the_journal_knows() -> None:
    port = make_port()
    recall = Recall(writer=None, timeframe_s=60)  # type: ignore[arg-type]  # nobody asks it
    recall.take_journal(Survey(last_ticks={MARKET: tick(10)}))
    recall.want(MARKET, port)
    await recall.settle(deadline_s=0.0)
    port.gaps.tick(100)
    assert port.stamper.last_ts_us == 10
    assert [gap[1:4] for gap in port.gaps.ledger.take()] == [(10, 100, "downtime")]
