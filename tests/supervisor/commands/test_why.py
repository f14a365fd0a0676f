from typing import Any

from supervisor.commands.why import blocks_lines, limits_lines, refused_lines


def answer(**changes: Any) -> dict[str, Any]:
    """Return what the daemon answers where one of two strategies decides and nothing blocks it."""
    return {
        "market": "EURUSD@sim",
        "strategies": [
            {"market": "EURUSD@sim", "strategy": "mine", "state": "running", "reason": None},
            {"market": "EURUSD@sim", "strategy": "broken", "state": "set_aside", "reason": "KeyError: 'x'"},
        ],
        "blocks": [],
        "limits": {},
        **changes,
    }


def test_what_is_set_aside_and_what_decides_is_said() -> None:
    assert list(blocks_lines(answer())) == [
        "broken is set aside: KeyError: 'x'",
        "nothing blocks new trades on EURUSD@sim now: they wait for a signal of mine",
    ]


def test_a_strategy_whose_next_trade_no_limit_allows_is_not_waited_for() -> None:
    row = {"market": "EURUSD@sim", "state": "running", "reason": None}
    poor = {**row, "strategy": "poor", "refused": "daily_loss: the stake would be 20"}
    said = "poor cannot trade on EURUSD@sim now: daily_loss: the stake would be 20"
    assert list(blocks_lines(answer(strategies=[poor]))) == [said]
    both = [poor, {**row, "strategy": "rich", "refused": None}]
    assert list(blocks_lines(answer(strategies=both))) == [
        said,
        "nothing blocks new trades on EURUSD@sim now: they wait for a signal of rich",
    ]


def test_everything_that_blocks_stands_in_a_line_of_its_own() -> None:
    blocks = [{"reason": "drain", "text": "no new trades"}, {"reason": "gap", "text": "prices are missing"}]
    lines = list(blocks_lines(answer(blocks=blocks)))
    assert lines[1] == "no new trades on EURUSD@sim now:"
    assert [line.split(maxsplit=1) for line in lines[3:]] == [
        ["drain", "no new trades"], ["gap", "prices are missing"],
    ]  # fmt: skip


def test_where_all_are_set_aside_nobody_is_waited_for() -> None:
    [line] = blocks_lines(answer(strategies=answer()["strategies"][1:]))
    assert line == "broken is set aside: KeyError: 'x'"


def test_limits_that_count_something_say_how_far_they_are_used() -> None:
    limits = {
        "max_daily_loss": {"limit": "500", "used": "120.50"},
        "pause_min": {"limit": 30.0, "used": None},
        "max_open_trades": {"limit": 10, "used": 0},
    }
    assert [line.split() for line in limits_lines(limits)] == [
        ["LIMIT", "USED", "OF"], ["max_daily_loss", "120.50", "500"], ["max_open_trades", "0", "10"],
    ]  # fmt: skip
    assert limits_lines({}) == []


def test_refused_signals_say_when_what_and_why() -> None:
    signal = {"ts_us": 1, "strategy": "mine", "direction": "up", "price": 1.08421, "reason": "gap: missing"}
    lines = refused_lines([signal], market="EURUSD@sim")
    assert lines[-1].split(maxsplit=4) == [
        "1970-01-01T00:00:00.000001Z", "mine", "up", "1.08421", "gap: missing",
    ]  # fmt: skip
    assert refused_lines([], market="EURUSD@sim") == ["no signal on EURUSD@sim was refused"]
