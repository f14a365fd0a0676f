"""The latest candles of a market, those included that no transaction has made of its ticks yet."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from domain.gaps import Fill, Gap
from domain.market import MAX_INTEGER, Candle, Tick
from storage.past import PastCandle, last_candles, past_gaps, past_ticks
from storage.session import Session

SECOND_US = 1_000_000
PAGE_ROWS = 5_000


def latest_candles(
    session: Session, *, market: str, timeframe_s: int, before_us: int, count: int, stored_s: Collection[int]
) -> list[PastCandle]:
    """Return the last candles that had ended by a moment, the oldest first, at most `count`.

    A candle is stored some seconds after its end, so that after a restart the last ones may lack:
    they are made of their ticks here, as they would be there. Of a timeframe that cannot be put
    together from `stored_s` there are none.
    """
    found = last_candles(
        session,
        market=market,
        timeframe_s=timeframe_s,
        before_us=before_us,
        count=count,
        stored_s=stored_s,
    )
    if count < 1 or all(timeframe_s % each for each in stored_s):
        return found
    span_us = timeframe_s * SECOND_US
    end_us = before_us - before_us % span_us
    from_us = found[-1].candle.open_us + span_us if found else max(0, end_us - count * span_us)
    if from_us < end_us:
        ticks = _ticks(session, market=market, from_us=from_us, to_us=end_us)
        gaps = past_gaps(session, market=market, from_us=from_us)
        found += _made(ticks, timeframe_s=timeframe_s, gaps=gaps)
    return found[-count:]


def _ticks(session: Session, *, market: str, from_us: int, to_us: int) -> Iterator[Tick]:
    place: tuple[int, int] | None = (from_us - 1, MAX_INTEGER)
    while place is not None:
        page = past_ticks(session, market=market, after=place, limit=PAGE_ROWS)
        for tick in page.ticks:
            if tick.ts_us >= to_us:
                return
            yield tick
        place = page.next


def _made(ticks: Iterator[Tick], *, timeframe_s: int, gaps: Sequence[Gap]) -> list[PastCandle]:
    span_us = timeframe_s * SECOND_US
    made = []
    for open_us, group in groupby(ticks, key=lambda tick: tick.ts_us - tick.ts_us % span_us):
        own = list(group)
        prices = [tick.price for tick in own]
        candle = Candle(
            market=own[0].market,
            timeframe_s=timeframe_s,
            open_us=open_us,
            open=prices[0],
            high=max(prices),
            low=min(prices),
            close=prices[-1],
            ticks=len(own),
            volume=sum(tick.volume or 0.0 for tick in own),
        )
        is_whole = not any(_reaches(gap, open_us, open_us + span_us) for gap in gaps)
        made.append(PastCandle(candle=candle, complete=is_whole))
    return made


def _reaches(gap: Gap, from_us: int, to_us: int) -> bool:
    """Whether prices may be missing between two times: a gap's own ends are outside of it."""
    has_end = gap.to_us is not None
    return gap.fill != Fill.FULL and gap.from_us + 1 < to_us and (not has_end or (gap.to_us or 0) > from_us)
