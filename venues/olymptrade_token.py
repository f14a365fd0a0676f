"""How Olymp Trade gives a fresh access token for a refresh token."""

from urllib.parse import urlencode

import msgspec

from domain.errors import RemoteProtocolError
from venues.offers import FreshToken, HttpRequest, RefreshToken
from venues.settings import VenueSettings

HOST = "https://oauth.olymptrade.com"
PATH = "/oauth2/token"


class OlympFreshToken(msgspec.Struct, gc=False):
    """The answer of the token endpoint; more fields may come and are left alone.

    Not recorded: from a single public client's account, 2026-11. The names are those of RFC 6749,
    section 5.1; whether the refresh token changes each time is not known, so both are read.

    `{"access_token":"eyJ…","token_type":"bearer","expires_in":172800,"refresh_token":"…"}`
    """

    access_token: str
    refresh_token: str | None = None


_decode = msgspec.json.Decoder(OlympFreshToken).decode


def request_fresh_token(settings: VenueSettings, refresh_token: str) -> HttpRequest:
    """Return the request (RFC 6749, section 6). `rest_url` of the settings takes the host's place.

    `url` does not: it is set to name another version of the web client, too.
    """
    base = HOST if settings.rest_url is None else settings.rest_url.rstrip("/")
    body = urlencode({"grant_type": "refresh_token", "refresh_token": refresh_token}).encode()
    return HttpRequest("POST", base + PATH, {"Content-Type": "application/x-www-form-urlencoded"}, body)


def read_fresh_token(body: bytes) -> FreshToken:
    """Return what the endpoint answered; raise `RemoteProtocolError` that does not show it."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RemoteProtocolError("the answer with the fresh token is not as expected") from None
    return FreshToken(token=found.access_token, refresh_token=found.refresh_token)


REFRESH_TOKEN = RefreshToken(request=request_fresh_token, read=read_fresh_token)
