"""Fills the gaps of one venue's markets from its history: within its limits, behind live data."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import attrs
import trio

from actors.mailbox import BatchMailbox, Inbox
from domain.clock import now_us
from domain.errors import (
    ConnectionLost,
    PermanentError,
    RejectedError,
    RemoteProtocolError,
    RetryableError,
    StorageBusy,
    VenueSilent,
    VenueThrottled,
)
from domain.events import Event, emit
from domain.gaps import Gap, GapKey
from domain.market import HistoryCandle, Tick, split_market_id
from domain.unfilled import UnfilledGaps
from storage.session import Session
from storage.unfilled import unfilled_gaps
from venues.filling import CandleFilling, Filling, Portion, TickFilling
from venues.offers import History, HistoryKind, HistoryPage, HistoryRequest
from wire.backoff import delay_s

ANSWER_WITHIN_S = 20.0  # a page; a venue that has not answered by then will not
# After a gap's end a venue's history has its last moments, and our clock and its own are not the same.
SETTLE_US = 10_000_000
LOOK_EVERY_S = 1.0  # whether a market with a gap is live by now, or a mailbox has room
RECALL_EVERY_S = 6 * 3_600.0  # what was given up for now, and what did not fit, is in the database
RECALL_AGAIN_S = 60.0  # a database that is away
BACKOFF_MIN_S, BACKOFF_MAX_S = 2.0, 120.0
MOST_FAILURES = 5  # of a gap in a row: then the others are not to wait for it
MOST_AT_ONCE = 1_000  # rows that are put into a mailbox together
LIVE_SHARE = 10  # a tenth of a mailbox is ours, the rest is for what comes live

GapQuery = Callable[[Session], dict[Gap, int]]


class Reads(Protocol):
    """Runs a read of the database; see `Writer.read`."""

    async def __call__(self, work: GapQuery) -> dict[Gap, int]:
        """Return what `work` reads; raise `StorageBusy`."""


@attrs.define(kw_only=True, eq=False)
class BackfillPlace:
    """All that outlives a backfill's runs, and what it needs of others. Owned by the tree.

    `ask` sends a request, whose symbol is the settings', and returns the answer. `is_idle` says
    whether a market is live and nobody of its venue waits at the gate. `flushed` returns when what
    is in the inbox is journalled.
    """

    venue: str
    history: History
    timeframes_s: Sequence[int]
    keep_us: int  # how far back gaps are worth it: ticks are kept for so long
    unfilled: UnfilledGaps
    inbox: Inbox
    ask: Callable[[HistoryRequest], Awaitable[HistoryPage]]
    is_idle: Callable[[str], bool]
    flushed: Callable[[], Awaitable[None]]
    read: Reads


class Backfill:
    """The actor that fills one venue's gaps, the newest first, each from its beginning on.

    Reads: the gaps that wait; the database, for those of earlier runs. Writes: the writer's mailboxes
    of ticks and candles, and the gap ledger. Owns: how far each gap under way is. Crashes on: a bug.
    A restart forgets how far it was: those gaps are begun anew, which adds nothing twice.

    A gap's row is written only once its ticks are journalled.
    """

    def __init__(self, place: BackfillPlace) -> None:
        self._place = place
        self._under_way: dict[GapKey, tuple[Gap, Filling]] = {}
        self._failures: Counter[GapKey] = Counter()
        self._attempt = 0  # failures of the venue in a row
        self._may_ask_at = self._recall_at = -float("inf")  # monotonic
        self._request_id = 0
        self._done: Counter[str] = Counter()  # since it was told last
        self._new = trio.Event()

    async def run(self) -> None:
        """Fill what there is to fill, for ever."""
        self._place.unfilled.on_new = self._wake
        while True:
            if trio.current_time() >= self._recall_at:
                await self._recall()
            await trio.sleep_until(self._may_ask_at)
            gap = self._place.unfilled.newest(self._is_wanted)
            if gap is not None:
                await self._step(gap)
                continue
            self._tell()
            self._new = trio.Event()
            with trio.move_on_at(self._recall_at):
                if len(self._place.unfilled):
                    await trio.sleep(LOOK_EVERY_S)
                else:
                    await self._new.wait()

    def _wake(self) -> None:
        self._new.set()

    def _is_wanted(self, gap: Gap) -> bool:
        has_settled = gap.to_us is not None and now_us() - gap.to_us >= SETTLE_US
        return has_settled and self._place.is_idle(gap.market)

    async def _recall(self) -> None:
        """Ask the database for gaps that are not filled yet."""
        place = self._place
        since_us = now_us() - place.keep_us
        try:
            found = await place.read(partial(unfilled_gaps, venue=place.venue, since_us=since_us))
        except StorageBusy:
            self._recall_at = trio.current_time() + RECALL_AGAIN_S
            return
        self._recall_at = trio.current_time() + RECALL_EVERY_S
        for gap, reached_us in found.items():
            place.unfilled.recall(gap, reached_us=reached_us)

    # --- one page -----------------------------------------------------------------------------

    async def _step(self, gap: Gap) -> None:
        """Ask for a gap's next page, and write its row after the last one."""
        filling = self._filling_of(gap)
        try:
            await self._ask_on(gap, filling)
            self._attempt = 0
            del self._failures[gap.key]
            if filling.wish is None:
                await self._finish(gap, filling)
        except (RejectedError, PermanentError) as error:
            filling.give_up(str(error))
            await self._finish(gap, filling)
        except (RetryableError, RemoteProtocolError) as error:
            await self._failed(gap, filling, error)

    def _filling_of(self, gap: Gap) -> Filling:
        """Return the gap's filling; a new one where the gap has another end by now."""
        known = self._under_way.get(gap.key)
        if known is not None and known[0] == gap:
            return known[1]
        filling = self._begin(gap)
        self._under_way[gap.key] = (gap, filling)
        return filling

    def _begin(self, gap: Gap) -> Filling:
        place, history = self._place, self._place.history
        begins_us = gap.from_us
        if history.longest_us is not None:
            begins_us = max(begins_us, now_us() - history.longest_us)
        if history.kind is HistoryKind.TICKS:
            return TickFilling(gap, begins_us=begins_us, reached_us=place.unfilled.reached_us(gap))
        has = history.timeframes_s
        return CandleFilling(
            gap,
            begins_us=begins_us,
            timeframes_s=[each for each in place.timeframes_s if not has or each in has],
        )

    async def _ask_on(self, gap: Gap, filling: Filling) -> None:
        """Ask for the next page, if there is one, and hand over what of it belongs into the gap."""
        wish = filling.wish
        if wish is None:
            return
        self._request_id += 1
        request = HistoryRequest(self._request_id, split_market_id(gap.market)[0], *wish)
        self._may_ask_at = trio.current_time() + self._place.history.spacing_s
        page = await self._ask(request)
        if not self._place.unfilled.has(gap):
            del self._under_way[gap.key]  # it ends somewhere else by now
            return
        await self._hand_over(filling.take(page, received_us=now_us()))

    async def _ask(self, request: HistoryRequest) -> HistoryPage:
        with trio.move_on_after(ANSWER_WITHIN_S):
            return await self._place.ask(request)
        raise VenueSilent(f"{self._place.venue} sent no history within {ANSWER_WITHIN_S:.0f} s")

    async def _hand_over(self, portion: Portion) -> None:
        inbox = self._place.inbox
        for start in range(0, len(portion.ticks), MOST_AT_ONCE):
            ticks: list[Tick] = list(portion.ticks[start : start + MOST_AT_ONCE])
            await self._wait_for_room(inbox.ticks)
            inbox.ticks.put_nowait(ticks)
        for start in range(0, len(portion.candles), MOST_AT_ONCE):
            candles: list[HistoryCandle] = list(portion.candles[start : start + MOST_AT_ONCE])
            await self._wait_for_room(inbox.candles)
            inbox.candles.put_nowait(candles)

    async def _wait_for_room(self, box: BatchMailbox[list[Tick]] | BatchMailbox[list[HistoryCandle]]) -> None:
        while box.used * LIVE_SHARE >= box.bound:  # noqa: ASYNC110 - a mailbox tells nobody
            await trio.sleep(LOOK_EVERY_S / 10)

    # --- what became of it --------------------------------------------------------------------

    async def _finish(self, gap: Gap, filling: Filling) -> None:
        """Write the gap's row, once what was handed over for it is journalled."""
        try:
            await self._place.flushed()
        except RetryableError:
            self._forget(gap)  # what the journal did not take is to be asked for again
            raise
        if self._place.unfilled.has(gap):
            outcome = filling.outcome()
            self._place.inbox.gaps.put_fill(outcome)
            self._done[outcome.fill] += 1
            self._place.unfilled.remove(gap)
        self._forget(gap)

    def _forget(self, gap: Gap) -> None:
        self._under_way.pop(gap.key, None)
        del self._failures[gap.key]

    async def _failed(self, gap: Gap, filling: Filling, error: RetryableError | RemoteProtocolError) -> None:
        """Be patient; give a gap up, for now, that fails again and again."""
        pause_s = delay_s(attempt=self._attempt, min_s=BACKOFF_MIN_S, max_s=BACKOFF_MAX_S)
        self._attempt += 1
        if isinstance(error, VenueThrottled):
            pause_s = max(pause_s, error.retry_after_s)
        elif not isinstance(error, ConnectionLost):
            self._failures[gap.key] += 1
        self._may_ask_at = max(self._may_ask_at, trio.current_time() + pause_s)
        if self._failures[gap.key] >= MOST_FAILURES:
            filling.give_up(str(error))
            await self._finish(gap, filling)

    def _tell(self) -> None:
        """Say what was done, when there is nothing to do: once for all gaps of an outage."""
        if not self._done:
            return
        venue, done = self._place.venue, self._done
        self._done = Counter()
        counts = ", ".join(f"{count} {fill.replace('_', ' ')}" for fill, count in sorted(done.items()))
        emit(
            Event.BACKFILL,
            f"{venue}: {done.total()} gaps asked for in the venue's history: {counts}",
            level=logging.INFO,
            actor=f"backfill/{venue}",
            **done,
        )
