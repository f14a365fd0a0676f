"""`marketd trades`, `trade`, `why` and `report` against real databases, with a daemon and without."""

import json
from pathlib import Path

import attrs
import pytest
from daemons import CLOSED_PORT_URL, Settings, Workshop
from databases import AnyDatabase, MariadbDatabase, SqliteDatabase, open_store
from traded import Kept, its_signal, refused_signal, some_gaps, some_trades, ticks_every_second

from domain.trades import Trade
from supervisor.cli import run_command
from supervisor.trade_reading import position_of

M0, M1 = "M0@sim", "M1@sim"
# A page and one. The practice account's, which no daemon of this version touches.
TRADES = [
    attrs.evolve(each, trade=each.trade._replace(mode="demo"))
    for each in some_trades(M0, M1, count=1_001, strategies=("rsi", "streak"))
]
LOST = next(each for each in TRADES if each.trade.state == "lost" and each.trade.market == M1)
KEPT = Kept(
    ticks=ticks_every_second(M0, count=300) + ticks_every_second(M1, count=300),
    trades=TRADES,
    signals=[
        *map(its_signal, TRADES),
        refused_signal("daily_loss: 500.00 of 500.00 lost", number=1, market=M0),
        refused_signal("stale_price: the price is 9000 ms old", number=2, market=M0),
    ],
    gaps=some_gaps(M1),
)


def fill(database: AnyDatabase) -> None:
    with open_store(database.target) as store:
        store.pool.run(KEPT.write)


STRATEGY = 'strategies = ["mine"]\n[strategies.mine]\nkind = "streak"\nstake = 10\n'


def resting(database: AnyDatabase, *, more: str = "") -> Settings:
    """Return settings of a daemon that never sees a tick."""
    return Settings(url=CLOSED_PORT_URL, database=database, symbols=("M0", "M1"), more=more)


def printed(workshop: Workshop, *words: str) -> str:
    done = workshop.command(*words, "--config", str(workshop.config))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def complaint(workshop: Workshop, code: int, *words: str) -> str:
    done = workshop.command(*words, "--config", str(workshop.config))
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def assert_says_what_is_stored(workshop: Workshop, folder: Path) -> None:
    listed = [json.loads(line) for line in printed(workshop, "trades", "--json").splitlines()]
    assert [position_of(each) for each in listed] == TRADES
    of_one = printed(workshop, "trades", "M1").splitlines()[1:]
    assert [line.split()[0] for line in of_one] == [
        str(each.trade.id) for each in TRADES if each.trade.market == M1
    ]
    under_way = printed(workshop, "trades", "--open", "--to", "2026-11-26T13:40:00Z").splitlines()[1:]
    assert [line.split()[-2] for line in under_way] == ["open", "unknown"]
    one = printed(workshop, "trade", of_one_id(of_one, LOST.trade)).splitlines()
    assert one[0] == f"trade {LOST.trade.id}: lost, −10.00"
    assert one[1] == "1.0846 > 1.0842, direction down → lost: −10.00"
    assert any(line.startswith("because of") and "rsi 28.125, period 14" in line for line in one)
    page = folder / "report.html"
    report = printed(workshop, "report", "--html", str(page))
    won = sum(each.trade.state == "won" for each in TRADES)
    lost = sum(each.trade.state == "lost" for each in TRADES)
    assert report.startswith("Trades on the practice account\n")
    assert f"{won} won, {lost} lost" in report
    assert "verdict: not distinguishable from chance" in report
    assert {M0, M1, "rsi", "streak", "daily_loss", "stale_price"} <= set(report.split())
    assert page.read_text(encoding="utf-8").count("<tr class=") == len(TRADES)


def of_one_id(lines: list[str], trade: Trade) -> str:
    """Return a trade's id as the table prints it."""
    [found] = [line.split()[0] for line in lines if line.split()[0] == str(trade.id)]
    return found


def test_without_a_daemon_is_said_what_is_stored(
    workshop: Workshop, database: AnyDatabase, tmp_path: Path
) -> None:
    fill(database)
    workshop.change(resting(database))
    assert_says_what_is_stored(workshop, tmp_path)
    why = printed(workshop, "why", "M0").splitlines()
    assert "is not running" in why[0]
    assert "nothing is traded" in why[0]
    assert ["stale_price:" in why[4], "daily_loss:" in why[5]] == [True, True]


def test_with_a_daemon_is_said_what_is_stored(
    workshop: Workshop, database: AnyDatabase, tmp_path: Path
) -> None:
    fill(database)
    daemon = workshop.daemon(resting(database))
    daemon.wait_until(lambda status: status["writer"]["db"] == "up", what="database up")
    assert_says_what_is_stored(workshop, tmp_path)
    why = printed(workshop, "why", "M0").splitlines()
    assert any(line.startswith("no_strategies ") for line in why)
    assert "stale_price:" in why[-2]
    assert not daemon.has_said("control")  # a page is nothing to tell the operator of


def test_why_says_what_blocks_now_and_what_was_refused_also_without_the_database(
    workshop: Workshop, mariadb: MariadbDatabase
) -> None:
    fill(mariadb)
    daemon = workshop.daemon(resting(mariadb, more=STRATEGY))
    daemon.wait_until(lambda status: status["trading"]["is_ready"], what="the trades of before are known")
    daemon.ask("drain", on=True)
    why = printed(workshop, "why", "M0")
    assert {"drain", "stale_price", "no", "daily_loss:"} <= set(why.split())
    mariadb.server.kill()
    away = printed(workshop, "why", "M0")
    assert "drain" in away
    assert "what was refused before is not known now" in away
    mariadb.server.start()
    assert "'M7'" in complaint(workshop, 1, "why", "M7")
    assert daemon.stop() == 0


def test_wrong_words_are_named(
    workshop: Workshop, sqlite: SqliteDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: twelve more would take seconds."""
    with open_store(sqlite.target) as store:
        store.pool.run(Kept(ticks=KEPT.ticks[:1]).write)
    workshop.change(resting(sqlite))
    page = str(tmp_path / "none" / "r.html")
    for words, code, says in (
        (("trade", "x1"), 2, "'x1' is no trade's id"),
        (("trade", "-7"), 2, "-7"),
        (("trade", "9" * 20), 2, f"'{'9' * 20}' is no trade's id"),
        (("trade",), 2, "ID"),
        (("trade", "7"), 1, "trade 7 is not in the database"),
        (("trades", "M0x"), 1, "did you mean M0@sim"),
        (("why", "EURUSD"), 1, "'EURUSD'"),
        (("report", "EURUSD@sim"), 1, "'EURUSD@sim'"),
        (("report", "--from", "soon"), 2, "'soon' is no time"),
        (("trades", "--from", "2026-11-27", "--to", "2026-11-26"), 1, "is after --to"),
        (("report", "--html", page), 1, f"{page} cannot be written: No such file or directory"),
    ):
        try:
            found = run_command([*words, "--config", str(workshop.config), "--state-dir", str(tmp_path)])
        except SystemExit as exc:
            found = exc.code  # type: ignore[assignment]  # the parser's is a number
        assert found == code, words
        assert says in capsys.readouterr().err
