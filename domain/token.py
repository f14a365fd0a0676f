"""An account's token: whether a text can be one, when it expires, and what to say of the time left. Pure."""

import base64
import binascii
import enum
import json
import math
import re

HOUR_US = 3_600_000_000
MAX_CHARACTERS = 8_192  # the largest cookie that browsers keep has half of it
MAX_EXPIRY_S = 253_402_300_799  # the end of the year 9999

# RFC 6265, section 4.1.1: what a cookie's value may hold. A token ends up in a header, so no
# character of it may be able to end the header or to begin another cookie.
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_PASTED_TOO_MUCH = re.compile(r"(?:access_token|token|authorization)[=:]", re.IGNORECASE)


class Stage(enum.IntEnum):
    """How near a token's end is; each is said once a token."""

    FAR = 0  # also: nobody knows when it expires
    LAST_DAY = 1  # 12 h or less
    LAST_HOURS = 2  # 2 h or less
    EXPIRED = 3


class TokenState(enum.Enum):
    """What is known of a venue's token, as status shows it."""

    NONE = "none"  # there is none that can be used
    GOOD = "good"
    EXPIRES_SOON = "expires soon"  # 12 h or less
    EXPIRED = "expired"
    REFUSED = "refused"  # the venue said no to it


LAST_DAY_US = 12 * HOUR_US
LAST_HOURS_US = 2 * HOUR_US


def clean_token(text: str) -> str:
    """Return the token in `text`, white space round it taken off.

    Raises ValueError that says what is wrong, without any part of the text: it is a secret.
    """
    token = text.strip()
    if not token:
        raise ValueError("it is empty")
    if len(token) > MAX_CHARACTERS:
        raise ValueError(f"it is longer than {MAX_CHARACTERS:,} characters")
    if "\n" in token or "\r" in token:
        raise ValueError("it has more than one line")
    if _PASTED_TOO_MUCH.match(token):
        raise ValueError("it begins with a name: give only the value that follows it")
    if not _COOKIE_VALUE.fullmatch(token):
        raise ValueError(
            "it holds a character that no token has (space, quote, comma, semicolon, backslash, not ASCII):"
            " give only the value, not a whole cookie or header"
        )
    return token


def expiry_us(token: str) -> int | None:
    """Return when a token expires, from a JWT's `exp`; None for any other token.

    RFC 7519: three parts in base64url; the second is JSON, its `exp` is in seconds. The signature
    is not checked: nobody but the venue can, and nobody but us is told.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        content = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        claims = json.loads(content)
    except (binascii.Error, ValueError, RecursionError):
        return None
    expires_s = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(expires_s, bool) or not isinstance(expires_s, int | float):
        return None
    if not 0 < expires_s <= MAX_EXPIRY_S or not math.isfinite(expires_s):
        return None
    return int(expires_s * 1_000_000)


def stage_of(expires_us: int | None, *, now_us: int) -> Stage:
    """Return how near the end is."""
    if expires_us is None:
        return Stage.FAR
    left_us = expires_us - now_us
    if left_us <= 0:
        return Stage.EXPIRED
    if left_us <= LAST_HOURS_US:
        return Stage.LAST_HOURS
    return Stage.LAST_DAY if left_us <= LAST_DAY_US else Stage.FAR


def duration_text(duration_us: int) -> str:
    """Return a length of time for people, rounded down: `47 h`, `1 h 59 min`, `12 min`, `40 s`."""
    minutes, seconds = divmod(max(0, duration_us) // 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 3 * 24:
        return f"{hours // 24} days"
    if hours >= 3:
        return f"{hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
