import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError
from venues.simulated.faults import DOOR_KINDS, SINGLE_EVENTS, Fault, Kind, Schedule, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("close@5", Fault(kind=Kind.CLOSE, at_s=5.0, duration_s=0.0)),
        ("reset@0.5", Fault(kind=Kind.RESET, at_s=0.5, duration_s=0.0)),
        ("garbage@1", Fault(kind=Kind.GARBAGE, at_s=1.0, duration_s=0.0)),
        ("garbage@1+2.5", Fault(kind=Kind.GARBAGE, at_s=1.0, duration_s=2.5)),
        ("silent@60", Fault(kind=Kind.SILENT, at_s=60.0, duration_s=math.inf)),
        ("silent@60+10:EURUSD", Fault(kind=Kind.SILENT, at_s=60.0, duration_s=10.0, symbol="EURUSD")),
        ("half-open@1", Fault(kind=Kind.HALF_OPEN, at_s=1.0, duration_s=math.inf)),
        ("lock@1:eur/usd", Fault(kind=Kind.LOCK, at_s=1.0, duration_s=math.inf, symbol="EUR/USD")),
        ("slow@1", Fault(kind=Kind.SLOW, at_s=1.0, duration_s=math.inf)),
        ("refuse@1", Fault(kind=Kind.REFUSE, at_s=1.0, duration_s=10.0)),
        ("http429@1+3", Fault(kind=Kind.HTTP429, at_s=1.0, duration_s=3.0)),
        ("no-upgrade@1", Fault(kind=Kind.NO_UPGRADE, at_s=1.0, duration_s=10.0)),
    ],
)
def test_a_fault_is_parsed(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected KIND@SECONDS"),
        ("silent", "expected KIND@SECONDS"),
        ("silent@", "expected KIND@SECONDS"),
        ("silent@-1", "expected KIND@SECONDS"),
        ("silent@1+", "expected KIND@SECONDS"),
        ("silent@1:", "expected KIND@SECONDS"),
        ("silent@1.2.3", "'1.2.3' is not a number"),
        ("silent@1+0", "a duration must be above 0"),
        ("flood@1", "kind 'flood' is not known; known: close, reset"),
        ("close@1+2", "close is a single event"),
        ("reset@1+2", "reset is a single event"),
        ("refuse@1:EURUSD", "takes no symbol"),
        ("silent@1:EUR USD", "'EUR USD' is not a symbol"),
    ],
)
def test_a_bad_fault_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_fault(text)
    assert repr(text) in str(error.value)
    assert complaint in str(error.value)


seconds = st.integers(min_value=0, max_value=10_000).map(lambda tenths: tenths / 10)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(Kind))
    text = f"{kind}@{draw(seconds)}"
    if kind not in SINGLE_EVENTS and draw(st.booleans()):
        text += f"+{draw(seconds.filter(bool))}"
    if kind not in DOOR_KINDS and draw(st.booleans()):
        text += f":{draw(st.sampled_from(['EURUSD', 'BTCUSDT']))}"
    return parse_fault(text)


@given(fault=faults())
def test_a_fault_prints_as_it_is_parsed(fault: Fault) -> None:
    assert parse_fault(str(fault)) == fault


@given(schedule=st.lists(faults(), max_size=8), steps=st.lists(seconds, max_size=20))
def test_every_beginning_falls_into_exactly_one_step(schedule: list[Fault], steps: list[float]) -> None:
    moments = [-1.0, *sorted(steps), 2_000.0]
    seen = [
        fault
        for after_s, until_s in itertools.pairwise(moments)
        for fault in Schedule(tuple(schedule)).beginning(after_s=after_s, until_s=until_s)
    ]
    assert sorted(map(str, seen)) == sorted(map(str, schedule))


@given(schedule=st.lists(faults(), max_size=8), after_s=seconds)
def test_the_next_beginning_is_the_first_after_that_moment(schedule: list[Fault], after_s: float) -> None:
    next_s = Schedule(tuple(schedule)).next_after(after_s)
    between = Schedule(tuple(schedule)).beginning(after_s=after_s, until_s=min(next_s, 2_000.0))
    assert {fault.at_s for fault in between} == ({next_s} if next_s < math.inf else set())


def test_a_fault_is_on_from_its_moment_until_just_before_its_end() -> None:
    schedule = Schedule((parse_fault("silent@5+2"),))
    moments = (4.9, 5.0, 6.9, 7.0)
    assert [bool(schedule.active(at_s=at_s, symbol="EURUSD")) for at_s in moments] == [
        False,
        True,
        True,
        False,
    ]


def test_nothing_is_on_before_the_first_subscribe() -> None:
    assert Schedule((parse_fault("silent@0"),)).active(at_s=-math.inf, symbol=None) == frozenset()


def test_a_fault_of_one_symbol_concerns_no_other() -> None:
    schedule = Schedule((parse_fault("lock@0:EURUSD"), parse_fault("slow@0")))
    assert schedule.active(at_s=1.0, symbol="EURUSD") == {Kind.LOCK, Kind.SLOW}
    assert schedule.active(at_s=1.0, symbol="GBPUSD") == {Kind.SLOW}
    assert schedule.active(at_s=1.0, symbol=None) == {Kind.SLOW}


def test_single_events_are_never_on() -> None:
    schedule = Schedule((parse_fault("close@1"), parse_fault("garbage@1")))
    assert schedule.active(at_s=1.0, symbol=None) == frozenset()


def test_overlapping_faults_end_with_the_last_of_them() -> None:
    schedule = Schedule((parse_fault("refuse@1+5"), parse_fault("refuse@2+9"), parse_fault("http429@0+99")))
    assert schedule.end_of(Kind.REFUSE, at_s=3.0) == 11.0
    assert schedule.end_of(Kind.REFUSE, at_s=50.0) == 50.0
