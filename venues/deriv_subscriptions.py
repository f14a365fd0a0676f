"""Which prices one Deriv socket has subscribed. Ids of subscriptions are the socket's own."""

from collections.abc import Callable, Sequence

from venues.deriv_frames import request
from venues.events import Send, Subscribed

NextId = Callable[[], int]


class DerivSubscriptions:
    """Symbols, their subscriptions' ids, and the requests that are under way.

    A `forget` and the next `ticks` of one symbol never cross: the venue may answer out of order, and
    the `forget` would end the newer subscription.
    """

    def __init__(self, *, next_id: NextId) -> None:
        self._next_id = next_id
        self._ids: dict[str, str] = {}  # by symbol that is wanted: "" until the venue tells the id
        self._asked: dict[int, str] = {}  # request → symbol
        self._forgetting: dict[int, str] = {}  # request → symbol
        self._waiting: set[str] = set()  # to be subscribed once they are forgotten

    @property
    def symbols(self) -> list[str]:
        """The symbols whose prices are wanted."""
        return list(self._ids)

    def is_asking(self, *, since: int) -> bool:
        """Return whether a request later than `since` waits for its answer; older ones are lost."""
        return any(req_id > since for req_id in self._asked)

    def id_of(self, symbol: str) -> str | None:
        """Return a subscription's id, "" where the venue has not told it; None: not wanted."""
        return self._ids.get(symbol)

    def has_asked(self, req_id: int | None) -> bool:
        """Return whether this request subscribes a symbol and is not answered yet."""
        return req_id in self._asked

    def request_for(self, symbol: str) -> int | None:
        """Return a request that subscribes a symbol and is not answered yet, if there is one."""
        return next((req_id for req_id, asked in self._asked.items() if asked == symbol), None)

    def has_forgotten(self, req_id: int | None) -> bool:
        """Return whether this request ends a subscription and is not answered yet."""
        return req_id in self._forgetting

    def subscribe(self, symbol: str) -> list[str]:
        """Return the frame that subscribes a symbol; none where that has to wait for a `forget`.

        It waits once: whoever asks again has waited for long.
        """
        self._ids[symbol] = ""
        if symbol in self._forgetting.values() and symbol not in self._waiting:
            self._waiting.add(symbol)
            return []
        return [self._ask(symbol)]

    def unsubscribe(self, symbol: str) -> list[str]:
        """Return the frame that ends a subscription; none where its id is not known yet."""
        subscription = self._ids.pop(symbol, "")
        return [self._forget(symbol, subscription)] if subscription else []

    def confirm(self, req_id: int, subscription: str) -> Sequence[Subscribed | Send]:
        """The venue subscribed what this request asked for; "" where it does not tell the id.

        Of two subscriptions of one symbol, and of one that is not wanted any more, it asks to be rid.
        """
        symbol = self._asked.pop(req_id)
        known = self._ids.get(symbol)
        if known is None:
            return [Send((self._forget(symbol, subscription),))] if subscription else []
        if not subscription or subscription == known:
            return [Subscribed((symbol,))]
        self._ids[symbol] = subscription
        rid = [Send((self._forget(symbol, known),))] if known else []
        return [Subscribed((symbol,)), *rid]

    def refuse(self, req_id: int) -> str:
        """The venue does not subscribe what this request asked for; return which symbol that was."""
        symbol = self._asked.pop(req_id)
        self._ids.pop(symbol, None)
        return symbol

    def forgot(self, req_id: int) -> Send:
        """The venue ended a subscription; one that is wanted again is asked for now."""
        symbol = self._forgetting.pop(req_id)
        is_wanted = symbol in self._waiting and symbol in self._ids
        self._waiting.discard(symbol)
        return Send((self._ask(symbol),) if is_wanted else ())

    def learn(self, symbol: str, subscription: str) -> None:
        """A price told the id of its subscription."""
        self._ids[symbol] = subscription

    def _ask(self, symbol: str) -> str:
        req_id = self._next_id()
        self._asked[req_id] = symbol
        return request(ticks=symbol, subscribe=1, req_id=req_id)

    def _forget(self, symbol: str, subscription: str) -> str:
        req_id = self._next_id()
        self._forgetting[req_id] = symbol
        return request(forget=subscription, req_id=req_id)
