"""What of a market is stored since, or until, a moment: to go through it again as it came."""

from collections.abc import Collection, Sequence
from itertools import groupby

import attrs

from domain.gaps import Gap
from domain.market import Candle, Tick, split_market_id
from storage.history import Span, tick_page
from storage.session import Row, Session

MARKET = "SELECT id FROM market WHERE venue = ? AND symbol = ?"
CANDLES = (
    "SELECT open_us, open, high, low, close, ticks, volume, complete FROM candle "
    "WHERE market_id = ? AND timeframe_s = ? AND open_us <= ? ORDER BY open_us DESC LIMIT ?"
)
GAPS = (
    "SELECT from_us, to_us, cause, fill, fill_note FROM gap "
    "WHERE market_id = ? AND (to_us > ? OR to_us IS NULL) ORDER BY from_us, cause"
)
SECOND_US = 1_000_000

Place = tuple[int, int]  # ts_us, seq


@attrs.frozen(kw_only=True)
class PastTicks:
    """Ticks in their order. `next` is where to go on, None where nothing more is stored yet.

    Without ticks there may be a next place: SQLite looked at enough of other markets' ticks.
    """

    ticks: Sequence[Tick]
    next: Place | None


@attrs.frozen(kw_only=True)
class PastCandle:
    """A stored candle; not `complete` where a gap overlaps it that is not filled in full."""

    candle: Candle
    complete: bool


def past_ticks(session: Session, *, market: str, after: Place, limit: int) -> PastTicks:
    """Return up to `limit` ticks of a market behind a place, whatever their source."""
    id_ = market_number(session, market)
    if id_ is None:
        return PastTicks(ticks=(), next=None)
    ts_us, seq = after
    page = tick_page(session, market_id=id_, span=Span(), after=(ts_us, id_, seq), limit=limit)
    ticks = [Tick(market, *row) for row in page.rows]
    return PastTicks(ticks=ticks, next=None if page.next is None else (page.next[0], page.next[2]))


def past_gaps(session: Session, *, market: str, from_us: int) -> list[Gap]:
    """Return the gaps of a market that end after a moment, or are open, in the order of their beginnings."""
    id_ = market_number(session, market)
    if id_ is None:
        return []
    return [Gap(market, *row) for row in session.query(GAPS, (id_, from_us))]


def last_candles(
    session: Session,
    *,
    market: str,
    timeframe_s: int,
    before_us: int,
    count: int,
    stored_s: Collection[int],
) -> list[PastCandle]:
    """Return the last candles of a market that had ended by a moment, the oldest first, at most so many.

    A timeframe that is not stored is put together from the largest of `stored_s` that it is a multiple of.
    An interval without a tick has no candle.
    """
    id_ = market_number(session, market)
    part_s = max((each for each in stored_s if timeframe_s % each == 0), default=None)
    if id_ is None or part_s is None or count < 1:
        return []
    span_us = timeframe_s * SECOND_US
    last_us = before_us - before_us % span_us - part_s * SECOND_US  # its last part opens here
    parts = count * (timeframe_s // part_s)
    rows = session.query(CANDLES, (id_, part_s, last_us, parts))[::-1]
    whole = [
        _folded(list(group), market=market, timeframe_s=timeframe_s, open_us=open_us)
        for open_us, group in groupby(rows, key=lambda row: row[0] - row[0] % span_us)
    ]
    # The oldest may lack parts that were not asked for.
    is_cut = timeframe_s != part_s and len(rows) == parts
    return whole[1:][-count:] if is_cut and rows[0][0] % span_us else whole[-count:]


def market_number(session: Session, market: str) -> int | None:
    """Return a market's id in this database, None where it has none yet."""
    symbol, venue = split_market_id(market)
    rows = session.query(MARKET, (venue, symbol))
    return int(rows[0][0]) if rows else None


def _folded(parts: Sequence[Row], *, market: str, timeframe_s: int, open_us: int) -> PastCandle:
    _, opens, highs, lows, closes, ticks, volumes, completes = zip(*parts, strict=True)
    return PastCandle(
        candle=Candle(
            market=market,
            timeframe_s=timeframe_s,
            open_us=open_us,
            open=opens[0],
            high=max(highs),
            low=min(lows),
            close=closes[-1],
            ticks=sum(ticks),
            volume=sum(volumes),
        ),
        complete=all(completes),
    )
