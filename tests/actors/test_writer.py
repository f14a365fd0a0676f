import contextlib
import logging
import math
import sqlite3
import threading
from pathlib import Path
from typing import Any

import attrs
import pymysql
import pytest
import trio
import trio.testing
from databases import (
    AnyDatabase,
    MariadbDatabase,
    SqliteDatabase,
    in_order,
    open_store,
    some_ticks,
    stored_ticks,
)
from disks import fill, remount, small_disk
from proxy import Fate, running_proxy
from storing import in_lists
from writers import GUARD_S, IMPATIENT, NOBODY, QUICK, Running, make_writer, running_writer

import storage.acceptor
from actors.writer import Patience
from domain.database import Contact, DatabaseState
from domain.errors import InvariantError, JournalBroken, SchemaNewer, StorageBusy, StorageRefused
from domain.events import Event
from domain.gaps import Gap
from domain.messages import ActorEvent
from storage.journal import Journal
from storage.journal_reader import JournalReader
from storage.payloads import Lane
from storage.settings import StorageSettings
from storage.store import Work
from storage.target import SqliteTarget
from storage.upkeep import Upkeep

MARKETD_CONNECTIONS = "SELECT id FROM information_schema.processlist WHERE user = 'marketd'"


def said(caplog: pytest.LogCaptureFixture, event: Event) -> list[dict[str, Any]]:
    """Return the fields of each time that this was said."""
    return [record.__dict__["fields"] for record in caplog.records if record.__dict__["event"] is event]


# --- healthy ------------------------------------------------------------------------------------


async def test_everything_given_is_stored_once(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=27, each=30)
    async with running_writer(tmp_path, database.target) as running:
        for batch in in_lists(ticks, of=7):
            running.ticks.put_nowait(batch)
            await trio.lowlevel.checkpoint()
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="state", detail="live"))
        running.gaps.put(Gap("M0@sim", 5, None, "stale"))
        await running.until_stored(len(ticks))
        running.gaps.put(Gap("M0@sim", 5, 9, "stale"))
        assert (await running.writer.finish()).lost == 0
    assert stored_ticks(database) == in_order(ticks)
    assert database.query("SELECT ts_us, actor, event, detail FROM actor_event") == [
        (3, "a", "state", "live")
    ]
    assert database.query("SELECT from_us, to_us, cause FROM gap") == [(5, 9, "stale")]


async def test_finish_takes_what_is_still_in_the_mailboxes(database: AnyDatabase, tmp_path: Path) -> None:
    slow = StorageSettings(flush_after_ms=60_000, store_every_ms=600_000, flush_rows=100)
    ticks = some_ticks(markets=5, each=110)
    patient = attrs.evolve(IMPATIENT, finish_s=GUARD_S)
    async with running_writer(tmp_path, database.target, settings=slow, patience=patient) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        for batch in in_lists(ticks, of=50):
            running.ticks.put_nowait(batch)
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="stop", detail=""))
        finished = await running.writer.finish()
    assert (finished.lost, finished.is_stuck) == (0, False)
    assert stored_ticks(database) == in_order(ticks)
    assert database.query("SELECT COUNT(*) FROM actor_event") == [(1,)]


async def test_finish_ends_run_and_closes_the_connection(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    async with running_writer(tmp_path, mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        await running.until(lambda: mariadb.server.status("Threads_connected") == 2)  # ours and root's
        await running.writer.finish()
        await running.until(lambda: mariadb.server.status("Threads_connected") == 1)


async def test_a_transactions_worth_is_stored_without_waiting_for_the_time(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=600_000, flush_rows=10)
    ticks = some_ticks(markets=1, each=15)
    async with running_writer(tmp_path, sqlite.target, settings=settings) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        running.ticks.put_nowait(ticks[:10])
        await running.until_stored(10)
        running.ticks.put_nowait(ticks[10:])
        await running.until_accepted(15)
        assert running.writer.statistics().stored == 10  # the last five wait for their time
        assert running.writer.statistics().waiting == 5


async def test_a_steady_writer_spends_six_statements_a_transaction_and_no_connection(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=600_000, flush_rows=2_000, timeframes_s=[])
    server = mariadb.server
    async with running_writer(tmp_path, mariadb.target, settings=settings) as running:
        running.ticks.put_nowait(some_ticks(markets=1_000, each=2))
        await running.until_stored(2_000)
        await running.until_kept_up()
        connections, questions = server.status("Connections"), server.status("Questions")
        for cycle in range(1, 11):  # each is what 1,000 markets send in a second
            first_us = 1_700_000_000_000_000 + cycle * 10**7
            running.ticks.put_nowait(some_ticks(markets=1_000, each=2, first_us=first_us))
            await running.until_stored(2_000 * (cycle + 1))
        assert server.status("Connections") == connections
        # BEGIN, the position's INSERT and SELECT, the ticks, the position's UPDATE, COMMIT; at the
        # default of a transaction each two seconds that is three a second.
        assert server.status("Questions") - questions == 10 * 6 + 2
        assert running.writer.statistics().connects == 2  # its own, and the migration's


async def test_no_timeframes_mean_no_candles(database: AnyDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=2, each=3)
    settings = attrs.evolve(QUICK, timeframes_s=[])
    async with running_writer(tmp_path, database.target, settings=settings) as running:
        running.ticks.put_nowait(ticks)
        await running.until_stored(len(ticks))
    assert stored_ticks(database) == in_order(ticks)
    assert database.query("SELECT COUNT(*) FROM candle") == [(0,)]


# --- first contact ------------------------------------------------------------------------------


async def test_a_new_database_is_fresh_and_the_next_time_it_exists(
    database: AnyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketd")
    async with running_writer(tmp_path, database.target) as running:
        assert await running.writer.first_contact(deadline_s=GUARD_S) is Contact.FRESH
    applied = len(said(caplog, Event.MIGRATION))
    assert applied > 0
    async with running_writer(tmp_path, database.target) as running:
        assert await running.writer.first_contact(deadline_s=GUARD_S) is Contact.EXISTING
    assert len(said(caplog, Event.MIGRATION)) == applied
    assert said(caplog, Event.DATABASE) == []


async def test_a_newer_schema_is_raised_to_the_tree_and_retried_by_the_writer(
    database: AnyDatabase, tmp_path: Path
) -> None:
    with open_store(database.target) as store:
        store.pool.run(lambda _: None)
    database.query("INSERT INTO schema_version VALUES (99, 0)")
    ticks = some_ticks(markets=2, each=2)
    async with running_writer(tmp_path, database.target) as running:
        with pytest.raises(SchemaNewer, match="99"):
            await running.writer.first_contact(deadline_s=GUARD_S)
        running.ticks.put_nowait(ticks)
        await running.until_down("schema version 99")
        await running.until_accepted(len(ticks))
        assert database.query("SELECT COUNT(*) FROM tick") == [(0,)]
        database.query("DELETE FROM schema_version WHERE version = 99")
        await running.until_stored(len(ticks))
    assert stored_ticks(database) == in_order(ticks)


async def test_a_schema_that_became_newer_meanwhile_stops_storing(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    async with running_writer(tmp_path, mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.query("INSERT INTO schema_version VALUES (99, 0)")
        mariadb.server.kill()
        mariadb.server.start()
        running.ticks.put_nowait(some_ticks(markets=1, each=1))
        await running.until_down("schema version 99")
        assert (await running.writer.finish()).lost == 0
    assert stored_ticks(mariadb) == []


async def test_a_database_that_refuses_is_unreachable_at_once(tmp_path: Path) -> None:
    async with running_writer(tmp_path, NOBODY) as running:
        assert await running.writer.first_contact(deadline_s=float("inf")) is Contact.UNREACHABLE
        await running.until_down("2003 can't connect")


async def test_a_hanging_database_is_unreachable_at_the_deadline_and_stored_into_later(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    mariadb.server.pause()
    ticks = some_ticks(markets=2, each=2)
    async with running_writer(tmp_path, mariadb.target) as running:
        assert await running.writer.first_contact(deadline_s=0.05) is Contact.UNREACHABLE
        running.ticks.put_nowait(ticks)
        mariadb.server.resume()
        await running.until_stored(len(ticks))
        assert running.writer.statistics().connects == 2  # the first attempt was not given up
    assert stored_ticks(mariadb) == in_order(ticks)


# --- in trouble: the connection -----------------------------------------------------------------


async def test_a_server_killed_in_the_midst_again_and_again_loses_and_doubles_nothing(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=27, each=400)
    small = attrs.evolve(QUICK, flush_rows=50)  # some two hundred transactions, one after the other
    async with running_writer(tmp_path, mariadb.target, settings=small) as running:
        for batch in in_lists(ticks, of=9):
            running.ticks.put_nowait(batch)
        for n in range(1, 4):
            await running.until_stored(n * len(ticks) // 5)
            await trio.to_thread.run_sync(mariadb.server.kill)
            await running.until(lambda: running.writer.statistics().db is DatabaseState.DOWN)
            await trio.to_thread.run_sync(mariadb.server.start)
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_going_and_coming_back_are_each_said_once(
    mariadb: MariadbDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketd")
    async with running_writer(tmp_path, mariadb.target) as running:
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


async def test_a_server_stopped_inside_a_statement_is_given_up_by_our_own_deadline(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=30)
    settings = attrs.evolve(QUICK, read_timeout_s=1)
    async with running_writer(tmp_path, mariadb.target, settings=settings) as running:
        running.ticks.put_nowait(ticks[:20])
        await running.until_stored(20)
        mariadb.server.pause()
        running.ticks.put_nowait(ticks[20:40])
        await running.until_accepted(40)  # accepting does not wait for it
        await running.until_down("timed out")
        running.ticks.put_nowait(ticks[40:])
        await running.until_accepted(60)
        mariadb.server.resume()
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_server_stopped_inside_connect_is_given_up_by_our_own_deadline(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=3)
    mariadb.server.pause()
    settings = attrs.evolve(QUICK, read_timeout_s=1)
    async with running_writer(tmp_path, mariadb.target, settings=settings) as running:
        running.ticks.put_nowait(ticks)
        await running.until_down("timed out")
        await running.until_accepted(len(ticks))
        mariadb.server.resume()
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


@pytest.mark.parametrize("fate", [Fate.CUT_BEFORE, Fate.ANSWER_CUT])
async def test_a_commit_cut_again_and_again_loses_and_doubles_nothing(
    mariadb: MariadbDatabase, tmp_path: Path, fate: Fate
) -> None:
    ticks = some_ticks(markets=5, each=40)
    with running_proxy(mariadb) as (proxy, proxied):
        async with running_writer(tmp_path, proxied.target) as running:
            await running.writer.first_contact(deadline_s=GUARD_S)
            for batch in in_lists(ticks, of=20):
                proxy.fates.extend([fate, fate])
                running.ticks.put_nowait(batch)
                await running.until(lambda: not proxy.fates)
            await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_the_connection_that_the_operator_kills_is_replaced(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=20)
    async with running_writer(tmp_path, mariadb.target) as running:
        for n, batch in enumerate(in_lists(ticks, of=10), start=1):
            running.ticks.put_nowait(batch)
            await running.until_stored(10 * n)
            for (id_,) in mariadb.server.execute(MARKETD_CONNECTIONS):
                mariadb.server.execute(f"KILL {id_}")
    assert stored_ticks(mariadb) == in_order(ticks)


# --- in trouble: what the server says -----------------------------------------------------------


async def test_a_wrong_password_is_told_and_storing_begins_when_it_is_right(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(tmp_path, attrs.evolve(mariadb.target, password="changed")) as running:
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


async def test_an_unknown_database_is_told_and_stored_into_when_it_is_made(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    name = mariadb.target.database
    ticks = some_ticks(markets=2, each=3)
    mariadb.server.execute(f"DROP DATABASE {name}")
    async with running_writer(tmp_path, mariadb.target) as running:
        running.ticks.put_nowait(ticks)
        await running.until_down("1049 Unknown database")
        mariadb.server.execute(f"CREATE DATABASE {name}")
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_database_dropped_under_us_is_made_anew_from_the_journal(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    name = mariadb.target.database
    ticks = some_ticks(markets=2, each=6)
    async with running_writer(tmp_path, mariadb.target) as running:
        running.ticks.put_nowait(ticks[:6])
        await running.until_stored(6)
        mariadb.server.execute(f"DROP DATABASE {name}")
        running.ticks.put_nowait(ticks[6:])
        await running.until_down("1049 Unknown database")
        mariadb.server.execute(f"CREATE DATABASE {name}")
        await running.until(lambda: running.writer.statistics().db is DatabaseState.UP)
        await running.until(lambda: running.writer.statistics().waiting == 0)
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_server_out_of_connections_is_waited_for(mariadb: MariadbDatabase, tmp_path: Path) -> None:
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
        async with running_writer(tmp_path, mariadb.target) as running:
            running.ticks.put_nowait(ticks)
            await running.until_down("1040 Too many connections")
            held.close()
            await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_read_only_server_is_waited_for(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(tmp_path, mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.server.execute("SET GLOBAL read_only = 1")
        running.ticks.put_nowait(ticks)
        await running.until_down("1290")
        mariadb.server.execute("SET GLOBAL read_only = 0")
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_missing_table_is_told_and_stored_into_when_it_is_back(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=3)
    number = "1146" if isinstance(database, MariadbDatabase) else "1 no such table: tick"
    async with running_writer(tmp_path, database.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        database.query("ALTER TABLE tick RENAME TO elsewhere")
        running.ticks.put_nowait(ticks)
        await running.until_down(number)
        database.query("ALTER TABLE elsewhere RENAME TO tick")
        await running.until_stored(len(ticks))
    assert stored_ticks(database) == in_order(ticks)


async def test_tables_that_were_all_dropped_get_made_again(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(tmp_path, mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        for (table,) in mariadb.query("SHOW TABLES"):
            mariadb.query(f"DROP TABLE `{table}`")
        running.ticks.put_nowait(ticks)
        await running.until_stored(len(ticks))
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_bad_rows_are_said_and_hold_nothing_up(
    database: AnyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = [tick._replace(volume=1.0) for tick in some_ticks(markets=2, each=30)]
    async with running_writer(tmp_path, database.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        database.query(
            "ALTER TABLE tick MODIFY volume DECIMAL(4, 1)"
            if isinstance(database, MariadbDatabase)
            else "CREATE TRIGGER refuses BEFORE INSERT ON tick WHEN NEW.volume > 999 "
            "BEGIN SELECT RAISE(ABORT, 'too much'); END"
        )
        running.ticks.put_nowait([ticks[0]._replace(volume=5_000.0), *ticks[1:]])
        await running.until_stored(len(ticks))
        assert running.writer.statistics().db is DatabaseState.UP
    assert database.query("SELECT COUNT(*) FROM dead_letter") == [(1,)]
    assert database.query("SELECT COUNT(*) FROM tick") == [(len(ticks) - 1,)]
    assert [fields["rows"] for fields in said(caplog, Event.REFUSED_ROW)] == [1]


async def test_a_refused_event_is_a_database_in_trouble_and_stays_in_the_journal(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    patient = attrs.evolve(IMPATIENT, trim_every_s=0.01)
    async with running_writer(tmp_path, mariadb.target, patience=patient) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.query("ALTER TABLE actor_event MODIFY detail VARCHAR(3)")
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="state", detail="live"))
        await running.until_down("1406")
        mariadb.query("ALTER TABLE actor_event MODIFY detail TEXT")
        await running.until(lambda: running.writer.statistics().db is DatabaseState.UP)
        assert (await running.writer.finish()).lost == 0
    assert mariadb.query("SELECT detail FROM actor_event") == [("live",)]
    assert mariadb.query("SELECT COUNT(*) FROM dead_letter") == [(0,)]


# --- in trouble: the file and the disk ----------------------------------------------------------


async def test_a_full_disk_under_the_file_is_waited_for(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    sqlite = SqliteDatabase(target=SqliteTarget(path=disk / "marketd.db"))
    ticks = some_ticks(markets=27, each=300)
    with small_disk(disk, size="4m"):
        async with running_writer(tmp_path, sqlite.target) as running:
            running.ticks.put_nowait(ticks[:100])
            await running.until_stored(100)
            filler = fill(disk)
            running.ticks.put_nowait(ticks[100:])
            await running.until_down("13 database or disk is full")
            await running.until_accepted(len(ticks))
            filler.unlink()
            await running.until_stored(len(ticks))
        assert stored_ticks(sqlite) == in_order(ticks)


async def test_below_the_last_percents_ticks_wait_in_the_journal_and_the_writer_is_calm(
    sqlite: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=600_000, flush_rows=10)
    ticks = some_ticks(markets=1, each=35)
    async with running_writer(tmp_path, sqlite.target, settings=settings) as running:
        await running.until_kept_up()
        storing = running.writer._storing
        passes = []
        keep_up = storing._keep_up

        async def counted() -> None:
            passes.append(1)
            await keep_up()

        monkeypatch.setattr(storing, "_keep_up", counted)
        monkeypatch.setattr(Upkeep, "is_full", True)
        running.ticks.put_nowait(ticks)
        await running.until_accepted(35)
        for _ in range(500):
            await trio.lowlevel.checkpoint()
        assert len(passes) < 5
        assert running.writer.statistics().stored == 0
        monkeypatch.undo()
        running.ticks.put_nowait(some_ticks(markets=2, each=1, first_us=ticks[-1].ts_us + 1))
        await running.until_stored(30)


async def test_a_journal_out_of_reach_does_not_hold_up_what_needs_none(
    sqlite: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=5, flush_rows=10)
    ticks = some_ticks(markets=1, each=215)
    async with running_writer(tmp_path, sqlite.target, settings=settings) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        with contextlib.closing(sqlite3.connect(sqlite.target.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for n, batch in enumerate(in_lists(ticks[:200], of=5), start=1):
                running.ticks.put_nowait(batch)
                await running.until_accepted(5 * n)

            def out_of_reach(*_: object, **__: object) -> None:
                raise JournalBroken("out of reach")

            # behind: what is to be stored is in the journal only, and that cannot be opened any more
            for end in (JournalReader, Journal):
                monkeypatch.setattr(end, "head" if end is JournalReader else "open", out_of_reach)
            await trio.to_thread.run_sync(running.writer._accepting._acceptor.journal.close)
        running.ticks.put_nowait(ticks[200:])
        await running.until_stored(15)
        assert running.writer.statistics().unjournaled
        monkeypatch.undo()
        running.writer._accepting._acceptor._may_open_at = 0.0
        await running.until_stored(215)
    assert stored_ticks(sqlite) == in_order(ticks)


async def test_a_read_only_file_system_is_told_and_stored_into_when_it_is_not(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    sqlite = SqliteDatabase(target=SqliteTarget(path=disk / "marketd.db"))
    ticks = some_ticks(markets=2, each=3)
    with small_disk(disk, size="4m"):
        with open_store(sqlite.target) as store:
            store.pool.run(lambda _: None)
        remount(disk, "ro")
        async with running_writer(tmp_path, sqlite.target) as running:
            running.ticks.put_nowait(ticks)
            await running.until(lambda: running.writer.statistics().db_reason[:2] in {"8 ", "14"})
            await running.until_accepted(len(ticks))
            remount(disk, "rw")
            await running.until_stored(len(ticks))
        assert stored_ticks(sqlite) == in_order(ticks)


async def test_a_full_disk_under_the_server_is_waited_for(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    """The table's file lies on a disk of its own, so that nobody else's tables are in trouble."""
    disk = mariadb.server.folder / "disk"
    ticks = some_ticks(markets=27, each=800)
    with small_disk(disk, size="2m"):
        async with running_writer(tmp_path, mariadb.target) as running:
            await running.writer.first_contact(deadline_s=GUARD_S)
            await running.until_kept_up()
            running.writer._storing._upkeep_at = math.inf  # which wants a table with partitions
            [(_, create)] = mariadb.query("SHOW CREATE TABLE tick")
            mariadb.query("DROP TABLE tick")
            unpartitioned = create.partition("\n PARTITION BY")[0]
            mariadb.query(f"{unpartitioned} DATA DIRECTORY = '{disk}'")
            filler = fill(disk)
            running.ticks.put_nowait(ticks)
            await running.until(lambda: running.writer.statistics().db is DatabaseState.DOWN)
            reason = running.writer.statistics().db_reason
            assert reason.split()[0] in {"1021", "1114", "1026", "1030"}, reason
            await running.until_accepted(len(ticks))
            filler.unlink()
            remount(disk, "size=64m")
            await running.until_stored(len(ticks))
        assert stored_ticks(mariadb) == in_order(ticks)
        mariadb.query("DROP TABLE tick")


async def test_a_locked_file_is_waited_for(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=2, each=3)
    async with running_writer(tmp_path, sqlite.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        with contextlib.closing(sqlite3.connect(sqlite.target.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            running.ticks.put_nowait(ticks)
            await running.until_down("5 database is locked")
        await running.until_stored(len(ticks))
    assert stored_ticks(sqlite) == in_order(ticks)


async def test_a_corrupt_file_is_told_and_the_one_in_its_place_is_stored_into(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=30)
    path = sqlite.target.path
    async with running_writer(tmp_path, sqlite.target) as running:
        running.ticks.put_nowait(ticks[:20])
        await running.until_stored(20)
    path.write_bytes(path.read_bytes()[:1024] + b"\xff" * 100_000)
    async with running_writer(tmp_path, sqlite.target) as running:
        running.ticks.put_nowait(ticks[20:])
        await running.until(lambda: running.writer.statistics().db_reason[:2] in {"11", "26"})
        await running.until_accepted(40)
        path.rename(path.with_name("corrupt.db"))
        await running.until_stored(len(ticks))  # the journal still has what the file had
    assert stored_ticks(sqlite) == in_order(ticks)


async def test_a_file_deleted_while_running_is_made_anew_from_the_journal(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=30)
    async with running_writer(tmp_path, sqlite.target) as running:
        running.ticks.put_nowait(ticks[:20])
        await running.until_stored(20)
        sqlite.target.path.unlink()
        running.ticks.put_nowait(ticks[20:])
        await running.until_stored(len(ticks))
        await running.until(lambda: running.writer.statistics().waiting == 0)
    assert stored_ticks(sqlite) == in_order(ticks)


# --- RAM and journal ----------------------------------------------------------------------------


def watch(running: Running) -> list[Work]:
    """Return a list to which each transaction's work is added."""
    seen: list[Work] = []
    store = running.writer._storing._store.store

    def store_and_tell(session: Any, work: Work) -> Any:
        seen.append(work)
        return store(session, work)

    running.writer._storing._store.store = store_and_tell  # type: ignore[method-assign]
    return seen


async def test_a_database_that_keeps_up_is_stored_into_from_ram(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=30)
    async with running_writer(tmp_path, database.target) as running:
        for n, batch in enumerate(in_lists(ticks, of=10), start=1):
            running.ticks.put_nowait(batch)
            await running.until_stored(10 * n)
        assert running.writer._storing._store._reader._connection is None  # nobody ever read the journal
    assert stored_ticks(database) == in_order(ticks)


async def test_behind_it_streams_from_the_journal_without_pause_and_then_goes_on_from_ram(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    settings = StorageSettings(flush_after_ms=1, store_every_ms=600_000, flush_rows=10)
    ticks = some_ticks(markets=1, each=240)
    async with running_writer(tmp_path, sqlite.target, settings=settings) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        seen = watch(running)
        with contextlib.closing(sqlite3.connect(sqlite.target.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for n, batch in enumerate(in_lists(ticks[:230], of=5), start=1):
                running.ticks.put_nowait(batch)
                await running.until_accepted(5 * n)
            shelf = running.writer._accepting.shelves[Lane.TICKS]
            assert shelf.rows == 0  # let go of, and not begun anew so far behind
        await running.until_stored(230)  # no other tick comes, and the time does not either
        streamed = [work for work in seen if work.lane is Lane.TICKS and work.until_us is None]
        assert len(streamed) > 10
        assert not any(work.offered for work in streamed[1:])  # the first came before it was let go of
        running.ticks.put_nowait(ticks[230:])
        await running.until_stored(240)
        assert seen[-1].offered
        assert seen[-1].until_us is not None
    assert stored_ticks(sqlite) == in_order(ticks)


async def test_a_start_stores_what_was_left_first_and_skips_what_is_stored(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=3, each=30)
    async with running_writer(tmp_path, NOBODY) as running:
        running.ticks.put_nowait(ticks[:30])
        await running.until_accepted(30)
        assert (await running.writer.finish()).lost == 0
    async with running_writer(tmp_path, database.target) as running:
        await running.until_stored(30)
        assert running.writer.statistics().waiting == 0
    database.query(f"DELETE FROM tick WHERE ts_us = {ticks[0].ts_us}")  # a witness: 3 of them
    async with running_writer(tmp_path, database.target) as running:
        running.ticks.put_nowait(ticks[30:])
        await running.until(lambda: running.writer.statistics().accepted == 60)
        await running.until(lambda: running.writer.statistics().waiting == 0)
    assert stored_ticks(database) == in_order(ticks[3:])


async def test_a_database_that_went_back_is_said_and_gets_again_what_the_journal_has(
    database: AnyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketd")
    ticks = some_ticks(markets=3, each=30)
    async with running_writer(tmp_path, database.target) as running:
        for n, batch in enumerate(in_lists(ticks[:60], of=10), start=1):
            running.ticks.put_nowait(batch)
            await running.until_stored(10 * n)
        database.query("UPDATE journal_position SET batch = 2 WHERE lane = 'ticks'")
        database.query(f"DELETE FROM tick WHERE ts_us > {ticks[20].ts_us}")
        running.ticks.put_nowait(ticks[60:])
        await running.until(lambda: database.query("SELECT COUNT(*) FROM tick") == [(90,)])
    assert stored_ticks(database) == in_order(ticks)
    assert [fields["state"] for fields in said(caplog, Event.DATABASE)] == ["went back"]


# --- trim ---------------------------------------------------------------------------------------


async def test_only_what_was_confirmed_leaves_the_journal_and_never_the_last(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=1, each=20)
    patient = attrs.evolve(IMPATIENT, trim_every_s=0.02)
    async with running_writer(tmp_path, database.target, patience=patient) as running:
        for n, batch in enumerate(in_lists(ticks, of=2), start=1):
            running.ticks.put_nowait(batch)
            await running.until_stored(2 * n)
        # The ninth was read back when the tenth was stored.
        await running.until(lambda: batches_of_ticks(tmp_path) == [10])


def batches_of_ticks(folder: Path) -> list[int]:
    """Return the positions of the batches of ticks in the journal."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        return [row[0] for row in connection.execute("SELECT position FROM ticks_batch ORDER BY position")]


async def test_nothing_is_trimmed_while_the_database_is_away(tmp_path: Path) -> None:
    ticks = some_ticks(markets=1, each=10)
    patient = attrs.evolve(IMPATIENT, trim_every_s=0.001)
    async with running_writer(tmp_path, NOBODY, patience=patient) as running:
        trims = watch_trims(running)
        for n, batch in enumerate(in_lists(ticks, of=2), start=1):
            running.ticks.put_nowait(batch)
            await running.until_accepted(2 * n)
        seen = len(trims)
        await running.until(lambda: len(trims) > seen + 3)
    assert batches_of_ticks(tmp_path) == [1, 2, 3, 4, 5]


def watch_trims(running: Running) -> list[dict[Lane, int]]:
    """Return a list to which it is added how far each trim goes."""
    seen: list[dict[Lane, int]] = []
    trim = running.writer._accepting.trim

    async def trim_and_tell(through: dict[Lane, int]) -> None:
        await trim(through)
        seen.append(dict(through))

    running.writer._accepting.trim = trim_and_tell  # type: ignore[method-assign]
    return seen


async def test_what_the_database_no_longer_has_is_not_trimmed(
    autojump_clock: trio.testing.MockClock, sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    """It had more when the last trim was over, and went back in the minute since then."""
    running = make_writer(tmp_path, sqlite.target, patience=Patience())
    seen: list[dict[Lane, int]] = []

    async def note(through: dict[Lane, int]) -> None:
        seen.append(through)

    running.writer._accepting.trim = note  # type: ignore[method-assign]
    running.writer._storing.confirmed = {Lane.MONEY: 3, Lane.TICKS: 9}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.writer._trim)
        await trio.sleep(1)
        running.writer._storing.confirmed = {Lane.MONEY: 5, Lane.TICKS: 2}
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert seen == [{Lane.MONEY: 3, Lane.TICKS: 2}]


# --- without a journal --------------------------------------------------------------------------


async def test_without_a_journal_ticks_are_stored_directly_and_status_says_so(
    database: AnyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.acceptor, "OPEN_EVERY_S", 0.0)
    folder = tmp_path / "not mounted yet"
    ticks = some_ticks(markets=3, each=20)
    async with running_writer(folder, database.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        assert running.writer.statistics().unjournaled
        running.ticks.put_nowait(ticks[:30])
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="state", detail="live"))
        running.gaps.put(Gap("M0@sim", 5, 9, "stale"))
        await running.until_stored(30)
        assert running.writer.statistics().unjournaled
        await running.until(lambda: database.query("SELECT to_us FROM gap") == [(9,)])
        assert database.query("SELECT detail FROM actor_event") == [("live",)]
        folder.mkdir()
        running.ticks.put_nowait(ticks[30:])
        await running.until_stored(60)
        assert not running.writer.statistics().unjournaled
        assert running.writer.statistics().dropped == 0
    assert stored_ticks(database) == in_order(ticks)


async def test_with_both_away_ticks_are_dropped_and_counted_and_leave_a_gap(
    mariadb: MariadbDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.acceptor, "OPEN_EVERY_S", 0.0)
    folder = tmp_path / "not mounted yet"
    ticks = some_ticks(markets=1, each=20)
    mariadb.server.stop()
    async with running_writer(folder, mariadb.target) as running:
        await running.until_down("2003")
        running.ticks.put_nowait(ticks[:10])
        running.events.put_nowait(ActorEvent(ts_us=3, actor="a", event="state", detail="live"))
        await running.until(lambda: running.writer.statistics().dropped == 10)
        assert running.writer.statistics().accepted == 0
        folder.mkdir()
        running.ticks.put_nowait(ticks[10:])
        await running.until_accepted(10)
        mariadb.server.start()
        await running.until_stored(10)
        assert running.writer.statistics().dropped == 10
    assert stored_ticks(mariadb) == ticks[10:]
    lost = (ticks[0].ts_us - 1, ticks[9].ts_us + 1, "journal_full")
    assert mariadb.query("SELECT from_us, to_us, cause FROM gap") == [lost]
    assert mariadb.query("SELECT detail FROM actor_event") == [("live",)]


# --- finishing in trouble -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["statement", "connect"])
async def test_a_hanging_server_is_cut_and_everything_is_in_the_journal(
    mariadb: MariadbDatabase, tmp_path: Path, kind: str
) -> None:
    ticks = some_ticks(markets=2, each=30)
    if kind == "connect":
        mariadb.server.pause()
    async with running_writer(tmp_path, mariadb.target) as running:
        if kind == "statement":
            await running.writer.first_contact(deadline_s=GUARD_S)
            mariadb.server.pause()
        running.ticks.put_nowait(ticks[:40])
        await running.until_accepted(40)
        await running.until(lambda: running.writer.statistics().connects >= 1)
        running.ticks.put_nowait(ticks[40:])  # the last append comes when finishing has begun
        finished = await running.writer.finish()
        assert (finished.lost, finished.is_stuck) == (0, False)
    mariadb.server.resume()
    async with running_writer(tmp_path, mariadb.target) as running:
        await running.until(lambda: mariadb.query("SHOW TABLES LIKE 'tick'"))
        await running.until(lambda: mariadb.query("SELECT COUNT(*) FROM tick") == [(60,)])
    assert stored_ticks(mariadb) == in_order(ticks)


async def test_a_locked_file_does_not_hold_up_the_end(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    ticks = some_ticks(markets=2, each=30)
    async with running_writer(tmp_path, sqlite.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        with contextlib.closing(sqlite3.connect(sqlite.target.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            running.ticks.put_nowait(ticks)
            finished = await running.writer.finish()
    assert (finished.lost, finished.is_stuck) == (0, False)
    async with running_writer(tmp_path, sqlite.target) as running:
        await running.until_stored(len(ticks))
    assert stored_ticks(sqlite) == in_order(ticks)


async def test_ticks_in_no_journal_are_counted_as_lost_where_the_database_hangs(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    async with running_writer(tmp_path / "not mounted", mariadb.target) as running:
        await running.writer.first_contact(deadline_s=GUARD_S)
        mariadb.server.pause()
        running.ticks.put_nowait(some_ticks(markets=2, each=3))
        await running.until_accepted(6)
        finished = await running.writer.finish()
    assert (finished.lost, finished.is_stuck) == (6, False)


async def test_a_server_that_is_away_does_not_hold_up_the_end_where_nothing_waits(tmp_path: Path) -> None:
    patient = attrs.evolve(IMPATIENT, finish_s=float("inf"))
    async with running_writer(tmp_path, NOBODY, patience=patient) as running:
        await running.until_down("2003")
        finished = await running.writer.finish()
    assert (finished.lost, finished.is_stuck) == (0, False)


async def test_a_server_that_comes_back_while_finishing_is_stored_into(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    ticks = some_ticks(markets=2, each=3)
    patient = attrs.evolve(IMPATIENT, finish_s=GUARD_S)
    mariadb.server.stop()
    async with running_writer(tmp_path, mariadb.target, patience=patient) as running:
        running.ticks.put_nowait(ticks)
        await running.until_down("2003")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, mariadb.server.start)
            finished = await running.writer.finish()
    assert (finished.lost, finished.is_stuck) == (0, False)
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


async def test_a_thread_that_does_not_come_back_is_reported(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    running = make_writer(
        tmp_path, sqlite.target, patience=attrs.evolve(IMPATIENT, finish_s=0.01, cut_s=0.01)
    )
    pool = NeverReturns()
    running.writer._storing._pool = pool  # type: ignore[assignment]
    running.ticks.put_nowait(some_ticks(markets=1, each=3))
    async with trio.open_nursery() as nursery:
        await nursery.start(running.writer.run)
        try:
            finished = await running.writer.finish()
        finally:
            pool.is_free.set()
    assert (finished.lost, finished.is_stuck) == (0, True)  # it is in the journal


async def test_a_writer_that_never_ran_finishes_and_counts(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    running = make_writer(tmp_path, sqlite.target)
    running.ticks.put_nowait(some_ticks(markets=1, each=3))
    finished = await running.writer.finish()
    assert (finished.lost, finished.is_stuck) == (3, False)
    assert not sqlite.target.path.exists()


async def test_an_exception_that_is_no_drivers_ends_the_writer(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    running = make_writer(tmp_path, sqlite.target)
    [tick] = some_ticks(markets=1, each=1)
    running.ticks.put_nowait([tick._replace(market=None)])  # type: ignore[arg-type]
    with pytest.raises(ExceptionGroup), trio.fail_after(GUARD_S):
        await running.writer.run()
    assert (await running.writer.finish()).is_stuck is False


async def test_a_writer_runs_once(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    running = make_writer(tmp_path, sqlite.target)
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
