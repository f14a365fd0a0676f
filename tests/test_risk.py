import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["RISK.md", "RISK.id.md"])
def test_the_table_says_what_the_formula_says(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace(",", ".")
    rows = re.findall(r"^\| (\d+) % \| ([\d.]+) % \| ([\d.]+) \|$", text, flags=re.MULTILINE)
    assert len(rows) == 7
    for payout, must_win, coin_loses in rows:
        assert float(must_win) == pytest.approx(100 * 100 / (100 + int(payout)), abs=0.05)
        assert float(coin_loses) == pytest.approx(100 - (100 + int(payout)) / 2, abs=0.05)


def test_both_languages_cite_the_same_documents() -> None:
    pattern = r"\d{4}/\d+|PS\d+/\d+|R25\|02|\d{1,3}[.,]\d{3}"
    found = [
        re.findall(pattern, (ROOT / name).read_text(encoding="utf-8").replace("1.222", "1,222"))
        for name in ("RISK.md", "RISK.id.md")
    ]
    assert sorted(set(found[0])) == sorted(set(found[1]))


def test_the_readmes_first_screen_links_both() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:20])
    assert "(RISK.md)" in first_screen
    assert "(RISK.id.md)" in first_screen
