"""Puts what is imported into a database of ours, a page a transaction."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import attrs

from domain.clock import now_us
from storage.batches import insert_ticks, put_gaps, with_new_markets
from storage.candles import CandleKeeper, gaps_changed
from storage.fills import INSERT
from storage.import_place import LookedAt, NewRows, Place
from storage.kept import Kept, kept_from_us
from storage.migrations import bring_up_to_date
from storage.own_session import open_session
from storage.session import Dialect, Driver, Session
from storage.settings import StorageSettings

# In the place of an incomplete one from ticks only.
PUT_CANDLES = {
    Dialect.SQLITE: INSERT
    + "ON CONFLICT (market_id, timeframe_s, open_us) DO UPDATE SET open = excluded.open, "
    "high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume, "
    "ticks = 0, complete = 1, source = 'imported' WHERE candle.source = 'ticks' AND candle.complete = 0",
    # MySQL assigns from left to right and later ones see the earlier: what decides is last.
    Dialect.MYSQL: INSERT
    + "ON DUPLICATE KEY UPDATE "
    + "".join(
        f"{column} = IF(source = 'ticks' AND complete = 0, VALUES({column}), {column}), "
        for column in ("open", "high", "low", "close", "volume", "ticks", "source")
    )
    + "complete = IF(source = 'imported', 1, complete)",
}


@attrs.define(kw_only=True)
class Stored(LookedAt):
    """A database that rows are put into. Candles of ours follow the ticks, from `kept_from_us` on."""

    session: Session
    candles: CandleKeeper
    timeframes_s: Sequence[int]
    kept_from_us: int

    def put(self, rows: NewRows) -> None:
        """Put them there, in one transaction with the candles that they change."""
        session = self.session
        session.begin()
        ids = with_new_markets(session, ids=self.ids, markets=rows.markets)
        put_gaps(session, gaps=rows.gaps, ids=ids)
        insert_ticks(session, ticks=rows.ticks, ids=ids)
        if rows.candles:
            candles = [(ids[each.market], *each[1:], 0, 1, "imported") for each in rows.candles]
            session.execute_many(PUT_CANDLES[session.dialect], candles)
        until_us = min(now_us(), max((tick.ts_us for tick in rows.ticks), default=0))
        progress = self.candles.update(
            session, ticks=rows.ticks, ids=ids, until_us=until_us, kept_from_us=self.kept_from_us
        )
        changed = [(ids[gap.market], gap.from_us, gap.to_us) for gap in rows.gaps]
        gaps_changed(session, gaps=changed, timeframes_s=self.timeframes_s)
        session.commit()
        self.candles.keep(progress)
        self.ids = ids

    def catch_up(self) -> None:
        """Make what candles are still due of ticks that are there."""
        while self.candles.is_due(until_us=(until_us := now_us())):
            self.session.begin()
            progress = self.candles.update(
                self.session, ticks=(), ids=self.ids, until_us=until_us, kept_from_us=self.kept_from_us
            )
            self.session.commit()
            self.candles.keep(progress)


@contextlib.contextmanager
def open_to_keep(
    driver: Driver, *, settings: StorageSettings, tell: Callable[[str], None]
) -> Iterator[Place]:
    """Give a place that rows go into; its schema is brought up to date first, its candles at the end.

    The caller holds the state directory's lock.
    """
    with open_session(driver.patient()) as session:
        bring_up_to_date(session, patient_session=lambda: contextlib.nullcontext(session), tell=tell)
        place = Stored(
            run=lambda work: work(session),
            session=session,
            candles=CandleKeeper(timeframes_s=settings.timeframes_s),
            timeframes_s=settings.timeframes_s,
            kept_from_us=kept_from_us(session, table=Kept.TICKS),
        )
        yield place
        place.catch_up()
