"""Which symbols one session has subscribed, and who waits for the venue's word. Sans I/O."""

from collections.abc import Iterable

from domain.errors import ConnectionLost, MarketClosed, PermanentError
from domain.messages import Answerable, Resubscribe, Subscribe, Unsubscribe
from venues.protocol import Adapter


class Subscriptions:
    """The subscriptions of one session of one connection."""

    __slots__ = ("_adapter", "_adopted", "_asked", "_confirmed", "_session", "_venue")

    def __init__(self, *, adapter: Adapter, venue: str, session: int) -> None:
        self._adapter = adapter
        self._venue = venue
        self._session = session
        self._confirmed: set[str] = set()
        self._asked: dict[str, list[Answerable]] = {}
        self._adopted: set[str] = set()  # of another session, asked for here too

    def plan(self, requests: Iterable[Subscribe | Unsubscribe]) -> list[str]:
        """Return the frames that these requests need together; remember who waits for an answer."""
        leaving: dict[str, None] = {}  # dicts, because they keep the order
        joining: dict[str, None] = {}
        for request in requests:
            if isinstance(request, Unsubscribe):
                self._plan_unsubscribe(request.symbol, joining=joining, leaving=leaving)
            else:
                self._plan_subscribe(request, joining=joining, leaving=leaving)
        frames = self._adapter.unsubscribe(list(leaving)) if leaving else []
        return frames + (self._adapter.subscribe(list(joining)) if joining else [])

    def confirm(self, symbols: Iterable[str]) -> None:
        """The venue confirmed these."""
        for symbol in symbols:
            answers = self._asked.pop(symbol, None)
            if answers is None:
                continue  # it was unsubscribed before this answer came
            self._confirmed.add(symbol)
            for answer in answers:
                answer.set(None)

    def refuse(self, symbols: Iterable[str], reason: str) -> None:
        """The venue refused these, for good."""
        for symbol in symbols:
            error = f"{self._venue} refuses {symbol!r}: {reason}; correct the symbol in the settings"
            for answer in self._asked.pop(symbol, ()):
                answer.fail(PermanentError(error))

    def put_off(self, symbols: Iterable[str], reason: str) -> None:
        """The venue takes no subscription of these now."""
        for symbol in symbols:
            self._confirmed.discard(symbol)
            for answer in self._asked.pop(symbol, ()):
                answer.fail(MarketClosed(f"{self._venue} takes no subscription of {symbol!r} now: {reason}"))

    def adopt(self, other: "Subscriptions") -> list[str]:
        """Return the frames that bring this session to what another one has or waits for; none if it is.

        Nobody waits here. What the venue refused here is not asked for again.
        """
        wanted = other._confirmed | other._asked.keys()
        joining, leaving = sorted(wanted - self._adopted), sorted(self._adopted - wanted)
        self._adopted = wanted
        for symbol in leaving:
            self._confirmed.discard(symbol)
            self._asked.pop(symbol, None)
        self._asked |= {symbol: [] for symbol in joining}
        frames = self._adapter.unsubscribe(leaving) if leaving else []
        return frames + (self._adapter.subscribe(joining) if joining else [])

    @property
    def has_all(self) -> bool:
        """Whether the venue has answered everything that was asked."""
        return not self._asked

    def leave_all(self) -> list[str]:
        """Return the frames that end every subscription before the session is closed."""
        symbols = sorted(self._confirmed | self._asked.keys())
        return self._adapter.leave(symbols) if symbols else []

    def lose(self) -> None:
        """The session is over: nobody waits on it any longer."""
        for answers in self._asked.values():
            for answer in answers:
                answer.fail(ConnectionLost("the connection was lost before the venue answered"))
        self._asked.clear()
        self._confirmed.clear()

    def _plan_subscribe(
        self, request: Subscribe, *, joining: dict[str, None], leaving: dict[str, None]
    ) -> None:
        symbol = request.symbol
        if request.session != self._session:
            request.answer.fail(ConnectionLost("the connection was lost before the venue was asked"))
            return
        if symbol in self._confirmed and not isinstance(request, Resubscribe):
            request.answer.set(None)  # a second SUBSCRIBE would bring double ticks at some venues
            return
        if symbol not in joining:
            if symbol in self._confirmed or symbol in self._asked:
                leaving[symbol] = None
            self._confirmed.discard(symbol)
            joining[symbol] = None
        self._asked.setdefault(symbol, []).append(request.answer)

    def _plan_unsubscribe(self, symbol: str, *, joining: dict[str, None], leaving: dict[str, None]) -> None:
        if symbol in self._confirmed or (symbol in self._asked and symbol not in joining):
            leaving[symbol] = None
        joining.pop(symbol, None)
        self._confirmed.discard(symbol)
        for answer in self._asked.pop(symbol, ()):
            answer.fail(ConnectionLost("unsubscribed before the venue answered"))
