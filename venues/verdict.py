"""What a lost or refused connection means at one venue. Pure."""

from domain.errors import (
    ConnectionClosed,
    PermanentError,
    UpgradeRefused,
    UpgradeThrottled,
    VenueThrottled,
)
from venues.protocol import Venue


def verdict(error: BaseException, *, venue: Venue, name: str) -> BaseException:
    """Return the error, or what it means at this venue: patience, or trying again is no use.

    `name` is what the settings call the venue.
    """
    advice = None
    match error:
        case UpgradeRefused(status=status) | UpgradeThrottled(status=status) if (
            status in venue.throttled_statuses
        ):
            asked_s = error.retry_after_s if isinstance(error, UpgradeThrottled) else 0.0
            return VenueThrottled(str(error), retry_after_s=max(venue.throttled_statuses[status], asked_s))
        case ConnectionClosed(code=code):
            advice = venue.permanent_closes.get(code)
        case UpgradeRefused(status=status):
            advice = venue.permanent_statuses.get(status)
    return error if advice is None else PermanentError(f"{name}: {error}; {advice.format(venue=name)}")
