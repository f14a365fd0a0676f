"""Databases at any version of the schema, with rows in every table, and all that is in them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from databases import AnyDatabase

from storage.drivers import make_driver
from storage.migrations import apply, load_migrations
from storage.own_session import open_session
from storage.session import Row
from storage.settings import StorageSettings
from storage.tables import insert_into, select_all, tables_of
from storage.target import Target

Tables = Mapping[str, list[Row]]

DAY_US = 86_400_000_000
FIRST_US = 1_795_000_000_000_000
TEXT = "'); DROP TABLE tick; -- %s ? \\ \" [1] 🙂\n"
LARGEST = 2**63 - 1
MARKETS = ("EURUSD", "eurusd", "GBP/USD")
MONEY = {"trade": ("stake", "profit")}  # text here, a DECIMAL there


def open_own(target: Target) -> Any:
    """Open a session on it."""
    return open_session(make_driver(target, settings=StorageSettings()))


def ticks(*, each: int, days: int = 4) -> list[Row]:
    """Return ticks of all markets over some days, with everything a tick can hold."""
    step_us = days * DAY_US // each
    rows: list[Row] = []
    for n in range(each):
        for market in range(1, len(MARKETS) + 1):
            at_us = FIRST_US + n // 2 * step_us  # two of the same time
            price = 1.0 + (n * len(MARKETS) + market) / 7.0
            source = ("live", "backfill", "imported")[n % 3]
            sides = (price - 1e-5, price + 1e-5, n / 3.0) if n % 2 else (None, None, None)
            rows.append((market, at_us, n % 2, price, *sides, at_us + n, source))
    return rows


# A row's values stand in the order of the columns.
NOTHING = (None,) * 8
LARGEST_MONEY = Decimal("123456789012.12345678")
LOST = (1, 2, 1 / 7, 3, 4, 5e-324, "ticks", -LARGEST_MONEY)
EXTREMES: list[Row] = [
    (1, LARGEST, LARGEST, 1.7976931348623157e308, 5e-324, 0.1, 0.0, LARGEST, "live"),
    (1, 0, 0, 123456789.123456789, None, None, None, 0, "live"),
]


def rows_of_every_table(*, each: int = 100) -> dict[str, list[Row]]:
    """Return rows for all tables of the newest schema; a new table is to be added here."""
    return {
        "market": [(n, "sim", symbol) for n, symbol in enumerate(MARKETS, start=1)],
        "tick": ticks(each=each) + EXTREMES,
        "actor_event": [(n, FIRST_US + n, "market/EURUSD@sim", "state", f"{TEXT}{n}") for n in range(each)],
        "candle": [
            (
                1,
                60,
                FIRST_US + n * 60_000_000,
                1.1,
                1.3,
                1 / 3,
                1.2,
                n,
                n / 7,
                n % 2,
                ("ticks", "venue")[n % 2],
            )
            for n in range(each)
        ],
        "gap": [
            (1, 1, FIRST_US, FIRST_US + 5, "disconnect", "none", ""),
            (7, 2, FIRST_US, None, "journal_full", "partly", TEXT),
        ],
        "dead_letter": [(1, FIRST_US, "tick", TEXT, "1264 out of range"), (2, FIRST_US, "tick", "{}", TEXT)],
        "journal_position": [(LARGEST, "ticks", 1), (LARGEST, "money", 0), (12, "ticks", 2**40)],
        "retention": [("tick", FIRST_US), ("candle", 0)],
        "signal": [
            (n, 1 + n % 3, "mine", FIRST_US + n, "up", 60, n / 7, n, f'{{"a": {n / 3}}}', "refused", TEXT)
            for n in range(each)
        ],
        "trade": [
            (
                LARGEST,
                1,
                1,
                "paper",
                None,
                "up",
                Decimal("1e-8"),
                "USD",
                82.5,
                "intended",
                FIRST_US,
                *NOTHING,
            ),
            (2, 2, 3, "demo", TEXT, "down", LARGEST_MONEY, "USD", 1 / 3, "lost", FIRST_US, *LOST),
        ],
        "trade_event": [(n, LARGEST, FIRST_US + n, "open", "state", TEXT) for n in range(each)],
    }


def build(database: AnyDatabase, *, version: int, rows: Tables) -> None:
    """Make the schema of a version by its own files, and fill in those rows whose table it has."""
    with open_own(database.target) as session:
        for migration in load_migrations(session.dialect):
            if migration.version <= version:
                apply(session, migration)
        tables = tables_of(version)
        assert tables.keys() - rows.keys() == {"schema_version"}, "a table has no rows in this test"
        for table in tables.keys() & rows.keys():
            session.begin()
            session.execute_many(insert_into(table, tables[table]), rows[table])
            session.commit()


def content(target: Target, *, version: int) -> Tables:
    """Return all rows of all tables, but for the times of migrations; money as the number that it is."""
    with open_own(target) as session:
        found = {
            table: sorted(session.query(select_all(table, columns)), key=repr)
            for table, columns in tables_of(version).items()
            if table != "schema_version"
        }
        for table in MONEY.keys() & found.keys():
            at = [tables_of(version)[table].index(column) for column in MONEY[table]]
            found[table] = [_with_money(row, at=at) for row in found[table]]
        found["schema_version"] = sorted(session.query("SELECT version FROM schema_version"))
    return found


def _with_money(row: Row, *, at: list[int]) -> Row:
    return tuple(Decimal(each) if n in at and each is not None else each for n, each in enumerate(row))
