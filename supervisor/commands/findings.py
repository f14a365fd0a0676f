"""What `marketd check` finds out about one thing."""

import enum

import attrs


class Level(enum.StrEnum):
    """How it stands; the word that begins the line."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@attrs.frozen(kw_only=True)
class Finding:
    """One line of `marketd check`."""

    level: Level
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.what}: {self.detail}"


def good(what: str, detail: str) -> Finding:
    """Return that it is as it should be."""
    return Finding(level=Level.OK, what=what, detail=detail)


def doubtful(what: str, detail: str) -> Finding:
    """Return that marketd runs like this, but somebody should look at it."""
    return Finding(level=Level.WARNING, what=what, detail=detail)


def failed(what: str, detail: str) -> Finding:
    """Return that marketd cannot do its work like this."""
    return Finding(level=Level.FAILED, what=what, detail=detail)
