"""The outside fails in every way it can: the daemon lives, touches only what is concerned, comes back."""

import itertools
import json
import time
from functools import partial

import attrs
import pytest
import trio
import trio_websocket
from daemons import (
    CLOSED_PORT_URL,
    FIVE,
    MOST_THREADS,
    WITHIN_S,
    Daemon,
    Settings,
    Simulator,
    Status,
    Workshop,
    all_live,
    read_stored,
    restarts,
    states,
)
from databases import MariadbDatabase, SqliteDatabase

from venues.simulated.prices import FX_PAIRS

THREE = ("EURCHF", "EURAUD", "EURCAD")


def connection_restarts(status: Status, *, venue: str = "sim") -> int:
    return sum(row["restarts"] for row in status["connections"] if row["venue"] == venue)


@attrs.frozen(kw_only=True)
class Note:
    """A SUBSCRIBE frame, and when it came (monotonic)."""

    at: float
    streams: list[str]


@attrs.define(eq=False)
class NotesSubscribes:
    """A venue that sends each stream one trade a few times a second, and can drop its client."""

    notes: list[list[Note]] = attrs.field(factory=list)  # of each session
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def drop(self) -> None:
        """End the session without a word."""
        self._scope.cancel()

    async def serve(self, request: trio_websocket.WebSocketRequest) -> None:
        """Serve one session."""
        socket = await request.accept()
        notes: list[Note] = []
        self.notes.append(notes)
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_trades, socket, notes)
                    await self._answer(socket, notes)
        except* trio_websocket.ConnectionClosed:
            pass

    async def _answer(self, socket: trio_websocket.WebSocketConnection, notes: list[Note]) -> None:
        while True:
            asked = json.loads(await socket.get_message())
            if asked["method"] == "SUBSCRIBE":
                notes.append(Note(at=trio.current_time(), streams=asked["params"]))
            await socket.send_message(json.dumps({"result": None, "id": asked["id"]}))

    async def _send_trades(self, socket: trio_websocket.WebSocketConnection, notes: list[Note]) -> None:
        for number in itertools.count(1):
            await trio.sleep(0.2)
            for stream in [stream for note in notes for stream in note.streams]:
                trade = {"a": number, "p": "1.5", "q": "1", "T": number}
                await socket.send_message(json.dumps({"stream": stream, "data": trade}))


# --- the venue goes and comes back ------------------------------------------------------------


def test_every_market_comes_back_by_itself_after_the_venue_was_killed(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--rate", "10")
    daemon = workshop.daemon(Settings(url=simulator.url, database=sqlite, log_level="debug"))
    daemon.wait_live()
    simulator.kill()
    daemon.wait_until(lambda status: set(states(status).values()) == {"waiting"}, what="all waiting")
    workshop.simulator("--rate", "10", port=simulator.port)
    status = daemon.wait_live()
    assert set(restarts(status).values()) == {1}
    assert daemon.stop() == 0
    for row in status["markets"]:
        assert seen_states(daemon, row["id"])[:5] == ["starting", "live", "waiting", "starting", "live"]


def seen_states(daemon: Daemon, market: str) -> list[str]:
    """Return the states a market went through, by the daemon's own word."""
    return [
        line["state"] for line in daemon.lines() if line["event"] == "state" and line.get("market") == market
    ]


async def test_first_starts_and_restarts_are_spaced_by_the_gate(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    # more than the protocol's own spacing of frames, 250 ms, which would hide the gate's
    spacing_ms = 300
    venue = NotesSubscribes()
    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, venue.serve, "127.0.0.1", 0, None)
        server = await nursery.start(serve)
        settings = Settings(
            url=f"ws://127.0.0.1:{server.port}/stream",
            database=sqlite,
            symbols=FIVE,
            start_delay_ms=spacing_ms,
        )
        daemon = workshop.daemon(settings)
        for session in (1, 2):
            await trio.to_thread.run_sync(daemon.wait_live)
            notes = venue.notes[-1]
            assert len(venue.notes) == session
            assert [len(note.streams) for note in notes] == [1] * len(FIVE)
            gaps = [after.at - before.at for before, after in itertools.pairwise(notes)]
            # Half of it: what is measured is when frames arrive, and a busy machine delays some.
            assert min(gaps) > spacing_ms / 1_000 / 2
            venue.drop()
            await trio.to_thread.run_sync(
                partial(daemon.wait_until, lambda status: not all_live(status), what="dropped")
            )
        nursery.cancel_scope.cancel()
    assert set(restarts(daemon.status()).values()) == {2}


def test_venue_that_keeps_dropping_us_is_never_taken_for_our_own_crash(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    faults = [word for number in range(1, 8) for word in ("--fault", f"reset@{number * 0.4:.1f}")]
    simulator = workshop.simulator("--rate", "40", *faults)
    daemon = workshop.daemon(
        Settings(url=simulator.url, database=sqlite, symbols=("EURUSD",), backoff_max_s=0.2)
    )
    status = daemon.wait_until(lambda status: connection_restarts(status) >= 7, what="dropped 7 times")
    assert status["connections"][0]["state"] != "quarantined"
    daemon.wait_live()
    assert not daemon.has_said("crash")


# --- one fault at a time ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    ["close@0.6", "reset@0.6", "refuse@0.6+0.5", "http429@0.6+0.5", "no-upgrade@0.6+0.8", "garbage@0.6+1"],
)
def test_fault_of_one_venue_is_survived_and_touches_no_other(
    workshop: Workshop, sqlite: SqliteDatabase, calm: Simulator, fault: str
) -> None:
    faulty = workshop.simulator("--rate", "20", "--fault", fault)
    more = f"""
[venues.calm]
protocol = "binance"
url = "{calm.url}"
[[markets]]
venue = "calm"
symbols = ["EURUSD", "EURCHF"]
"""
    daemon = workshop.daemon(Settings(url=faulty.url, database=sqlite, symbols=FIVE, more=more))
    daemon.wait_until(lambda status: connection_restarts(status) > 0, what="it is met")
    status = daemon.wait_live()
    of_faulty = [row["restarts"] for row in status["markets"] if row["venue"] == "sim"]
    of_calm = [row["restarts"] for row in status["markets"] if row["venue"] == "calm"]
    assert min(of_faulty) > 0
    assert of_calm == [0, 0]
    assert connection_restarts(status, venue="calm") == 0
    assert daemon.stop() == 0
    assert not daemon.has_said("crash")


def test_a_few_undecodable_frames_are_counted_and_skipped(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    simulator = workshop.simulator("--rate", "20", "--fault", "garbage@1")
    daemon = workshop.daemon(Settings(url=simulator.url, database=sqlite, symbols=FIVE))
    status = daemon.wait_until(
        lambda status: status["connections"][0]["unknown_frames"] > 0, what="garbage seen"
    )
    status = daemon.wait_until(
        lambda now: now["writer"]["stored"] > status["writer"]["accepted"] + 100, what="ticks go on"
    )
    assert status["connections"][0]["unknown_frames"] == 3
    assert connection_restarts(status) == 0
    assert set(restarts(status).values()) == {0}


def test_silent_market_is_stale_and_subscribed_again_and_others_are_untouched(
    workshop: Workshop, sqlite: SqliteDatabase
) -> None:
    simulator = workshop.simulator("--rate", "20", "--fault", "silent@1+3.5:EURUSD")
    daemon = workshop.daemon(Settings(url=simulator.url, database=sqlite, symbols=FIVE, stale_after_s=1.0))
    status = daemon.wait_until(lambda status: restarts(status)["EURUSD"] >= 2, what="subscribed again, twice")
    assert states(status) == dict.fromkeys(FIVE, "live") | {"EURUSD": "stale"}
    status = daemon.wait_live()
    assert {symbol for symbol, count in restarts(status).items() if count} == {"EURUSD"}
    assert connection_restarts(status) == 0


def test_half_open_socket_is_found_dead_and_replaced(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    simulator = workshop.simulator("--rate", "20", "--fault", "half-open@1")
    daemon = workshop.daemon(Settings(url=simulator.url, database=sqlite, symbols=FIVE))
    # The one test that takes its 15 s: 5 of silence until the ping, 10 without an answer.
    daemon.wait_until(lambda status: connection_restarts(status) > 0, what="found dead")
    status = daemon.wait_live()
    assert connection_restarts(status) == 1
    assert set(restarts(status).values()) == {1}


def test_symbol_that_the_venue_does_not_know_fails_alone(
    workshop: Workshop, sqlite: SqliteDatabase, calm: Simulator
) -> None:
    # the gate lets it ask in a frame of its own
    settings = Settings(url=calm.url, database=sqlite, symbols=(*THREE, "NOSUCH"), start_delay_ms=300)
    daemon = workshop.daemon(settings)
    status = daemon.wait_until(
        lambda status: sorted(states(status).values()) == ["failed", "live", "live", "live"],
        what="one failed, the others live",
    )
    assert states(status)["NOSUCH"] == "failed"
    assert "NOSUCH" in daemon.market("NOSUCH")["reason"]


# --- without venue and database ---------------------------------------------------------------


def test_start_without_venue_and_database_is_ready_and_holds_trading_back(
    workshop: Workshop, mariadb: MariadbDatabase
) -> None:
    mariadb.server.stop()
    daemon = workshop.daemon(Settings(url=CLOSED_PORT_URL, database=mariadb, symbols=FIVE))
    status = daemon.wait_ready()
    # nobody can tell whether this is a first start, or control.json was lost with a drain in it
    assert status["trading"]["drain"]
    assert status["trading"]["kill_switch"] is not None
    assert status["writer"]["db"] == "down"
    assert set(states(status).values()) == {"waiting"}
    assert daemon.stop() == 0


def live_through_an_outage(workshop: Workshop, mariadb: MariadbDatabase, *, attempts: int) -> None:
    """Take venue and database away until so many connects have failed; look; give them back."""
    simulator = workshop.simulator("--rate", "10")
    daemon = workshop.daemon(Settings(url=simulator.url, database=mariadb))
    before = daemon.wait_live()
    mariadb.server.stop()
    daemon.wait_until(
        lambda status: (
            status["writer"]["db"] == "down" and status["writer"]["accepted"] > status["writer"]["stored"]
        ),
        what="the database is missed, and ticks wait for it",
    )
    simulator.kill()
    daemon.wait_until(lambda status: connection_restarts(status) > 0, what="the venue is missed")
    cpu_s, begun_at = daemon.cpu_s(), time.monotonic()
    during = daemon.wait_until(
        lambda status: connection_restarts(status) > attempts,
        what=f"{attempts} attempts",
        within_s=3 * attempts + WITHIN_S,
    )
    # A busy loop takes all of the time; the attempts themselves about a hundredth.
    assert daemon.cpu_s() - cpu_s < (time.monotonic() - begun_at) / 2
    assert during["process"]["threads"] <= MOST_THREADS
    assert during["process"]["fds"] <= before["process"]["fds"] + 2  # those of the attempts under way
    assert during["process"]["rss_bytes"] < before["process"]["rss_bytes"] + 8 * 2**20
    mariadb.server.start()
    workshop.simulator("--rate", "10", port=simulator.port)
    assert set(restarts(daemon.wait_live()).values()) == {1}
    after = daemon.wait_until(lambda status: status["writer"]["db"] == "up", what="stored again")
    assert after["writer"]["dropped"] == 0
    assert daemon.stop() == 0
    stored = read_stored(mariadb, source="trades")
    assert len(stored) >= sum(row["ticks"] for row in after["markets"])
    assert len(set(stored)) == len(stored)


def test_outage_of_venue_and_database_is_lived_through(workshop: Workshop, mariadb: MariadbDatabase) -> None:
    live_through_an_outage(workshop, mariadb, attempts=4)


@pytest.mark.soak
def test_outage_of_five_minutes_is_lived_through(workshop: Workshop, mariadb: MariadbDatabase) -> None:
    live_through_an_outage(workshop, mariadb, attempts=400)  # each up to 1 s after the one before


# --- a thousand times over --------------------------------------------------------------------

# RSS comes in pages and arenas, and grows until every cache has been full once: by 1 MiB in the ten
# seconds that sixty take. A socket with its session is 22 KB, so one left behind each time shows.
GROWTH_BYTES = {60: 2 * 2**20, 1_000: 4 * 2**20}
CUT_EVERY_S = 1.6  # all sockets; they are back after at most one second of backoff
SPARE_CUTS = 2  # who is not back yet on a busy machine misses one
MOST_CONNECTS = 200  # that we allow ourselves in five minutes at this venue


def reconnect(workshop: Workshop, sqlite: SqliteDatabase, *, times: int, warm: int, cuts: int) -> None:
    """Cut every socket, each of one market, again and again; fail unless all is as after the `warm` cuts.

    Venues are as many as it takes to keep to each one's budget of connects.
    """
    most = MOST_CONNECTS // (1 + warm + cuts + SPARE_CUTS)
    count = -(-times // (cuts * most))
    symbols = list(FX_PAIRS)[: -(-times // (cuts * count))]
    faults = [
        f"--fault={kind}@{1 + number * CUT_EVERY_S}"
        for number, kind in zip(
            range(warm + cuts + SPARE_CUTS), itertools.cycle(("reset", "close")), strict=False
        )
    ]
    words = ("--rate", "5", "--markets", ",".join(symbols), *faults)
    simulators = [workshop.simulator(*words, "--ledger", f"{workshop.ledger}-{n}") for n in range(count)]
    others = [
        f"""
[venues.v{number}]
protocol = "binance"
url = "{simulator.url}"
markets_per_connection = 1
[[markets]]
venue = "v{number}"
symbols = {symbols}
"""
        for number, simulator in enumerate(simulators[1:])
    ]
    daemon = workshop.daemon(
        Settings(
            url=simulators[0].url,
            database=sqlite,
            symbols=symbols,
            start_delay_ms=10,
            backoff_max_s=1.0,
            venue="markets_per_connection = 1",
            more="".join(others),
        )
    )
    sockets = len(symbols) * count

    def after(cuts: int) -> Status:
        return daemon.wait_until(
            lambda status: reconnects(status) >= cuts * sockets and all_live(status),
            what=f"{cuts} cuts of {sockets} sockets",
            within_s=cuts * CUT_EVERY_S + WITHIN_S,
        )

    def is_as_before(status: Status) -> bool:
        now, then = status["process"], early["process"]
        is_same = all(now[what] <= then[what] for what in ("fds", "tasks"))
        has_grown = now["rss_bytes"] - then["rss_bytes"] >= GROWTH_BYTES[times]
        return all_live(status) and is_same and now["threads"] <= MOST_THREADS and not has_grown

    early = after(warm)
    late = after(warm + cuts)
    assert reconnects(late) - reconnects(early) >= times
    # What is under way, such as asking for the gaps' prices, has a file and a task for a moment.
    what = f"as before: {early['process']}, afterwards {late['process']}"
    daemon.wait_until(is_as_before, what=what)
    assert not any(simulator.has_said("fault", level="warning") for simulator in simulators)
    assert daemon.stop() == 0


def reconnects(status: Status) -> int:
    return sum(row["restarts"] for row in status["connections"])


def test_sixty_reconnects_leave_nothing_behind(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    reconnect(workshop, sqlite, times=60, warm=2, cuts=3)


@pytest.mark.soak
def test_a_thousand_reconnects_leave_nothing_behind(workshop: Workshop, sqlite: SqliteDatabase) -> None:
    reconnect(workshop, sqlite, times=1_000, warm=5, cuts=10)
