"""What was before this run: each market's last tick and open gaps, so that it goes on where it ended."""

from collections.abc import Iterable
from functools import partial

import trio

from actors.ports import MarketPort
from actors.writer import Writer
from domain.clock import now_us
from domain.errors import StorageBusy
from domain.gaps import Gap, Remembered
from domain.states import Desired
from storage.recall import Found, recall
from storage.survey import Survey

AGAIN_S = 5.0  # a database that does not answer is asked again
JOURNAL_S = 60.0  # a journal that cannot be opened is tried every 10 s
LATER_THAN_ANY_US = 2**62
NOTHING = Found(last=None, open_gaps=())


class Recall:
    """Asks the journal and the database about markets, and tells their trackers and stampers.

    At a start the tree waits a moment for it. Where the database is away then, markets begin with
    what the journal knows, and the rest comes when the database does.
    """

    def __init__(self, *, writer: Writer, timeframe_s: int) -> None:
        self._writer = writer
        self._timeframe_s = timeframe_s
        self._told: set[str] = set()  # what the journal knows of them
        self._wanted: dict[str, MarketPort] = {}
        self._changed = trio.Event()

    def want(self, market: str, port: MarketPort) -> None:
        """Ask about a market that was added."""
        self._wanted[market] = port
        self._notify()

    def forget(self, market: str) -> bool:
        """Ask no more about a market that was removed; return whether something is still to be told."""
        self._told.discard(market)
        self._notify()
        return self._wanted.pop(market, None) is not None

    async def known(self, market: str) -> None:
        """Wait until a market knows what was before it; one that is gone, or was told, does."""
        while market in self._wanted:
            await self._changed.wait()

    async def settle(self, *, deadline_s: float) -> None:
        """Wait until all that is wanted is known; at the deadline begin with what the journal knows."""
        with trio.move_on_after(deadline_s):
            while self._wanted:
                await self._changed.wait()
        self._tell_from_journal()

    def _tell_from_journal(self) -> None:
        """Begin with what the journal knows, once: it may be opened late, on a disk that was full."""
        if self._writer.found is None:
            return
        for market in self._wanted.keys() - self._told:
            self._told.add(market)
            _tell(self._wanted[market], self._known(market, NOTHING))

    async def run(self) -> None:
        """Ask the database whenever something is wanted, again and again until it answers."""
        if self._writer.found is None:
            await self._wait_for_journal()
        while True:
            while not self._wanted:
                await self._changed.wait()
            asked = dict(self._wanted)
            before_us = {
                market: LATER_THAN_ANY_US if port.gaps.first_us is None else port.gaps.first_us
                for market, port in asked.items()
            }
            try:
                found = await self._writer.read(
                    partial(recall, before_us=before_us, timeframe_s=self._timeframe_s)
                )
            except StorageBusy:
                await trio.sleep(AGAIN_S)
                self._tell_from_journal()
                continue
            for market, port in asked.items():
                if _is_outrun(port, found.get(market)):
                    continue  # asked again, now that it is known before what
                if self._wanted.get(market) is port:
                    del self._wanted[market]
                    _tell(port, self._known(market, found.get(market, NOTHING)))
            self._notify()

    async def _wait_for_journal(self) -> None:
        """Wait for a journal that cannot be opened yet; what the database knows may be older."""
        with trio.move_on_after(JOURNAL_S):
            await self._writer.wait_found()
        self._tell_from_journal()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _known(self, market: str, found: Found) -> Remembered | None:
        """Put together what the journal and the database know of a market; None without a tick."""
        journal = self._writer.found or Survey()
        ticks = [each for each in (journal.last_ticks.get(market), found.last) if each is not None]
        if not ticks:
            return None
        rows = {(gap.from_us, gap.cause): gap for gap in found.open_gaps}
        rows |= {(gap.from_us, gap.cause): gap for gap in _of(market, journal.gaps.values())}
        still_open = [gap for gap in rows.values() if gap.to_us is None]
        return Remembered(last=max(ticks, key=lambda tick: tick[1:3]), open_gaps=still_open)


def _is_outrun(port: MarketPort, found: Found | None) -> bool:
    """Whether a tick of this run came, and was stored, while we waited for what was before it."""
    if found is None or found.last is None or port.gaps.first_us is None:
        return False
    return found.last.ts_us >= port.gaps.first_us


def _of(market: str, gaps: Iterable[Gap]) -> list[Gap]:
    return [gap for gap in gaps if gap.market == market]


def _tell(port: MarketPort, before: Remembered | None) -> None:
    if before is not None:
        port.stamper.remember(before.last)
        is_at_rest = port.row.desired is Desired.STOPPED
        at_us = now_us()
        port.gaps.remember(
            before, is_at_rest=is_at_rest, at_us=at_us, opened_us=port.hours.opened_before(at_us)
        )
        port.hours.recalled()
