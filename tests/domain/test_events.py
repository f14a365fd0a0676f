"""What is said, and whether `docs/events.md` explains it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.events import LOGGER, Event, emit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")
ROOMS = ("domain", "wire", "venues", "storage", "actors", "supervisor")
# emit()'s own, and those of the helpers that stand before it
NOT_FIELDS = {"level", "actor"}


def fields_of(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    [record] = caplog.records
    found: dict[str, object] = record.__dict__["fields"]
    return found


@pytest.mark.parametrize(
    ("actor", "fields"),
    [
        ("market/EURUSD@sim", {"market": "EURUSD@sim", "venue": "sim"}),
        ("market/BTC/USD@kraken", {"market": "BTC/USD@kraken", "venue": "kraken"}),
        ("connection/sim/1", {"venue": "sim"}),
        ("backfill/sim", {"venue": "sim"}),
        ("writer", {}),
        ("", {}),
    ],
)
def test_whom_it_is_about_is_told_by_who_says_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, actor: str, fields: dict[str, str]
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)
    with caplog.at_level("INFO"):
        emit(Event.CRASH, "crashed", actor=actor)
    assert fields_of(caplog) == fields


# --- the page ---------------------------------------------------------------------------------------


def test_each_event_has_its_row_and_its_id_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| `([0-9a-f]{32})` \|$", PAGE, flags=re.MULTILINE)
    assert rows == [(event.value, event.message_id) for event in Event]


def emitted_fields() -> Iterator[str]:
    """Yield the names of the fields that the source gives to `emit`, itself or by a `_say`."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_emit(node):
                    yield from (keyword.arg for keyword in node.keywords if keyword.arg is not None)


def _is_emit(call: ast.Call) -> bool:
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Attribute) and getattr(first.value, "id", "") == "Event"


def test_each_event_is_said_somewhere() -> None:
    sources = [path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    said = set(re.findall(r"\bEvent\.([A-Z_]+)\b", "\n".join(sources)))
    assert said >= {event.name for event in Event}


def test_each_field_of_an_event_is_on_the_page() -> None:
    names = set(emitted_fields()) - NOT_FIELDS
    assert {"state", "reason", "traceback", "token_state"} <= names  # that any were found
    assert {name for name in names if f"`{name.upper()}`" not in PAGE} == set()
