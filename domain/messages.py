"""What actors say to each other, beside lists of ticks. Frozen; never changed after sending."""

from typing import Any, Protocol

import attrs

from domain.errors import MarketdError
from domain.trades import LedgerRow


class Answerable(Protocol):
    """Takes the answer to one request, once; see `actors.mailbox.Answer`."""

    def set(self, value: Any, /) -> None:
        """Answer: it is done, or this is it."""

    def fail(self, error: MarketdError, /) -> None:
        """Answer: it cannot be done, and why."""


@attrs.frozen(kw_only=True)
class Subscribe:
    """A market asks to be subscribed in that very session; answered when the venue confirmed."""

    symbol: str
    session: int
    answer: Answerable


@attrs.frozen(kw_only=True)
class Resubscribe(Subscribe):
    """A stale market asks to be unsubscribed and subscribed again."""


@attrs.frozen(kw_only=True)
class Unsubscribe:
    """A market is stopped or removed."""

    symbol: str


@attrs.frozen(kw_only=True)
class AskHistory:
    """The venue is to be asked for history; answered with the venue's page.

    `request` is a `venues.offers.HistoryRequest` whose symbol is the settings'.
    """

    request: Any
    answer: Answerable


@attrs.frozen(kw_only=True)
class Wake:
    """Whoever serves the requests is to look at what it has to send."""


@attrs.frozen(kw_only=True)
class Close:
    """The connection is to say goodbye and end its run."""


Request = Subscribe | Unsubscribe | AskHistory | Wake | Close


@attrs.frozen(kw_only=True)
class ActorEvent:
    """Something happened; one row of `actor_event`. `detail` is text for people."""

    ts_us: int
    actor: str
    event: str
    detail: str


@attrs.frozen(kw_only=True)
class KeepLedger:
    """Rows for the ledger, in their order; `answer` is set once they are on disk, or fails.

    It fails with `JournalFull`. The rows are then not kept, and neither are those that were offered
    after them and before that: whoever sent them has them still, and offers all of them again, in
    their order, after a pause. As the append that failed may have been applied all the same, a signal
    or an event that is offered again is the same row as before, and no other ever has its id.
    """

    rows: tuple[LedgerRow, ...]
    answer: Answerable
