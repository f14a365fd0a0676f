"""Brings what was stored after a backup from the data that a restore set aside into the restored ones.

Both are of one database's life: what is set aside is a later state of what was restored. So where
the two differ from an hour before the backup on, its rows hold; markets are matched by their names.
All can be repeated. `{aside}` stands before the names of the tables that were set aside.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from domain.clock import as_text
from storage.batches import with_new_markets
from storage.drivers import make_driver
from storage.ledger_rows import SIGNAL_COLUMNS, TRADE_COLUMNS
from storage.own_session import open_session
from storage.restore_mysql import set_aside_prefix
from storage.session import Dialect, Session
from storage.settings import StorageSettings
from storage.target import SqliteTarget, Target

OVERLAP_US = 3_600_000_000  # an hour: rows about older times are filled in or recomputed by the next run


def _of_a_market(columns: tuple[str, ...]) -> str:
    """Return these columns of `a`, with the market's id of here."""
    return ", ".join("here.id" if column == "market_id" else f"a.{column}" for column in columns)


MATCH = (
    "FROM {aside}%s AS a JOIN {aside}market AS there ON there.id = a.market_id "
    "JOIN market AS here ON here.venue = there.venue AND here.symbol = there.symbol WHERE "
)
TICKS = (
    "INSERT INTO tick (market_id, ts_us, seq, price, bid, ask, volume, received_us, source) "
    "SELECT here.id, a.ts_us, a.seq, a.price, a.bid, a.ask, a.volume, a.received_us, a.source "
    + MATCH % "tick" + "a.ts_us >= ?"
)  # fmt: skip
CANDLES = (
    "INSERT INTO candle (market_id, timeframe_s, open_us, open, high, low, close, ticks, volume, complete, "
    "source) SELECT here.id, a.timeframe_s, a.open_us, a.open, a.high, a.low, a.close, a.ticks, a.volume, "
    "a.complete, a.source " + MATCH % "candle" + "a.open_us >= ?"
)  # fmt: skip
# What fills a gap that began earlier may lie before the overlap: it is to be filled again.
GAPS = (
    "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) "
    "SELECT here.id, a.from_us, a.to_us, a.cause, CASE WHEN a.from_us >= ? THEN a.fill ELSE 'none' END, "
    "CASE WHEN a.from_us >= ? THEN a.fill_note ELSE '' END "
    + MATCH % "gap" + "(a.to_us IS NULL OR a.to_us >= ?)"
)  # fmt: skip
EVENTS = (
    "INSERT INTO actor_event (id, ts_us, actor, event, detail) "
    "SELECT a.id, a.ts_us, a.actor, a.event, a.detail FROM {aside}actor_event AS a WHERE a.ts_us >= ?"
)
SIGNALS = (
    f"INSERT INTO `signal` ({', '.join(SIGNAL_COLUMNS)}) SELECT {_of_a_market(SIGNAL_COLUMNS)} "
    + MATCH % "signal" + "a.ts_us >= ?"
)  # fmt: skip
# All: what is found out late of an old trade (it was void) may be about times from long before.
TRADES = (
    f"INSERT INTO trade ({', '.join(TRADE_COLUMNS)}) SELECT {_of_a_market(TRADE_COLUMNS)} "
    + MATCH % "trade" + "a.id >= 0"
)  # fmt: skip
TRADE_EVENTS = (
    "INSERT INTO trade_event (id, trade_id, ts_us, state, cause, detail) "
    "SELECT a.id, a.trade_id, a.ts_us, a.state, a.cause, a.detail "
    "FROM {aside}trade_event AS a WHERE a.id >= 0"
)
POSITIONS = (
    "INSERT INTO journal_position (journal_id, lane, batch) "
    "SELECT a.journal_id, a.lane, a.batch FROM {aside}journal_position AS a WHERE a.batch >= 0"
)
# (statement, its key, the columns in which the row that was set aside holds)
STEPS = (
    (TICKS, ("ts_us", "market_id", "seq"), ()),
    (
        CANDLES,
        ("market_id", "timeframe_s", "open_us"),
        ("open", "high", "low", "close", "ticks", "volume", "complete", "source"),
    ),
    (GAPS, ("market_id", "from_us", "cause"), ("to_us", "fill", "fill_note")),
    (EVENTS, ("id",), ()),
    (SIGNALS, ("id",), ()),
    (TRADES, ("id",), TRADE_COLUMNS[2:]),
    (TRADE_EVENTS, ("id",), ()),
    (POSITIONS, ("journal_id", "lane"), ("batch",)),
)
COUNT = "SELECT COUNT(*), MAX(ts_us) FROM tick WHERE ts_us >= ?"


@attrs.frozen(kw_only=True)
class Brought:
    """How many ticks came over, and the time of the last one; None where the database has none so late."""

    ticks: int
    last_us: int | None

    def __str__(self) -> str:
        until = "" if self.last_us is None else f", the last of {as_text(self.last_us)}"
        return f"{self.ticks:,} ticks{until}"


def set_aside_since(target: Target, *, since_us: int) -> list[str]:
    """Return what restores into this database set aside since then, oldest first: files, or prefixes."""
    if isinstance(target, SqliteTarget):
        path = target.path
        name = re.compile(re.escape(path.name) + r"\.replaced-(\d+)")
        found = {
            int(match[1]): each for each in path.parent.iterdir() if (match := name.fullmatch(each.name))
        }
        return [str(found[at_us]) for at_us in sorted(found) if at_us >= since_us]
    oldest = set_aside_prefix(since_us)
    with open_session(make_driver(target, settings=StorageSettings())) as session:
        tables = [str(name) for (name,) in session.query("SHOW TABLES")]
    prefixes = [name.removesuffix("tick") for name in tables if re.fullmatch(r"replaced_\w+_tick", name)]
    return sorted(prefix for prefix in prefixes if prefix >= oldest)


def bring_over(target: Target, *, aside: str, from_us: int) -> Brought:
    """Bring the rows of `aside` about times from `from_us` on, in one transaction.

    Raises `StorageBusy` where its tables are not as this version knows them.
    """
    with _both(target, aside=aside) as (session, prefix):
        session.begin()
        _know_markets(session, prefix=prefix)
        [(before, _)] = session.query(COUNT, (from_us,))
        for sql, key, columns in STEPS:
            statement = sql.format(aside=prefix) + _on_duplicate(session.dialect, key=key, columns=columns)
            session.execute(statement, (from_us,) * sql.count("?"))
        [(after, last_us)] = session.query(COUNT, (from_us,))
        session.commit()
    return Brought(ticks=after - before, last_us=last_us)


@contextmanager
def _both(target: Target, *, aside: str) -> Iterator[tuple[Session, str]]:
    """Open the database with what was set aside beside it; the latter's tables begin with the second."""
    with open_session(make_driver(target, settings=StorageSettings(read_timeout_s=3600))) as session:
        if not isinstance(target, SqliteTarget):
            yield session, aside
            return
        session.execute("ATTACH DATABASE ? AS aside", (aside,))
        yield session, "aside."


def _know_markets(session: Session, *, prefix: str) -> None:
    named = session.query(f"SELECT symbol, venue FROM {prefix}market")  # noqa: S608  # our own names
    markets = {f"{symbol}@{venue}" for symbol, venue in named}
    with_new_markets(session, ids={}, markets=markets)


def _on_duplicate(dialect: Dialect, *, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    if dialect is Dialect.MYSQL:
        sets = [f"{each} = VALUES({each})" for each in columns or key[:1]]  # a key's column stays the same
        return f" ON DUPLICATE KEY UPDATE {', '.join(sets)}"
    if not columns:
        return f" ON CONFLICT ({', '.join(key)}) DO NOTHING"
    sets = [f"{each} = excluded.{each}" for each in columns]
    return f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(sets)}"
