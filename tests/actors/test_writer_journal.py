"""The writer and its journal: the storing half meets damage while the accepting half goes on."""

import contextlib
import functools
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from databases import AnyDatabase, in_order, some_ticks, stored_ticks
from journals import open_journal

from actors.mailbox import BatchMailbox, Inbox, Mailbox
from actors.writer import Patience, Writer
from domain.events import Event
from domain.gaps import GapLedger
from domain.market import Tick
from storage.journal_file import NAME
from storage.payloads import Lane
from storage.settings import StorageSettings

GUARD_S = 30.0  # only against hanging


async def until(is_true: Callable[[], object]) -> None:
    with trio.fail_after(GUARD_S):
        while not is_true():  # noqa: ASYNC110
            await trio.sleep(0.002)  # what is waited for happens outside of trio


async def test_a_batch_that_is_damaged_while_the_writer_runs_costs_no_other(
    database: AnyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketd")
    folder = tmp_path / "state"
    folder.mkdir()
    old = [some_ticks(markets=1, each=5, first_us=10**15 + n * 10**6) for n in range(10)]
    journal = open_journal(folder)
    for ticks in old:
        journal.append([(Lane.TICKS, ticks)])
    journal.close()
    inbox = Inbox(
        ticks=BatchMailbox[list[Tick]](name="writer/ticks", bound=1_000),
        events=Mailbox(name="writer/events", bound=1_000),
        gaps=GapLedger(),
    )
    writer = Writer(
        folder=folder,
        settings=StorageSettings(flush_after_ms=1, store_every_ms=5, flush_rows=5),
        target=database.target,
        inbox=inbox,
        patience=Patience(retry_min_s=0.001, retry_max_s=0.02),
    )
    accepting = writer._accepting
    open_accepting = accepting.open

    async def open_and_damage() -> None:
        """Damage what was sound when it was opened."""
        await open_accepting()
        with contextlib.closing(sqlite3.connect(folder / NAME)) as connection, connection:
            connection.execute("UPDATE ticks_batch SET checksum = checksum + 1 WHERE position = 4")

    accepting.open = open_and_damage  # type: ignore[method-assign]
    new = some_ticks(markets=1, each=20, first_us=2 * 10**15)
    with trio.fail_after(2 * GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(writer.run))
            for tick in new:
                inbox.ticks.put_nowait([tick])
                await trio.lowlevel.checkpoint()
            await until(lambda: writer.statistics().stored >= 45 + len(new))
            assert (await writer.finish()).lost == 0
    kept = [tick for n, ticks in enumerate(old) if n != 3 for tick in ticks]
    assert stored_ticks(database) == in_order(kept + new)
    said = [r.__dict__["fields"] for r in caplog.records if r.__dict__["event"] is Event.JOURNAL]
    assert [fields["state"] for fields in said] == ["damaged"]
    assert "wrong checksum" in said[0]["reason"]
    assert len(list(folder.glob(f"{NAME}.damaged-*[0-9]"))) == 1
