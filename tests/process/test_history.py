"""`marketd history` and `marketd gaps` against real databases, with a daemon and without."""

import csv
import functools
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from daemons import (
    CLOSED_PORT_URL,
    FIVE,
    MARKETD,
    WITHIN_S,
    Daemon,
    Settings,
    Start,
    Workshop,
    restarts,
    states,
)
from databases import AnyDatabase, Batch, MariadbDatabase, SqliteDatabase, open_store, some_ticks

from domain.market import Tick

FIRST_US = 1_700_000_000_000_000
MANY = 6_000  # ticks: some pages
PARSERS = {
    "ts_us": int, "seq": int, "price": float, "bid": float, "ask": float, "volume": float, "received_us": int,
    "open_us": int, "open": float, "high": float, "low": float, "close": float, "ticks": int, "complete": int,
    "from_us": int, "to_us": int, "length_us": int,
}  # fmt: skip
CANDLES = [
    (FIRST_US + n * 60_000_000, 1 / 3 + n, 2.5 + n, 0.1, 1e22, n, n / 7, n % 2, "ticks") for n in range(5)
]
GAPS = [
    ("M1@sim", FIRST_US, FIRST_US + 1_500_000, 1_500_000, "disconnect", "none", 'a, "b"\nc 🙂'),
    ("M0@sim", FIRST_US + 1, None, None, "stale", "none", ""),
]


def fill(database: AnyDatabase, ticks: list[Tick]) -> None:
    with open_store(database.target) as store:
        for start in range(0, len(ticks), 20_000):
            batch = Batch(ticks=ticks[start : start + 20_000])
            store.pool.run(functools.partial(store.batches.store, batch=batch))


def fill_with_all(database: AnyDatabase) -> list[Tick]:
    """Fill ticks, candles and gaps of three markets that no settings name; return the ticks."""
    ticks = some_ticks(markets=3, each=MANY, first_us=FIRST_US)
    fill(database, ticks)
    ids = dict(database.query("SELECT symbol, id FROM market"))
    for row in CANDLES:
        values = ", ".join(map(repr, (ids["M1"], 60, *row)))
        database.query(f"INSERT INTO candle VALUES ({values})")
    for market, from_us, to_us, _, cause, fill_, note in GAPS:
        place = ids[market.partition("@")[0]]
        database.query(
            "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) VALUES "
            f"({place}, {from_us}, {to_us or 'NULL'}, '{cause}', '{fill_}', '{note}')"
        )
    return ticks


def rows_of(ticks: list[Tick], market: str) -> list[tuple[Any, ...]]:
    return [tick[1:] for tick in sorted(ticks) if tick.market == market]


def parsed_csv(text: str) -> list[tuple[Any, ...]]:
    head, *lines = list(csv.reader(io.StringIO(text, newline="")))
    return [
        tuple(
            (PARSERS.get(name, str)(field) if field or name == "fill_note" else None)
            for name, field in zip(head, line, strict=True)
        )
        for line in lines
    ]


def parsed_jsonl(text: str) -> list[tuple[Any, ...]]:
    return [tuple(json.loads(line).values()) for line in text.splitlines()]


def printed(workshop: Workshop, *words: str) -> str:
    """Run a command with the workshop's settings; return its output."""
    done = workshop.command(*words, "--config", str(workshop.config))
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(workshop: Workshop, *words: str) -> str:
    """Run a command that fails; return what it complains of."""
    done = workshop.command(*words, "--config", str(workshop.config))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def assert_prints_what_is_stored(workshop: Workshop, ticks: list[Tick]) -> None:
    wanted = rows_of(ticks, "M1@sim")
    assert parsed_csv(printed(workshop, "history", "M1", "--ticks", "--format", "csv")) == wanted
    assert parsed_jsonl(printed(workshop, "history", "M1@sim", "--ticks", "--format", "jsonl")) == wanted
    assert parsed_csv(printed(workshop, "history", "M1", "--format", "csv")) == CANDLES
    assert (
        parsed_jsonl(printed(workshop, "history", "M1", "--timeframe", "60", "--format", "jsonl")) == CANDLES
    )
    assert parsed_csv(printed(workshop, "gaps", "--format", "csv")) == GAPS
    assert parsed_jsonl(printed(workshop, "gaps", "M0", "--format", "jsonl")) == GAPS[1:]
    span = ("--from", "2023-11-14T22:13:21Z", "--to", "2023-11-14T23:13:22+01:00")
    inside = [row for row in wanted if FIRST_US + 10**6 <= row[0] < FIRST_US + 2 * 10**6]
    assert parsed_csv(printed(workshop, "history", "M1", "--ticks", *span, "--format", "csv")) == inside
    assert len(inside) == 1_000
    assert printed(workshop, "history", "M1").count("\n") == 1 + len(CANDLES)
    assert "did you mean M1@sim" in refused(workshop, "history", "M1x")


def resting(database: AnyDatabase) -> Settings:
    """Return settings of a daemon that never sees a tick."""
    return Settings(url=CLOSED_PORT_URL, database=database, symbols=FIVE)


def test_without_a_daemon_is_printed_what_is_stored(workshop: Workshop, database: AnyDatabase) -> None:
    ticks = fill_with_all(database)
    workshop.change(resting(database))
    assert_prints_what_is_stored(workshop, ticks)


def test_with_a_daemon_is_printed_what_is_stored(workshop: Workshop, database: AnyDatabase) -> None:
    ticks = fill_with_all(database)
    daemon = workshop.daemon(resting(database))
    daemon.wait_until(lambda status: status["writer"]["db"] == "up", what="database up")
    assert_prints_what_is_stored(workshop, ticks)
    assert not daemon.has_said("control")  # a page is nothing to tell the operator of


def test_what_the_daemon_stores_can_be_read_while_it_runs(
    database: AnyDatabase, start: Start, workshop: Workshop
) -> None:
    daemon, _ = start(database)
    daemon.wait_stored(100)
    found = parsed_csv(printed(workshop, "history", "EURUSD", "--ticks", "--to", "0s", "--format", "csv"))
    assert daemon.stop() == 0
    stored = database.query(
        "SELECT ts_us, seq, price FROM tick JOIN market ON market.id = market_id "
        "WHERE symbol = 'EURUSD' ORDER BY ts_us, seq"
    )
    assert len(found) > 5
    assert [row[:3] for row in found] == stored[: len(found)]


# --- the daemon is not hurt -------------------------------------------------------------------


def begin_history(workshop: Workshop, *words: str) -> "subprocess.Popen[bytes]":
    """Start a history whose output nobody takes yet."""
    return subprocess.Popen(
        [MARKETD, "history", *words, "--state-dir", workshop.state_dir], stdout=subprocess.PIPE
    )


def ticks_of_each(daemon: Daemon) -> dict[str, int]:
    return {row["symbol"]: row["ticks"] for row in daemon.status()["markets"]}


def wait_for_more_of_each(daemon: Daemon, before: dict[str, int], *, more: int) -> None:
    daemon.wait_until(
        lambda status: all(row["ticks"] >= before[row["symbol"]] + more for row in status["markets"]),
        what=f"{more} more ticks of each",
    )


def test_slow_reader_of_a_long_history_holds_up_nothing(
    workshop: Workshop, database: AnyDatabase, start: Start
) -> None:
    ticks = some_ticks(markets=2, each=20_000, first_us=FIRST_US)
    fill(database, ticks)
    daemon, _ = start(database)
    with begin_history(workshop, "M1", "--ticks", "--format", "csv") as reader:
        assert reader.stdout is not None
        first = reader.stdout.read(1)
        before, stored = ticks_of_each(daemon), daemon.status()["writer"]["stored"]
        wait_for_more_of_each(daemon, before, more=20)
        daemon.wait_stored(stored + 100)
        rest = reader.stdout.read().decode()
        assert reader.wait(WITHIN_S) == 0
    assert parsed_csv(first.decode() + rest) == rows_of(ticks, "M1@sim")
    status = daemon.status()
    assert states(status) == dict.fromkeys(FIVE, "live")
    assert restarts(status) == dict.fromkeys(FIVE, 0)
    assert daemon.stop() == 0


def test_feeds_go_on_while_histories_are_read_as_fast_as_can_be(
    workshop: Workshop, database: AnyDatabase, start: Start
) -> None:
    ticks = some_ticks(markets=2, each=20_000, first_us=FIRST_US)
    fill(database, ticks)
    daemon, _ = start(database)
    before = ticks_of_each(daemon)
    pages = 0
    while min(count - before[symbol] for symbol, count in ticks_of_each(daemon).items()) < 40:
        after = None
        rows = 0
        while True:
            page = daemon.ask("history", market="M0", kind="ticks", after=after, limit=5_000)
            rows, pages = rows + len(page["rows"]), pages + 1
            after = page["next"]
            if after is None:
                break
        assert rows == 20_000
    assert pages >= 4
    status = daemon.status()
    assert states(status) == dict.fromkeys(FIVE, "live")
    assert restarts(status) == dict.fromkeys(FIVE, 0)
    assert status["mailboxes"]["writer/ticks"]["dropped"] == 0
    assert daemon.stop() == 0


def test_reader_that_has_seen_enough_is_no_crash(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    fill(sqlite, some_ticks(markets=1, each=20_000, first_us=FIRST_US))
    workshop.change(resting(sqlite))
    command = f"{MARKETD} history M0 --ticks --config {workshop.config} --state-dir {workshop.state_dir}"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} | head -n 2"],
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN_S,
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_daemon_whose_database_is_away_says_so(workshop: Workshop, mariadb: MariadbDatabase) -> None:
    fill(mariadb, some_ticks(markets=1, each=10))
    daemon = workshop.daemon(resting(mariadb))
    daemon.wait_until(lambda status: status["writer"]["db"] == "up", what="database up")
    mariadb.server.kill()
    assert "2003" in refused(workshop, "history", "M0", "--ticks")
    mariadb.server.start()
    assert parsed_csv(printed(workshop, "history", "M0", "--ticks", "--format", "csv"))
    assert daemon.stop() == 0


# --- without a daemon nothing is written ------------------------------------------------------


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_reading_without_a_daemon_leaves_every_file_as_it_was(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    fill_with_all(sqlite)
    workshop.change(resting(sqlite))
    before = contents(workshop.folder)
    assert "marketd.db" in before
    printed(workshop, "history", "M0", "--ticks")
    printed(workshop, "gaps")
    refused(workshop, "history", "NOSUCH")
    assert contents(workshop.folder) == before


def test_missing_database_is_named_and_not_made(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    workshop.change(resting(sqlite))
    for words in (("history", "M0", "--ticks"), ("gaps",)):
        assert str(sqlite.target.path) in refused(workshop, *words)
    assert [file.name for file in workshop.folder.iterdir()] == ["marketd.toml"]


def test_simulation_s_history_is_read_without_a_settings_file(workshop: Workshop) -> None:
    settings = workshop.folder / "quick.toml"
    settings.write_text("[supervision]\nstart_delay_ms = 20\n[storage]\nstore_every_ms = 100\n")
    daemon = workshop.daemon_by([MARKETD, "run", "--simulated", "--config", settings])
    daemon.wait_stored(daemon.wait_live()["writer"]["accepted"])
    running = workshop.command("history", "EURUSD", "--ticks", "--format", "csv")
    assert daemon.stop() == 0
    resting_ = workshop.command("history", "EURUSD", "--ticks", "--format", "csv", "--config", str(settings))
    assert (running.returncode, resting_.returncode) == (0, 0), running.stderr + resting_.stderr
    assert len(running.stdout.splitlines()) > 1
    assert resting_.stdout.startswith(running.stdout)


def test_wrong_words_are_named(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    fill_with_all(sqlite)
    workshop.change(resting(sqlite))
    for words, code, says in (
        (("history",), 2, "ID"),
        (("history", "M0", "--from", "soon"), 2, "'soon'"),
        (("history", "M0", "--to", "2026-02-30"), 2, "'2026-02-30'"),
        (("history", "M0", "--ticks", "--timeframe", "60"), 2, "--ticks"),
        (("history", "M0", "--timeframe", "1m"), 2, "'1m'"),
        (("history", "M0", "--format", "xml"), 2, "'xml'"),
        (("history", "M0", "--timeframe", "0"), 1, "timeframe_s = 0"),
        (("history", "M0", "--from", "2d", "--to", "3d"), 1, "--from"),
        (("gaps", "M7"), 1, "'M7'"),
        (("gaps", "--ticks"), 2, "--ticks"),
    ):
        done = workshop.command(*words, "--config", str(workshop.config))
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr


# --- memory -----------------------------------------------------------------------------------

# Small: a child's peak begins with that of the process it was forked from.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
MAX_PEAK_KIB = 60 * 1024


def peak_kib(workshop: Workshop, *words: str) -> int:
    """Return the most memory that a command had."""
    command = [MARKETD, *words, "--config", workshop.config, "--state-dir", workshop.state_dir]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    code, kib = done.stdout.split()
    assert code == "0", done.stderr
    return int(kib)


def assert_memory_is_flat(workshop: Workshop, *, form: str) -> None:
    """Compare all of a market's ticks with its first thousand."""
    few = peak_kib(workshop, "history", "M0", "--ticks", "--to", "2023-11-14T22:13:21Z", "--format", form)
    all_ = peak_kib(workshop, "history", "M0", "--ticks", "--format", form)
    assert all_ < few + 8 * 1024
    assert all_ < MAX_PEAK_KIB


@pytest.mark.parametrize("form", ["csv", "jsonl", "table"])
def test_history_of_many_ticks_needs_no_more_memory(
    workshop: Workshop, sqlite: SqliteDatabase, form: str
) -> None:
    fill(sqlite, some_ticks(markets=1, each=100_000, first_us=FIRST_US))
    workshop.change(resting(sqlite))
    assert_memory_is_flat(workshop, form=form)


@pytest.mark.soak
def test_history_of_millions_of_ticks_needs_no_more_memory(workshop: Workshop, database: AnyDatabase) -> None:
    for part in range(30):
        fill(database, some_ticks(markets=2, each=50_000, first_us=FIRST_US + part * 50_000_000))
    workshop.change(resting(database))
    for form in ("csv", "jsonl", "table"):
        assert_memory_is_flat(workshop, form=form)
    assert printed(workshop, "history", "M1", "--ticks", "--format", "jsonl").count("\n") == 1_500_000
