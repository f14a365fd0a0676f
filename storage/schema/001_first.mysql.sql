-- Times are microseconds, UTC. Every statement can be repeated: DDL commits implicitly.
-- utf8mb4_bin: names that differ only in case or accents are different names.
CREATE TABLE IF NOT EXISTS schema_version (
    version INT NOT NULL PRIMARY KEY,
    applied_us BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS market (
    id SMALLINT NOT NULL PRIMARY KEY,
    venue VARCHAR(32) NOT NULL,
    symbol VARCHAR(32) NOT NULL,
    UNIQUE KEY name (venue, symbol)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS tick (
    market_id SMALLINT NOT NULL,
    ts_us BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    price DOUBLE NOT NULL,
    bid DOUBLE NULL,
    ask DOUBLE NULL,
    volume DOUBLE NULL,
    received_us BIGINT NOT NULL,
    source ENUM('live', 'backfill', 'imported') NOT NULL,
    PRIMARY KEY (market_id, ts_us, seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- id is made by the writer, so that a repeated batch adds nothing.
CREATE TABLE IF NOT EXISTS actor_event (
    id BIGINT NOT NULL PRIMARY KEY,
    ts_us BIGINT NOT NULL,
    actor VARCHAR(128) NOT NULL,
    event VARCHAR(32) NOT NULL,
    detail TEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
