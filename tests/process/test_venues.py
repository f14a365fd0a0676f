"""27 markets over one socket of each venue: what was sent is stored, or a gap row says what is missing."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import attrs
import pytest
from daemons import (
    Daemon,
    Sent,
    Settings,
    Simulator,
    Workshop,
    differences,
    read_ledger,
    restarts,
    states,
    wait_until,
)
from databases import SqliteDatabase, stored_ticks

import venues

PROTOCOLS = pytest.mark.parametrize("protocol", venues.PROTOCOLS)
GAPS = "SELECT m.symbol, g.from_us, g.to_us FROM gap g JOIN market m ON m.id = g.market_id"
# When the cut comes, in seconds after the first subscribe: by then all markets are live.
CUT_S = {"olymptrade": 10, "deriv": 14, "binance": 3, "kraken": 8}
LONGEST_US = 45_000_000  # a dead socket is found within 15 s; the slowest venue takes 10 s to subscribe all


@attrs.frozen(kw_only=True)
class Stage:
    """A simulated venue and a daemon that watches all of its markets."""

    simulator: Simulator
    daemon: Daemon


def begin(workshop: Workshop, database: SqliteDatabase, protocol: str, *faults: str) -> Stage:
    """Start both; return when every market is live over one socket."""
    flags = [word for fault in faults for word in ("--fault", fault)]
    simulator = workshop.simulator("--protocol", protocol, "--rate", "4", *flags)
    settings = Settings(
        url=f"ws://127.0.0.1:{simulator.port}",
        database=database,
        protocol=protocol,
        source=venues.find_venue(protocol).default_source,
        venue=f'token_file = "{token_file(workshop)}"',
    )
    daemon = workshop.daemon(settings)
    status = daemon.wait_live()
    assert len(status["markets"]) == 27
    assert len(status["connections"]) == 1
    return Stage(simulator=simulator, daemon=daemon)


def token_file(workshop: Workshop) -> Path:
    """Return a file with a token that every simulated venue takes."""
    path = workshop.folder / "token"
    path.touch(mode=0o600)
    path.write_text("simulated")
    return path


def wait_for_more(daemon: Daemon, *, ticks: int) -> None:
    """Wait until every market has so many more ticks."""
    before = {row["id"]: row["ticks"] for row in daemon.status()["markets"]}
    daemon.wait_until(
        lambda status: all(row["ticks"] >= before[row["id"]] + ticks for row in status["markets"]),
        what=f"{ticks} more ticks of each",
    )


def wait_back(daemon: Daemon) -> None:
    """Wait until every market started over and is live again."""
    daemon.wait_until(lambda status: min(restarts(status).values()) >= 1, what="all cut")
    daemon.wait_live()


def read_live(database: SqliteDatabase, ledger: Sequence[Sent]) -> list[Sent]:
    """Return what came over sockets, with as much of time and number as the wire told."""
    has_time, has_number = ledger[0].ts_us is not None, ledger[0].seq is not None
    return [
        Sent(
            tick.market.partition("@")[0],
            tick.ts_us if has_time else None,
            tick.seq if has_number else None,  # type: ignore[arg-type]
            tick.price,
        )
        for tick in stored_ticks(database)
        if tick.source == "live"
    ]


class Row(NamedTuple):
    """A gap row."""

    from_us: int
    to_us: int


def read_gaps(database: SqliteDatabase) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = defaultdict(list)
    for symbol, from_us, to_us in database.query(GAPS):
        rows[symbol].append(Row(from_us, to_us))
    return rows


def assert_nobody_was_banned(simulator: Simulator) -> None:
    simulator.stop()
    assert "banned" not in simulator.errors()


def assert_same(stored: Sequence[Sent], sent: Sequence[Sent]) -> None:
    assert len(sent) > 27
    assert differences(stored, sent) == {"missing": [], "too much": []}
    assert stored == sent


def assert_gaps_are_as_long_as_they_must_be(rows: dict[str, list[Row]], database: SqliteDatabase) -> None:
    """Fail unless each row reaches from a live tick to the next one, and is not longer than it may be."""
    times: dict[str, list[int]] = defaultdict(list)
    for tick in stored_ticks(database):
        if tick.source == "live":
            times[tick.market.partition("@")[0]].append(tick.ts_us)
    for symbol, each in rows.items():
        for from_us, to_us in each:
            assert to_us - from_us <= LONGEST_US
            known = sorted(set(times[symbol]))
            assert known[bisect_left(known, from_us) + 1] == to_us


def missing(stored: Iterable[Sent], sent: Iterable[Sent]) -> list[Sent]:
    has = set(stored)
    return [each for each in sent if each not in has]


def is_covered(line: Sent, rows: dict[str, list[Row]]) -> bool:
    return any(
        line.ts_us is not None and from_us < line.ts_us < to_us for from_us, to_us in rows[line.symbol]
    )


@PROTOCOLS
def test_without_a_cut_the_table_is_the_ledger(
    workshop: Workshop, sqlite: SqliteDatabase, protocol: str
) -> None:
    stage = begin(workshop, sqlite, protocol)
    wait_for_more(stage.daemon, ticks=3)
    assert stage.daemon.stop() == 0
    assert_nobody_was_banned(stage.simulator)
    ledger = read_ledger(workshop.ledger)
    assert_same(read_live(sqlite, ledger), ledger)
    assert read_gaps(sqlite) == {}


@PROTOCOLS
def test_after_a_close_nothing_is_missing_and_after_a_reset_only_inside_a_gap(
    workshop: Workshop, sqlite: SqliteDatabase, protocol: str
) -> None:
    first_s = CUT_S[protocol]
    stage = begin(workshop, sqlite, protocol, f"close@{first_s}", f"reset@{2 * first_s + 4}")
    wait_back(stage.daemon)
    stage.daemon.wait_until(lambda status: min(restarts(status).values()) >= 2, what="all cut twice")
    stage.daemon.wait_live()
    wait_for_more(stage.daemon, ticks=2)
    assert [line for line in stage.daemon.lines() if "patience" in str(line)] == []
    rows = finish(stage, workshop, sqlite)
    assert {len(each) for each in rows.values()} == {2}
    ledger = read_ledger(workshop.ledger)
    by_reset = {symbol: sorted(each)[1:] for symbol, each in rows.items()}
    assert [
        line for line in missing(read_live(sqlite, ledger), ledger) if not is_covered(line, by_reset)
    ] == []


@pytest.mark.parametrize(
    "protocol",
    [
        each if each == "olymptrade" else pytest.param(each, marks=pytest.mark.soak)
        for each in venues.PROTOCOLS
    ],
)
def test_what_a_half_open_socket_took_away_lies_inside_a_gap(
    workshop: Workshop, sqlite: SqliteDatabase, protocol: str
) -> None:
    stage = begin(workshop, sqlite, protocol, f"half-open@{CUT_S[protocol]}")
    wait_back(stage.daemon)
    wait_for_more(stage.daemon, ticks=2)
    rows = finish(stage, workshop, sqlite)
    ledger = read_ledger(workshop.ledger)
    assert [line for line in missing(read_live(sqlite, ledger), ledger) if not is_covered(line, rows)] == []


def finish(stage: Stage, workshop: Workshop, database: SqliteDatabase) -> dict[str, list[Row]]:
    """Stop both; return the gap rows, of which each market has as long ones as it must have."""
    assert stage.daemon.stop() == 0
    assert_nobody_was_banned(stage.simulator)
    ledger = read_ledger(workshop.ledger)
    assert differences(read_live(database, ledger), ledger)["too much"] == []
    rows = read_gaps(database)
    assert len(rows) == 27
    assert_gaps_are_as_long_as_they_must_be(rows, database)
    return rows


def test_history_fills_what_a_venue_that_was_away_went_on_with(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--protocol", "deriv", "--rate", "4", "--fault", "refuse@5+6")
    settings = Settings(
        url=f"ws://127.0.0.1:{simulator.port}", database=sqlite, protocol="deriv", source="quotes",
        symbols=("EURUSD", "GBPUSD", "USDJPY"),
    )  # fmt: skip
    daemon = workshop.daemon(settings)
    daemon.wait_live()
    wait_back(daemon)
    fills = "SELECT fill FROM gap WHERE to_us IS NOT NULL"
    wait_until(lambda: sqlite.query(fills) == [("full",)] * 3, what="three gaps filled")
    assert daemon.stop() == 0
    seconds: dict[str, list[int]] = defaultdict(list)
    for tick in stored_ticks(sqlite):
        seconds[tick.market].append(tick.ts_us // 1_000_000)
    for each in seconds.values():  # a price a second, and none twice; a busy machine may leave one out
        assert {later - earlier for earlier, later in pairwise(each)} <= {1, 2, 3}
    assert sum(tick.source == "backfill" for tick in stored_ticks(sqlite)) >= 3 * 5


def test_a_locked_market_is_closed_and_comes_back_by_itself(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--protocol", "deriv", "--fault", "lock@4+12:EURUSD")
    settings = Settings(
        url=f"ws://127.0.0.1:{simulator.port}", database=sqlite, protocol="deriv", source="quotes",
        symbols=("EURUSD", "GBPUSD"), stale_after_s=3.0,
    )  # fmt: skip
    daemon = workshop.daemon(settings)
    daemon.wait_live()
    closed = daemon.wait_until(
        lambda status: states(status)["EURUSD"] == "closed" and "opens" in str(status), what="closed"
    )
    assert states(closed)["GBPUSD"] == "live"
    daemon.wait_live()
    assert daemon.stop() == 0
    [stale, rest, *late] = sqlite.query("SELECT cause, from_us, to_us FROM gap ORDER BY from_us")
    assert (stale[0], rest[0]) == ("stale", "closed")
    assert stale[2] == rest[1] + 1  # what its silence was is known only when it is asked
    for cause, from_us, _ in late:  # it opened, and is to be subscribed
        assert (cause, from_us) == ("disconnect", rest[2] - 1)
