"""The bot that marketd replaces, rebuilt: the yardstick of `python -m benchmarks.beside`.

    python -m benchmarks.old_bot URL MYSQL_URL PASSWORD_FILE FIGURES_FILE SYMBOL,SYMBOL…

A thread with an event loop of its own for every market. Each opens its socket at once, asks the
database twice a second, over a fresh connection, whether it is to run, and stores every trade over a
fresh connection too. Who loses its socket ends, and nobody starts it again; the process stays.

Its sockets are trio-websocket's, as ours are, so that what differs is how it is built. Its connections
are made without TLS: the newest PyMySQL builds a TLS context for each, 20 ms of CPU, with which it
could not keep up at all; those of its time did not.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pymysql
import trio
import trio_websocket

from supervisor.status import LoopLag

POLL_EVERY_S = 0.5
FIGURES_EVERY_S = 0.5
SCHEMA = (
    "CREATE TABLE running (id INT PRIMARY KEY, is_running INT)",
    "CREATE TABLE price (symbol VARCHAR(32), number BIGINT, ts_us BIGINT, price DOUBLE, "
    "PRIMARY KEY (symbol, number))",
    "INSERT INTO running VALUES (1, 1)",
)


@attrs.frozen(kw_only=True)
class Database:
    """Where it keeps what it sees."""

    url: str
    password: bytes

    def connect(self) -> Any:
        """Open a fresh connection."""
        parts = urlsplit(self.url)
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=self.password,
            database=parts.path.strip("/"),
            ssl_disabled=True,
        )

    def make(self) -> None:
        """Make its tables."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in SCHEMA:
                cursor.execute(statement)
            connection.commit()

    def is_running(self) -> bool:
        """Ask whether it is to run."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT is_running FROM running WHERE id = 1")
            return bool(cursor.fetchone()[0])

    def store(self, symbol: str, trade: dict[str, Any]) -> None:
        """Store a trade."""
        with self.connect() as connection, connection.cursor() as cursor:
            row = (symbol, trade["a"], trade["T"] * 1_000, float(trade["p"]))
            cursor.execute("INSERT IGNORE INTO price VALUES (%s, %s, %s, %s)", row)
            connection.commit()


@attrs.define(kw_only=True, eq=False)
class Market:
    """One market's thread."""

    symbol: str
    url: str
    database: Database
    lag: LoopLag = attrs.field(factory=LoopLag)
    is_live: bool = False  # its first trade has come
    thread: threading.Thread = attrs.field(init=False)

    def start(self) -> None:
        """Start its thread."""
        self.thread = threading.Thread(target=trio.run, args=(self._run,), name=self.symbol, daemon=True)
        self.thread.start()

    async def _run(self) -> None:
        async with (
            trio_websocket.open_websocket_url(self.url) as socket,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.lag.measure)
            nursery.start_soon(self._poll, nursery.cancel_scope)
            stream = f"{self.symbol.lower()}@aggTrade"
            await socket.send_message(json.dumps({"method": "SUBSCRIBE", "params": [stream], "id": 1}))
            while True:
                message = json.loads(await socket.get_message())
                if "data" in message:
                    self.database.store(self.symbol, message["data"])  # the whole loop waits for it
                    self.is_live = True

    async def _poll(self, scope: trio.CancelScope) -> None:
        while self.database.is_running():
            await trio.sleep(POLL_EVERY_S)
        scope.cancel()


def main(url: str, mysql_url: str, password_file: str, figures_file: str, symbols: str) -> None:
    database = Database(url=mysql_url, password=Path(password_file).read_bytes().rstrip(b"\n"))
    database.make()
    markets = [Market(symbol=symbol, url=url, database=database) for symbol in symbols.split(",")]
    for market in markets:
        market.start()
    fresh = Path(f"{figures_file}.new")
    while True:  # a process that is there is no process that works
        figures = {
            "live": sum(market.is_live for market in markets),
            "threads": sum(market.thread.is_alive() for market in markets),
            "worst_ms": max(market.lag.worst_ms() for market in markets),
        }
        fresh.write_text(json.dumps(figures))
        fresh.replace(figures_file)
        time.sleep(FIGURES_EVERY_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
