-- Repeating this puts all days into one partition again; storage/retention.py divides them anew.
ALTER TABLE tick PARTITION BY RANGE (ts_us) (PARTITION pmax VALUES LESS THAN MAXVALUE);
-- A candle from ticks is a function of the tick table; `complete` means that no gap overlaps it.
CREATE TABLE IF NOT EXISTS candle (
    market_id SMALLINT NOT NULL,
    timeframe_s INT NOT NULL,
    open_us BIGINT NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    ticks INT NOT NULL,
    volume DOUBLE NOT NULL,
    complete TINYINT NOT NULL,
    source ENUM('ticks', 'venue', 'imported') NOT NULL,
    PRIMARY KEY (market_id, timeframe_s, open_us)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- No ticks between from_us and to_us, both exclusive; to_us is null while the gap is open.
CREATE TABLE IF NOT EXISTS gap (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    market_id SMALLINT NOT NULL,
    from_us BIGINT NOT NULL,
    to_us BIGINT NULL,
    cause ENUM('disconnect', 'stale', 'overflow', 'journal_full', 'downtime', 'stopped', 'closed', 'clock',
        'refused') NOT NULL,
    fill ENUM('none', 'partly', 'candles', 'full', 'not_available') NOT NULL,
    fill_note VARCHAR(255) NOT NULL,
    UNIQUE KEY name (market_id, from_us, cause),
    -- The few that a candle may overlap are found without reading all that ever were.
    KEY ended (to_us, market_id, from_us)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- Rows that the server refused for their data, as JSON, and why.
CREATE TABLE IF NOT EXISTS dead_letter (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    ts_us BIGINT NOT NULL,
    table_name VARCHAR(64) NOT NULL,
    `row` TEXT NOT NULL,
    error VARCHAR(512) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The last batch of each journal and lane that is in this database, moved in the same transaction as its rows.
CREATE TABLE IF NOT EXISTS journal_position (
    journal_id BIGINT NOT NULL,
    lane ENUM('money', 'ticks') NOT NULL,
    batch BIGINT NOT NULL,
    PRIMARY KEY (journal_id, lane)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- From when on a table is whole; set before anything older is deleted.
CREATE TABLE IF NOT EXISTS retention (
    table_name VARCHAR(64) NOT NULL PRIMARY KEY,
    kept_from_us BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
