"""What the venue sent is what the table holds: the simulator's ledger is the oracle."""

import json
import signal
from pathlib import Path

import pytest
from daemons import FIVE, WITHIN_S, Sent, Settings, Simulator, Workshop, assert_stored_as_sent, read_stored
from databases import AnyDatabase, SqliteDatabase

SILENT_FOR_MS = 1_500  # nothing is under way any more
SILENT_AFTER_S = 3  # the 27 markets are subscribed within about one


def store_until_silent(
    workshop: Workshop, database: AnyDatabase, *, source: str, rate: int, silent_after_s: int
) -> None:
    """Take in all that a simulator sends until it falls silent, then stop the daemon in order."""
    simulator = workshop.simulator("--rate", f"{rate}", "--fault", f"silent@{silent_after_s}")
    daemon = workshop.daemon(Settings(url=simulator.url, database=database, source=source))
    daemon.wait_live()
    daemon.wait_until(
        lambda status: min(row["age_ms"] for row in status["markets"]) > SILENT_FOR_MS,
        what="silent for a while",
        within_s=silent_after_s + WITHIN_S,
    )
    assert daemon.stop() == 0
    simulator.stop()
    assert_stored_as_sent(database, workshop.ledger, source=source)


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_table_equals_the_ledger(workshop: Workshop, database: AnyDatabase, source: str) -> None:
    store_until_silent(workshop, database, source=source, rate=40, silent_after_s=SILENT_AFTER_S)


@pytest.mark.soak
@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_table_equals_the_ledger_of_a_minute(workshop: Workshop, database: AnyDatabase, source: str) -> None:
    store_until_silent(workshop, database, source=source, rate=20, silent_after_s=60)


def test_nothing_that_arrived_is_lost_by_a_stop_in_full_flow(
    workshop: Workshop, database: AnyDatabase
) -> None:
    simulator = workshop.simulator("--rate", "40")
    daemon = workshop.daemon(Settings(url=simulator.url, database=database))
    daemon.wait_live()
    status = daemon.status()
    assert daemon.stop() == 0
    assert len(read_stored(database, source="trades")) >= sum(row["ticks"] for row in status["markets"])


def test_restart_doubles_nothing_that_was_stored(
    workshop: Workshop, sqlite: SqliteDatabase, calm: Simulator
) -> None:
    settings = Settings(url=calm.url, database=sqlite, symbols=FIVE)
    for _ in range(2):
        daemon = workshop.daemon(settings)
        daemon.wait_live()
        assert daemon.stop() == 0
    stored = read_stored(sqlite, source="trades")
    assert len(set(stored)) == len(stored)
    assert {sent.symbol for sent in stored} == set(settings.symbols)


# --- a recording ------------------------------------------------------------------------------


def trade(symbol: str, *, number: int, price: str, at_ms: int) -> str:
    data = {"e": "aggTrade", "s": symbol, "a": number, "p": price, "q": "3", "T": at_ms}
    return json.dumps({"stream": f"{symbol.lower()}@aggTrade", "data": data})


def quote(symbol: str, *, number: int, bid: str, ask: str) -> str:
    data = {"u": number, "s": symbol, "b": bid, "B": "1", "a": ask, "A": "1"}
    return json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})


AT_MS = 1_700_000_000_001
RECORDED = [
    # what we said then is not to be played
    ("out", '{"method":"SUBSCRIBE","params":["eurusd@aggTrade"],"id":1}'),
    ("in", '{"result":null,"id":77}'),
    ("in", quote("EURUSD", number=5, bid="1.5", ask="2.5")),
    ("in", trade("EURUSD", number=7, price="1.25", at_ms=AT_MS)),
    ("in", trade("EURUSD", number=8, price="1.5", at_ms=AT_MS)),
    # the same again, as after a reconnect: no second row
    ("in", trade("EURUSD", number=8, price="1.5", at_ms=AT_MS)),
    ("in", quote("EURUSD", number=6, bid="1", ask="2")),
    # nobody asked for it; no price; no JSON
    ("in", trade("USDJPY", number=1, price="150", at_ms=AT_MS + 1)),
    ("in", trade("EURUSD", number=9, price="-1", at_ms=AT_MS + 2)),
    ("in", "{broken"),
    ("in", trade("GBPUSD", number=3, price="0.5", at_ms=AT_MS + 3)),
]

EXPECTED = {
    "trades": [
        Sent("EURUSD", AT_MS * 1_000, 7, 1.25),
        Sent("EURUSD", AT_MS * 1_000, 8, 1.5),
        Sent("GBPUSD", (AT_MS + 3) * 1_000, 3, 0.5),
    ],
    "quotes": [Sent("EURUSD", None, 5, 2.0), Sent("EURUSD", None, 6, 1.5)],
}


def write_recording(path: Path) -> None:
    lines = [
        json.dumps({"at_us": 1_600_000_000_000_000 + number, "dir": direction, "frame": text})
        for number, (direction, text) in enumerate(RECORDED)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("source", ["trades", "quotes"])
def test_replayed_recording_stores_exactly_its_rows(
    workshop: Workshop, sqlite: SqliteDatabase, source: str
) -> None:
    recording = workshop.folder / "recording.jsonl"
    write_recording(recording)
    simulator = workshop.simulator("--replay", str(recording))
    settings = Settings(
        url=simulator.url,
        database=sqlite,
        source=source,
        symbols=("EURUSD", "GBPUSD"),
        start_delay_ms=300,  # each market asks in a frame of its own, and gets its own answer
    )
    daemon = workshop.daemon(settings)
    expected = len(settings.symbols) + sum(direction == "in" for direction, _ in RECORDED)
    daemon.wait_until(
        lambda status: status["connections"][0]["frames"] == expected, what="the recording is over"
    )
    assert daemon.stop(signal.SIGINT) == 0
    assert read_stored(sqlite, source=source) == EXPECTED[source]
