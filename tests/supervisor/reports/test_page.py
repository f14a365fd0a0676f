import datetime
import re
import zoneinfo
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
from traded import a_trade, some_candles, some_gaps, some_trades

from domain.errors import MarketdError
from strategies.statistics import by_hour, by_market, by_strategy, figures, results_of
from supervisor.reports.page import page_of, write_page
from supervisor.reports.report import PriceChart, Report
from supervisor.reports.tables import cells_of

VOID_TAGS = {"meta", "link", "br", "hr", "img", "input"}
EVIL = "<script>alert('x')</script>\"&@sim"


@attrs.define
class Node:
    """An element of a page as it was read back."""

    tag: str
    attributes: dict[str, str]
    parent: "Node | None" = None
    children: list["Node"] = attrs.field(factory=list)
    words: list[str] = attrs.field(factory=list)

    def all(self, tag: str) -> list["Node"]:
        found = [self] if self.tag == tag else []
        return found + [node for child in self.children for node in child.all(tag)]

    @property
    def text(self) -> str:
        return "".join(self.words + [child.text for child in self.children])


class PageReader(HTMLParser):
    """Reads a page, and fails where a tag is not closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(node)
        if tag not in VOID_TAGS:
            self.at = node

    def handle_endtag(self, tag: str) -> None:
        assert self.at.tag == tag
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.words.append(data)


def read(page: str) -> Node:
    reader = PageReader()
    reader.feed(page)
    reader.close()
    assert reader.at is reader.root
    return reader.root


@pytest.fixture
def report() -> Report:
    markets = ("EURUSD@sim", EVIL)
    trades = some_trades(*markets, count=120, strategies=("rsi", "streak<"))
    return Report(
        title=f"Backtest of {EVIL}",
        currency="USD",
        zone=zoneinfo.ZoneInfo("Asia/Jakarta"),
        results=results_of(trades),
        facts={"mode": "paper", "<i>": EVIL},
        warnings=["2 gaps <b>"],
        trades=trades,
        refused={"stale_price": 3, "daily_loss": 12},
        charts=[
            PriceChart(
                market=each, timeframe_s=60, candles=some_candles(each, count=300), gaps=some_gaps(each)
            )
            for each in markets
        ],
    )


def bare(report: Report) -> Report:
    return attrs.evolve(report, results=(), trades=(), charts=(), refused={})


def test_page_asks_nobody_for_anything_and_runs_nothing(report: Report) -> None:
    page = page_of([report])
    root = read(page)
    assert {node.tag for node in every(root)}.isdisjoint(
        {"script", "link", "img", "iframe", "base", "object"}
    )
    for node in every(root):
        assert not {"href", "src", "style", "srcset", "action"} & set(node.attributes), node
        assert not [name for name in node.attributes if name.startswith("on")]
    [style] = root.all("style")
    assert not re.search(r"url\(|@import|//", style.text)
    [policy] = [node for node in root.all("meta") if "http-equiv" in node.attributes]
    assert "default-src 'none'" in policy.attributes["content"]


def every(node: Node) -> list[Node]:
    return [node, *(each for child in node.children for each in every(child))]


def test_whatever_a_name_holds_stays_text(report: Report) -> None:
    root = read(page_of([report]))
    [title] = [node for node in root.all("title") if node.parent is not None and node.parent.tag == "head"]
    assert title.text == f"Backtest of {EVIL}"
    assert EVIL in root.all("h1")[0].text
    heads = [node.text for node in root.all("th") if node.attributes.get("scope") == "row"]
    assert heads.count(EVIL) == 1
    assert "streak<" in heads
    assert [node.text for node in root.all("dt")] == ["mode", "<i>"]


def test_every_drawing_has_words_for_those_who_do_not_see_it(report: Report) -> None:
    root = read(page_of([report, report]))
    drawings = [node for node in root.all("svg") if node.attributes.get("aria-hidden") != "true"]
    assert len(drawings) >= 2 * 4
    ids = [node.attributes["id"] for node in every(root) if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in drawings:
        assert node.attributes["role"] == "img"
        title, text = node.children[:2]
        assert (title.tag, text.tag) == ("title", "desc")
        assert node.attributes["aria-labelledby"].split() == [title.attributes["id"], text.attributes["id"]]
        assert title.text
        assert text.text


def rows_of(root: Node) -> dict[str, tuple[str, ...]]:
    return {
        row.all("th")[0].text: tuple(cell.text for cell in row.all("td"))
        for row in root.all("tr")
        if row.all("th") and row.all("td")
    }


def test_numbers_of_all_drawings_stand_in_tables(report: Report) -> None:
    rows = rows_of(read(page_of([report])))
    hours = {f"{hour:02d}:00": each for hour, each in by_hour(report.results, zone=report.zone).items()}
    groups = {
        **by_market(report.results),
        **by_strategy(report.results),
        **hours,
        "all": figures(report.results),
    }
    for name, each in groups.items():
        assert rows[name] == cells_of(each)
    assert list(hours) != [f"{hour:02d}:00" for hour in by_hour(report.results, zone=datetime.UTC)]
    assert (rows["daily_loss"], rows["stale_price"]) == (("12",), ("3",))


def test_every_trade_is_listed_and_marked_on_its_market_s_candles(report: Report) -> None:
    root = read(page_of([report]))
    listed = [row for row in root.all("tr") if row.attributes.get("class") in
              ("won", "lost", "tied", "void", "refused", "open", "unknown")]  # fmt: skip
    assert [row.all("td")[-1].text for row in listed] == [str(each.trade.id) for each in report.trades]
    marks = [node for node in root.all("g") if node.attributes.get("class", "").startswith("trade ")]
    marks = [node for node in marks if node.all("title")]  # the key has none
    assert len(marks) == sum(each.trade.opened_us is not None for each in report.trades)
    gaps = [node for node in root.all("rect") if node.attributes["class"] == "gap" and node.all("title")]
    assert {"disconnect", "stale"} <= {node.text.rpartition(" ")[2] for node in gaps}


def test_candles_and_marks_lie_within_the_drawing(report: Report) -> None:
    for svg in read(page_of([report])).all("svg"):
        _, _, width, height = map(float, svg.attributes["viewbox"].split())
        for node in every(svg):
            for name, most in (("x", width), ("cx", width), ("x1", width), ("x2", width),
                               ("y", height), ("cy", height), ("y1", height), ("y2", height)):  # fmt: skip
                if name in node.attributes:
                    assert 0.0 <= float(node.attributes[name]) <= most, (node.tag, node.attributes)


def test_equal_reports_make_an_equal_page(report: Report) -> None:
    assert page_of([report]) == page_of([attrs.evolve(report)])


@pytest.mark.parametrize("states", [(), ("refused",), ("open",), ("tied",), ("won",), ("lost", "lost")])
def test_page_of_few_trades_is_whole(report: Report, states: tuple[str, ...]) -> None:
    trades = [a_trade(state, number=number) for number, state in enumerate(states)]
    few = attrs.evolve(bare(report), trades=trades, results=results_of(trades), charts=report.charts)
    root = read(page_of([few]))
    assert "Too few trades" in root.text
    assert len(root.all("svg")) > 0


def test_list_that_is_not_whole_says_so(report: Report) -> None:
    root = read(page_of([attrs.evolve(report, left_out=1_234)]))
    assert "1,234 earlier ones are left out" in root.text
    assert "1,234 earlier trades are not marked." in root.text


def test_file_is_written_whole_in_place_of_an_older_one(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older", encoding="utf-8")
    write_page([report], path)
    assert path.read_text(encoding="utf-8") == page_of([report])
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_file_that_cannot_be_written_is_named_and_left_as_it_was(report: Report, tmp_path: Path) -> None:
    with pytest.raises(MarketdError, match=r"none/report\.html cannot be written: No such file"):
        write_page([report], tmp_path / "none" / "report.html")
    folder = tmp_path / "report.html"
    folder.mkdir()
    with pytest.raises(MarketdError, match=r"report\.html cannot be written: it is there already, and no"):
        write_page([report], folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_page_goes_to_where_a_link_leads_and_through_none_that_lies_in_its_way(
    report: Report, tmp_path: Path
) -> None:
    kept, link = tmp_path / "kept.html", tmp_path / "link.html"
    link.symlink_to(kept)
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / ".kept.html.new").symlink_to(victim)
    write_page([report], link)
    assert link.is_symlink()
    assert kept.read_text(encoding="utf-8") == page_of([report])
    assert victim.read_text(encoding="utf-8") == "mine"
    with pytest.raises(MarketdError, match="/dev/null cannot be written"):
        write_page([report], Path("/dev/null"))
