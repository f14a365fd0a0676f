import csv
import io
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.commands.rows import PRINTERS, print_pages

COLUMNS = ("ts_us", "price", "bid", "note")
ROWS: list[tuple[Any, ...]] = [
    (1_700_000_000_000_001, 1 / 3, None, "plain"),
    (1_700_000_000_000_002, 5e-324, 1e22, 'with , and " and\nnew line 🙂'),
    (2**63 - 1, 1.7976931348623157e308, 0.1, ""),
]


def page(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {"columns": COLUMNS, "rows": rows}


def printed(form: str, *pages: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]) -> str:
    print_pages([page(rows) for rows in pages], form=form)
    return capsys.readouterr().out


def test_csv_reads_back_as_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("csv", ROWS[:1], [], ROWS[1:], capsys=capsys)
    head, *lines = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(head) == COLUMNS
    assert [
        (int(ts), float(price), float(bid) if bid else None, note) for ts, price, bid, note in lines
    ] == ROWS


def test_csv_of_nothing_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("csv", [], capsys=capsys) == "ts_us,price,bid,note\n"


def test_each_line_of_jsonl_reads_back_as_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("jsonl", ROWS[:2], ROWS[2:], capsys=capsys)
    assert [msgspec.json.decode(line) for line in text.splitlines()] == [
        dict(zip(COLUMNS, row, strict=True)) for row in ROWS
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_survives_as_text(number: float) -> None:
    for form in ("csv", "jsonl"):
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", out)
            PRINTERS[form](("price",))([(number,)])
        line = out.getvalue().splitlines()[-1]
        found = float(line) if form == "csv" else msgspec.json.decode(line)["price"]
        assert (found, math.copysign(1, found)) == (number, math.copysign(1, number))


def test_table_is_in_columns_over_all_its_pages(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("table", [], ROWS[:1], [], ROWS[2:], capsys=capsys).splitlines()
    assert [line.split()[0] for line in lines] == [
        "TIME",
        "2023-11-14T22:13:20.000001Z",
        "294247-01-10T04:00:54.775807Z",
    ]
    assert lines[0].index("PRICE") == lines[1].index("0.3333333333")
    assert lines[0].index("BID") == lines[1].index("-    plain")


def test_table_of_gaps_shows_open_ones_and_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("market", "from_us", "to_us", "length_us")
    rows = [("A@sim", 0, 1_500_000, 1_500_000), ("A@sim", 1_000_000, None, None)]
    print_pages([{"columns": columns, "rows": rows}], form="table")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["MARKET", "FROM", "TO", "LENGTH"],
        ["A@sim", "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:01.500000Z", "1.500", "s"],
        ["A@sim", "1970-01-01T00:00:01.000000Z", "-", "-"],
    ]


def test_page_is_printed_before_the_next_one_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def pages() -> Iterator[dict[str, Any]]:
        for row in ROWS:
            yield page([row])
            assert len(capsys.readouterr().out.splitlines()) >= 1

    print_pages(pages(), form="jsonl")


def test_table_of_nothing_says_so_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_pages([page([])], form="table")
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err != ""
