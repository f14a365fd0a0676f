"""Every exception of ours, classed by what the caller does next."""

import errno

MAX_RETRY_AFTER_S = 3 * 24 * 3600.0  # the longest ban a venue documents (Binance: 3 days)


class MarketdError(Exception):
    """The root: catch this to catch all of ours and nothing else."""


# --- try again, later -------------------------------------------------------------------------


class RetryableError(MarketdError):
    """The outside failed; back off and try again, for ever."""


class ConnectionLost(RetryableError):
    """A socket was refused, dropped, reset or fell silent."""


class ConnectionClosed(ConnectionLost):
    """The peer closed the web socket with a close frame; the venue's protocol knows what codes mean."""

    def __init__(self, message: str, *, code: int, reason: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class UpgradeRefused(RetryableError):
    """A server answered the web-socket upgrade with an HTTP status that is not 101.

    `status` is that status; the venue's protocol knows which ones are permanent.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class VenueThrottled(RetryableError):
    """The venue asked for patience: wait at least `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = min(retry_after_s, MAX_RETRY_AFTER_S)


class UpgradeThrottled(VenueThrottled):
    """A server answered the web-socket upgrade with an HTTP status that asks for patience."""

    def __init__(self, message: str, *, retry_after_s: float, status: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status


class MarketClosed(RetryableError):
    """The venue takes no subscription now: the market is closed."""


class VenueSilent(RetryableError):
    """The venue did not answer a request within our deadline."""


class StorageBusy(RetryableError):
    """The database cannot take the batch now; the whole batch is to be run again."""


class StorageRefused(StorageBusy):
    """The database said no in a way that waiting alone rarely mends (wrong password): try slowly."""


class RowRefused(StorageRefused):
    """The database refused a row for its data: too long, out of range, not text."""


class JournalFull(RetryableError):
    """The journal cannot take anything now: no room on its disk."""


class JournalLocked(JournalFull):
    """The journal cannot take anything now: another process holds it. More room would not help."""


class JournalBroken(RetryableError):
    """The journal cannot be read or written as it is: it is to be opened anew."""


# --- the venue said no ------------------------------------------------------------------------


class RejectedError(MarketdError):
    """The venue refused a request, and said so."""


# --- somebody broke a protocol ----------------------------------------------------------------


class ProtocolError(MarketdError):
    """A message broke the protocol. Raised as one of its two subclasses only."""


class LocalProtocolError(ProtocolError):
    """We tried to send what the protocol does not allow: our bug."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow; `frame` is a sample of it."""

    def __init__(self, message: str, *, frame: str = "") -> None:
        super().__init__(message)
        self.frame = frame


# --- stop trying ------------------------------------------------------------------------------


class PermanentError(MarketdError):
    """Trying again cannot help (bad token, unknown symbol); the message says what to do."""


class UnknownSymbol(PermanentError):
    """The venue lists no such market; it is tried again by itself once the venue does."""


class ConfigError(MarketdError):
    """The settings are wrong: stop before starting, exit status 78."""


class SchemaNewer(ConfigError):
    """The database was written by a newer marketd than this one."""


class AlreadyRunning(MarketdError):
    """Another process holds the state directory's lock; `pid` is its process id."""

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class InvariantError(MarketdError):
    """Our own bug: crash the actor and let the supervisor decide."""


# --- a strategy broke its promise -------------------------------------------------------------


class StrategyError(MarketdError):
    """A strategy did what it may not: set it aside on its market, with this as the reason."""


class BadDecision(StrategyError):
    """A decision cannot be traded on or written down."""


class MissingHistory(StrategyError):
    """A strategy asked for more candles than its `warm_up_candles` has kept for it."""


class StillWarmingUp(MissingHistory):
    """The candles asked for have not all come yet: no decision now, and no fault of the strategy's."""


class StrategyOverran(BaseException):
    """A strategy's call did not end in time. No Exception: a strategy's own `except` does not stop it.

    Raised into the strategy by the fence, which catches it: nobody else ever sees it.
    """


DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # pass, or are mended, without a word in the settings


def unusable(text: str, error: OSError) -> MarketdError:
    """Return what to raise where a start cannot use a place: wrong settings, unless the disk is in trouble.

    A service manager tries again after that; not after wrong settings.
    """
    kind = MarketdError if error.errno in DISK_TROUBLE else ConfigError
    return kind(f"{text}: {error.strerror or error}")


# --- several at once --------------------------------------------------------------------------


def flatten(error: BaseException) -> list[BaseException]:
    """Return the exceptions inside an exception group, however deep; else the one."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in flatten(member)]
    return [error]
