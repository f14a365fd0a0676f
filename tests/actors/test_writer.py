import contextlib
import functools
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import attrs
import pymysql
import pytest
import trio
from databases import (
    AnyDatabase,
    MariadbDatabase,
    SqliteDatabase,
    free_port,
    in_order,
    open_store,
    some_ticks,
    stored_ticks,
)

from actors.mailbox import BatchMailbox, Mailbox
from actors.writer import Patience, Writer
from domain.database import Contact, DatabaseState
from domain.errors import InvariantError, SchemaNewer, StorageBusy, StorageRefused
from domain.events import Event
from domain.market import Tick
from domain.messages import ActorEvent
from storage.settings import StorageSettings
from storage.target import MysqlTarget, Target

GUARD_S = 30.0  # only against hanging
QUICK = StorageSettings(flush_after_ms=1, store_every_ms=5, read_timeout_s=600)
IMPATIENT = Patience(
    retry_min_s=0.001, retry_max_s=0.02, refused_min_s=0.001, refused_max_s=0.02, finish_s=0.1, cut_s=GUARD_S
)


@attrs.frozen(kw_only=True)
class Running:
    """A writer at work and the far ends of its mailboxes."""

    writer: Writer
    ticks: BatchMailbox[list[Tick]]
    events: Mailbox[ActorEvent]

    async def until(self, is_true: Callable[[], object]) -> None:
        with trio.fail_after(GUARD_S):
            while not is_true():  # noqa: ASYNC110
                await trio.sleep(0.002)  # what is waited for happens outside of trio

    async def until_stored(self, count: int) -> None:
        await self.until(lambda: self.writer.statistics().stored >= count)

    async def until_down(self, reason: str) -> None:
        await self.until(lambda: reason in self.writer.statistics().db_reason)
        assert self.writer.statistics().db is DatabaseState.DOWN


def make_writer(
    target: Target, *, settings: StorageSettings = QUICK, patience: Patience = IMPATIENT, bound: int = 100_000
) -> Running:
    ticks: BatchMailbox[list[Tick]] = BatchMailbox(name="writer/ticks", bound=bound)
    events: Mailbox[ActorEvent] = Mailbox(name="writer/events", bound=1_000)
    writer = Writer(settings=settings, target=target, ticks=ticks, events=events, patience=patience)
    return Running(writer=writer, ticks=ticks, events=events)


@contextlib.asynccontextmanager
async def running_writer(
    target: Target, *, settings: StorageSettings = QUICK, patience: Patience = IMPATIENT, bound: int = 100_000
) -> AsyncIterator[Running]:
    running = make_writer(target, settings=settings, patience=patience, bound=bound)
    with trio.fail_after(4 * GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(running.writer.run))
            try:
                yield running
            finally:
                with trio.CancelScope(shield=True):
                    await running.writer.finish()


def in_lists(ticks: list[Tick], *, of: int) -> Iterator[list[Tick]]:
    for start in range(0, len(ticks), of):
        yield ticks[start : start + of]


def said(caplog: pytest.LogCaptureFixture, event: Event) -> list[dict[str, Any]]:
    """Return the fields of each time that this was said."""
    return [record.__dict__["fields"] for record in caplog.records if record.__dict__["event"] is event]


# --- healthy ------------------------------------------------------------------------------------


async def test_everything_given_is_stored_once(database: AnyDatabase) -> None:
    ticks = some_ticks(markets=27, each=30)
    async with running_writer(database.target) as running:
        for batch in in_lists(ticks, of=7):
            running.ticks.put_nowait(batch)
            await trio.lowlevel.checkpoint()
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="state", detail="live"))
        await running.until_stored(len(ticks))
        assert (await running.writer.finish()).unstored == 0
    assert stored_ticks(database) == in_order(ticks)
    assert database.query("SELECT ts_us, actor, event, detail FROM actor_event") == [
        (3, "a", "state", "live")
    ]


async def test_finish_takes_what_is_still_in_the_mailboxes(database: AnyDatabase) -> None:
    slow = StorageSettings(flush_after_ms=60_000, store_every_ms=600_000, flush_rows=100)
    ticks = some_ticks(markets=5, each=110)
    patient = attrs.evolve(IMPATIENT, finish_s=GUARD_S)
    async with running_writer(database.target, settings=slow, patience=patient) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        for batch in in_lists(ticks, of=50):
            running.ticks.put_nowait(batch)
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="stop", detail=""))
        finished = await running.writer.finish()
    assert (finished.unstored, finished.is_stuck) == (0, False)
    assert stored_ticks(database) == in_order(ticks)
    assert database.query("SELECT COUNT(*) FROM actor_event") == [(1,)]


async def test_finish_ends_run_and_closes_the_connection(mariadb: MariadbDatabase) -> None:
    async with running_writer(mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        await running.until(lambda: mariadb.server.status("Threads_connected") == 2)  # ours and root's
        await running.writer.finish()
        await running.until(lambda: mariadb.server.status("Threads_connected") == 1)


async def test_a_transactions_worth_is_stored_without_waiting_for_the_time(sqlite: SqliteDatabase) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=600_000, flush_rows=10)
    ticks = some_ticks(markets=1, each=35)
    async with running_writer(sqlite.target, settings=settings) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        running.ticks.put_nowait(ticks)
        await running.until_stored(30)
        assert running.writer.statistics().stored == 30  # the last five wait for their time
        assert running.writer.statistics().waiting == 5


async def test_what_waits_is_bounded_and_the_mailbox_drops_the_oldest(mariadb: MariadbDatabase) -> None:
    mariadb.server.pause()
    settings = attrs.evolve(QUICK, flush_rows=10)
    ticks = some_ticks(markets=1, each=100)
    async with running_writer(mariadb.target, settings=settings, bound=30) as running:
        for batch in in_lists(ticks[:20], of=5):
            running.ticks.put_nowait(batch)
        await running.until(lambda: running.writer.statistics().waiting == 20)
        for batch in in_lists(ticks[20:], of=5):
            running.ticks.put_nowait(batch)
        figures = running.writer.statistics()
        assert (figures.accepted, figures.waiting, figures.dropped) == (20, 20, 50)
        mariadb.server.resume()
        await running.until_stored(50)
    assert stored_ticks(mariadb) == in_order(ticks[:20] + ticks[70:])


async def test_a_steady_writer_spends_three_statements_a_transaction_and_no_connection(
    mariadb: MariadbDatabase,
) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=600_000, flush_rows=2_000)
    server = mariadb.server
    async with running_writer(mariadb.target, settings=settings) as running:
        running.ticks.put_nowait(some_ticks(markets=1_000, each=2))
        await running.until_stored(2_000)
        connections, questions = server.status("Connections"), server.status("Questions")
        for cycle in range(1, 11):  # each is what 1,000 markets send in a second
            first_us = 1_700_000_000_000_000 + cycle * 10**7
            running.ticks.put_nowait(some_ticks(markets=1_000, each=2, first_us=first_us))
            await running.until_stored(2_000 * (cycle + 1))
        assert server.status("Connections") == connections
        # BEGIN, INSERT, COMMIT; at the default of a transaction each two seconds that is 1.5 a second.
        assert server.status("Questions") - questions == 10 * 3 + 2
        assert running.writer.statistics().connects == 2  # its own, and the migration's


# --- first contact ------------------------------------------------------------------------------


async def test_a_new_database_is_fresh_and_the_next_time_it_exists(
    database: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketd")
    async with running_writer(database.target) as running:
        assert await running.writer.first_contact(deadline_s=GUARD_S) is Contact.FRESH
    assert len(said(caplog, Event.MIGRATION)) == 1
    async with running_writer(database.target) as running:
        assert await running.writer.first_contact(deadline_s=GUARD_S) is Contact.EXISTING
    assert len(said(caplog, Event.MIGRATION)) == 1
    assert said(caplog, Event.DATABASE) == []


async def test_a_newer_schema_is_raised_to_the_tree_and_retried_by_the_writer(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        store.pool.run(lambda _: None)
    database.query("INSERT INTO schema_version VALUES (99, 0)")
    ticks = some_ticks(markets=2, each=2)
    async with running_writer(database.target) as running:
        with pytest.raises(SchemaNewer, match="99"):
            await running.writer.first_contact(deadline_s=GUARD_S)
        running.ticks.put_nowait(ticks)
        await running.until_down("schema version 99")
        assert database.query("SELECT COUNT(*) FROM tick") == [(0,)]
        database.query("DELETE FROM schema_version WHERE version = 99")
        await running.until_stored(len(ticks))
    assert stored_ticks(database) == in_order(ticks)


async def test_a_schema_that_became_newer_meanwhile_stops_storing(mariadb: MariadbDatabase) -> None:
    async with running_writer(mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.query("INSERT INTO schema_version VALUES (99, 0)")
        mariadb.server.kill()
        mariadb.server.start()
        running.ticks.put_nowait(some_ticks(markets=1, each=1))
        await running.until_down("schema version 99")
    assert stored_ticks(mariadb) == []


async def test_a_database_that_refuses_is_unreachable_at_once() -> None:
    target = MysqlTarget(
        host="127.0.0.1", port=free_port(), unix_socket=None, user="u", database="d", password=""
    )
    async with running_writer(target) as running:
        assert await running.writer.first_contact(deadline_s=float("inf")) is Contact.UNREACHABLE
        await running.until_down("2003 can't connect")


async def test_a_hanging_database_is_unreachable_at_the_deadline_and_stored_into_later(
    mariadb: MariadbDatabase,
) -> None:
    mariadb.server.pause()
    ticks = some_ticks(markets=2, each=2)
    async with running_writer(mariadb.target) as running:
        assert await running.writer.first_contact(deadline_s=0.05) is Contact.UNREACHABLE
        running.ticks.put_nowait(ticks)
        mariadb.server.resume()
        await running.until_stored(len(ticks))
        assert running.writer.statistics().connects == 2  # the first attempt was not given up
    assert stored_ticks(mariadb) == in_order(ticks)


# --- in trouble ---------------------------------------------------------------------------------


async def test_a_server_killed_in_the_midst_again_and_again_loses_and_doubles_nothing(
    mariadb: MariadbDatabase,
) -> None:
    ticks = some_ticks(markets=27, each=400)
    small = attrs.evolve(QUICK, flush_rows=50)  # some two hundred transactions, one after the other
    async with running_writer(mariadb.target, settings=small) as running:
        for batch in in_lists(ticks, of=9):
            running.ticks.put_nowait(batch)
        for n in range(1, 5):
            await running.until_stored(n * len(ticks) // 5)
            await trio.to_thread.run_sync(mariadb.server.kill)
            assert running.writer.statistics().stored < len(ticks)
            await running.until(lambda: running.writer.statistics().db is DatabaseState.DOWN)
            await trio.to_thread.run_sync(mariadb.server.start)
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_going_and_coming_back_are_each_said_once(
    mariadb: MariadbDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketd")
    async with running_writer(mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.server.stop()
        running.ticks.put_nowait(some_ticks(markets=1, each=1))
        await running.until(lambda: running.writer.statistics().connects >= 10)  # many attempts
        await running.until_down("2003")
        mariadb.server.start()
        await running.until_stored(1)
        assert running.writer.statistics().db is DatabaseState.UP
        assert running.writer.statistics().db_reason == ""
    assert [fields["state"] for fields in said(caplog, Event.DATABASE)] == ["down", "up"]


async def test_a_wrong_password_is_told_and_storing_begins_when_it_is_right(mariadb: MariadbDatabase) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(attrs.evolve(mariadb.target, password="changed")) as running:
        running.ticks.put_nowait(ticks)
        assert await running.writer.first_contact(deadline_s=GUARD_S) is Contact.UNREACHABLE
        await running.until_down("1045 Access denied")
        original = pymysql.converters.escape_string(mariadb.target.password)
        mariadb.server.execute("SET PASSWORD FOR marketd = PASSWORD('changed')")
        try:
            await running.until_stored(len(ticks))
        finally:
            mariadb.server.execute(f"SET PASSWORD FOR marketd = PASSWORD('{original}')")
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_server_out_of_connections_is_waited_for(mariadb: MariadbDatabase) -> None:
    mariadb.server.execute("SET GLOBAL max_connections = 10")
    ticks = some_ticks(markets=2, each=3)
    with contextlib.ExitStack() as held:
        for _ in range(9):  # and root's own
            held.enter_context(
                pymysql.connect(
                    host="127.0.0.1",
                    port=mariadb.server.port,
                    user=mariadb.target.user,
                    password=mariadb.target.password.encode(),
                    ssl_disabled=True,
                )
            )
        async with running_writer(mariadb.target) as running:
            running.ticks.put_nowait(ticks)
            await running.until_down("1040 Too many connections")
            held.close()
            await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_read_only_server_is_waited_for(mariadb: MariadbDatabase) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.server.execute("SET GLOBAL read_only = 1")
        running.ticks.put_nowait(ticks)
        await running.until_down("1290")
        mariadb.server.execute("SET GLOBAL read_only = 0")
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_locked_file_is_waited_for(sqlite: SqliteDatabase) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(sqlite.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        with contextlib.closing(sqlite3.connect(sqlite.target.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            running.ticks.put_nowait(ticks)
            await running.until_down("5 database is locked")
        await running.until_stored(len(ticks))
    assert stored_ticks(sqlite) == in_order(ticks)


async def test_a_file_that_was_deleted_or_replaced_gets_its_schema_again(mariadb: MariadbDatabase) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        for table in ("tick", "market", "actor_event", "schema_version"):
            mariadb.query(f"DROP TABLE {table}")
        running.ticks.put_nowait(ticks)
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


# --- finishing in trouble -----------------------------------------------------------------------


async def test_a_server_hanging_in_a_statement_is_cut(mariadb: MariadbDatabase) -> None:
    async with running_writer(mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.server.pause()
        running.ticks.put_nowait(some_ticks(markets=2, each=3))
        await running.until(lambda: running.writer.statistics().waiting == 6)
        finished = await running.writer.finish()
    assert (finished.unstored, finished.is_stuck) == (6, False)


async def test_a_server_hanging_in_connect_is_cut(mariadb: MariadbDatabase) -> None:
    mariadb.server.pause()
    async with running_writer(mariadb.target) as running:
        running.ticks.put_nowait(some_ticks(markets=2, each=3))
        running.events.put_nowait(ActorEvent(ts_us=1, actor="", event="", detail=""))
        await running.until(lambda: running.writer.statistics().connects == 1)
        finished = await running.writer.finish()
    assert (finished.unstored, finished.is_stuck) == (7, False)


async def test_a_server_that_is_away_does_not_hold_up_the_end_where_nothing_waits() -> None:
    target = MysqlTarget(
        host="127.0.0.1", port=free_port(), unix_socket=None, user="u", database="d", password=""
    )
    patient = attrs.evolve(IMPATIENT, finish_s=float("inf"))
    async with running_writer(target, patience=patient) as running:
        await running.until_down("2003")
        finished = await running.writer.finish()
    assert (finished.unstored, finished.is_stuck) == (0, False)


async def test_a_server_that_comes_back_while_finishing_is_stored_into(mariadb: MariadbDatabase) -> None:
    ticks = some_ticks(markets=2, each=3)
    patient = attrs.evolve(IMPATIENT, finish_s=GUARD_S)
    mariadb.server.stop()
    async with running_writer(mariadb.target, patience=patient) as running:
        running.ticks.put_nowait(ticks)
        await running.until_down("2003")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, mariadb.server.start)
            finished = await running.writer.finish()
    assert (finished.unstored, finished.is_stuck) == (0, False)
    assert stored_ticks(mariadb) == in_order(ticks)


class NeverReturns:
    """A pool whose thread nothing can free, until the test does."""

    def __init__(self) -> None:
        self.is_free = threading.Event()

    def run(self, _: object) -> None:
        assert self.is_free.wait(GUARD_S)

    def cut(self) -> None:
        pass

    def close(self) -> None:
        pass


async def test_a_thread_that_does_not_come_back_is_reported(sqlite: SqliteDatabase) -> None:
    running = make_writer(sqlite.target, patience=attrs.evolve(IMPATIENT, finish_s=0.01, cut_s=0.01))
    pool = NeverReturns()
    running.writer._pool = pool  # type: ignore[assignment]
    running.ticks.put_nowait(some_ticks(markets=1, each=3))
    async with trio.open_nursery() as nursery:
        await nursery.start(running.writer.run)
        try:
            finished = await running.writer.finish()
        finally:
            pool.is_free.set()
    assert (finished.unstored, finished.is_stuck) == (3, True)


async def test_a_writer_that_never_ran_finishes_and_counts(sqlite: SqliteDatabase) -> None:
    running = make_writer(sqlite.target)
    running.ticks.put_nowait(some_ticks(markets=1, each=3))
    finished = await running.writer.finish()
    assert (finished.unstored, finished.is_stuck) == (3, False)
    assert not sqlite.target.path.exists()


async def test_an_exception_that_is_no_drivers_ends_the_writer(sqlite: SqliteDatabase) -> None:
    running = make_writer(sqlite.target)
    [tick] = some_ticks(markets=1, each=1)
    running.ticks.put_nowait([tick._replace(market=None)])  # type: ignore[arg-type]
    with pytest.raises(ExceptionGroup), trio.fail_after(GUARD_S):
        await running.writer.run()
    assert (await running.writer.finish()).is_stuck is False


async def test_a_writer_runs_once(sqlite: SqliteDatabase) -> None:
    running = make_writer(sqlite.target)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.writer.run)
        await running.writer.finish()
    with pytest.raises(InvariantError):
        await running.writer.run()


def test_what_a_person_must_mend_is_asked_for_rarely() -> None:
    patience = Patience()
    assert 0.2 <= patience.pause_s(StorageBusy("2003"), attempt=0) <= 0.2
    assert all(0.2 <= patience.pause_s(StorageBusy("2003"), attempt=n) <= 10 for n in range(99))
    assert all(10 <= patience.pause_s(StorageRefused("1045"), attempt=n) <= 60 for n in range(99))
    assert all(10 <= patience.pause_s(SchemaNewer("99"), attempt=n) <= 60 for n in range(99))
