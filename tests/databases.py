"""Real databases for tests: private, started by the tests themselves, gone afterwards."""

import contextlib
import getpass
import itertools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pymysql

from domain.market import Tick
from storage.batches import insert_events, insert_ticks, with_new_markets
from storage.drivers import make_driver
from storage.migrations import Migrated, bring_up_to_date
from storage.payloads import EventRow
from storage.pool import Pool
from storage.session import Session
from storage.settings import StorageSettings
from storage.target import MysqlTarget, SqliteTarget, Target

USER = "marketd"
PASSWORD = "pass'wörd%s"  # letters that a careless client would mangle
START_WITHIN_S = 60.0  # a guard against hanging; a start takes about one second
INSTALL = "install Debian's packages mariadb-server-core and mariadb-client-core (no server needs to run)"


def find_program(name: str) -> str:
    """Return the path of a part of MariaDB; fail plainly where it is missing."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError(f"{name} is missing: {INSTALL}")
    return path


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class MariaDB:
    """A MariaDB server of our own: data, socket and port are nobody else's.

    `marketd` comes in by TCP with a password and has no rights beyond its databases; root comes
    in by the unix socket only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unix_socket = folder / "socket"
        self.port = free_port()
        self.password_file = folder / "password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(PASSWORD + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: Any = None
        self._numbers = itertools.count(1)

    def install(self) -> None:
        """Make the data directory, once."""
        # Its own: a server that starts deletes other servers' temporary tables in a shared one.
        (self.folder / "tmp").mkdir()
        command = [
            find_program("mariadb-install-db"), "--no-defaults", f"--datadir={self.folder / 'data'}",
            f"--user={getpass.getuser()}", "--auth-root-authentication-method=normal",
            "--skip-test-db", "--skip-name-resolve", f"--tmpdir={self.folder / 'tmp'}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [
            find_program("mariadbd"), "--no-defaults", f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder / 'tmp'}",
            f"--user={getpass.getuser()}", f"--socket={self.unix_socket}", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}", "--skip-name-resolve",
            "--performance-schema=OFF", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=1", "--skip-log-bin", "--max-connections=50",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_WITHIN_S
        while not self._is_listening():
            assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")
            assert time.monotonic() < deadline, f"mariadbd does not listen after {START_WITHIN_S} s"
            time.sleep(0.02)
        self._admin = self._connect_as_root()

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM) and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL) and wait."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing answers (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        # A thread on another processor may answer once more before the signal reaches it.
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on after `pause()`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def make_sound(self) -> None:
        """Undo what a test did: running, not paused, its settings as at the start."""
        self.resume()
        if self._process is None:
            self.start()
        self.execute("SET GLOBAL read_only = 0")
        self.execute("SET GLOBAL max_connections = 50")

    def wait_alone(self) -> None:
        """Wait until nobody but root is connected: who was killed may still be on the way out."""
        deadline = time.monotonic() + START_WITHIN_S
        while self.status("Threads_connected") > 1:
            assert time.monotonic() < deadline, self.execute("SHOW FULL PROCESSLIST")
            time.sleep(0.01)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as root, on the one connection that is root's; return its rows."""
        with self._admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def status(self, name: str) -> int:
        """Return one of the server's own counters. Asking costs one of `Questions`."""
        [(_, value)] = self.execute(f"SHOW GLOBAL STATUS LIKE '{name}'")
        return int(value)

    def new_database(self) -> str:
        """Make an empty database that `marketd` may do everything in; return its name."""
        name = f"marketd_{next(self._numbers)}"
        password = pymysql.converters.escape_string(PASSWORD)
        self.execute(f"CREATE DATABASE {name}")
        self.execute(f"CREATE USER IF NOT EXISTS {USER} IDENTIFIED BY '{password}'")
        self.execute(f"GRANT ALL ON {name}.* TO {USER}")
        return name

    def url(self, database: str) -> str:
        """Return what `[storage] url` says for one of the databases."""
        return f"mysql://{USER}@127.0.0.1:{self.port}/{database}"

    def target(self, database: str) -> MysqlTarget:
        """Return one of the databases, as `marketd` comes in."""
        return MysqlTarget(
            host="127.0.0.1",
            port=self.port,
            unix_socket=None,
            user=USER,
            database=database,
            password=PASSWORD,
        )

    def _is_listening(self) -> bool:
        # The socket file of a killed server stays: only a connection tells.
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.unix_socket)) == 0

    def _connect_as_root(self) -> Any:
        return pymysql.connect(
            unix_socket=str(self.unix_socket), user="root", autocommit=True, ssl_disabled=True
        )

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        self._admin.close()
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.wait(timeout=START_WITHIN_S)


@contextlib.contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """Install and start a server in a new folder; leave nothing behind."""
    # Not pytest's own folder: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="marketd-mariadb-") as folder:
        server = MariaDB(Path(folder))
        server.install()
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _state(task: Path) -> str:
    """Return a thread's state as the kernel has it; of one that has just ended, that it is stopped."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "T"


@attrs.frozen(kw_only=True)
class SqliteDatabase:
    """A database file, looked at from outside."""

    target: SqliteTarget

    @property
    def url(self) -> str:
        return str(self.target)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, by a connection of its own."""
        with contextlib.closing(sqlite3.connect(self.target.path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()


@attrs.frozen(kw_only=True)
class MariadbDatabase:
    """A database of the private server, looked at from outside."""

    target: MysqlTarget
    server: MariaDB

    @property
    def url(self) -> str:
        return self.server.url(self.target.database)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, as root."""
        self.server.execute(f"USE {self.target.database}")
        return self.server.execute(sql)


AnyDatabase = SqliteDatabase | MariadbDatabase

SELECT_TICKS = """
    SELECT market.symbol, market.venue, ts_us, seq, price, bid, ask, volume, received_us, source
    FROM tick JOIN market ON market.id = tick.market_id ORDER BY symbol, venue, ts_us, seq
"""


def stored_ticks(database: AnyDatabase) -> list[Tick]:
    """Return all ticks of the database, by market and time."""
    rows = database.query(SELECT_TICKS)
    return [Tick(f"{symbol}@{venue}", *rest) for symbol, venue, *rest in rows]


def in_order(ticks: list[Tick]) -> list[Tick]:
    """Return ticks in the order of `stored_ticks`."""
    return sorted(ticks, key=lambda tick: (*tick.market.split("@"), tick.ts_us, tick.seq))


def some_ticks(*, markets: int, each: int, first_us: int = 1_700_000_000_000_000) -> list[Tick]:
    """Return ticks of all markets in turn, with everything a tick can hold, and unlike each other."""
    ticks = []
    for n in range(markets * each):
        price = 1.0 + n / 7.0
        spread = (price - 1e-5, price + 1e-5) if n % 2 else (None, None)
        volume = n / 3.0 if n % 3 else None
        ts_us = first_us + n // markets * 1_000
        ticks.append(Tick(f"M{n % markets}@sim", ts_us, n % 5, price, *spread, volume, ts_us + n, "live"))
    return ticks


@attrs.frozen(kw_only=True)
class Batch:
    """What goes into one transaction."""

    ticks: Sequence[Tick] = ()
    events: Sequence[EventRow] = ()


class BatchStore:
    """Stores rows without a journal's position, for what does not need a whole writer."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def forget(self) -> None:
        self.ids = {}

    def store(self, session: Session, batch: Batch) -> None:
        session.begin()
        ids = with_new_markets(session, ids=self.ids, markets={tick[0] for tick in batch.ticks})
        insert_ticks(session, ticks=batch.ticks, ids=ids)
        insert_events(session, events=batch.events)
        session.commit()
        self.ids = ids


class OpenStore:
    """The storing part of the writer without the actor: pool, schema, batches, on this thread."""

    def __init__(self, target: Target, *, read_timeout_s: float = 5.0) -> None:
        self.driver = make_driver(target, settings=StorageSettings(read_timeout_s=read_timeout_s))
        self.batches = BatchStore()
        self.migrated: Migrated | None = None
        self.pool = Pool(driver=self.driver, prepare=self._prepare)

    def _prepare(self, session: Session) -> None:
        self.batches.forget()
        self.migrated = bring_up_to_date(session, patient_session=self.pool.patient_session)


@contextlib.contextmanager
def open_store(target: Target, *, read_timeout_s: float = 5.0) -> Iterator[OpenStore]:
    """Give an open store, closed afterwards."""
    store = OpenStore(target, read_timeout_s=read_timeout_s)
    try:
        yield store
    finally:
        store.pool.close()
