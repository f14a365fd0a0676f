-- A candle from ticks is a function of the tick table; `complete` means that no gap overlaps it.
CREATE TABLE IF NOT EXISTS candle (
    market_id INTEGER NOT NULL,
    timeframe_s INTEGER NOT NULL,
    open_us INTEGER NOT NULL,
    open REAL NOT NULL,
    high REAL NOT NULL,
    low REAL NOT NULL,
    close REAL NOT NULL,
    ticks INTEGER NOT NULL,
    volume REAL NOT NULL,
    complete INTEGER NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (market_id, timeframe_s, open_us)
) WITHOUT ROWID;
-- No ticks between from_us and to_us, both exclusive; to_us is null while the gap is open.
CREATE TABLE IF NOT EXISTS gap (
    id INTEGER NOT NULL PRIMARY KEY,
    market_id INTEGER NOT NULL,
    from_us INTEGER NOT NULL,
    to_us INTEGER,
    cause TEXT NOT NULL,
    fill TEXT NOT NULL,
    fill_note TEXT NOT NULL,
    UNIQUE (market_id, from_us, cause)
);
-- The few that a candle may overlap are found without reading all that ever were.
CREATE INDEX IF NOT EXISTS gap_ended ON gap (market_id, to_us);
-- Rows that were refused for their data, as JSON, and why.
CREATE TABLE IF NOT EXISTS dead_letter (
    id INTEGER NOT NULL PRIMARY KEY,
    ts_us INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    "row" TEXT NOT NULL,
    error TEXT NOT NULL
);
-- The last batch of each journal and lane that is in this database, moved in the same transaction as its rows.
CREATE TABLE IF NOT EXISTS journal_position (
    journal_id INTEGER NOT NULL,
    lane TEXT NOT NULL,
    batch INTEGER NOT NULL,
    PRIMARY KEY (journal_id, lane)
) WITHOUT ROWID;
-- From when on a table is whole; set before anything older is deleted.
CREATE TABLE IF NOT EXISTS retention (
    table_name TEXT NOT NULL PRIMARY KEY,
    kept_from_us INTEGER NOT NULL
) WITHOUT ROWID;
