"""The rising delay of starts."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from supervisor.last_run import LastRun
from supervisor.pause import Pause, bad_ends_after, pause_s
from supervisor.policy import SupervisionSettings
from supervisor.run_record import End, RunRecord

SETTINGS = SupervisionSettings()  # 5 restarts, 1 to 60 s, healthy after 60 s
SECOND_US = 1_000_000
RECORD = RunRecord(
    pid=1,
    boot_id="",
    invocation_id="",
    started_us=100 * SECOND_US,
    marketd="0.1",
    bad_ends=7,
    pause_s=4.0,
    memory_limit_bytes=None,
    oom_kills=None,
)


def last_run(*, lived_s: float | None, is_bad: bool = True) -> LastRun:
    ended_us = None if lived_s is None else RECORD.started_us + int(lived_s * SECOND_US)
    return LastRun(end=End.CRASH, detail="", ended_us=ended_us, is_bad=is_bad)


@pytest.mark.parametrize("lived_s", [0.5, 59.0, 63.9, None])
def test_a_short_run_that_ended_badly_makes_the_row_longer(lived_s: float | None) -> None:
    """Its pause does not count as life."""
    assert bad_ends_after(last_run(lived_s=lived_s), RECORD, SETTINGS) == 8


def test_a_bad_end_after_a_healthy_run_begins_a_new_row() -> None:
    assert bad_ends_after(last_run(lived_s=64.0), RECORD, SETTINGS) == 1


def test_an_end_that_was_wanted_costs_nothing() -> None:
    assert bad_ends_after(last_run(lived_s=0.5, is_bad=False), RECORD, SETTINGS) == 0


def test_the_pause_rises_beyond_max_restarts_up_to_the_bound() -> None:
    pauses = [pause_s(bad_ends, SETTINGS) for bad_ends in range(14)]
    assert pauses == [0.0] * 6 + [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert pause_s(10**9, SETTINGS) == 60.0


def test_a_bound_below_the_shortest_wait_is_kept() -> None:
    settings = attrs.evolve(SETTINGS, backoff_min_s=5.0, backoff_max_s=2.0)
    assert pause_s(20, settings) == 2.0


async def test_a_pause_says_why_and_how_long_until_it_is_over(autojump_clock: MockClock) -> None:
    pause = Pause(wait_s=8.0, bad_ends=9)
    pause.begin()
    await trio.sleep(3.0)
    assert pause.reason() == "the last 9 runs ended badly and soon; first try in 5 s"
    await pause.over()
    assert trio.current_time() == pytest.approx(8.0)
    assert pause.reason() == ""


async def test_no_pause_is_over_at_once(autojump_clock: MockClock) -> None:
    pause = Pause()
    pause.begin()
    await pause.over()
    assert trio.current_time() == 0.0
    assert (pause.left_s(), pause.reason()) == (0.0, "")
