"""`marketd backtest` by its words: what it prints, and how it ends."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from backtests import FIRST_US, prepare, wave
from daemons import Workshop
from databases import SqliteDatabase

from storage.target import SqliteTarget
from supervisor.cli import run_command
from supervisor.commands.times import parse_time

Run = Callable[..., str]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A folder for the settings; nothing is started."""
    return Workshop(tmp_path)


@pytest.fixture
def backtest(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs it; returns what it printed, or what it complained of."""

    def run(*words: str, strategy: str = "mine", code: int = 0) -> str:
        where = ("--config", str(workshop.config), "--state-dir", str(workshop.state_dir))
        found = run_command(["backtest", *where, "--strategy", strategy, "--market", "EURUSD", *words])
        printed = capsys.readouterr()
        assert found == code, printed.err
        return printed.out or printed.err

    return run


def test_only_what_could_be_seen_is_traded_on(
    workshop: Workshop, sqlite: SqliteDatabase, backtest: Run
) -> None:
    ticks = wave(40)
    seen = [tick for tick in ticks if not 600 < (tick.ts_us - FIRST_US) / 1e6 < 900]
    after = [tick._replace(source="backfill") for tick in ticks if tick not in seen]
    prepare(workshop, sqlite, seen + after)
    sqlite.query(
        "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES "
        f"(1, {FIRST_US + 600_000_000}, {FIRST_US + 900_000_000}, 'disconnect', 'full', '')"
    )
    as_seen, filled = backtest(), backtest("--filled")
    assert f"{len(seen):,} ticks" in as_seen
    assert "1 gap: 300 s without prices" in as_seen
    assert "1 void" in as_seen
    assert f"{len(ticks):,} ticks, filled" in filled
    assert "void" not in filled


def test_a_page_shows_the_trades_on_the_candles(
    workshop: Workshop, sqlite: SqliteDatabase, backtest: Run
) -> None:
    prepare(workshop, sqlite, wave(60))
    page = workshop.folder / "page.html"
    backtest("--html", str(page), "--from", "2026-09-21", "--to", "2026-09-22")
    text = page.read_text(encoding="utf-8")
    assert 'class="trade won"' in text
    assert 'class="rise"' in text
    assert "<script" not in text


def test_candles_take_the_place_of_ticks(workshop: Workshop, sqlite: SqliteDatabase, backtest: Run) -> None:
    prepare(workshop, sqlite, wave(1))
    for n in range(30):
        prices = f"1.0, {1.0 + n / 1e3}, 0.9, {1.0 + (n % 3) / 1e4}"
        sqlite.query(
            f"INSERT INTO candle VALUES (1, 60, {FIRST_US + n * 60_000_000}, {prices}, 9, 0, 1, 'imported')"
        )
    sqlite.query(
        f"INSERT INTO candle VALUES (1, 60, {FIRST_US + 40 * 60_000_000}, 1, 2, 0.5, 1, 9, 0, 1, 'venue')"
    )
    printed = backtest("--candles", "60")
    assert "30 candles of 60 s" in printed
    assert "Prices are from candles" in printed
    assert "31 candles of 60 s, filled" in backtest("--candles", "60", "--filled")
    refused = backtest("--candles", "60", strategy="fails", code=1)
    assert "[strategies.fails] expiry_s = 90: with --candles 60 it has to be a multiple of 60" in refused
    assert "no candles of 30 s" in backtest("--candles", "30", code=1)


def test_a_strategy_that_fails_is_named_with_the_place(
    workshop: Workshop, sqlite: SqliteDatabase, backtest: Run
) -> None:
    prepare(workshop, sqlite, wave(10))
    printed = backtest(strategy="fails", code=1)
    assert "fails was set aside at 2026-09-21T" in printed
    assert "ZeroDivisionError: division by zero (mine.py line 10)" in printed


def test_what_cannot_be_is_refused_by_name(workshop: Workshop, sqlite: SqliteDatabase, backtest: Run) -> None:
    prepare(workshop, sqlite, wave(10))
    assert 'no [strategies.min]; did you mean "mine"?' in backtest(strategy="min", code=1)
    assert "no ticks of EURUSD@sim are stored" in backtest("--to", "2020-01-01", code=1)
    assert not Path(workshop.folder / "page.html").exists()


@pytest.mark.parametrize(
    ("flag", "text", "expected"),
    [
        ("--payout", "-5", "a number over 0 and at most 1000"),
        ("--payout", "x", "a number over 0 and at most 1000"),
        ("--candles", "1.5", "a whole number over 0 and at most 86400"),
    ],
)
def test_a_number_that_will_not_do_is_told_with_what_would(
    backtest: Run, capsys: pytest.CaptureFixture[str], flag: str, text: str, expected: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        backtest(f"{flag}={text}")
    assert f"argument {flag}: {text}: expected {expected}" in capsys.readouterr().err


def test_a_payout_is_as_given(workshop: Workshop, sqlite: SqliteDatabase, backtest: Run) -> None:
    prepare(workshop, sqlite, wave(20))
    assert "  9.25  " in backtest("--payout", "92.5")
    assert "SIGNALS REFUSED BY" in backtest("--payout", "60")


def test_a_printed_result_can_be_worked_out_from_the_stored_ticks(
    workshop: Workshop, sqlite: SqliteDatabase, backtest: Run
) -> None:
    ticks = wave(30)
    prepare(workshop, sqlite, ticks)
    lines = [line.split() for line in backtest().splitlines() if line.startswith("2026-")]
    assert {cells[7] for cells in lines} == {"won", "lost"}
    for opened, direction, stake, payout, opens_at, expires, closes_at, result, profit, _ in lines:
        entry, last = (
            [tick.price for tick in ticks if tick.ts_us <= parse_time(text, at_us=0)][-1]
            for text in (opened, expires)
        )
        assert direction == "up"
        assert (float(opens_at), float(closes_at)) == (entry, last)
        assert result == ("won" if last > entry else "lost")
        won = Decimal(stake) * Decimal(payout) / 100
        assert Decimal(profit) == (won if last > entry else -Decimal(stake))


def test_a_simulation_needs_no_settings_file(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop.folder)
    monkeypatch.setenv("HOME", str(workshop.folder))
    workshop.state_dir.mkdir()
    database = SqliteDatabase(target=SqliteTarget(path=workshop.state_dir / "marketd.db"))
    prepare(workshop, database, wave(minutes=9))
    workshop.config.unlink()
    where = ["--state-dir", str(workshop.state_dir)]
    assert run_command(["backtest", *where, "--strategy", "streak", "--market", "EURUSD@sim"]) == 0
    assert "Backtest of streak on EURUSD@sim" in capsys.readouterr().out
