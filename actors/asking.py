"""What is asked of one session: in the settings' names here, in the venue's spelling at its adapter."""

from collections.abc import Iterable

import attrs

from actors.ports import ConnectionPlace, MarketPort
from domain.clock import now_us
from domain.errors import ConnectionLost, MarketdError, PermanentError, UnknownSymbol
from domain.gaps import Cause
from domain.messages import Answerable, AskHistory, Request, Resubscribe, Subscribe, Unsubscribe
from venues.offers import HistoryPage
from venues.protocol import Adapter
from venues.subscriptions import Subscriptions

MOST_ASKED = 64  # pages of history that the venue owes us


class Asking:
    """The subscriptions of one session, and the requests not yet answered. Awaits nothing.

    Where the venue lists its markets, requests wait until it has.
    """

    __slots__ = ("_adapter", "_asked_history", "_held", "_is_listed", "_names", "_place", "subscriptions")

    def __init__(self, place: ConnectionPlace, *, adapter: Adapter, number: int) -> None:
        self.subscriptions = Subscriptions(adapter=adapter, venue=place.row.venue, session=number)
        self._adapter = adapter
        self._place = place
        self._names: dict[str, str] = {}  # the venue's symbols, by those of the settings
        self._is_listed = not place.shared.venue.lists_markets
        self._held: list[Subscribe | AskHistory] = []
        self._asked_history: dict[int, Answerable] = {}

    @property
    def is_released(self) -> bool:
        """Whether requests that waited for the list of markets can go on."""
        return bool(self._held) and self._is_listed

    def plan(self, requests: Iterable[Request]) -> list[str]:
        """Return the frames that these requests need together, and those that waited."""
        frames: list[str] = []
        wanted: list[Subscribe | Unsubscribe] = []
        for request in (*self._release(), *requests):
            if isinstance(request, Subscribe | AskHistory) and not self._is_listed:
                self._hold(request)
            elif isinstance(request, AskHistory):
                frames += self._plan_history(request)
            elif isinstance(request, Unsubscribe):
                wanted += self._plan_unsubscribe(request)
            elif isinstance(request, Subscribe):
                wanted += self._plan_subscribe(request)
        return frames + self.subscriptions.plan(wanted)

    def take_over(self, other: "Asking") -> list[str]:
        """Return the frames that subscribe what another session of this connection has subscribed."""
        self._names = dict(other._names)
        return self.subscriptions.adopt(other.subscriptions)

    def lose(self) -> None:
        """The session is over: nobody waits on it any longer."""
        error = ConnectionLost("the connection was lost before the venue answered")
        self.subscriptions.lose()
        for request in self._held:
            request.answer.fail(error)
        self._held.clear()
        for answer in self._asked_history.values():
            answer.fail(error)
        self._asked_history.clear()

    def listed(self) -> bool:
        """Let those go on who wait for the list of markets; return False where they had already."""
        was_listed, self._is_listed = self._is_listed, True
        return not was_listed

    def take_page(self, page: HistoryPage) -> None:
        """Answer who asked for this page of history, if somebody still waits."""
        answer = self._asked_history.pop(page.id, None)
        if answer is not None:
            answer.set(page)

    def _hold(self, request: Subscribe | AskHistory) -> None:
        """Keep a request until the list has come; of one market only the latest."""
        if isinstance(request, Subscribe):
            self._let_go(request.symbol)
        self._held.append(request)

    def _let_go(self, symbol: str) -> None:
        """Forget that a market waits for the list: it is stopped, or asks anew."""
        kept: list[Subscribe | AskHistory] = []
        for each in self._held:
            if isinstance(each, Subscribe) and each.symbol == symbol:
                each.answer.fail(ConnectionLost("asked anew, or stopped, before the venue was asked"))
            else:
                kept.append(each)
        self._held = kept

    def _release(self) -> list[Subscribe | AskHistory]:
        if not self._is_listed or not self._held:
            return []
        held, self._held = self._held, []
        return held

    def _plan_history(self, request: AskHistory) -> list[str]:
        name = self._names.get(request.request.symbol)
        if name is None:
            request.answer.fail(ConnectionLost(f"{request.request.symbol} is not subscribed"))
            return []
        while len(self._asked_history) >= MOST_ASKED:
            del self._asked_history[next(iter(self._asked_history))]  # who asked has given up long ago
        self._asked_history[request.request.id] = request.answer
        return self._adapter.ask_history(request.request._replace(symbol=name))

    def _plan_unsubscribe(self, request: Unsubscribe) -> list[Subscribe | Unsubscribe]:
        """Return the request in the venue's spelling; none for a market that was not asked for."""
        self._let_go(request.symbol)
        name = self._unwire(request.symbol)
        port = self._place.ports.get(request.symbol)
        if name is not None and port is not None:
            port.gaps.trouble(Cause.DISCONNECT)
        return [] if name is None else [attrs.evolve(request, symbol=name)]

    def _plan_subscribe(self, request: Subscribe) -> list[Subscribe | Unsubscribe]:
        """Return the request in the venue's spelling; what goes by an older one ends."""
        port = self._place.ports.get(request.symbol)
        before = self._names.get(request.symbol)
        try:
            name = self._wire(request.symbol, port)
        except MarketdError as error:
            if port is not None and isinstance(error, PermanentError):
                port.gaps.refuse(at_us=now_us())
                port.is_unknown = isinstance(error, UnknownSymbol)
            request.answer.fail(error)
            return []
        if isinstance(request, Resubscribe) and port is not None:
            port.gaps.trouble(Cause.DISCONNECT)
        renamed = attrs.evolve(request, symbol=name)
        return [renamed] if before in (None, name) else [Unsubscribe(symbol=before), renamed]

    def _wire(self, symbol: str, port: MarketPort | None) -> str:
        """Return the venue's symbol, whose prices belong to this port from now on."""
        if port is None:
            raise ConnectionLost(f"{symbol} was removed before the venue was asked")
        name = self._place.shared.catalog.symbol_of(symbol)
        other = self._place.wired.get(name)
        if other is not None and other is not port and self._names.get(other.row.symbol) == name:
            raise PermanentError(
                f"{symbol!r} and {other.row.symbol!r} are one market of {self._place.row.venue}: {name}; "
                "remove one of them from the settings"
            )
        port.is_unknown = False
        if self._names.get(symbol) != name:
            self._unwire(symbol)
        self._names[symbol] = name
        self._place.wired[name] = port
        return name

    def _unwire(self, symbol: str) -> str | None:
        """Give a market's prices to nobody any longer; return the venue's symbol, if it had one."""
        name = self._names.pop(symbol, None)
        if name is not None:
            self._place.wired.pop(name, None)
        return name
