"""Printing where the encoding has not every character."""

import io
import sys

import pytest

from supervisor.plain_text import use_plain_text

TEXT = "−10.00 → 5 – 7 %, Zürich"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"-10.00 -> 5 - 7 %, Z\\xfcrich"),
        ("latin-1", b"-10.00 -> 5 - 7 %, Z\xfcrich"),
        ("utf-8", TEXT.encode()),
    ],
)
def test_a_character_that_an_encoding_has_not_is_replaced(
    monkeypatch: pytest.MonkeyPatch, encoding: str, printed: bytes
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    use_plain_text()
    sys.stdout.write(TEXT)
    sys.stdout.flush()
    assert raw.getvalue() == printed


def test_without_a_standard_output_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    use_plain_text()
    assert sys.stdout is None
