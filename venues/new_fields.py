"""Finds fields that nobody here knows in messages that somebody does. Pure, and cheap once it has looked."""

from collections.abc import Iterable, Mapping

from venues.events import NewFields
from venues.samples import MOST_LETTERS

LOOK_EVERY = 1_000  # messages of a kind; the first is always looked at
MOST_FIELDS = 10  # named in one event


class FieldWatch:
    """One session's looks at its messages, by kind; `known` are the fields that are documented."""

    __slots__ = ("_known", "_left")

    def __init__(self, known: Mapping[str, frozenset[str]]) -> None:
        self._known = known
        self._left = dict.fromkeys(known, 0)

    def is_due(self, kind: str) -> bool:
        """Count a message of that kind; return whether this one is to be looked at."""
        left = self._left[kind]
        self._left[kind] = left - 1 if left else LOOK_EVERY - 1
        return not left

    def compare(self, kind: str, fields: Iterable[str]) -> tuple[NewFields, ...]:
        """Return what is new among a message's fields, if anything is."""
        new = sorted(set(fields) - self._known[kind])[:MOST_FIELDS]
        return (NewFields(kind, tuple(name[:MOST_LETTERS] for name in new)),) if new else ()
