"""Who may enter Olymp Trade: a cookie with a token, and the one right Origin. Pure."""

import base64
import binascii
import re
from urllib.parse import urlsplit

import msgspec

from venues.simulated.protocol import HttpAnswer, Request

PATH = "/otp"
ORIGIN = "https://olymptrade.com"
SECOND_US = 1_000_000
COOKIE_PATTERN = re.compile(r"(?:^|;\s*)access_token=([^;,\s]+)")


class _Claims(msgspec.Struct, gc=False):
    exp: float | None = None


_decode_claims = msgspec.json.Decoder(_Claims).decode


def refusal(request: Request) -> HttpAnswer | None:
    """Return how to refuse an upgrade, None to accept it; a bad token is told on the socket."""
    if urlsplit(request.target).path != PATH:
        return HttpAnswer(404)
    # Joined by a comma where a client sends two: that is another one too.
    if request.headers.get("origin") != ORIGIN:
        return HttpAnswer(403, body=b'{"error":"invalid_origin"}')
    if not token_of(request):
        return HttpAnswer(403, body=b'{"error":"unauthorized"}')
    return None


def token_of(request: Request) -> str:
    """Return the token in the cookie, "" where there is none."""
    found = COOKIE_PATTERN.search(request.headers.get("cookie", ""))
    return found[1] if found else ""


def expiry_us(token: str) -> int | None:
    """Return when a JWT expires; None for one that does not say, and for any other text."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = _decode_claims(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return None if claims.exp is None else int(claims.exp * SECOND_US)
    except (msgspec.DecodeError, binascii.Error, ValueError, OverflowError, RecursionError):
        return None
