"""What requests for what is stored share: their words, checked, and how a refusal comes back."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
from attrs import validators

from domain.errors import ConfigError, RejectedError
from domain.market import MAX_INTEGER
from storage.history import Position, Span
from storage.session import Session
from supervisor.read_section import read_section, shown

PAGE_ROWS = 2_000  # of ticks 200 KB of JSON, encoded in 0.3 ms of the daemon's loop
MAX_PAGE_ROWS = 10_000

Answer = dict[str, Any]
Work = Callable[[Session], Answer | RejectedError]


@attrs.frozen(kw_only=True)
class Configured:
    """What the settings say that a request leaves out."""

    markets: tuple[str, ...]
    timeframes_s: tuple[int, ...]


_time = [validators.ge(0), validators.le(MAX_INTEGER)]


def _check_position(_: object, __: object, value: Position | None) -> None:
    if any(not 0 <= number <= MAX_INTEGER for number in value or ()):
        raise ValueError(f"expected numbers from 0 to {MAX_INTEGER}")


@attrs.frozen(kw_only=True)
class SpanRequest:
    """What every command takes that is for a stretch of time."""

    from_us: int = attrs.field(default=0, validator=_time)
    to_us: int = attrs.field(default=MAX_INTEGER, validator=_time)

    @property
    def span(self) -> Span:
        """The stretch of time."""
        return Span(from_us=self.from_us, to_us=self.to_us)


@attrs.frozen(kw_only=True)
class PageRequest(SpanRequest):
    """What every command takes that is answered page by page."""

    after: Position | None = attrs.field(default=None, validator=_check_position)
    limit: int = attrs.field(default=PAGE_ROWS, validator=[validators.ge(1), validators.le(MAX_PAGE_ROWS)])


Request = TypeVar("Request")
Paged = TypeVar("Paged", bound=PageRequest)


def read_request(cls: type[Request], arguments: Mapping[str, Any], *, command: str) -> Request:
    """Return a request; raise RejectedError that names a wrong argument and its value."""
    try:
        return read_section(cls, dict(arguments), where=command)
    except ConfigError as exc:
        raise RejectedError(str(exc)) from exc


def read_page_request(cls: type[Paged], arguments: Mapping[str, Any], *, command: str, numbers: int) -> Paged:
    """Return a request for a page, whose position has so many numbers."""
    request = read_request(cls, arguments, command=command)
    if request.after is not None and len(request.after) != numbers:
        raise RejectedError(f"{command} after = {shown(list(request.after))}: expected {numbers} numbers")
    return request


def answer(read: Callable[[Session], Answer], session: Session) -> Answer | RejectedError:
    """Hand a refusal back as a value: an exception would cost the pool its connection."""
    try:
        return read(session)
    except RejectedError as exc:
        return exc


def settle(result: Answer | RejectedError) -> Answer:
    """Return the answer, or raise the refusal it is."""
    if isinstance(result, RejectedError):
        raise result
    return result
