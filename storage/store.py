"""Brings accepted batches into the database, each exactly once: the storing thread's part of the writer.

A transaction holds batches of one lane and one journal, their rows, and the journal's position after
them. Only the locked read of that position decides what is stored already: an attempt before this
one may have been applied although its answer was lost, or may still be running.
"""

from collections.abc import Sequence

import attrs

from domain.clock import now_us
from domain.crash_points import crash_point
from domain.market import Tick
from storage.batches import (
    insert_events,
    put_gaps,
    with_new_markets,
)
from storage.candles import CandleKeeper, CandleProgress, gaps_changed
from storage.dead_letters import insert_or_set_aside
from storage.fills import fill_gaps, put_candles
from storage.journal_reader import Head, JournalReader
from storage.ledger_rows import insert_signals, insert_trade_events, put_trades
from storage.payloads import JournalBatch, Lane, Money, Rows
from storage.session import Dialect, Session

OPEN_POSITION = {
    Dialect.SQLITE: "INSERT INTO journal_position (journal_id, lane, batch) VALUES (?, ?, 0) "
    "ON CONFLICT (journal_id, lane) DO NOTHING",
    Dialect.MYSQL: "INSERT INTO journal_position (journal_id, lane, batch) VALUES (?, ?, 0) "
    "ON DUPLICATE KEY UPDATE batch = batch",
}
LOCK_POSITION = {
    Dialect.SQLITE: "SELECT batch FROM journal_position WHERE journal_id = ? AND lane = ?",
    Dialect.MYSQL: "SELECT batch FROM journal_position WHERE journal_id = ? AND lane = ? FOR UPDATE",
}
MOVE_POSITION = "UPDATE journal_position SET batch = ? WHERE journal_id = ? AND lane = ?"


@attrs.frozen(kw_only=True)
class Work:
    """What one transaction is to do: the next batches of a lane, from RAM where they are offered there.

    `until_us` is how far time has come for candles: the wall clock, or None while the database is
    behind (then the ticks tell). `kept_from_us` is from when on ticks are kept.
    """

    lane: Lane
    offered: Sequence[JournalBatch]
    accepted_through: int  # position
    max_rows: int
    until_us: int | None
    kept_from_us: int


@attrs.frozen(kw_only=True)
class Done:
    """What one transaction did.

    Everything up to `position` of the lane is in the database. `confirmed` is a position that was
    read back from the database after its commit.
    """

    position: int
    confirmed: int
    journal_id: int | None = None
    batches: int = 0  # whose rows this transaction stored
    rows: int = 0  # stored by this transaction, or by an earlier one whose answer was lost
    refused: tuple[str, ...] = ()  # why, a row each
    went_back: str = ""  # the database had less than we knew to be committed


@attrs.frozen(kw_only=True)
class _Place:
    """Where a lane goes on, by the database's word: its number in the journal, its position in the lane."""

    number: int
    through: int
    confirmed: int
    went_back: str


@attrs.frozen(kw_only=True)
class _Inserted:
    """What is to be remembered once the transaction is committed."""

    ids: dict[str, int]
    rows: int
    refused: tuple[str, ...] = ()
    progress: CandleProgress | None = None


class Store:
    """Keeps its place in each lane. What it remembers is changed only after a commit."""

    def __init__(self, *, reader: JournalReader, timeframes_s: Sequence[int]) -> None:
        self._reader = reader
        self._candles = CandleKeeper(timeframes_s=timeframes_s)
        self._timeframes_s = timeframes_s
        self._ids: dict[str, int] = {}
        self._through = dict.fromkeys(Lane, 0)  # positions
        self._confirmed = dict.fromkeys(Lane, 0)
        self._known: dict[tuple[int, Lane], int] = {}  # the number after our last commit
        self._latest: dict[Lane, int] = {}  # the journal of our last commit

    def forget(self) -> None:
        """Behind a new connection may stand another database: look everything up again."""
        self._ids = {}
        self._candles.forget()

    def close(self) -> None:
        """Close the journal's reading end."""
        self._reader.close()

    # --- one transaction ----------------------------------------------------------------------

    def store(self, session: Session, work: Work) -> Done:
        """Store the next batches of a lane, if there are any."""
        lane = work.lane
        head = self._head(work)
        if head is None:  # the journal was put right, and what we were to store is lost
            self._through[lane] = work.accepted_through
            return Done(position=work.accepted_through, confirmed=self._confirmed[lane])
        session.begin()
        place = self._find_place(session, head=head, lane=lane)
        if place.went_back:
            self.forget()
        crash_point("store.begun")
        batches = self._next(work, head=head, place=place)
        inserted = self._insert(session, lane=lane, rows=[each.rows for each in batches], work=work)
        crash_point("store.inserted")
        through, number = place.through, place.number
        if batches:
            through, number = batches[-1].position, batches[-1].number
            session.execute(MOVE_POSITION, (number, head.journal_id, lane))
            crash_point("store.positioned")
        session.commit()
        crash_point("store.committed")
        self._through[lane], self._confirmed[lane] = through, place.confirmed
        self._known[head.journal_id, lane] = number
        if batches or not place.went_back:
            self._latest[lane] = head.journal_id
        else:  # from here on each journal is looked at
            self._latest.pop(lane, None)
        self._keep(inserted)
        skipped = sum(
            len(each.rows)
            for each in work.offered
            if each.journal_id == head.journal_id and head.number <= each.number <= place.number
        )
        return Done(
            position=through,
            confirmed=place.confirmed,
            journal_id=head.journal_id,
            batches=len(batches),
            rows=inserted.rows + skipped,
            refused=inserted.refused,
            went_back=place.went_back,
        )

    def store_directly(self, session: Session, *, rows: Rows, work: Work) -> Done:
        """Store rows that are in no journal: repeatable, but not counted by a position."""
        session.begin()
        inserted = self._insert(session, lane=work.lane, rows=[rows], work=work)
        session.commit()
        self._keep(inserted)
        return Done(
            position=self._through[work.lane],
            confirmed=self._confirmed[work.lane],
            rows=inserted.rows,
            refused=inserted.refused,
        )

    def is_candle_due(self, *, until_us: int) -> bool:
        """Return whether an interval is over whose candle is not stored yet."""
        return self._candles.is_due(until_us=until_us)

    # --- which batches ------------------------------------------------------------------------

    def _head(self, work: Work) -> Head | None:
        """Return the first batch that we do not know to be stored."""
        through, offered = self._through[work.lane], work.offered
        if offered and offered[0].position == through + 1:
            first = offered[0]
            return Head(position=first.position, journal_id=first.journal_id, number=first.number)
        return self._reader.head(work.lane, after=through)

    def _find_place(self, session: Session, *, head: Head, lane: Lane) -> _Place:
        """Lock the journal's position, and find where in the lane that is."""
        key = head.journal_id, lane
        session.execute(OPEN_POSITION[session.dialect], key)
        [(number,)] = session.query(LOCK_POSITION[session.dialect], key)
        known = self._known.get(key)
        through, confirmed, went_back = self._through[lane], self._confirmed[lane], ""
        if number != head.number - 1:
            # An earlier run stored it, an answer was lost, the oldest were given up; or it went back.
            found = self._reader.position_of(lane, journal_id=head.journal_id, number=number)
            through = head.position + max(-1, number - head.number) if found is None else found
        if known is not None and number >= known:
            confirmed = self._through[lane]
        elif known is not None:
            if number == 0:  # made anew: what earlier journals hold is not in it either
                through = 0
            went_back = (
                f"journal {head.journal_id}, lane {lane}: the database has batch {number}, it had {known}"
            )
        if not went_back and (went_back := self._went_back_before(session, head=head, lane=lane)):
            through = 0
        if went_back:
            confirmed = min(confirmed, through)
        return _Place(number=number, through=through, confirmed=confirmed, went_back=went_back)

    def _went_back_before(self, session: Session, *, head: Head, lane: Lane) -> str:
        """Return what is missing of the journal that we stored before this one; nothing, as a rule."""
        latest = self._latest.get(lane)
        if latest is None or latest == head.journal_id:
            return ""
        had = self._known[latest, lane]
        rows = session.query(LOCK_POSITION[session.dialect], (latest, lane))
        has = rows[0][0] if rows else 0
        return (
            f"journal {latest}, lane {lane}: the database has batch {has}, it had {had}" if has < had else ""
        )

    def _next(self, work: Work, *, head: Head, place: _Place) -> list[JournalBatch]:
        """Return the batches of head's journal after the place."""
        offered = work.offered
        if offered and offered[0].position == place.through + 1:
            batches = _first_rows(offered, max_rows=work.max_rows)
        else:
            batches = self._reader.read(work.lane, after=place.through, max_rows=work.max_rows)
        return [each for each in batches if each.journal_id == head.journal_id and each.number > place.number]

    # --- their rows ---------------------------------------------------------------------------

    def _insert(self, session: Session, *, lane: Lane, rows: Sequence[Rows], work: Work) -> _Inserted:
        if lane is Lane.MONEY:
            return self._insert_money(session, [each for each in rows if isinstance(each, Money)])
        ticks = [tick for each in rows if not isinstance(each, Money) for tick in each]
        return self._insert_ticks(session, ticks, work=work)

    def _insert_money(self, session: Session, rows: Sequence[Money]) -> _Inserted:
        gaps = [gap for each in rows for gap in each.gaps]
        fills = [fill for each in rows for fill in each.fills]
        candles = [candle for each in rows for candle in each.candles]
        events = [event for each in rows for event in each.events]
        signals = [signal for each in rows for signal in each.signals]
        trades = [trade for each in rows for trade in each.trades]
        steps = [step for each in rows for step in each.trade_events]
        markets = {gap.market for gap in gaps}
        markets |= {fill.market for fill in fills} | {candle.market for candle in candles}
        markets |= {signal.market for signal in signals} | {trade.market for trade in trades}
        ids = with_new_markets(session, ids=self._ids, markets=markets)
        put_gaps(session, gaps=gaps, ids=ids)
        fill_gaps(session, fills=fills, ids=ids)
        put_candles(session, candles=candles, ids=ids)
        insert_events(session, events=events)
        insert_signals(session, signals=signals, ids=ids)
        put_trades(session, trades=trades, ids=ids)
        insert_trade_events(session, events=steps)
        changed = [(ids[gap.market], gap.from_us, gap.to_us) for gap in gaps]
        changed += [(ids[fill.market], fill.from_us, fill.to_us) for fill in fills]
        if changed:
            gaps_changed(session, gaps=changed, timeframes_s=self._timeframes_s)
        return _Inserted(ids=ids, rows=sum(len(each) for each in rows))

    def _insert_ticks(self, session: Session, ticks: list[Tick], *, work: Work) -> _Inserted:
        ids = with_new_markets(session, ids=self._ids, markets={tick[0] for tick in ticks})
        refused = tuple(insert_or_set_aside(session, ticks=ticks, ids=ids))
        until_us = work.until_us
        if until_us is None:  # no later than now: a venue's clock may be far off
            until_us = min(now_us(), max((tick[1] for tick in ticks), default=0))
        progress = self._candles.update(
            session, ticks=ticks, ids=ids, until_us=until_us, kept_from_us=work.kept_from_us
        )
        return _Inserted(ids=ids, rows=len(ticks), refused=refused, progress=progress)

    def _keep(self, inserted: _Inserted) -> None:
        self._ids = inserted.ids  # only now: ids that were rolled back are nobody's
        if inserted.progress is not None:
            self._candles.keep(inserted.progress)


def _first_rows(batches: Sequence[JournalBatch], *, max_rows: int) -> list[JournalBatch]:
    """Return the first batch, and those of its journal after it up to so many rows."""
    taken = [batches[0]]
    count = len(batches[0].rows)
    for each in batches[1:]:
        count += len(each.rows)
        if count > max_rows or each.journal_id != taken[0].journal_id:
            break
        taken.append(each)
    return taken
