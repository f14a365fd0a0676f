"""What a terminal or a pipe gets in the place of characters that its encoding does not have."""

import codecs
import io
import sys

HANDLER = "marketd"
IN_PLACE = {"−": "-", "–": "-", "→": "->", "…": "...", "µ": "u", "\u00a0": " "}


def use_plain_text() -> None:
    """From now on printing never fails for a character: with LC_ALL=C a minus sign is a hyphen."""
    codecs.register_error(HANDLER, _plainly)
    if isinstance(sys.stdout, io.TextIOWrapper):  # it is None where it was closed
        sys.stdout.reconfigure(errors=HANDLER)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(IN_PLACE.get(each, _escaped(each)) for each in found), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")
