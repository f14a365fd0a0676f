import functools
from collections.abc import Iterator
from typing import Any

import pytest
from databases import Batch, OpenStore, SqliteDatabase, open_store, some_ticks

from domain.errors import RejectedError
from domain.market import MAX_INTEGER
from supervisor.reading import plan
from supervisor.requests import MAX_PAGE_ROWS, Configured, settle

CONFIGURED = Configured(markets=("M0@sim", "NEW@sim"), timeframes_s=(300, 60))
TICKS = some_ticks(markets=2, each=10)
CANDLE = (
    "INSERT INTO candle (market_id, timeframe_s, open_us, open, high, low, close, ticks, volume, complete, "
    "source) VALUES (1, ?, ?, 1, 2, 0.5, 1.5, 7, 3.5, 1, 'ticks')"
)


@pytest.fixture
def store(sqlite: SqliteDatabase) -> Iterator[OpenStore]:
    with open_store(sqlite.target) as opened:
        opened.pool.run(functools.partial(opened.batches.store, batch=Batch(ticks=TICKS)))
        yield opened


def ask(store: OpenStore, command: str, *, configured: Configured = CONFIGURED, **arguments: Any) -> Any:
    return settle(store.pool.run(plan(command, arguments, configured=configured)))


def test_answer_goes_on_where_its_next_says(store: OpenStore) -> None:
    rows: list[Any] = []
    after = None
    while True:
        page = ask(store, "history", market="M0", kind="ticks", limit=3, after=after)
        assert page["market"] == "M0@sim"
        rows += page["rows"]
        if page["next"] is None:
            break
        after = list(page["next"])  # as JSON has it
    assert rows == [tick[1:] for tick in TICKS if tick.market == "M0@sim"]


def test_shortest_timeframe_of_the_settings_is_meant_where_none_is_given(store: OpenStore) -> None:
    for timeframe_s in (60, 300, 7):
        store.pool.run(
            lambda session, timeframe_s=timeframe_s: session.execute(CANDLE, (timeframe_s, timeframe_s))
        )

    def opens(**arguments: Any) -> list[int]:
        page = ask(store, "history", market="M0", kind="candles", **arguments)
        return [row[0] for row in page["rows"]]

    assert opens() == [60]
    assert opens(timeframe_s=300) == [300]
    assert opens(timeframe_s=7) == [7]
    assert opens(timeframe_s=8) == []


def test_without_any_timeframe_one_has_to_be_given(store: OpenStore) -> None:
    none = Configured(markets=("M0@sim",), timeframes_s=())
    with pytest.raises(RejectedError, match="timeframe"):
        ask(store, "history", configured=none, market="M0", kind="candles")
    assert ask(store, "history", configured=none, market="M0", kind="candles", timeframe_s=60)["rows"] == []


@pytest.mark.parametrize("kind", ["ticks", "candles"])
def test_market_without_rows_has_an_empty_page(store: OpenStore, kind: str) -> None:
    page = ask(store, "history", market="NEW", kind=kind)
    assert (page["market"], page["rows"], page["next"]) == ("NEW@sim", [], None)
    assert len(page["columns"]) > 5
    assert ask(store, "gaps", market="NEW")["rows"] == []


def test_gaps_are_for_all_markets_unless_one_is_named(store: OpenStore) -> None:
    store.pool.run(
        lambda session: session.execute(
            "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) "
            "VALUES (1, 5, 9, 'stale', 'none', ''), (2, 6, NULL, 'closed', 'none', '')"
        )
    )
    assert [row[0] for row in ask(store, "gaps")["rows"]] == ["M0@sim", "M1@sim"]
    assert [row[0] for row in ask(store, "gaps", market="M1")["rows"]] == ["M1@sim"]


def test_unknown_market_is_refused_and_costs_no_connection(store: OpenStore) -> None:
    before = store.driver.counts.connects
    for command, more in (("history", {"kind": "ticks"}), ("history", {"kind": "candles"}), ("gaps", {})):
        with pytest.raises(RejectedError, match="'BTCUSD'"):
            ask(store, command, market="BTCUSD", **more)
    assert store.driver.counts.connects == before


TICKS_OF_M0: dict[str, Any] = {"market": "M0", "kind": "ticks"}

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("history", {"kind": "ticks"}, "market", "missing"),
    ("history", {"market": "M0"}, "kind", "missing"),
    ("history", {"market": 7, "kind": "ticks"}, "market", "7"),
    ("history", {"market": None, "kind": "ticks"}, "market", "None"),
    ("history", {"market": "M0", "kind": "bars"}, "kind", "bars"),
    ("history", {"market": "M0", "kind": ["ticks"]}, "kind", "ticks"),
    ("history", {**TICKS_OF_M0, "from_us": -1}, "from_us", "-1"),
    ("history", {**TICKS_OF_M0, "from_us": 1.5}, "from_us", "1.5"),
    ("history", {**TICKS_OF_M0, "to_us": MAX_INTEGER + 1}, "to_us", str(MAX_INTEGER + 1)),
    ("history", {**TICKS_OF_M0, "to_us": "today"}, "to_us", "today"),
    ("history", {**TICKS_OF_M0, "limit": 0}, "limit", "0"),
    ("history", {**TICKS_OF_M0, "limit": True}, "limit", "True"),
    ("history", {**TICKS_OF_M0, "limit": MAX_PAGE_ROWS + 1}, "limit", str(MAX_PAGE_ROWS + 1)),
    ("history", {**TICKS_OF_M0, "after": 5}, "after", "5"),
    ("history", {**TICKS_OF_M0, "after": []}, "after", "[]"),
    ("history", {**TICKS_OF_M0, "after": [1, 2]}, "after", "[1, 2]"),
    ("history", {**TICKS_OF_M0, "after": [1, 2, -1]}, "after", "-1"),
    ("history", {**TICKS_OF_M0, "after": [1, 2, 10**40]}, "after", "1000"),
    ("history", {**TICKS_OF_M0, "after": [1, 2, "x"]}, "after", "x"),
    ("history", {**TICKS_OF_M0, "afterwards": [1, 2, 3]}, "afterwards", "unknown"),
    ("history", {"market": "M0", "kind": "candles", "after": [1, 2, 3]}, "after", "[1, 2, 3]"),
    ("history", {"market": "M0", "kind": "candles", "timeframe_s": 0}, "timeframe_s", "0"),
    ("history", {"market": "M0", "kind": "candles", "timeframe_s": 2**31}, "timeframe_s", str(2**31)),
    ("gaps", {"market": ["M0"]}, "market", "M0"),
    ("gaps", {"kind": "ticks"}, "kind", "unknown"),
    ("gaps", {"after": [1]}, "after", "[1]"),
]


@pytest.mark.parametrize(("command", "arguments", "key", "value"), WRONG, ids=str)
def test_wrong_argument_is_refused_by_key_and_value(
    command: str, arguments: dict[str, Any], key: str, value: str
) -> None:
    with pytest.raises(RejectedError) as refused:
        plan(command, arguments, configured=CONFIGURED)
    assert f"{command} {key}" in str(refused.value)
    assert value in str(refused.value)
