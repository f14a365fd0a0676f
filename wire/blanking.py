"""Takes out of a recorded frame what is nobody else's business. Pure.

Types and lengths stay, so that a replay decodes as the frame did: digits become 1, letters x.
"""

import re

# Values of these keys name an account or open it. Deriv: authorize, loginid, email, fullname …
# (captures of its schemas, 2026-06); Olymp Trade: account_id, user_id, email (recorded 2025-07-04).
SECRET_KEYS = (
    "authorize",
    "token",
    "tokens",
    "access_token",
    "refresh_token",
    "api_token",
    "otp",
    "password",
    "session",
    "cookie",
    "email",
    "fullname",
    "first_name",
    "last_name",
    "phone",
    "phone_number",
    "username",
    "nickname",
    "country",
    "birthday",
    "ip",
    "loginid",
    "account_id",
    "user_id",
    "residence",
)

# The quantifiers are possessive: no frame, however made, is tried twice.
_STRING = r'"(?:[^"\\]|\\.)*+"'
_NUMBER = r"-?\d[\d.eE+-]*+"
_SCALAR = rf"(?:{_STRING}|{_NUMBER})"
_KEY = rf'"(?:{"|".join(SECRET_KEYS)})"\s*+:\s*+'

_SECRET = re.compile(rf"({_KEY})({_SCALAR})", re.IGNORECASE | re.DOTALL)
_SECRET_ARRAY = re.compile(rf"{_KEY}\[", re.IGNORECASE)
_ARRAY_PIECE = re.compile(rf"({_SCALAR})|[\s,]++|[a-z]++|\[|\]", re.DOTALL)
# Olymp Trade's message 110 tells who the user is: `{"d":[{"id":111111111,…}],"e":110}`. In its frame
# every number called `id` goes, also one in quotes, whichever message of the frame it belongs to.
_NAMES_USER = re.compile(r'"e"\s*+:\s*+110\b')
_NUMERIC_ID = re.compile(rf'("id"\s*+:\s*+)({_NUMBER}|"\d++")')

_DIGIT = re.compile(r"\d")
_PRIVATE = re.compile(r"\\u[0-9a-fA-F]{4}|\\.|[^\W_]", re.DOTALL)


def blank(frame: str) -> str:
    """Return the frame with the values of secret keys blanked; most frames have none."""
    frame = _SECRET.sub(_blank_value, frame)
    for found in reversed(list(_SECRET_ARRAY.finditer(frame))):
        end, blanked = _blank_array(frame, found.end())
        frame = frame[: found.end()] + blanked + frame[end:]
    if _NAMES_USER.search(frame):
        frame = _NUMERIC_ID.sub(_blank_value, frame)
    return frame


def blank_literally(frame: str, secret: str) -> str:
    """Return the frame without a secret that is known, wherever it stands, as JSON may write it too."""
    for text in (secret, secret.replace("/", r"\/")):
        if text in frame:
            frame = frame.replace(text, _blanked(text))
    return frame


def _blank_value(found: re.Match[str]) -> str:
    return found[1] + _blank_scalar(found[2])


def _blank_scalar(text: str) -> str:
    return _blanked(text) if text.startswith('"') else _DIGIT.sub("1", text)  # 1e5 stays a number


def _blank_array(frame: str, begin: int) -> tuple[int, str]:
    """Return where an array ends that was opened before `begin`, and what it held, blanked.

    An object inside ends it too: that has keys of its own.
    """
    at, depth, pieces = begin, 1, []
    while depth and (found := _ARRAY_PIECE.match(frame, at)):
        at = found.end()
        depth += (found[0] == "[") - (found[0] == "]")
        pieces.append(found[0] if found[1] is None else _blank_scalar(found[1]))
    return at, "".join(pieces)


def _blanked(text: str) -> str:
    return _PRIVATE.sub(_blank_character, text)


def _blank_character(found: re.Match[str]) -> str:
    text = found[0]
    if text.startswith("\\u"):
        return "x"
    if text.startswith("\\"):
        return text  # a line feed or a quote says nothing, and the string must stay one
    return "1" if text.isdecimal() else "x"
