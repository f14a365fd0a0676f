"""The short run of `benchmarks/crash.py --trading`: killed at steps of a trade, and otherwise."""

import random
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from crash_plans import End, Plan, Trouble, plan_trading_point
from daemons import CLOSED_PORT_URL, Settings, Workshop
from databases import MariaDB, MariadbDatabase, SqliteDatabase
from trade_crashing import TradeCrashRun, read_books
from trade_oracle import Books, judge_trades

from storage.target import SqliteTarget

# The others are hit in the long run.
POINTS = ("trade.intended", "trade.placed", "trade.opened", "trade.settled")
TRIES = 3  # a machine that is busy may not reach a point in time


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, mariadb_server: MariaDB) -> Iterator[TradeCrashRun]:
    """A daemon that trades, killed at steps of a trade in turn and amid open ones; in order at the end."""
    mariadb_server.make_sound()
    name = mariadb_server.new_database()
    random_ = random.Random(1)
    run = TradeCrashRun(
        tmp_path_factory.mktemp("trades"),
        database=MariadbDatabase(target=mariadb_server.target(name), server=mariadb_server),
        random_=random_,
    )
    try:
        for point in POINTS:
            plan = attrs.evolve(plan_trading_point(point, random_=random_), nth=2, trouble=Trouble.NONE)
            any(run.live(plan) for _ in range(TRIES))
        run.live(Plan(end=End.KILL, at_s=2.5))
        run.finish()
        yield run
    finally:
        sys.stdout.write(run.workshop.close())
        mariadb_server.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def books(killed: TradeCrashRun) -> Books:
    return killed.books()


def test_every_crash_point_of_a_trade_is_hit(killed: TradeCrashRun) -> None:
    assert killed.hits == dict.fromkeys(POINTS, 1)


def test_kills_at_its_steps_forget_and_double_no_trade(killed: TradeCrashRun) -> None:
    assert list(killed.judge().complaints) == []
    assert killed.states["won"] + killed.states["lost"] > 0
    assert killed.states["void"] + killed.states["refused"] > 0  # what the kills had cut off


def test_a_backup_restored_elsewhere_holds_the_same_books(
    killed: TradeCrashRun, books: Books, tmp_path: Path
) -> None:
    """From the server into a file: ids, money to the cent, and all that the results are worked out from."""
    backup, workshop = tmp_path / "backup", Workshop(tmp_path)
    done = killed.workshop.command("backup", str(backup), "--config", str(killed.workshop.config))
    assert done.returncode == 0, done.stderr
    file = SqliteDatabase(target=SqliteTarget(path=tmp_path / "marketd.db"))
    workshop.change(Settings(url=CLOSED_PORT_URL, database=file))
    done = workshop.command("restore", str(backup), "--config", str(workshop.config))
    assert done.returncode == 0, done.stderr
    restored = read_books(file, figures=books.figures, accepted=books.accepted)
    assert sorted(restored.signals) == sorted(books.signals)
    assert sorted(restored.trades) == sorted(books.trades)
    assert sorted(restored.events) == sorted(books.events)
    assert judge_trades(restored) == []


DAMAGE: dict[str, tuple[Callable[[Books], Books], str]] = {
    "a trade is taken away": (
        lambda books: attrs.evolve(books, trades=books.trades[1:]),
        "0 trades of a signal that was approved",
    ),
    "a step is taken away": (
        lambda books: attrs.evolve(books, events=[each for each in books.events if each.state != "sent"]),
        "not numbered from 0 on",
    ),
    "a cent is missing": (
        lambda books: attrs.evolve(
            books, figures=attrs.evolve(books.figures, balance=books.figures.balance - Decimal("0.01"))
        ),
        "status says",
    ),
    "what was accepted is taken away": (
        lambda books: attrs.evolve(books, signals=[], trades=[], events=[]),
        "accepted in life",
    ),
}


def test_damage_to_these_very_books_is_missed(books: Books) -> None:
    """Else the tests above would prove nothing."""
    for what, (damage, complaint) in DAMAGE.items():
        complaints = judge_trades(damage(books))
        assert any(complaint in each for each in complaints), (what, complaints)
