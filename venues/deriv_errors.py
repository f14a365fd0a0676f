"""What Deriv's error codes mean for whoever asked."""

import enum
from collections.abc import Sequence

from venues.deriv_frames import DerivError
from venues.events import Denied, Throttled
from venues.samples import MOST_LETTERS, short

PATIENCE_S = 60.0  # the shorter of the budgets' two windows


class Failure(enum.Enum):
    """What follows from an error."""

    DENIED = enum.auto()  # we are not let in
    THROTTLED = enum.auto()  # too much was asked
    CLOSED = enum.auto()  # the market is closed
    ALREADY = enum.auto()  # it was subscribed before
    PASSING = enum.auto()  # the venue has trouble: nothing is decided
    REFUSED = enum.auto()  # no, for good
    UNKNOWN = enum.auto()  # nobody knows what it means: nothing is decided either


THROTTLED = "RateLimit"  # codes begin so

_MEANINGS = {
    # errors.md of deriv-api-plugin, 2026-08
    "InvalidToken": Failure.DENIED,
    "Unauthorized": Failure.DENIED,
    "InternalError": Failure.PASSING,
    "InputValidationFailed": Failure.REFUSED,
    "ValidationError": Failure.REFUSED,
    "NotFound": Failure.REFUSED,
    # ticks/receive.json's example, 2026-06
    "InvalidSymbol": Failure.REFUSED,
    # Not recorded: from clients' accounts.
    "AuthorizationRequired": Failure.REFUSED,
    "StreamingNotAllowed": Failure.REFUSED,
    "UnrecognisedRequest": Failure.REFUSED,
    "InvalidStartEnd": Failure.REFUSED,
    "InvalidAppID": Failure.DENIED,
    "AccountDisabled": Failure.DENIED,
    "DisabledClient": Failure.DENIED,
    "MarketIsClosed": Failure.CLOSED,
    "AlreadySubscribed": Failure.ALREADY,
    "InternalServerError": Failure.PASSING,
    "WrongResponse": Failure.PASSING,
    "NoRealtimeQuotes": Failure.PASSING,
}


def failure_of(error: DerivError) -> Failure:
    """Return what an error means. One that we do not know is no refusal: it may pass."""
    if error.code.startswith(THROTTLED):
        return Failure.THROTTLED
    return _MEANINGS.get(error.code, Failure.UNKNOWN)


def reason_of(error: DerivError) -> str:
    """Return an error for people: `The token is invalid. (InvalidToken)`."""
    message, code = short(error.message), error.code[:MOST_LETTERS]
    return f"{message} ({code})" if message else code


def meant_for_all(failure: Failure, reason: str, *, call: str) -> Sequence[Denied | Throttled]:
    """Return what an error means for the whole session, whichever request it answers."""
    if failure is Failure.THROTTLED or (call == "authorize" and failure is Failure.PASSING):
        return (Throttled(f"Deriv asks for patience: {reason}", PATIENCE_S),)
    if failure is Failure.DENIED or call == "authorize":
        return (Denied(f"Deriv lets nobody in with this token or app_id: {reason}; set a new one"),)
    return ()
