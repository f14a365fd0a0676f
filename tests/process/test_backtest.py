"""`marketd backtest` over real databases, with a daemon and without."""

from backtests import prepare, wave
from daemons import Workshop
from databases import AnyDatabase


def backtest(workshop: Workshop) -> str:
    """Run it; return what it printed."""
    words = ("--config", str(workshop.config), "--strategy", "mine", "--market", "EURUSD")
    done = workshop.command("backtest", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bar where nobody sees it
    return done.stdout


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
