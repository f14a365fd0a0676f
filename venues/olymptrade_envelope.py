"""Olymp Trade's envelope: a frame is an array of messages; some reject what was asked. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from venues.samples import MOST_REASON, short


class OlympMessage(msgspec.Struct, gc=False):
    """One of the messages in a frame's array.

    `t`: 2 the client's request, 3 its answer, 1 a push; some pushes have none. `uuid` is the
    request's, echoed. `d` and `ts` may be missing, `err` is there where a request was rejected.

    `[{"d":[241],"e":98,"t":3},{"e":12,"t":3,"uuid":"WKAJ-is"}]` (recorded 2025-07-04)
    """

    e: int
    t: int | None = None
    uuid: str | None = None
    d: msgspec.Raw = msgspec.Raw()
    ts: msgspec.Raw = msgspec.Raw()
    err: msgspec.Raw = msgspec.Raw()


class OlympError(msgspec.Struct, gc=False):
    """Why a request was rejected. Not recorded: from two independent clients' accounts.

    `{"e":23,"t":3,"uuid":"…","d":[],"err":[{"code":"pair_unavailable","mess":"…"}]}`
    """

    code: str | int = "without a code"
    mess: str | None = None

    @property
    def reason(self) -> str:
        """Why, for people."""
        return short(self.mess or str(self.code))


T = TypeVar("T")

# Made once: a session for each market would otherwise bring its own.
decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_frame = msgspec.json.Decoder(list[OlympMessage]).decode
_decode_message = msgspec.json.Decoder(OlympMessage).decode
_decode_errors = msgspec.json.Decoder(list[OlympError] | OlympError).decode


def read_frame(frame: str | bytes) -> Sequence[OlympMessage | None]:
    """Return the messages of a frame, None in the place of one that is none."""
    return decode_each(frame, decode_all=_decode_frame, decode_one=_decode_message)


def decode_each(
    data: str | bytes | msgspec.Raw,
    *,
    decode_all: Callable[[Any], list[T]],
    decode_one: Callable[[msgspec.Raw], T],
) -> Sequence[T | None]:
    """Decode all at once, or else one by one; raise as for all of them where none can be decoded."""
    try:
        return decode_all(data)
    except msgspec.ValidationError:
        found: list[T | None] = []
        for item in decode_items(data):
            try:
                found.append(decode_one(item))
            except msgspec.ValidationError:
                found.append(None)
        if all(each is None for each in found):
            raise
        return found


def read_error(err: msgspec.Raw) -> OlympError:
    """Return the first reason of a rejection; one of a shape that nobody knows is its own code."""
    try:
        errors = _decode_errors(err)
    except msgspec.ValidationError:
        return OlympError(code=bytes(err).decode(errors="replace")[:MOST_REASON])
    if isinstance(errors, OlympError):
        return errors
    return errors[0] if errors else OlympError()


def is_rejection(message: OlympMessage) -> bool:
    """Return whether it has an `err` that says something."""
    return bytes(message.err) not in (b"", b"null", b"[]")


def make_frame(code: int, d: Any, *, uuid: str) -> str:
    """Return a frame with one request, as the web client sends them."""
    return msgspec.json.encode([{"t": 2, "e": code, "uuid": uuid, "d": d}]).decode()
