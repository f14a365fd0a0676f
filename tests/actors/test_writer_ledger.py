"""The writer and the ledger: what was answered is kept, whatever dies, and stored once."""

import base64
import os
import pickle
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from databases import AnyDatabase, MariadbDatabase, in_order, some_ticks, stored_ticks
from disks import fill, small_disk
from journals import read_all
from ledgers import a_signal, a_step, a_trade, as_money, intent, rows_of, settled, stored_ledger
from ledgers import in_order as in_order_of_ids
from writers import GUARD_S, NOBODY, running_writer

import storage.acceptor
from domain.crash_points import VARIABLE
from domain.database import DatabaseState
from domain.errors import JournalFull
from domain.trades import LedgerRow
from storage.acceptor import Accepted
from storage.payloads import Money
from storage.settings import StorageSettings

SLOW = StorageSettings(flush_after_ms=60_000, store_every_ms=600_000)


def result(number: int) -> tuple[LedgerRow, ...]:
    """Return what the ledger gets when the trade of `intent` is over."""
    trade = settled(a_trade(a_signal(number)))
    return trade, a_step(trade, 2)


def ledger_of(*rows: LedgerRow) -> Money:
    return in_order_of_ids(as_money(*rows))


async def test_what_is_offered_is_stored(database: AnyDatabase, tmp_path: Path) -> None:
    async with running_writer(tmp_path, database.target) as running:
        await running.keep(*intent(1))
        await running.keep(*intent(2), *result(1))
        await running.writer.stored_now()
        assert stored_ledger(database) == ledger_of(*intent(1), *intent(2), *result(1))


# --- a database that is away ------------------------------------------------------------------------


async def test_it_is_kept_while_the_database_is_away_and_stored_when_it_is_back(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    async with running_writer(tmp_path, mariadb.target) as running:
        await running.keep(*intent(1))
        await running.writer.stored_now()
        mariadb.server.stop()
        await running.keep(*result(1))
        await running.until_down("2003")
        with trio.move_on_after(0.05):
            await running.writer.stored_now()
            raise AssertionError("it is not stored")
        mariadb.server.start()
        with trio.fail_after(GUARD_S):
            await running.writer.stored_now()
        assert stored_ledger(mariadb) == ledger_of(*intent(1), *result(1))


async def test_who_waits_for_what_earlier_runs_left_waits_out_an_outage(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=50)
    async with running_writer(tmp_path, NOBODY) as running:
        running.ticks.put_nowait(ticks)
        for number in range(5):
            await running.keep(*intent(number))
        await running.until_accepted(len(ticks))
    mariadb.server.stop()
    few = attrs.evolve(SLOW, flush_rows=100)  # no transaction has room for all
    async with running_writer(tmp_path, mariadb.target, settings=few) as running:
        await running.until_down("2003")
        with trio.move_on_after(0.05):
            await running.writer.recovered()
            raise AssertionError("nothing is stored")
        mariadb.server.start()
        with trio.fail_after(GUARD_S):
            await running.writer.recovered()
        assert stored_ledger(mariadb) == ledger_of(*(row for number in range(5) for row in intent(number)))
        assert stored_ticks(mariadb) == in_order(ticks)


async def test_where_nothing_was_left_nobody_waits(tmp_path: Path) -> None:
    async with running_writer(tmp_path, NOBODY) as running:
        with trio.fail_after(GUARD_S):
            await running.writer.recovered()


async def test_what_came_in_until_now_is_stored_long_before_its_time(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=50)
    async with running_writer(tmp_path, database.target, settings=SLOW) as running:
        for tick in ticks:
            running.ticks.put_nowait([tick])
        with trio.fail_after(GUARD_S):
            await running.writer.stored_now()
        assert stored_ticks(database) == in_order(ticks)
        with trio.fail_after(GUARD_S):
            await running.writer.stored_now()  # nothing is new
        assert running.writer._storing._wanted == []


# --- a journal in trouble ---------------------------------------------------------------------------


async def test_without_a_journal_the_ledger_takes_nothing_and_ticks_are_stored_all_the_same(
    database: AnyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.acceptor, "OPEN_EVERY_S", 0.0)
    folder = tmp_path / "not mounted yet"
    ticks = some_ticks(markets=2, each=5)
    async with running_writer(folder, database.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        with pytest.raises(JournalFull):
            await running.keep(*intent(1))
        running.ticks.put_nowait(ticks)
        with trio.fail_after(GUARD_S):
            await running.writer.stored_now()
        assert stored_ticks(database) == in_order(ticks)
        assert stored_ledger(database) == Money()
        folder.mkdir()
        await running.keep(*intent(1))
        await running.writer.stored_now()
        assert stored_ledger(database) == ledger_of(*intent(1))


async def test_a_journal_whose_disk_has_not_a_byte_left_takes_the_ledger(
    database: AnyDatabase, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, size="6m"):
        async with running_writer(disk, database.target) as running:
            await running.writer.first_contact(deadline_s=GUARD_S)
            await running.keep(*intent(0))
            fill(disk)
            running.ticks.put_nowait(some_ticks(markets=3, each=1_000))
            for number in range(1, 40):
                await running.keep(*intent(number))
            await running.writer.stored_now()
    assert stored_ledger(database) == ledger_of(*(row for number in range(40) for row in intent(number)))


class BreaksAfterCommit:
    """A connection that commits, and says that the disk failed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        cursor = self._connection.execute(sql, parameters)
        if sql == "COMMIT":
            cursor.close()
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def close(self) -> None:
        self._connection.close()


async def test_an_append_that_failed_and_was_applied_all_the_same_does_no_harm(
    database: AnyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was no, the rows are in the journal, and their owner offers them again."""
    refused = a_trade(a_signal(1))._replace(state="refused")
    late = (refused, a_step(refused, 2, detail="not_durable"))
    async with running_writer(tmp_path, database.target) as running:
        await running.keep(*intent(0))
        acceptor = running.writer._accepting._acceptor
        connection = acceptor.journal._connection
        assert connection is not None
        acceptor.journal._connection = BreaksAfterCommit(connection)  # type: ignore[assignment]
        with monkeypatch.context() as no_room:
            no_room.setattr(acceptor, "open", lambda: Accepted(trouble="no room to open it"))
            with pytest.raises(JournalFull, match="no room"):
                await running.keep(*intent(1))
        acceptor._may_open_at = 0.0
        await running.keep(*intent(1), *late)
        await running.writer.stored_now()
        assert running.writer.statistics().db is DatabaseState.UP
    journalled = [row for batch in read_all(tmp_path) for row in rows_of(batch)]
    assert as_money(*journalled) == as_money(*intent(0), *intent(1), *intent(1), *late)
    assert stored_ledger(database) == ledger_of(*intent(0), *intent(1), *late)


# --- killed -----------------------------------------------------------------------------------------

TRADES_UNTIL_KILLED = """
import base64, pickle, sys, trio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from ledgers import intent
from test_writer_ledger import result
from writers import running_writer

async def trade():
    target = pickle.loads(base64.b64decode(sys.argv[2]))
    async with running_writer(Path(sys.argv[1]), target) as running:
        for number in range(10_000):
            for rows in (intent(number), result(number)):
                await running.keep(*rows)
                print(number, flush=True)

trio.run(trade)
"""
POINTS = ("accept.taken", "accept.appended", "accept.committed", "store.begun", "store.inserted")
POINTS += ("store.positioned", "store.committed")


@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_it_has_kept_all_that_was_answered_and_takes_the_rest_again(
    database: AnyDatabase, tmp_path: Path, point: str
) -> None:
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    done = await trio.run_process(
        [
            sys.executable, "-c", TRADES_UNTIL_KILLED, str(tmp_path),
            base64.b64encode(pickle.dumps(database.target)).decode(),
        ],
        env={**os.environ, VARIABLE: f"{point}:6", "PYTHONPATH": path},
        capture_stdout=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == -9
    answered = len(done.stdout.split())
    lots = [rows for number in range(answered) for rows in (intent(number), result(number))]
    known = [row for rows in lots[:answered] for row in rows]
    maybe = list(lots[answered])
    async with running_writer(tmp_path, database.target) as running:
        with trio.fail_after(GUARD_S):
            await running.writer.recovered()
        assert stored_ledger(database) in (ledger_of(*known), ledger_of(*known, *maybe))
        await running.keep(*maybe)
        await running.writer.stored_now()
    assert answered >= 2
    assert stored_ledger(database) == ledger_of(*known, *maybe)
