"""Taking an upgrade back: nothing that the newer version stored or accepted is lost with it."""

import argparse
from pathlib import Path

import attrs
import pytest
from daemons import CLOSED_PORT_URL, FIVE, Settings
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, stored_ticks
from filled import open_own
from ledgers import a_signal, a_step, a_trade, as_money, in_order, settled, stored_ledger
from storing import Storing

from domain.clock import now_us
from domain.gaps import Gap
from domain.market import Tick
from storage.bring_over import set_aside_since
from storage.migrations import schema_version
from storage.payloads import EventRow, Money
from storage.restore_mysql import TABLES
from storage.session import Row, Session
from storage.tables import NEWEST
from storage.target import SqliteTarget
from supervisor.cli import run_command
from supervisor.commands.set_aside import set_aside
from supervisor.commands.take_back import take_back

MINUTE_US = 60_000_000
NOW_US = now_us() // MINUTE_US * MINUTE_US
GAPS = """SELECT symbol, from_us, to_us, cause, fill FROM gap
    JOIN market ON market.id = market_id ORDER BY symbol, from_us"""
CANDLES = """SELECT symbol, timeframe_s, open_us, open, high, low, close, ticks, complete FROM candle
    JOIN market ON market.id = market_id ORDER BY symbol, timeframe_s, open_us"""


def ticks(market: str, *, minutes: range) -> list[Tick]:
    """Return a tick every ten seconds of these minutes, counted from now."""
    times = [NOW_US + minute * MINUTE_US + ten * 10_000_000 for minute in minutes for ten in range(6)]
    return [Tick(market, at, 0, 1.0 + at % 1_013 / 7, None, None, None, at + 9, "live") for at in times]


@attrs.frozen(kw_only=True)
class Upgraded:
    """An installation whose newer version went on after the backup."""

    database: AnyDatabase
    state_dir: Path
    arguments: argparse.Namespace
    backed_up: list[Tick]
    stored: list[Tick]
    accepted: list[Tick]  # and not stored
    ledger: Money  # all of it

    def take_back(self) -> str:
        return "\n".join(take_back(self.arguments))

    def rows(self, sql: str) -> list[Row]:
        return list(self.database.query(sql))


def store(storing: Storing, *lots: list[Tick] | Money) -> None:
    storing.accept(*lots)
    storing.store_all()


@pytest.fixture
def upgraded(database: AnyDatabase, tmp_path: Path) -> Upgraded:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    if isinstance(database, SqliteDatabase):
        database = SqliteDatabase(target=SqliteTarget(path=state_dir / "marketd.db"))
    config = tmp_path / "marketd.toml"
    config.write_text(Settings(url=CLOSED_PORT_URL, database=database, symbols=FIVE).text())
    words = ["--config", str(config), "--state-dir", str(state_dir)]

    before = ticks("EURUSD@sim", minutes=range(-20, -10)) + ticks("GBPUSD@sim", minutes=range(-20, -15))
    # One trade is over, the other open when the backup is made; a third begins later.
    signals = [a_signal(NOW_US // 1_000_000 - minute * 60) for minute in (200, 100, 5)]
    won, lost, later = (a_trade(signal) for signal in signals)
    old = Storing(state_dir, database.target, timeframes_s=(60, 300))
    open_gap = Gap("GBPUSD@sim", before[-1].ts_us, None, "disconnect")
    ledger = [*signals[:2], settled(won), a_step(won, 1), lost, a_step(lost, 1)]
    store(old, before, Money(gaps=[open_gap]), as_money(*ledger))
    since_us = NOW_US - 10 * MINUTE_US
    assert run_command(["backup", str(tmp_path / "backup"), *words]) == 0
    old.close()

    new = Storing(state_dir, database.target, timeframes_s=(60, 300))
    after = ticks("EURUSD@sim", minutes=range(-9, -4)) + ticks("USDJPY@sim", minutes=range(-9, -4))
    after += ticks("GBPUSD@sim", minutes=range(-9, -4))
    closed = open_gap._replace(to_us=NOW_US - 9 * MINUTE_US)
    downtime = Gap("EURUSD@sim", NOW_US - 11 * MINUTE_US + 50_000_000, NOW_US - 9 * MINUTE_US, "downtime")
    event = EventRow(id=since_us + 1, ts_us=since_us + 1, actor="tree", event="start", detail="new")
    store(new, after, Money(gaps=[closed, downtime], events=[event]))
    news = [settled(lost, state="lost", profit="-10.10"), signals[2], later, a_step(later, 1)]
    store(new, as_money(*news))
    waiting = ticks("EURUSD@sim", minutes=range(-4, -2)) + ticks("AUDUSD@sim", minutes=range(-4, -2))
    over = settled(later, state="tied", profit="0")
    new.accept(waiting, as_money(over, a_step(over, 2)))
    new.close()
    arguments = argparse.Namespace(
        file=tmp_path / "backup", since_us=since_us, config=config, state_dir=state_dir
    )
    return Upgraded(
        database=database, state_dir=state_dir, arguments=arguments,
        backed_up=sorted(before), stored=sorted(before + after), accepted=sorted(waiting),
        ledger=in_order(as_money(*ledger, *news, over, a_step(over, 2))),
    )  # fmt: skip


def test_what_was_stored_since_the_backup_and_what_was_only_accepted_come_back(upgraded: Upgraded) -> None:
    gaps, candles = upgraded.rows(GAPS), upgraded.rows(CANDLES)
    said = upgraded.take_back()
    assert sorted(stored_ticks(upgraded.database)) == sorted(upgraded.stored + upgraded.accepted)
    assert upgraded.rows(GAPS) == gaps
    assert set(candles) <= set(upgraded.rows(CANDLES))
    assert len(upgraded.rows("SELECT id FROM actor_event WHERE detail = 'new'")) == 1
    assert f"{len(upgraded.stored) - len(upgraded.backed_up)} ticks" in said
    assert f"{len(upgraded.accepted) + 2} rows" in said


def test_the_ledger_comes_back_with_the_latest_word_on_each_trade(upgraded: Upgraded) -> None:
    upgraded.take_back()
    assert stored_ledger(upgraded.database) == upgraded.ledger


def test_candles_of_what_came_back_are_those_of_the_ticks(upgraded: Upgraded) -> None:
    upgraded.take_back()
    minutes = {(row[0], row[2]): row[7] for row in upgraded.rows(CANDLES) if row[1] == 60}
    counted: dict[tuple[str, int], int] = {}
    for tick in upgraded.stored + upgraded.accepted:
        key = tick.market.removesuffix("@sim"), tick.ts_us // MINUTE_US * MINUTE_US
        counted[key] = counted.get(key, 0) + 1
    newest_us = max(open_us for _, open_us in counted)  # its end has not been seen yet
    assert minutes == {key: count for key, count in counted.items() if key[1] != newest_us}


def test_given_again_it_ends_in_the_same(upgraded: Upgraded) -> None:
    upgraded.take_back()
    once = stored_ticks(upgraded.database), upgraded.rows(GAPS), upgraded.rows(CANDLES)
    upgraded.take_back()
    assert (stored_ticks(upgraded.database), upgraded.rows(GAPS), upgraded.rows(CANDLES)) == once
    assert stored_ledger(upgraded.database) == upgraded.ledger


def test_a_newer_version_puts_its_tables_aside_itself(
    upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has one that this version has never heard of, under a name that needs quoting."""
    tables = {**TABLES, "release": ("id",)}
    with monkeypatch.context() as newer:
        newer.setattr("storage.restore_mysql.TABLES", tables)
        with open_own(upgraded.database.target) as session:
            session.execute("CREATE TABLE `release` (id INT)")
            session.execute("INSERT INTO schema_version VALUES (?, 0)", (NEWEST + 1,))
        for _ in range(2):
            set_aside(upgraded.arguments)
    upgraded.take_back()
    assert sorted(stored_ticks(upgraded.database)) == sorted(upgraded.stored + upgraded.accepted)
    assert stored_ledger(upgraded.database) == upgraded.ledger
    with open_own(upgraded.database.target) as session:
        assert schema_version(session) == NEWEST
        with pytest.raises(session.errors):
            session.query("SELECT id FROM `release`")


def make_newer(session: Session) -> None:
    session.execute("INSERT INTO schema_version VALUES (?, 0)", (NEWEST + 1,))
    session.execute("ALTER TABLE tick ADD COLUMN liquidity INT")


def test_a_newer_schema_is_set_aside_and_what_ours_has_too_comes_back(upgraded: Upgraded) -> None:
    with open_own(upgraded.database.target) as session:
        make_newer(session)
    upgraded.take_back()
    assert sorted(stored_ticks(upgraded.database)) == sorted(upgraded.stored + upgraded.accepted)
    with open_own(upgraded.database.target) as session:
        assert schema_version(session) == NEWEST
        with pytest.raises(session.errors):
            session.query("SELECT liquidity FROM tick")


def test_a_newer_version_s_tables_that_are_not_ours_are_left_aside(upgraded: Upgraded) -> None:
    with open_own(upgraded.database.target) as session:
        make_newer(session)
        session.execute("ALTER TABLE tick RENAME COLUMN bid TO best_bid")
    said = upgraded.take_back()
    # what the journal still had of it is ours
    assert set(upgraded.backed_up + upgraded.accepted) <= set(stored_ticks(upgraded.database))
    [aside] = set_aside_since(upgraded.database.target, since_us=upgraded.arguments.since_us)
    assert f"is still in {aside}" in said


def test_a_journal_that_cannot_be_read_is_kept_and_named(upgraded: Upgraded) -> None:
    for each in upgraded.state_dir.glob("journal.db*"):
        if each.name != "journal.reserve":
            each.write_bytes(b"a form of tomorrow" * 100)
    said = upgraded.take_back()
    assert sorted(stored_ticks(upgraded.database)) == upgraded.stored
    [aside] = upgraded.state_dir.glob("journal.db.replaced-*")
    assert f"is still in {aside}" in said
    assert (aside / "journal.db").read_bytes().startswith(b"a form of tomorrow")


def test_what_earlier_restores_set_aside_is_not_ours_to_bring_back(upgraded: Upgraded) -> None:
    words = ["--config", str(upgraded.arguments.config), "--state-dir", str(upgraded.state_dir)]
    assert run_command(["restore", str(upgraded.arguments.file), "--replace", *words]) == 0
    target = upgraded.database.target
    assert len(set_aside_since(target, since_us=0)) == 1
    assert set_aside_since(target, since_us=now_us()) == []
    is_table = isinstance(upgraded.database, MariadbDatabase)
    [aside] = set_aside_since(target, since_us=0)
    assert aside.startswith("replaced_") == is_table
