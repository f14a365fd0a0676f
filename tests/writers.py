"""A writer at work, for tests of it."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import trio
from databases import free_port

from actors.mailbox import Answer, BatchMailbox, Inbox, Mailbox
from actors.writer import Patience, Writer
from domain.database import DatabaseState
from domain.gaps import GapLedger
from domain.market import Tick
from domain.messages import ActorEvent, KeepLedger
from domain.trades import LedgerRow
from storage.settings import StorageSettings
from storage.target import MysqlTarget, Target

GUARD_S = 30.0  # only against hanging
QUICK = StorageSettings(flush_after_ms=1, store_every_ms=5, read_timeout_s=600)
IMPATIENT = Patience(
    retry_min_s=0.001, retry_max_s=0.02, refused_min_s=0.001, refused_max_s=0.02, finish_s=0.1, cut_s=GUARD_S
)
NOBODY = MysqlTarget(
    host="127.0.0.1", port=free_port(), unix_socket=None, user="u", database="d", password=""
)


@attrs.frozen(kw_only=True)
class Running:
    """A writer at work and the far ends of its mailboxes."""

    writer: Writer
    ticks: BatchMailbox[list[Tick]]
    events: Mailbox[ActorEvent]
    gaps: GapLedger
    ledger: Mailbox[KeepLedger]

    async def keep(self, *rows: LedgerRow) -> None:
        """Offer rows of the ledger and wait for the answer."""
        answer = Answer[None]()
        assert self.ledger.put_nowait(KeepLedger(rows=rows, answer=answer))
        with trio.fail_after(GUARD_S):
            await answer.wait()

    async def until(self, is_true: Callable[[], object]) -> None:
        with trio.fail_after(GUARD_S):
            while not is_true():  # noqa: ASYNC110
                await trio.sleep(0.002)  # what is waited for happens outside of trio

    async def until_accepted(self, count: int) -> None:
        await self.until(lambda: self.writer.statistics().accepted >= count)

    async def until_kept_up(self) -> None:
        """Wait until retention has nothing to do for the next seconds."""
        await self.until(lambda: self.writer._storing._upkeep_at > trio.current_time() + 1)

    async def until_stored(self, count: int) -> None:
        await self.until(lambda: self.writer.statistics().stored >= count)

    async def until_down(self, reason: str) -> None:
        await self.until(lambda: reason in self.writer.statistics().db_reason)
        assert self.writer.statistics().db is DatabaseState.DOWN


def make_writer(
    folder: Path, target: Target, *, settings: StorageSettings = QUICK, patience: Patience = IMPATIENT
) -> Running:
    inbox = Inbox(
        ticks=BatchMailbox(name="writer/ticks", bound=1_000_000),
        events=Mailbox(name="writer/events", bound=1_000),
        gaps=GapLedger(),
    )
    writer = Writer(folder=folder, settings=settings, target=target, inbox=inbox, patience=patience)
    return Running(
        writer=writer, ticks=inbox.ticks, events=inbox.events, gaps=inbox.gaps, ledger=inbox.ledger
    )


@contextlib.asynccontextmanager
async def running_writer(
    folder: Path, target: Target, *, settings: StorageSettings = QUICK, patience: Patience = IMPATIENT
) -> AsyncIterator[Running]:
    running = make_writer(folder, target, settings=settings, patience=patience)
    with trio.fail_after(4 * GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(running.writer.run))
            try:
                yield running
            finally:
                with trio.CancelScope(shield=True):
                    await running.writer.finish()
