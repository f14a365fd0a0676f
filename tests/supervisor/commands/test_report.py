from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from databases import SqliteDatabase, open_store
from traded import FIRST_US, MINUTE_US, Kept, a_trade, its_signal, refused_signal, ticks_every_second

from domain.clock import as_text
from domain.trades import Position, stable_id
from supervisor.cli import run_command
from supervisor.commands import report

EURUSD, GBPUSD = "EURUSD@sim", "GBPUSD@sim"
Say = Callable[..., str]


def of(mode: str, currency: str, state: str, *, number: int, market: str = EURUSD) -> Position:
    position = a_trade(state, number=number, market=market)
    trade = position.trade._replace(
        id=stable_id(mode, currency, market, number),
        signal_id=stable_id(mode, currency, market, number, "signal"),
        mode=mode,
        currency=currency,
    )
    return attrs.evolve(position, trade=trade)


TRADES = [
    of("paper", "USD", "won", number=0),
    of("paper", "USD", "lost", number=1, market=GBPUSD),
    of("paper", "EUR", "lost", number=0),
    of("demo", "USD", "won", number=0),
    of("real", "USD", "lost", number=0),
    of("paper", "USD", "open", number=2),
]
SIGNALS = [*map(its_signal, TRADES), refused_signal("gap: prices are missing", number=7, market=GBPUSD)]


@pytest.fixture
def say(sqlite: SqliteDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what a report says, of trades in a database without a daemon."""
    with open_store(sqlite.target) as store:
        ticks = ticks_every_second(EURUSD, count=1) + ticks_every_second(GBPUSD, count=1)
        store.pool.run(Kept(ticks=ticks, trades=TRADES, signals=SIGNALS).write)
    settings = tmp_path / "marketd.toml"
    settings.write_text(
        f'[service]\nzone = "Asia/Jakarta"\n[storage]\nurl = "{sqlite.url}"\n', encoding="utf-8"
    )

    def run(*words: str) -> str:
        flags = ["--config", str(settings), "--state-dir", str(tmp_path)]
        assert run_command(["report", *words, *flags]) == 0
        return capsys.readouterr().out

    return run


def parts(text: str) -> list[tuple[str, str, str]]:
    """Return each part's title, its counts and its profit."""
    lines = text.splitlines()
    return [
        (line, lines[at + 3].partition(":")[2].strip(), " ".join(lines[at + 4].split()[1:3]))
        for at, line in enumerate(lines)
        if line.startswith("Trades ")
    ]


def test_records_of_modes_and_currencies_never_mix(say: Say) -> None:
    assert parts(say()) == [
        ("Trades with real money", "0 won, 1 lost", "−10.00 USD"),
        ("Trades on the practice account", "1 won, 0 lost", "+8.00 USD"),
        ("Trades on paper", "0 won, 1 lost", "−10.00 EUR"),
        ("Trades on paper", "1 won, 1 lost", "−2.00 USD"),
    ]


def test_refused_signals_are_counted_once_though_there_are_several_parts(say: Say) -> None:
    assert [line.split() for line in say().splitlines() if line.startswith("gap ")] == [["gap", "1"]]


def test_report_is_of_the_market_and_time_that_are_asked_for(say: Say) -> None:
    of_one = say("GBPUSD")
    assert parts(of_one) == [("Trades on paper on GBPUSD@sim", "0 won, 1 lost", "−10.00 USD")]
    assert "gap" in of_one
    assert "gap" not in say("EURUSD")
    early = say("--to", as_text(FIRST_US + MINUTE_US))
    assert parts(early)[-1] == ("Trades on paper", "1 won, 0 lost", "+8.00 USD")
    assert "not counted 1 open" in say()
    assert "not counted" not in early


def test_span_is_told_in_the_service_s_zone_as_all_other_times(say: Say) -> None:
    text = say("EURUSD", "--from", "2026-11-20T13:00", "--to", "2026-11-27T17:30")
    assert "from 2026-11-20 20:00:00 Asia/Jakarta   to 2026-11-28 00:30:00 Asia/Jakarta" in text


def test_hours_are_those_of_the_service_s_zone(say: Say) -> None:
    lines = say("EURUSD", "--to", as_text(FIRST_US + MINUTE_US)).splitlines()
    hours = [
        lines[at + 1].split()[0] for at, line in enumerate(lines) if line.startswith("HOUR (Asia/Jakarta)")
    ]
    assert hours == ["20:00"] * 4  # 13:33 UTC


def test_report_of_nothing_says_so(say: Say) -> None:
    lines = say("--from", "2030-01-01").splitlines()
    assert lines[0] == "Trades on paper"
    assert lines[-1] == "no trade has settled"


def test_page_lists_the_latest_and_counts_all(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "LISTED", 1)
    say("--html", str(tmp_path / "r.html"))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<tr class=") == 4
    assert "1 listed, the latest; 2 earlier ones are left out" in page
    assert sum(each.trade.profit or Decimal(0) for each in TRADES) == Decimal(-14)
