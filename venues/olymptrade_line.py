"""Olymp Trade's subscriptions stand in a line: each waits for the answer to the one before. Pure.

Bursts of them have been answered with `invalid_request` (one client, 2026).
"""

from collections import deque
from collections.abc import Callable

import attrs

from venues.olymptrade_envelope import make_frame
from venues.olymptrade_frames import (
    SUBSCRIBE,
    SUBSCRIBE_COMPANION,
    UNSUBSCRIBE,
    UNSUBSCRIBE_COMPANION,
)

COMPANIONS = frozenset({SUBSCRIBE_COMPANION, UNSUBSCRIBE_COMPANION})


@attrs.define(kw_only=True, eq=False)
class Wish:
    """One request in the line; `rejected_at` counts subscribes confirmed before its first rejection.

    One that is given up is on its way, and its answer is awaited, but nobody wants it any longer.
    """

    code: int
    symbol: str
    uuid: str = ""
    rejected_at: int | None = None
    is_given_up: bool = False


class Line:
    """One session's subscribes and unsubscribes, of which at most one is on its way.

    An answer that was lost holds nobody up for ever: it is not waited for any longer once its market
    has asked anew for the second time, or two pings have passed it by. Prices come without the
    companions (one client of 2026 sends none): where the venue does not take them, no more are sent.
    """

    def __init__(self, make_id: Callable[[], str]) -> None:
        self._make_id = make_id
        self._waiting: deque[Wish] = deque()
        self._asked: Wish | None = None
        self._pings = 0  # since it was asked
        self._may_be_on: set[str] = set()  # at the venue, as far as we know
        self._confirmed = 0  # subscribes
        self._has_companions = True

    def join(self, symbol: str) -> None:
        """Stand in line to subscribe it."""
        self._waiting.append(Wish(code=SUBSCRIBE, symbol=symbol))

    def leave(self, symbol: str) -> None:
        """Forget what was asked for it; stand in line to unsubscribe it, if the venue may have it on."""
        self._waiting = deque(wish for wish in self._waiting if wish.symbol != symbol)
        asked = self._asked
        if asked is not None and asked.symbol == symbol:
            if asked.is_given_up:
                self._asked = None
            asked.is_given_up = True
        if symbol in self._may_be_on:
            self._waiting.append(Wish(code=UNSUBSCRIBE, symbol=symbol))
            if self._has_companions:
                self._waiting.append(Wish(code=UNSUBSCRIBE_COMPANION, symbol=symbol))

    def clear(self) -> None:
        """Forget all that stands in line."""
        self._waiting.clear()
        self._asked = None

    def next(self) -> list[str]:
        """Return the frame to send now, if none is on its way."""
        if self._asked is not None or not self._waiting:
            return []
        wish = self._asked = self._waiting.popleft()
        wish.uuid = self._make_id()
        self._pings = 0
        if wish.code == SUBSCRIBE:
            self._may_be_on.add(wish.symbol)
        return [make_frame(wish.code, [{"pair": wish.symbol}], uuid=wish.uuid)]

    def take_answer(self, uuid: str) -> Wish | None:
        """Return whose answer this is, None if nobody waits for it; it is over then."""
        wish = self._asked
        if wish is None or wish.uuid != uuid:
            return None
        self._asked = None
        return wish

    def confirm(self, wish: Wish) -> None:
        """The venue did it. The web client always sends 280 after 12, and so do we."""
        if wish.code == SUBSCRIBE:
            self._confirmed += 1
            if self._has_companions and not wish.is_given_up:
                self._waiting.appendleft(Wish(code=SUBSCRIBE_COMPANION, symbol=wish.symbol))
        elif wish.code == UNSUBSCRIBE:
            self._may_be_on.discard(wish.symbol)

    def repeat(self, wish: Wish) -> bool:
        """Put what was told `invalid_request` at the end of the line; False the second time."""
        if wish.rejected_at is not None:
            if wish.code in COMPANIONS:
                self._forgo_companions()
            return False
        wish.rejected_at = self._confirmed
        if not wish.is_given_up:
            self._waiting.append(wish)
        return True

    def is_too_fast(self, wish: Wish) -> bool:
        """Return whether a subscribe that was rejected twice was one of too many.

        Where another one was confirmed in between, there is something about this one.
        """
        return wish.code == SUBSCRIBE and wish.rejected_at == self._confirmed

    def refuse(self, wish: Wish) -> None:
        """The venue has no such market."""
        if wish.code == SUBSCRIBE:
            self._may_be_on.discard(wish.symbol)

    def ping_passes(self) -> None:
        """Stop waiting for an answer that a second ping has gone by."""
        self._pings += 1
        if self._pings > 1:
            if self._asked is not None and self._asked.code in COMPANIONS:
                self._forgo_companions()
            self._asked = None

    def _forgo_companions(self) -> None:
        self._has_companions = False
        self._waiting = deque(wish for wish in self._waiting if wish.code not in COMPANIONS)
