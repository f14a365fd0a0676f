-- Times are microseconds, UTC. Every statement can be repeated.
CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER NOT NULL PRIMARY KEY,
    applied_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS market (
    id INTEGER NOT NULL PRIMARY KEY,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    UNIQUE (venue, symbol)
);
-- Time first: a transaction of many markets then touches the last page or two, and not one page a
-- market (benchmarks/sqlite_key.py). Reads give a range of ts_us as well as a market.
CREATE TABLE IF NOT EXISTS tick (
    market_id INTEGER NOT NULL,
    ts_us INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    price REAL NOT NULL,
    bid REAL,
    ask REAL,
    volume REAL,
    received_us INTEGER NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (ts_us, market_id, seq)
) WITHOUT ROWID;
-- id is made by the writer, so that a repeated batch adds nothing.
CREATE TABLE IF NOT EXISTS actor_event (
    id INTEGER NOT NULL PRIMARY KEY,
    ts_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL
);
