import errno
import itertools
import logging
import re
from collections.abc import Callable
from pathlib import Path

import hypothesis
from hypothesis.strategies import floats, lists
from keeping import keep_at_once
from logged import logged_json

from domain.events import Event, emit
from supervisor.log_bounds import BURST_ENTRIES, ENTRIES_PER_S, RESERVED_ENTRIES, Folding, RateBound
from supervisor.log_writer import BACKLOG_ENTRIES

UNIT = (Path(__file__).parents[2] / "deploy/marketd.service").read_text(encoding="utf-8")


# --- the same again -------------------------------------------------------------------------------


def messages(*says: Callable[[], None]) -> list[object]:
    def say_all() -> None:
        for say in says:
            say()

    return [line["message"] for line in logged_json(say_all)]


def backs_off(seconds: int) -> None:
    emit(
        Event.STATE,
        f"A backing_off: refused; next try in {seconds} s",
        actor="market/A",
        state="backing_off",
        reason=f"refused; next try in {seconds} s",
    )


def test_the_same_state_for_the_same_reason_is_said_once() -> None:
    assert len(messages(lambda: backs_off(1), lambda: backs_off(2), lambda: backs_off(3))) == 1


def test_the_same_of_two_actors_is_said_twice() -> None:
    says = [lambda: emit(Event.CRASH, "x", actor="a"), lambda: emit(Event.CRASH, "x", actor="b")]
    assert len(messages(*says)) == 2


def test_another_state_in_between_is_said() -> None:
    def live() -> None:
        emit(Event.STATE, "A live", actor="market/A", state="live")

    assert len(messages(lambda: backs_off(1), live, lambda: backs_off(1))) == 3


def test_different_words_of_one_actor_are_all_said() -> None:
    """Such as the operator's commands, the keys without effect, a reload that failed and one that did not."""
    says = [lambda n=n: emit(Event.DESIRED, f"stopped {n}", actor="control") for n in range(5)]
    assert messages(*says) == [f"stopped {n}" for n in range(5)]


def test_broken_frames_are_one_event_whatever_is_wrong_with_each() -> None:
    says = [lambda n=n: emit(Event.FRAME, f"byte {n}", actor="connection/sim/1", sample=n) for n in range(5)]
    assert messages(*says) == ["byte 0"]


def test_each_kind_of_unknown_message_is_said() -> None:
    says = [lambda n=n: emit(Event.UNKNOWN, f"unknown {n}", actor="connection/sim/1") for n in range(3)]
    assert len(messages(*says)) == 3


def test_that_a_token_was_refused_hides_not_that_it_has_expired() -> None:
    words = ("sim refuses the token", "the token of sim has expired")
    says = [
        lambda text=text: emit(Event.TOKEN, text, actor="tokens", token_state="refused", venue="sim")
        for text in words
    ]
    assert messages(*says) == list(words)


def test_that_a_market_is_live_again_is_said_each_time() -> None:
    says = [lambda: emit(Event.STATE, "EURUSD live", actor="market/EURUSD", state="live")] * 2
    assert messages(*says) == ["EURUSD live"] * 2


def test_the_status_is_said_each_time_it_is_asked_for() -> None:
    says = [lambda: emit(Event.STATUS, "EURUSD@sim live", actor="market/EURUSD@sim")] * 2
    assert len(messages(*says)) == 2


def passes(folding: Folding, at: float) -> logging.LogRecord | None:
    record = logging.makeLogRecord({"msg": "A", "event": "state", "actor": "market/A", "levelno": 30})
    record.created = at
    return record if folding.filter(record) else None


def test_after_ten_minutes_it_is_said_again_with_how_often_it_was_not() -> None:
    folding = Folding()
    assert [passes(folding, at) is not None for at in (0.0, 1.0, 599.0)] == [True, False, False]
    again = passes(folding, 600.0)
    assert again is not None
    assert "2" in again.getMessage()


def test_a_clock_that_steps_back_a_day_keeps_nothing_unsaid() -> None:
    folding = Folding()
    day = 86_400.0
    assert [passes(folding, at) is not None for at in (day, 10.0, 20.0, 620.0)] == [True, True, False, True]


def test_the_same_trouble_of_many_small_files_is_said_once() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def fails() -> None:
        raise full

    says = [lambda n=n: keep_at_once(Path(f"connects-{n}.json"), fails) for n in range(3)]
    assert len(messages(*says)) == 1


# --- a flood ----------------------------------------------------------------------------------------


def allowed(rate: RateBound, *, level: int, now: float, tried: int) -> int:
    return sum(rate.allows(level, now=now) for _ in range(tried))


def test_a_flood_gets_what_is_not_kept_back_for_warnings() -> None:
    rate = RateBound()
    assert allowed(rate, level=logging.INFO, now=0.0, tried=20_000) == BURST_ENTRIES - RESERVED_ENTRIES
    assert allowed(rate, level=logging.WARNING, now=0.0, tried=20_000) == RESERVED_ENTRIES
    assert allowed(rate, level=logging.ERROR, now=0.0, tried=1) == 0


def test_a_flood_is_let_through_again_little_by_little() -> None:
    rate = RateBound()
    allowed(rate, level=logging.INFO, now=0.0, tried=20_000)
    assert allowed(rate, level=logging.INFO, now=1.0, tried=20_000) == ENTRIES_PER_S
    assert allowed(rate, level=logging.INFO, now=1_000.0, tried=20_000) == BURST_ENTRIES - RESERVED_ENTRIES


@hypothesis.given(steps=lists(floats(min_value=0, max_value=20), min_size=1, max_size=40))
def test_in_any_30_s_there_are_fewer_than_the_unit_allows(steps: list[float]) -> None:
    """Also with a backlog of 2,000 older ones that go out at the same time."""
    [unit_burst] = re.findall(r"^LogRateLimitBurst=(\d+)$", UNIT, flags=re.MULTILINE)
    assert "\nLogRateLimitIntervalSec=30s\n" in UNIT
    rate = RateBound()
    times = list(itertools.accumulate(steps))
    counts = [allowed(rate, level=logging.ERROR, now=now, tried=3_000) for now in times]
    for begin in times:
        within = sum(count for count, now in zip(counts, times, strict=True) if begin <= now < begin + 30)
        assert within + BACKLOG_ENTRIES <= int(unit_burst)
