"""Kills a daemon again and again, in every way there is, and puts together what it has kept.

The venue lives through all of it and writes down what it sent; every life of the daemon is in the
same state directory. `tests/crash_oracle.py` judges. Shared by the tests and `benchmarks/crash.py`.
"""

import contextlib
import json
import os
import random
import select
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from crash_evidence import read_candles, read_gaps, read_handed, read_journal
from crash_oracle import Evidence, Life, Verdict, judge
from crash_plans import End, Plan, Size, Trouble
from daemons import WITHIN_S, Daemon, Settings, Simulator, Workshop, wait_until
from databases import AnyDatabase, MariadbDatabase, stored_ticks

from domain.clock import now_us
from domain.crash_points import VARIABLE
from supervisor.client import NoAnswer, NotRunning
from supervisor.desired import FILE_NAME

FLUSH_AFTER_MS = 100  # the default
WINDOW_US = (FLUSH_AFTER_MS + 250) * 1_000
TIMEFRAMES_S = (1, 3)
COMMANDED = "EURUSD"  # the market that is stopped and started by command
YOUNG = 3  # lives: not before these is there a database that could be taken away

# In most lives the journal is trimmed often. In some it is small, not trimmed, and so full soon.
# The log gets a line before and after each accepting: of a tick that was lost too early, it tells
# whether we were slow with it or never had it.
SCRIPT = """
import functools, os, time
os.environ[{variable!r}] = {crash_at!r}
import actors.accepting, actors.writer
actors.writer.Patience = functools.partial(actors.writer.Patience, trim_every_s={trim_every_s})
actors.accepting.MEGABYTE = {megabyte}
accept = actors.accepting.Accepting.accept
async def noted(self):
    used = self._inbox.ticks.used
    os.write(2, b"%d accepting %d ticks\\n" % (time.time_ns() // 1000, used))
    found = await accept(self)
    os.write(2, b"%d accepted\\n" % (time.time_ns() // 1000))
    return found
actors.accepting.Accepting.accept = noted
"""


class Watch:
    """Notes the moment at which a process dies, whatever else is going on."""

    def __init__(self, pid: int) -> None:
        self.ended_us = 0
        self._ended = threading.Event()
        self._file = os.pidfd_open(pid)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        look = select.poll()
        look.register(self._file, select.POLLIN)
        look.poll()
        self.ended_us = now_us()
        os.close(self._file)
        self._ended.set()

    def wait(self, within_s: float) -> bool:
        """Wait for its end; return whether it has come."""
        return self._ended.wait(within_s)

    @property
    def is_over(self) -> bool:
        return self._ended.is_set()


class CrashRun:
    """Lives on one state directory, one after the other, and a venue beside them."""

    def __init__(self, folder: Path, *, database: AnyDatabase, random_: random.Random) -> None:
        self.workshop = Workshop(folder)
        self.database = database
        self.lives: list[Life] = []
        self.hits: Counter[str] = Counter()
        self.kills = 0
        self.complaints: list[str] = []
        self._random = random_
        self._simulator: Simulator = self.workshop.simulator("--rate", "20")
        self._lock: sqlite3.Connection | None = None
        self._drains = {False, True}  # what control.json may say of it

    # --- one life -----------------------------------------------------------------------------

    def live(self, plan: Plan) -> bool:
        """Let the daemon live and die as planned; return whether a crash point was hit that was planned."""
        trouble = plan.trouble
        if len(self.lives) < YOUNG and trouble in (Trouble.DATABASE_LOST, Trouble.DATABASE_AWAY):
            trouble = Trouble.NONE
        with self._life(plan) as (daemon, watch):
            self._TROUBLES[trouble](self, daemon, watch)
            if plan.end is End.STOP:
                self._stop(daemon)
            elif not watch.wait(plan.at_s):
                daemon.send(signal.SIGKILL)
                watch.wait(WITHIN_S)
                return False
        exit_code = daemon.process.returncode
        if plan.end is End.POINT and exit_code == -signal.SIGKILL:
            self.hits[plan.point] += 1
            return True
        if plan.end is not End.STOP:
            self.complaints.append(f"{plan}: ended by itself with {exit_code}: {daemon.errors()[-2_000:]}")
        return False

    @contextlib.contextmanager
    def _life(self, plan: Plan) -> Iterator[tuple[Daemon, Watch]]:
        # The venue allows 300 connects in five minutes, and the daemon remembers them.
        (self.workshop.state_dir / "connects-sim.json").unlink(missing_ok=True)
        if plan.trouble is Trouble.DATABASE_AWAY and len(self.lives) >= YOUNG:
            self._take_away()
        started_us = now_us()
        is_small = plan.size is Size.SMALL
        daemon = self._start(plan, trim_every_s=60.0 if is_small else 0.2, megabyte=48 if is_small else 2**20)
        watch = Watch(daemon.pid)
        try:
            yield daemon, watch
        finally:
            daemon.kill()  # also closes its files
            watch.wait(WITHIN_S)
            self._bring_back()
        self.lives.append(
            Life(
                name=f"life {len(self.lives)}: {plan}",
                started_us=started_us,
                ended_us=watch.ended_us,
                was_killed=plan.end is not End.STOP,
                accepted=read_journal(self.workshop.state_dir / "journal.db"),
            )
        )
        self.kills += plan.end is not End.STOP
        self._look_at_what_is_wanted(plan)
        self._look_at_the_dead()

    def _start(self, plan: Plan, *, trim_every_s: float, megabyte: int) -> Daemon:
        fault = SCRIPT.format(
            variable=VARIABLE, crash_at=plan.crash_at, trim_every_s=trim_every_s, megabyte=megabyte
        )
        return self.workshop.faulty_daemon(self._settings(), fault=fault)

    def _settings(self) -> Settings:
        return Settings(
            url=self._simulator.url,
            database=self.database,
            starts_per_pass=27,
            storage=f"timeframes_s = {list(TIMEFRAMES_S)}",
        )

    def _stop(self, daemon: Daemon) -> None:
        """An ordered stop, once it listens to signals."""
        daemon.wait_ready()
        exit_code = daemon.stop()
        if exit_code != 0:
            self.complaints.append(f"an ordered stop ended with {exit_code}: {daemon.errors()[-2_000:]}")

    def _look_at_what_is_wanted(self, plan: Plan) -> None:
        """control.json is whole, and says what was wanted last or, of a wish not yet answered, before."""
        path = self.workshop.state_dir / FILE_NAME
        if not path.exists():
            if len(self._drains) == 1:
                self.complaints.append(f"{plan}: {FILE_NAME} is gone")
            return
        found = json.loads(path.read_bytes())["drain"]
        if found not in self._drains:
            self.complaints.append(f"{plan}: drain is {found}, not {self._drains}")
        self._drains = {found}

    def _look_at_the_dead(self) -> None:
        """See what else a life has left; it has just ended."""

    # --- what else happens --------------------------------------------------------------------

    def _nothing(self, daemon: Daemon, watch: Watch) -> None:
        pass

    def _burst(self, daemon: Daemon, watch: Watch) -> None:
        """Let the venue send what is due in half a second all at once, and again."""
        watch.wait(self._random.uniform(0.5, 1.2))
        for _ in range(2):
            from_us = now_us()
            self._simulator.send(signal.SIGSTOP)
            watch.wait(0.5)
            self._simulator.send(signal.SIGCONT)
            # For whoever looks at a loss: what was stamped just before may have left after it.
            with (self.workshop.folder / "pauses").open("a", encoding="utf-8") as file:
                file.write(f"{from_us} {now_us()}\n")
            watch.wait(self._random.uniform(0.0, 0.2))

    def _command(self, daemon: Daemon, watch: Watch) -> None:
        """Switch drain, and stop and start a market, as soon as the daemon listens."""
        wishes: list[Callable[[], object]] = [
            lambda: self._want_drain(daemon),
            lambda: daemon.ask("market", action="stop", markets=[f"{COMMANDED}@sim"]),
            lambda: daemon.ask("market", action="start", markets=[f"{COMMANDED}@sim"]),
        ]
        wait_until(lambda: watch.is_over or is_listening(daemon), what="it listens")
        for wish in self._random.sample(wishes, len(wishes)):
            with contextlib.suppress(NotRunning, NoAnswer):  # it died over it
                wish()
            watch.wait(self._random.uniform(0.0, 0.3))

    def _want_drain(self, daemon: Daemon) -> None:
        wanted = self._random.choice((False, True))
        self._drains |= {wanted}
        daemon.ask("drain", on=wanted)
        self._drains = {wanted}

    def _lose_database(self, daemon: Daemon, watch: Watch) -> None:
        """Take the database away under load, and bring it back."""
        watch.wait(self._random.uniform(0.5, 1.2))
        self._take_away()
        watch.wait(self._random.uniform(0.0, 0.5))
        self._bring_back()

    def _leave_database_away(self, daemon: Daemon, watch: Watch) -> None:
        """It was away at the start: let ticks come without it, then bring it back, or else not."""
        watch.wait(self._random.uniform(3.0, 7.0))
        if self._random.random() < 0.7:
            self._bring_back()

    _TROUBLES: Mapping[Trouble, Callable[["CrashRun", Daemon, Watch], None]] = {
        Trouble.NONE: _nothing,
        Trouble.BURST: _burst,
        Trouble.COMMANDS: _command,
        Trouble.DATABASE_LOST: _lose_database,
        Trouble.DATABASE_AWAY: _leave_database_away,
    }

    def _take_away(self) -> None:
        """Kill the server; of a file, which cannot be killed, take the lock."""
        if isinstance(self.database, MariadbDatabase):
            self.database.server.kill()
            return
        self._lock = sqlite3.connect(self.database.target.path, isolation_level=None, timeout=WITHIN_S)
        self._lock.execute("BEGIN IMMEDIATE").close()

    def _bring_back(self) -> None:
        if isinstance(self.database, MariadbDatabase):
            self.database.server.make_sound()
        elif self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- the end ------------------------------------------------------------------------------

    def finish(self) -> None:
        """One more life, in peace, until all is stored and live; then an ordered stop."""
        plan = Plan(end=End.STOP, at_s=0.0)
        with self._life(plan) as (daemon, _):
            daemon.wait_ready()
            daemon.ask("market", action="start", markets=["all"])
            daemon.wait_live()
            alive_us = now_us()
            self._come_to_rest(daemon)
            wait_until(lambda: self._newest_candle_us() >= alive_us, what="candles of this life")
            self._stop(daemon)
        self._simulator.stop()

    def _come_to_rest(self, daemon: Daemon) -> None:
        """End what is under way in the last life; the rest of it is waited for."""

    def _newest_candle_us(self) -> int:
        [(found,)] = self.database.query(
            f"SELECT MAX(open_us) FROM candle WHERE timeframe_s = {TIMEFRAMES_S[-1]}"
        )
        return found or 0

    def evidence(self, *, window_us: int = WINDOW_US) -> Evidence:
        """Return all that is known after `finish()`."""
        return Evidence(
            handed=read_handed(self.workshop.ledger),
            stored=stored_ticks(self.database),
            gaps=read_gaps(self.database),
            candles=read_candles(self.database),
            timeframes_s=TIMEFRAMES_S,
            lives=self.lives,
            window_us=window_us,
            commanded=frozenset({f"{COMMANDED}@sim"}),
        )

    def judge(self, *, window_us: int = WINDOW_US) -> Verdict:
        """Judge what was kept, and what was seen on the way."""
        verdict = judge(self.evidence(window_us=window_us))
        damaged = [path.name for path in self.workshop.state_dir.glob("*.damaged-*")]
        aside = [path.name for path in self.workshop.state_dir.glob("*.unreadable-*")]
        found = [f"set aside: {name}" for name in damaged + aside]
        return attrs.evolve(verdict, complaints=[*self.complaints, *found, *verdict.complaints])


def is_listening(daemon: Daemon) -> bool:
    """Return whether the daemon answers to commands."""
    try:
        daemon.status()
    except (NotRunning, NoAnswer):
        return False
    return True
