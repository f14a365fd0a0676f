"""How a page of past ticks says how far it goes, where the venue limits a page by its length."""

from collections.abc import Sequence

from domain.market import PriceUpdate
from venues.offers import HistoryPage, HistoryRequest


def page_of(
    request: HistoryRequest, ticks: Sequence[PriceUpdate], *, most: int, resolution_us: int
) -> HistoryPage:
    """Return the page of an answer that holds at most `most` ticks, all of which have a time.

    A full one may have been cut between ticks of one time: those of its last time are left to the
    next page, unless there are no others. `resolution_us` is how finely times are told.
    """
    ticks = sorted(ticks, key=_time)
    through_us = request.to_us
    if len(ticks) >= most and _time(ticks[-1]) < request.to_us:
        last_us = _time(ticks[-1])
        before_us = last_us - resolution_us
        through_us = before_us if _time(ticks[0]) < last_us and before_us > request.from_us else last_us
        through_us = max(through_us, request.from_us + resolution_us)
    return HistoryPage(
        request.id,
        ticks=tuple(tick for tick in ticks if request.from_us < _time(tick) <= through_us),
        through_us=through_us,
    )


def _time(tick: PriceUpdate) -> int:
    return tick.ts_us or 0
