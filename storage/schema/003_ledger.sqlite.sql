-- Times are microseconds, UTC. Money is text, an exact decimal in the account's currency.
-- What a strategy wished for, and what became of it.
CREATE TABLE IF NOT EXISTS signal (
    id INTEGER NOT NULL PRIMARY KEY,
    market_id INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    ts_us INTEGER NOT NULL,
    direction TEXT NOT NULL,
    expiry_s INTEGER NOT NULL,
    price REAL NOT NULL,
    price_age_ms INTEGER NOT NULL,
    inputs TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS signal_market ON signal (market_id, ts_us);
-- The latest word on a trade.
CREATE TABLE IF NOT EXISTS trade (
    id INTEGER NOT NULL PRIMARY KEY,
    signal_id INTEGER NOT NULL,
    market_id INTEGER NOT NULL,
    mode TEXT NOT NULL,
    venue_trade_id TEXT,
    direction TEXT NOT NULL,
    stake TEXT NOT NULL,
    currency TEXT NOT NULL,
    payout_percent REAL NOT NULL,
    state TEXT NOT NULL,
    intended_us INTEGER NOT NULL,
    sent_us INTEGER,
    opened_us INTEGER,
    open_price REAL,
    expires_us INTEGER,
    settled_us INTEGER,
    close_price REAL,
    close_source TEXT,
    profit TEXT
);
CREATE INDEX IF NOT EXISTS trade_intended ON trade (intended_us);
CREATE INDEX IF NOT EXISTS trade_state ON trade (state, intended_us);
CREATE INDEX IF NOT EXISTS trade_market ON trade (market_id, intended_us);
-- The steps of a trade.
CREATE TABLE IF NOT EXISTS trade_event (
    id INTEGER NOT NULL PRIMARY KEY,
    trade_id INTEGER NOT NULL,
    ts_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS trade_event_trade ON trade_event (trade_id);
