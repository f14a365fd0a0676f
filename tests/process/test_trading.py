"""Trading on paper by a real daemon at a real simulator."""

import signal

from daemons import Settings, Workshop, assert_stored_as_sent, wait_until
from databases import MariadbDatabase, SqliteDatabase
from paper import FAULTS, FAULTY, backtest_trades, ended, faulty, has_settled, quick, result, trades, trading

from domain.trades import TradeState

ONE = ("EURUSD",)


def test_paper_and_backtest_make_the_same_trades(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    venue = workshop.simulator("--rate", "20", "--seed", "7", "--fault", "close@3", "--fault", "silent@6+2")
    settings = quick(Settings(url=venue.url, database=sqlite, symbols=ONE, stale_after_s=1.0))
    daemon = workshop.daemon(settings)
    daemon.wait_live()
    wait_until(has_settled(5, sqlite), what="trades settled")
    wait_until(lambda: {"won", "lost"} <= {trade.state for trade in trades(sqlite)}, what="both results")
    assert daemon.stop() == 0
    assert daemon.lines()[-1]["trades"] == len(trades(sqlite)) - len(ended(sqlite))
    on_paper = {trade.id: result(trade) for trade in ended(sqlite).values()}
    expected = backtest_trades(workshop, market="EURUSD@sim")
    assert {id_: result(expected[id_]) for id_ in on_paper} == on_paper
    last_us = max(trade.intended_us for trade in on_paper.values())
    assert {id_ for id_, trade in expected.items() if trade.intended_us <= last_us} == set(on_paper)


def test_after_a_kill_trades_go_on_where_they_were(workshop: Workshop, mariadb: MariadbDatabase) -> None:
    venue = workshop.simulator("--rate", "20", "--seed", "7")
    settings = quick(Settings(url=venue.url, database=mariadb, symbols=ONE), expiry_s=6, per_market=4)
    daemon = workshop.daemon(settings)
    daemon.wait_until(lambda status: status["trading"]["open"] >= 3, what="three trades open")
    daemon.wait_until(lambda status: status["writer"]["stored"] >= 100, what="some ticks stored")
    daemon.kill()
    again = workshop.daemon(settings)
    again.wait_until(lambda status: status["trading"]["is_ready"], what="trading is ready")
    before = {trade.id: trade for trade in trades(mariadb)}
    count = len(before)
    assert trading(again)["trades_today"] >= count
    again.ask("drain", on=True)
    again.wait_until(lambda status: status["trading"]["open"] == 0, what="all ended")
    assert again.stop() == 0
    after = ended(mariadb)
    assert set(before) <= set(after)
    expected = backtest_trades(workshop, market="EURUSD@sim")
    survived = {
        id_: result(trade)
        for id_, trade in after.items()
        if TradeState(trade.state) is not TradeState.REFUSED and id_ in before
    }
    assert len(survived) >= 2  # one at most was about to open
    assert {id_: result(expected[id_]) for id_ in survived} == survived


def test_a_strategy_that_breaks_its_promise_is_set_aside_and_no_tick_is_lost(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    (workshop.folder / "own.py").write_text(FAULTY)
    venue = workshop.simulator("--rate", "20")
    daemon = workshop.daemon(faulty(Settings(url=venue.url, database=sqlite)))

    def set_aside() -> dict[str, str]:
        return {each["strategy"]: each["reason"] for each in trading(daemon)["strategies"] if each["reason"]}

    daemon.wait_live()
    wait_until(lambda: set(set_aside()) == set(FAULTS), what="all four set aside")
    reasons = set_aside()
    assert reasons["Raises"] == "ZeroDivisionError: division by zero at own.py:8"
    assert reasons["Loops"] == "did not return within 1 s"
    assert reasons["Sleeps"].startswith("slow: 3 of its last 3 calls of on_candle took more than 20 ms")
    assert reasons["AsksForMore"].startswith("MissingHistory: it asks for 10 candles")
    assert daemon.has_said("strategy", strategy="Loops", market="GBPUSD@sim")
    daemon.send(signal.SIGALRM)  # rings in no strategy: nobody hears it
    daemon.ask("market", action="restart", markets=["EURUSD"])
    wait_until(
        lambda: daemon.market("EURUSD")["state"] == "live" and "Raises" in set_aside(),
        what="it had another chance, and failed again",
    )
    said = [line for line in daemon.lines() if line.get("strategy") == "Raises"]
    assert len(said) == 2
    assert daemon.stop() == 0
    assert_stored_as_sent(sqlite, workshop.ledger, source="trades")
    assert trades(sqlite)
