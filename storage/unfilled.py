"""The closed gaps that a venue's history may still fill, as the database knows them."""

from domain.gaps import Fill, Gap
from domain.market import market_id
from storage.session import Dialect, Session

MOST_AT_ONCE = 1_000  # the newest

OF_A_VENUE = (
    "WHERE market.venue = ? AND to_us > ? AND from_us + 1 < to_us AND fill IN ('none', 'partly') "
    "AND cause IN ('disconnect', 'stale', 'overflow', 'journal_full', 'downtime') "
    "ORDER BY to_us DESC LIMIT ?"
)
SELECT = "SELECT market.id, symbol, from_us, to_us, cause, fill, fill_note FROM "
# Which key is said: the other one reads all gaps that a market ever had.
UNFILLED = {
    Dialect.SQLITE: SELECT
    + "market CROSS JOIN gap INDEXED BY gap_ended ON gap.market_id = market.id "
    + OF_A_VENUE,
    Dialect.MYSQL: SELECT
    + "gap FORCE INDEX (ended) STRAIGHT_JOIN market ON market.id = gap.market_id "
    + OF_A_VENUE,
}
# Gaps are filled from their beginning on.
REACHED = {
    Dialect.SQLITE: "SELECT ts_us FROM tick WHERE market_id = ? AND ts_us > ? AND ts_us < ? "
    "AND source = 'backfill' ORDER BY ts_us DESC, market_id DESC, seq DESC LIMIT 1",
    Dialect.MYSQL: "SELECT ts_us FROM tick WHERE market_id = ? AND ts_us > ? AND ts_us < ? "
    "AND source = 'backfill' ORDER BY ts_us DESC, seq DESC LIMIT 1",
}


def unfilled_gaps(session: Session, *, venue: str, since_us: int) -> dict[Gap, int]:
    """Return the newest gaps that ended after `since_us` and are not filled, each with a time.

    That is up to where (inclusive) it is filled for sure: its beginning, or further where it is
    filled partly. Backfilled ticks right behind it may be there too.
    """
    found: dict[Gap, int] = {}
    for id_, symbol, *rest in session.query(UNFILLED[session.dialect], (venue, since_us, MOST_AT_ONCE)):
        gap = Gap(market_id(symbol=symbol, venue=venue), *rest)
        found[gap] = _reached_us(session, id_=int(id_), gap=gap)
    return found


def _reached_us(session: Session, *, id_: int, gap: Gap) -> int:
    if gap.fill == Fill.PARTLY:
        for (ts_us,) in session.query(REACHED[session.dialect], (id_, gap.from_us, gap.to_us)):
            return int(ts_us) - 1  # of several with one time the last may be missing
    return gap.from_us
