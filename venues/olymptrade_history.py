"""Olymp Trade's candle history (10): asked over the socket, paged back from its end. Pure.

Not recorded: from two independent clients' accounts. The venue decides how many candles an answer
holds, so a request is cut into parts that are read from the newest page to the oldest.
"""

from collections.abc import Callable

import attrs

from venues.events import Send, VenueEvent
from venues.offers import HistoryPage, HistoryRequest, VenueCandle
from venues.olymptrade_envelope import OlympMessage, make_frame
from venues.olymptrade_frames import CANDLES, SECOND_US, read_candles

PART_CANDLES = 500  # at most, of one part
MOST_PAGES = 50  # of one part
MOST_AT_ONCE = 100  # requests; beyond, the oldest has been given up by whoever asked


@attrs.define(kw_only=True, eq=False)
class Part:
    """The part of a request that is being read; its end is exclusive."""

    request: HistoryRequest
    timeframe_s: int
    end_us: int
    pages: int = 0
    is_repeated: bool = False
    candles: dict[int, VenueCandle] = attrs.field(factory=dict)  # by `open_us`

    @property
    def to_s(self) -> int:
        """Up to where the next page is to go: the oldest candle known, else the end."""
        return min(self.candles, default=-(-self.end_us // SECOND_US) * SECOND_US) // SECOND_US


class Histories:
    """One session's requests for candles, by the id that the answer carries."""

    def __init__(self, make_id: Callable[[], str]) -> None:
        self._make_id = make_id
        self._asked: dict[str, Part] = {}

    def ask(self, request: HistoryRequest, *, timeframe_s: int) -> list[str]:
        """Return the frame that asks for the newest page of the request's first part."""
        end_us = min(request.to_us, request.from_us + PART_CANDLES * timeframe_s * SECOND_US)
        return [self._frame(Part(request=request, timeframe_s=timeframe_s, end_us=end_us))]

    def take_part(self, uuid: str | None) -> Part | None:
        """Return whose answer this is, None if nobody waits for it; it is over then."""
        return None if uuid is None else self._asked.pop(uuid, None)

    def read(self, message: OlympMessage, part: Part) -> VenueEvent:
        """Return the page, or what asks for an older part of it."""
        known = min(part.candles, default=part.end_us)
        for candle in read_candles(message.d, symbol=part.request.symbol):
            if candle.open_us < part.end_us:
                part.candles.setdefault(candle.open_us, candle)
        part.pages += 1
        oldest_us = min(part.candles, default=part.end_us)
        is_all = oldest_us <= part.request.from_us or oldest_us >= known  # the venue has no older ones
        if not is_all and part.pages < MOST_PAGES:
            return Send((self._frame(part),))
        candles = tuple(part.candles[open_us] for open_us in sorted(part.candles))
        return HistoryPage(part.request.id, candles=candles, through_us=part.end_us)

    def repeat(self, part: Part) -> Send | None:
        """Return what asks once more, None the second time."""
        if part.is_repeated:
            return None
        part.is_repeated = True
        return Send((self._frame(part),))

    def _frame(self, part: Part) -> str:
        uuid = self._make_id()
        self._asked[uuid] = part
        if len(self._asked) > MOST_AT_ONCE:
            del self._asked[next(iter(self._asked))]
        wish = {"pair": part.request.symbol, "size": part.timeframe_s, "to": part.to_s, "solid": True}
        return make_frame(CANDLES, [wish], uuid=uuid)
