from typing import Any

import trio
from open_hours import always_open
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import BatchMailbox
from actors.ports import MarketPort
from domain.errors import StorageBusy
from domain.gaps import GapLedger, GapTracker
from domain.hours import MarketHours
from domain.instruments import Instrument
from domain.market import Tick
from domain.stamping import Stamper
from domain.states import ConnectionRow, MarketRow
from storage.recall import Found
from storage.survey import Survey
from supervisor.recall import AGAIN_S, Recall

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
        hours=always_open(),
    )
    return MarketPort(
        row=row,
        mailbox=BatchMailbox(name="market", bound=10),
        stamper=Stamper(market=MARKET),
        gaps=GapTracker(market=MARKET, ledger=GapLedger()),
        hours=row.hours,
        changed=lambda: None,
    )


class StoresATickMeanwhile:
    """A database that is asked before the run's first tick, and answers after that is stored."""

    found = Survey()

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


class AnswersNever:
    """A writer whose database is away; its journal holds one tick, once it is open."""

    def __init__(self, found: Survey | None) -> None:
        self.found = found
        self.is_found = trio.Event()

    async def wait_found(self) -> None:
        await self.is_found.wait()

    async def read(self, work: Any) -> dict[str, Found]:
        await trio.lowlevel.checkpoint()
        raise StorageBusy("away")


JOURNAL = Survey(last_ticks={MARKET: tick(10)})


async def test_at_the_deadline_a_market_begins_with_what_the_journal_knows() -> None:
    port = make_port()
    writer: Any = AnswersNever(JOURNAL)
    recall = Recall(writer=writer, timeframe_s=60)
    recall.want(MARKET, port)
    await recall.settle(deadline_s=0.0)
    port.gaps.tick(100)
    assert port.stamper.last_ts_us == 10
    assert [gap[1:4] for gap in port.gaps.ledger.take()] == [(10, 100, "downtime")]


async def test_a_journal_that_is_opened_late_still_tells_of_the_pause(autojump_clock: object) -> None:
    port = make_port()
    writer: Any = AnswersNever(None)
    recall = Recall(writer=writer, timeframe_s=60)
    recall.want(MARKET, port)
    await recall.settle(deadline_s=0.0)
    port.gaps.tick(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recall.run)
        await trio.sleep(AGAIN_S * 1.5)
        assert port.gaps.ledger.take() == []
        writer.found = JOURNAL
        writer.is_found.set()
        await trio.sleep(AGAIN_S * 3)  # told once, however often the database is asked
        nursery.cancel_scope.cancel()
    assert [gap[1:4] for gap in port.gaps.ledger.take()] == [(10, 100, "downtime")]
    assert port.gaps.count == 1


async def test_a_market_that_is_closed_when_its_past_becomes_known_was_away_only_until_the_close() -> None:
    port = make_port()
    port.hours = MarketHours(gaps=port.gaps)
    port.hours.listed(Instrument("EURUSD", is_open=False, closes_us=40, opens_us=2**60), at_us=90)
    writer: Any = AnswersNever(JOURNAL)
    recall = Recall(writer=writer, timeframe_s=60)
    recall.want(MARKET, port)
    await recall.settle(deadline_s=0.0)
    assert [gap[1:4] for gap in port.gaps.ledger.take()] == [(10, 41, "downtime"), (40, None, "closed")]


async def test_a_market_is_known_once_its_gap_is_written_or_it_is_gone(autojump_clock: MockClock) -> None:
    port = make_port()
    database: Any = StoresATickMeanwhile(port)
    recall = Recall(writer=database, timeframe_s=60)
    recall.want(MARKET, port)
    recall.want("GONE@sim", make_port())
    known: list[str] = []

    async def wait(market: str) -> None:
        await recall.known(market)
        known.append(market)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, MARKET)
        nursery.start_soon(wait, "GONE@sim")
        await wait_all_tasks_blocked()
        assert known == []
        recall.forget("GONE@sim")
        await wait_all_tasks_blocked()
        assert known == ["GONE@sim"]
        nursery.start_soon(recall.run)
        await recall.known(MARKET)
        nursery.cancel_scope.cancel()
    assert port.gaps.ledger.take()
