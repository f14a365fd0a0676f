"""What a lost or refused connection means at one venue. Pure."""

from domain.errors import ConnectionClosed, PermanentError, UpgradeRefused
from venues.protocol import Venue


def verdict(error: Exception, *, venue: Venue, name: str) -> Exception:
    """Return the error, or a `PermanentError` with what to do where trying again is no use at this venue.

    `name` is what the settings call the venue.
    """
    advice = None
    if isinstance(error, ConnectionClosed):
        advice = venue.permanent_closes.get(error.code)
    elif isinstance(error, UpgradeRefused):
        advice = venue.permanent_statuses.get(error.status)
    return error if advice is None else PermanentError(f"{name}: {error}; {advice}")
