"""What the database knows of markets from before a time: the last tick, and the gap left open."""

from collections.abc import Mapping, Sequence

import attrs

from domain.gaps import Gap
from domain.market import Tick, market_id
from storage.session import Dialect, Session

OPEN_GAPS = "SELECT market_id, from_us, to_us, cause, fill, fill_note FROM gap WHERE to_us IS NULL"
NEWEST_CANDLE = "SELECT MAX(open_us) FROM candle WHERE market_id = ? AND timeframe_s = ? AND open_us < ?"
# On SQLite the order is that of its key; MySQL's key begins with the market.
NEWEST_TICK = {
    Dialect.SQLITE: "SELECT ts_us, seq, price, bid, ask, volume, received_us, source FROM tick "
    "WHERE market_id = ? AND ts_us >= ? AND ts_us < ? ORDER BY ts_us DESC, market_id DESC, seq DESC LIMIT 1",
    Dialect.MYSQL: "SELECT ts_us, seq, price, bid, ask, volume, received_us, source FROM tick "
    "WHERE market_id = ? AND ts_us >= ? AND ts_us < ? ORDER BY ts_us DESC, seq DESC LIMIT 1",
}


@attrs.frozen(kw_only=True)
class Found:
    """The last tick of one market, and its open gaps."""

    last: Tick | None
    open_gaps: Sequence[Gap]


def recall(session: Session, *, before_us: Mapping[str, int], timeframe_s: int) -> dict[str, Found]:
    """Return what is known of these markets from before a time each.

    `timeframe_s` is that of some stored candles: in SQLite, whose ticks are in order of time, they
    tell where a quiet market's last tick lies.
    """
    rows = session.query("SELECT id, venue, symbol FROM market")
    names = {int(id_): market_id(symbol=symbol, venue=venue) for id_, venue, symbol in rows}
    gaps: dict[str, list[Gap]] = {}
    for id_, *rest in session.query(OPEN_GAPS):
        gap = Gap(names.get(int(id_), ""), *rest)
        gaps.setdefault(gap.market, []).append(gap)
    wanted = {id_: name for id_, name in names.items() if name in before_us}
    candles = {
        id_: session.query(NEWEST_CANDLE, (id_, timeframe_s, before_us[name]))[0][0]
        for id_, name in wanted.items()
    }
    newest = max((each for each in candles.values() if each is not None), default=None)
    return {
        name: Found(
            last=_last_tick(
                session,
                id_=id_,
                name=name,
                ranges=_ranges(
                    before_us[name], candle_us=candles[id_], newest_us=newest, span_us=timeframe_s * 1_000_000
                ),
            ),
            open_gaps=gaps.get(name, ()),
        )
        for id_, name in wanted.items()
    }


def _ranges(
    before_us: int, *, candle_us: int | None, newest_us: int | None, span_us: int
) -> list[tuple[int, int]]:
    """Return where to look: after the newest candle of all, then inside the market's own newest one."""
    if newest_us is None:
        return [(0, before_us)]
    ranges = [(newest_us, before_us)]
    if candle_us is not None:
        ranges.append((candle_us, min(before_us, candle_us + span_us)))
        # the moment may lie in that very candle, before its first tick
        ranges.append((0, candle_us))
    return ranges


def _last_tick(session: Session, *, id_: int, name: str, ranges: list[tuple[int, int]]) -> Tick | None:
    for since_us, until_us in ranges:
        for row in session.query(NEWEST_TICK[session.dialect], (id_, since_us, until_us)):
            return Tick(name, *row)
    return None
