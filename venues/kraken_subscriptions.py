"""Which of Kraken's answers belongs to which of our requests: one for each symbol, in any order."""

from collections.abc import Iterable, Sequence

from venues.events import Refused, Subscribed, Unknown, VenueEvent
from venues.kraken_wire import KrakenMessage
from venues.samples import short

ALREADY = "already subscribed"
# What is wrong for good, by a part of the reason; the first is recorded, the others are of v1's
# documentation. Another reason (the venue is busy, in maintenance) may pass.
FOR_GOOD = ("not supported", "not in iso 4217", "not found", "unsupported", "malformed", "invalid")


class KrakenSubscriptions:
    """One socket's requests that are not answered yet, and what it wants."""

    def __init__(self) -> None:
        self.wanted: dict[str, int] = {}  # symbol → the latest request that subscribes it
        self._leaving: dict[int, set[str]] = {}  # request → symbols whose goodbye is not confirmed

    def subscribed(self, request_id: int, symbols: Iterable[str]) -> None:
        """Note a subscribe that is sent."""
        self.wanted.update(dict.fromkeys(symbols, request_id))

    def dropped(self, symbols: Iterable[str]) -> None:
        """Want these no more."""
        for symbol in symbols:
            self.wanted.pop(symbol, None)

    def left(self, request_id: int, symbols: Iterable[str]) -> None:
        """Note an unsubscribe that is sent."""
        self._leaving[request_id] = set(symbols)

    def answered(self, message: KrakenMessage) -> Sequence[VenueEvent]:
        """Return what an answer says."""
        symbol = message.symbol
        if message.result is not None and message.result.symbol is not None:
            symbol = message.result.symbol
        if message.method == "unsubscribe":
            return self._answered_goodbye(message.req_id, symbol)
        reason = message.error or "without a reason"
        if symbol is None:
            return self._refused_whole(message.req_id, reason)
        request_id = self.wanted.get(symbol)
        if request_id is None or message.req_id not in (None, request_id):
            return (Unknown("answer to nobody"),)  # it was unsubscribed, or asked for again, meanwhile
        if message.success or ALREADY in reason.lower():
            return (Subscribed((symbol,)),)
        if not _is_for_good(reason):
            return (Unknown(f"error: {short(reason)}"),)
        del self.wanted[symbol]
        return (Refused((symbol,), short(reason)),)

    def _refused_whole(self, request_id: int | None, reason: str) -> Sequence[VenueEvent]:
        """Return the refusal of a request that names no symbol."""
        symbols = tuple(symbol for symbol, asked in self.wanted.items() if asked == request_id)
        if not symbols or not _is_for_good(reason):
            return (Unknown(f"error: {short(reason)}"),)
        self.dropped(symbols)
        return (Refused(symbols, short(reason)),)

    def _answered_goodbye(self, request_id: int | None, symbol: str | None) -> Sequence[VenueEvent]:
        """Return the confirmation once every goodbye is; one that is refused was none to say."""
        for asked, symbols in list(self._leaving.items()):
            if request_id not in (None, asked):
                continue
            symbols.discard(symbol or "")
            if not symbols or symbol is None:
                del self._leaving[asked]
            return () if self._leaving else (Subscribed(()),)
        return (Unknown("answer to nobody"),)


def _is_for_good(reason: str) -> bool:
    return any(part in reason.lower() for part in FOR_GOOD)
