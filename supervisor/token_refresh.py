"""When a fresh token is asked for, and asking. Only for those who gave a refresh token."""

from collections.abc import Awaitable
from typing import Protocol

import attrs

from domain.errors import PermanentError, RejectedError, RemoteProtocolError, RetryableError
from domain.token import LAST_HOURS_US, TokenState, clean_token
from venues.offers import FreshToken, HttpRequest, RefreshToken
from venues.settings import VenueSettings
from wire.rest import Answer

MOST_TRIES = 3  # then never again, until somebody changes a file
BETWEEN_TRIES_S = 600.0  # at least, also after one that went well
TIMEOUT_S = 20.0
FAILURES = (RetryableError, RejectedError, RemoteProtocolError, PermanentError)


class Fetch(Protocol):
    """What asks over HTTP: `wire.rest.fetch`."""

    def __call__(self, request: HttpRequest, *, timeout_s: float) -> Awaitable[Answer]:
        """Return the answer, or raise one of our errors."""


@attrs.define(kw_only=True)
class RefreshPlan:
    """When to try, for one venue. Pure; `now` is monotonic, in seconds."""

    _tries: int = 0
    _next_at: float = float("-inf")
    _has_given_up: bool = False

    def is_due(self, state: TokenState, *, now: float, left_us: int | None, life_us: int | None) -> bool:
        """Return whether to try now: the token was refused, or nears its end.

        `left_us` is what is left of it, `life_us` what it had when it was new; None where nobody
        knows. One that lives for less than 4 h is replaced at half its life.
        """
        if self._has_given_up or self._tries >= MOST_TRIES or now < self._next_at:
            return False
        if state is TokenState.REFUSED:
            return True
        half_us = LAST_HOURS_US if life_us is None else life_us // 2
        return left_us is not None and left_us < min(LAST_HOURS_US, half_us)

    def begin(self, *, now: float) -> None:
        """Note that a try begins."""
        self._tries += 1
        self._next_at = now + BETWEEN_TRIES_S

    def succeed(self, state: TokenState) -> None:
        """Note a fresh token, asked for in that state.

        After a refusal only the venue tells what it is worth: such a try counts on.
        """
        if state is not TokenState.REFUSED:
            self._tries = 0

    def give_up(self) -> None:
        """Note that trying again is no use."""
        self._has_given_up = True

    @property
    def is_over(self) -> bool:
        """Whether there will be no other try until somebody changes a file."""
        return self._has_given_up or self._tries >= MOST_TRIES


async def ask_fresh_token(
    refresh: RefreshToken, *, settings: VenueSettings, secret: str, fetch: Fetch
) -> FreshToken:
    """Return a fresh token for the refresh token `secret`.

    Raises one of `FAILURES`, in whose text no secret stands even where the server repeats it.
    """
    try:
        answer = await fetch(refresh.request(settings, secret), timeout_s=TIMEOUT_S)
    except FAILURES as exc:
        if secret not in str(exc):
            raise
        raise RejectedError("the server refused, repeating the secret") from None
    return _cleaned(refresh.read(answer.body))


def _cleaned(fresh: FreshToken) -> FreshToken:
    """Return the same, fit for a file and a header; raise RemoteProtocolError."""
    try:
        token = clean_token(fresh.token)
        following = None if fresh.refresh_token is None else clean_token(fresh.refresh_token)
    except ValueError as exc:
        raise RemoteProtocolError(f"the fresh token is none: {exc}") from None
    return FreshToken(token=token, refresh_token=following)


def is_final(error: Exception) -> bool:
    """Return whether trying again is no use: the refresh token was refused, or a package is missing."""
    return isinstance(error, RejectedError | PermanentError)
