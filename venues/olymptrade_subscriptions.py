"""Which markets one session of Olymp Trade wants, and what the venue answers to that. Pure."""

from collections.abc import Callable, Sequence

from venues.events import Closed, Refused, Send, Subscribed, Throttled, Unknown, VenueEvent
from venues.olymptrade_envelope import OlympError, OlympMessage, is_rejection, make_frame, read_error
from venues.olymptrade_frames import SUBSCRIBE, UNSUBSCRIBE, UNSUBSCRIBE_COMPANION
from venues.olymptrade_line import Line, Wish
from venues.samples import MOST_LETTERS

RETRY_AFTER_S = 60.0  # after a second `invalid_request`; nobody knows how long it takes

# The two codes of rejections that are attested.
TOO_FAST = "invalid_request"
NO_SUCH_MARKET = "pair_unavailable"

LATE = Unknown("late answer")  # a second one, or to what was given up


class OlympSubscriptions:
    """One session's subscriptions. `is_closed` says whether the venue lists a market as locked."""

    def __init__(self, *, make_id: Callable[[], str], is_closed: Callable[[str], bool]) -> None:
        self.symbols: set[str] = set()  # whose prices are told
        self._make_id = make_id
        self._is_closed = is_closed
        self._line = Line(make_id)
        self._goodbye = ""

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the first frame of the line; the rest follows, each on the answer to the one before."""
        for symbol in symbols:
            self.symbols.add(symbol)
            self._line.join(symbol)
        return self._line.next()

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the first frame of the line, as `subscribe` does."""
        for symbol in symbols:
            self.symbols.discard(symbol)
            self._line.leave(symbol)
        return self._line.next()

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return one frame for all: one goodbye after the other would outlast a stop.

        That it may name several markets is a guess; any answer to it will do, and so will none.
        """
        self._line.clear()
        self._goodbye = self._make_id()
        return [make_frame(UNSUBSCRIBE, [{"pair": symbol} for symbol in symbols], uuid=self._goodbye)]

    def ping_passes(self) -> list[str]:
        """Return what stands in line where an answer seems lost."""
        self._line.ping_passes()
        return self._line.next()

    def read_answer(self, message: OlympMessage) -> list[VenueEvent]:
        """`[{"e":12,"t":3,"uuid":"WKAJ-is"}]` (recorded 2025-07-04); so also while the market is locked."""
        if message.uuid is None:
            return [LATE]
        if message.uuid == self._goodbye:
            return [Subscribed(())]
        wish = self._line.take_answer(message.uuid)
        if wish is None:
            return [LATE]
        if is_rejection(message):
            events = self._take_rejection(read_error(message.err), wish)
        else:
            events = self._confirm(wish)
        return events + [Send((frame,)) for frame in self._line.next()]

    def _confirm(self, wish: Wish) -> list[VenueEvent]:
        self._line.confirm(wish)
        if wish.is_given_up:
            return []
        if wish.code == SUBSCRIBE:
            return [Subscribed((wish.symbol,))]
        return [Subscribed(())] if wish.code == UNSUBSCRIBE_COMPANION else []

    def _take_rejection(self, error: OlympError, wish: Wish) -> list[VenueEvent]:
        if error.code == TOO_FAST:
            if self._line.repeat(wish):
                return []
            if self._line.is_too_fast(wish):
                self._line.clear()
                return [Throttled(f"asked too fast: {error.reason}", RETRY_AFTER_S)]
        if error.code == NO_SUCH_MARKET and wish.code == SUBSCRIBE:
            self._line.refuse(wish)
            if wish.is_given_up:
                return []
            self.symbols.discard(wish.symbol)
            made = Closed if self._is_closed(wish.symbol) else Refused
            return [made((wish.symbol,), error.reason)]
        return [unknown_error(wish.code, error)]


def unknown_error(code: int, error: OlympError) -> Unknown:
    """Return the word on an error that nobody knows; `code` is what was asked."""
    return Unknown(f"error {str(error.code)[:MOST_LETTERS]} of {code}")
