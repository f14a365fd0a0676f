-- Times are microseconds, UTC. Money is exact, in the account's currency. Names are text and no ENUM, and
-- long enough for all that is cut to size before it gets here: a row that is refused holds up all storing.
-- What a strategy wished for, and what became of it.
CREATE TABLE IF NOT EXISTS `signal` (
    id BIGINT NOT NULL PRIMARY KEY,
    market_id SMALLINT NOT NULL,
    strategy VARCHAR(128) NOT NULL,
    ts_us BIGINT NOT NULL,
    direction VARCHAR(16) NOT NULL,
    expiry_s INT NOT NULL,
    price DOUBLE NOT NULL,
    price_age_ms BIGINT NOT NULL,
    inputs TEXT NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    reason TEXT NOT NULL,
    KEY market (market_id, ts_us)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The latest word on a trade.
CREATE TABLE IF NOT EXISTS trade (
    id BIGINT NOT NULL PRIMARY KEY,
    signal_id BIGINT NOT NULL,
    market_id SMALLINT NOT NULL,
    mode VARCHAR(16) NOT NULL,
    venue_trade_id VARCHAR(255) NULL,
    direction VARCHAR(16) NOT NULL,
    stake DECIMAL(20, 8) NOT NULL,
    currency VARCHAR(16) NOT NULL,
    payout_percent DOUBLE NOT NULL,
    state VARCHAR(16) NOT NULL,
    intended_us BIGINT NOT NULL,
    sent_us BIGINT NULL,
    opened_us BIGINT NULL,
    open_price DOUBLE NULL,
    expires_us BIGINT NULL,
    settled_us BIGINT NULL,
    close_price DOUBLE NULL,
    close_source VARCHAR(16) NULL,
    profit DECIMAL(20, 8) NULL,
    KEY intended (intended_us),
    KEY state (state, intended_us),
    KEY market (market_id, intended_us)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The steps of a trade.
CREATE TABLE IF NOT EXISTS trade_event (
    id BIGINT NOT NULL PRIMARY KEY,
    trade_id BIGINT NOT NULL,
    ts_us BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    cause VARCHAR(64) NOT NULL,
    detail TEXT NOT NULL,
    KEY trade (trade_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
