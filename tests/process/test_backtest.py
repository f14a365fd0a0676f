"""`marketd backtest` over real databases, with a daemon and without."""

import functools
from pathlib import Path

from daemons import CLOSED_PORT_URL, Settings, Workshop
from databases import AnyDatabase, Batch, SqliteDatabase, open_store

from domain.market import Tick

MARKET = "EURUSD@sim"
FIRST_US = 1_790_000_000_000_000
HALF_US = 500_000
STRATEGIES = """
[strategies.mine]
kind = "mine.py:Mine"
expiry_s = 60
stake = 10
[strategies.fails]
kind = "mine.py:Fails"
expiry_s = 90
stake = 10
[trading]
max_losses_in_a_row = 100
"""
MINE = """
from strategies.strategy import Decision, Strategy

class Mine(Strategy):
    def on_candle(self, candle, view):
        return Decision(direction="up", inputs={"close": candle.close})

class Fails(Strategy):
    def on_candle(self, candle, view):
        return 1 / 0
"""


def wave(minutes: int) -> list[Tick]:
    """Prices that rise for two minutes and fall for two."""
    ticks = []
    for n in range(minutes * 120):
        ts_us = FIRST_US + n * HALF_US
        height = n % 480 if n % 480 < 240 else 480 - n % 480
        ticks.append(Tick(MARKET, ts_us, 0, 1.0 + height / 1e5, None, None, None, ts_us + 40_000))
    return ticks


def prepare(workshop: Workshop, database: AnyDatabase, ticks: list[Tick]) -> Settings:
    """Store the ticks, and write settings that name the strategies."""
    with open_store(database.target) as store:
        store.pool.run(functools.partial(store.batches.store, batch=Batch(ticks=ticks)))
    settings = Settings(url=CLOSED_PORT_URL, database=database, symbols=["EURUSD"], more=STRATEGIES)
    workshop.change(settings)
    (workshop.folder / "mine.py").write_text(MINE)
    return settings


def backtest(workshop: Workshop, *words: str, strategy: str = "mine", code: int = 0) -> str:
    """Run it; return what it printed, or what it complained of."""
    done = workshop.command(
        "backtest", "--config", str(workshop.config), "--strategy", strategy, "--market", "EURUSD", *words
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 0:
        assert done.stderr == ""  # no bar where nobody sees it
    return done.stdout or done.stderr


def test_trades_and_figures_are_the_same_with_a_daemon_and_without(
    workshop: Workshop, database: AnyDatabase
) -> None:
    settings = prepare(workshop, database, wave(60))
    alone = backtest(workshop)
    assert "trades: " in alone
    assert "EURUSD@sim" in alone
    assert "80 % (assumed for every trade)" in alone
    daemon = workshop.daemon(settings)
    daemon.wait_until(lambda status: status["writer"]["db"] == "up", what="database up")
    assert backtest(workshop) == alone
    assert daemon.stop() == 0


def test_only_what_could_be_seen_is_traded_on(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    ticks = wave(40)
    seen = [tick for tick in ticks if not 600 < (tick.ts_us - FIRST_US) / 1e6 < 900]
    after = [tick._replace(source="backfill") for tick in ticks if tick not in seen]
    prepare(workshop, sqlite, seen + after)
    sqlite.query(
        "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES "
        f"(1, {FIRST_US + 600_000_000}, {FIRST_US + 900_000_000}, 'disconnect', 'full', '')"
    )
    as_seen, filled = backtest(workshop), backtest(workshop, "--filled")
    assert f"{len(seen):,} ticks" in as_seen
    assert "1 gaps: 300 s without prices" in as_seen
    assert "1 void" in as_seen
    assert f"{len(ticks):,} ticks, filled" in filled
    assert "void" not in filled


def test_a_page_shows_the_trades_on_the_candles(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    prepare(workshop, sqlite, wave(60))
    page = workshop.folder / "page.html"
    backtest(workshop, "--html", str(page), "--from", "2026-09-21", "--to", "2026-09-22")
    text = page.read_text(encoding="utf-8")
    assert 'class="trade won"' in text
    assert 'class="rise"' in text
    assert "<script" not in text


def test_candles_take_the_place_of_ticks(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    prepare(workshop, sqlite, wave(1))
    for n in range(30):
        prices = f"1.0, {1.0 + n / 1e3}, 0.9, {1.0 + (n % 3) / 1e4}"
        sqlite.query(
            f"INSERT INTO candle VALUES (1, 60, {FIRST_US + n * 60_000_000}, {prices}, 9, 0, 1, 'imported')"
        )
    printed = backtest(workshop, "--candles", "60")
    assert "30 candles of 60 s" in printed
    assert "Prices are from candles" in printed
    refused = backtest(workshop, "--candles", "60", strategy="fails", code=1)
    assert "[strategies.fails] expiry_s = 90: with --candles 60 it has to be a multiple of 60" in refused
    assert "no candles of 30 s" in backtest(workshop, "--candles", "30", code=1)


def test_a_strategy_that_fails_is_named_with_the_place(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    prepare(workshop, sqlite, wave(10))
    printed = backtest(workshop, strategy="fails", code=1)
    assert "fails was set aside at 2026-09-21T" in printed
    assert "ZeroDivisionError: division by zero (mine.py line 10)" in printed


def test_what_cannot_be_is_refused_by_name(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    prepare(workshop, sqlite, wave(10))
    assert 'no [strategies.min]; did you mean "mine"?' in backtest(workshop, strategy="min", code=1)
    assert "no ticks of EURUSD@sim are stored" in backtest(workshop, "--to", "2020-01-01", code=1)
    assert "expected a number over 0" in backtest(workshop, "--payout", "-5", code=2)
    assert not Path(workshop.folder / "page.html").exists()


def test_a_payout_is_as_given(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    prepare(workshop, sqlite, wave(20))
    assert "  9.25  " in backtest(workshop, "--payout", "92.5")
    assert "SIGNALS REFUSED BY" in backtest(workshop, "--payout", "60")
