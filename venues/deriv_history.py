"""Deriv's past, asked for over the socket: `ticks_history`, ticks and candles alike.

The venue answers with the *latest* ticks of an interval, up to `count` of them (ticks_history's schema,
2026-06). So each page is an interval so short that it holds no more than that, from the oldest on.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from domain.errors import LocalProtocolError
from domain.market import PriceUpdate, check_update
from venues.deriv_frames import SECOND_US, Number, read_number, read_seconds, request
from venues.events import Send
from venues.offers import HistoryPage, HistoryRequest, VenueCandle

MOST_A_PAGE = 5_000  # ticks or candles; more are not given, whatever is asked for. The API's docs, 2026-06
# ticks_history/send.json: what `granularity` takes, in seconds
TIMEFRAMES_S = (60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


class DerivPast(msgspec.Struct, gc=False):
    """Ticks of the past, oldest first: one price for each time.

    `{"prices":[218.0926,218.1102],"times":[1587547610,1587547612]}`
    """

    prices: list[Number]
    times: list[int | str]


class DerivCandle(msgspec.Struct, gc=False):
    """A candle, by the second it opens at.

    `{"close":1.0876,"epoch":1587547620,"high":1.0877,"low":1.0874,"open":1.0875}`
    """

    epoch: int | str
    open: Number
    high: Number
    low: Number
    close: Number


_decode_past = msgspec.json.Decoder(DerivPast).decode
_decode_candles = msgspec.json.Decoder(list[DerivCandle]).decode


class _Page(NamedTuple):
    """What one frame asked for: both ends inclusive, in seconds."""

    wish: HistoryRequest
    first_s: int
    last_s: int

    @property
    def seconds(self) -> int:
        """How many different seconds it covers."""
        return self.last_s - self.first_s + 1

    @property
    def through_us(self) -> int:
        """Up to where it tells all there is, if nothing of it was cut off."""
        end_us = (self.last_s + 1) * SECOND_US
        return self.wish.to_us if end_us >= self.wish.to_us else end_us - 1


class DerivHistory:
    """The pages that one session asked for and has not got."""

    def __init__(self) -> None:
        self._asked: dict[int, _Page] = {}  # by request id

    def __contains__(self, req_id: int) -> bool:
        """Return whether this request asked for a page."""
        return req_id in self._asked

    def ask(self, wish: HistoryRequest, *, req_id: int) -> str:
        """Return the frame that asks for the oldest page of a wish.

        Raises `LocalProtocolError` for candles that the venue does not have.
        """
        if wish.timeframe_s is not None and wish.timeframe_s not in TIMEFRAMES_S:
            raise LocalProtocolError(f"Deriv has no candles of {wish.timeframe_s} s")
        step_s = wish.timeframe_s or 1
        first_s = wish.from_us // SECOND_US + 1
        last_s = max(first_s, -(-wish.to_us // SECOND_US) - 1)
        return self._ask(_Page(wish, first_s, min(last_s, first_s + MOST_A_PAGE * step_s - 1)), req_id=req_id)

    def fail(self, req_id: int, reason: str) -> HistoryPage:
        """The venue does not give this page."""
        return HistoryPage(self._asked.pop(req_id).wish.id, reason=reason)

    def ticks(self, req_id: int, data: msgspec.Raw, *, next_id: int) -> HistoryPage | Send:
        """Return a page's ticks, or the request for a shorter one where its older part was cut off."""
        past = _decode_past(data)
        if len(past.prices) != len(past.times):
            raise ValueError(f"{len(past.prices)} prices and {len(past.times)} times")
        page = self._asked.pop(req_id)
        if _may_be_cut(page, past):
            half = page._replace(last_s=page.first_s + page.seconds // 2 - 1)
            return Send((self._ask(half, req_id=next_id),))
        updates = [
            PriceUpdate(page.wish.symbol, int(epoch) * SECOND_US, None, float(price))
            for epoch, price in zip(past.times, past.prices, strict=True)
        ]
        for update in updates:
            check_update(update)
        updates.sort(key=_time)
        return HistoryPage(page.wish.id, ticks=tuple(updates), through_us=page.through_us)

    def candles(self, req_id: int, data: msgspec.Raw) -> HistoryPage:
        """Return a page's candles."""
        told = _decode_candles(data)
        page = self._asked.pop(req_id)
        candles = [
            VenueCandle(
                read_seconds(each.epoch), *map(read_number, (each.open, each.high, each.low, each.close))
            )
            for each in told
        ]
        return HistoryPage(page.wish.id, candles=tuple(sorted(candles)), through_us=page.through_us)

    def _ask(self, page: _Page, *, req_id: int) -> str:
        self._asked[req_id] = page
        wanted: Mapping[str, object] = (
            {"style": "ticks"}
            if page.wish.timeframe_s is None
            else {"style": "candles", "granularity": page.wish.timeframe_s}
        )
        return request(
            ticks_history=page.wish.symbol, start=page.first_s, end=str(page.last_s),
            count=MOST_A_PAGE, **wanted, req_id=req_id,
        )  # fmt: skip


def _may_be_cut(page: _Page, past: DerivPast) -> bool:
    """Return whether there may be older ticks in it that were left out; one for each second is all."""
    count = len(past.times)
    is_one_each_second = count == page.seconds == len(set(past.times))
    return count >= MOST_A_PAGE and page.seconds > 1 and not is_one_each_second


def _time(update: PriceUpdate) -> int:
    return update.ts_us or 0
