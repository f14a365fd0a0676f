import logging
from collections.abc import Iterator

import attrs
import pytest
import trio
from trio.testing import MockClock

from domain.events import LOGGER, Event
from supervisor.cgroups import Bound
from supervisor.memory import (
    CALM_S,
    LOOK_EVERY_S,
    MIB,
    SHORT_FROM,
    TIGHT_BYTES,
    WELL_BELOW,
    Memory,
    Shortage,
    give_back,
    rss_bytes,
)

BETWEEN = (SHORT_FROM + WELL_BELOW) / 2


# --- pure -------------------------------------------------------------------------------------


def looks(shortage: Shortage, *shares: float, at: float = 0.0) -> list[bool]:
    """Look once a second."""
    return [shortage.look(share, at=at + number) for number, share in enumerate(shares)]


def test_it_is_short_from_the_upper_mark_on() -> None:
    assert looks(Shortage(), 0.0, WELL_BELOW, BETWEEN, SHORT_FROM) == [False, False, False, True]


def test_once_short_it_stays_so_between_the_marks() -> None:
    assert looks(Shortage(), SHORT_FROM, *[BETWEEN] * 100) == [True] * 101


def test_it_is_well_again_after_a_calm_time_below_the_lower_mark() -> None:
    shortage = Shortage()
    shortage.look(SHORT_FROM, at=0.0)
    assert shortage.look(0.5, at=1.0)
    assert shortage.look(0.5, at=CALM_S + 0.9)
    assert not shortage.look(0.5, at=CALM_S + 1.0)


def test_one_look_above_the_lower_mark_begins_the_calm_anew() -> None:
    shortage = Shortage()
    assert looks(shortage, SHORT_FROM, 0.5, BETWEEN) == [True] * 3
    assert shortage.look(0.5, at=CALM_S)
    assert shortage.look(0.5, at=2 * CALM_S - 0.1)
    assert not shortage.look(0.5, at=2 * CALM_S)


# --- fed with figures -------------------------------------------------------------------------


def bound(used: int, limit: int = 200, name: str = "group") -> Bound:
    return Bound(name=name, used_bytes=used * MIB, limit_bytes=limit * MIB)


@attrs.define
class Place:
    """A memory that is fed, and what it asked for."""

    memory: Memory
    bounds: list[Bound] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)

    @classmethod
    def made(cls, *, max_mb: int = 0) -> "Place":
        bounds: list[Bound] = []
        asked: list[str] = []
        memory = Memory(
            max_mb=max_mb,
            use_less=lambda: asked.append("less"),
            use_more=lambda: asked.append("more"),
            bounds=lambda: bounds,
        )
        return cls(memory, bounds, asked)

    def look(self, *bounds: Bound) -> None:
        self.bounds[:] = bounds
        self.memory.look()


class Heard(logging.Handler):
    """What was said of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) is Event.MEMORY:
            self.records.append(record)


@pytest.fixture
def heard() -> Iterator[list[logging.LogRecord]]:
    handler = Heard()
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield handler.records
    LOGGER.removeHandler(handler)


async def test_short_and_well_are_said_once_each_with_figures(
    heard: list[logging.LogRecord], mock_clock: MockClock
) -> None:
    place = Place.made()
    for _ in range(3):
        place.look(bound(180))
    for _ in range(3):
        place.look(bound(100))
        mock_clock.jump(CALM_S)
    assert place.asked == ["less", "more"]
    said = [(record.levelno, record.__dict__["fields"]["state"]) for record in heard]
    assert said == [(logging.WARNING, "short"), (logging.INFO, "well")]
    fields = heard[0].__dict__["fields"]
    assert (fields["used_bytes"], fields["limit_bytes"]) == (180 * MIB, 200 * MIB)
    assert fields["rss_bytes"] > 0


async def test_the_tightest_limit_decides_and_the_least_one_is_shown() -> None:
    place = Place.made()
    place.look(bound(50, 200), bound(950, 1_000))
    assert place.memory.is_short
    assert place.memory.limit_bytes == 200 * MIB


async def test_without_a_limit_nothing_is_ever_short() -> None:
    place = Place.made()
    place.look()
    assert not place.memory.is_short
    assert place.memory.limit_bytes is None
    assert place.asked == []


async def test_the_setting_counts_against_what_is_resident() -> None:
    place = Place.made(max_mb=1)
    place.look(bound(1))
    assert place.memory.is_short
    assert place.memory.limit_bytes == MIB
    place.memory.max_mb = 10 * rss_bytes() // MIB  # a reload
    place.look()
    assert place.memory.limit_bytes == 10 * rss_bytes() // MIB * MIB


async def test_under_a_low_limit_less_is_used_before_it_is_short() -> None:
    place = Place.made()
    place.look(bound(10, TIGHT_BYTES // MIB - 1))
    assert not place.memory.is_short
    assert place.asked == ["less"]
    place.look(bound(10, TIGHT_BYTES // MIB))
    assert place.asked == ["less", "more"]


async def test_it_looks_again_and_again(autojump_clock: MockClock) -> None:
    place = Place.made()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.memory.run)
        await trio.sleep(LOOK_EVERY_S / 2)
        place.bounds.append(bound(199))
        await trio.sleep(LOOK_EVERY_S)
        assert place.memory.is_short
        nursery.cancel_scope.cancel()


def test_what_the_allocator_keeps_for_itself_is_given_back() -> None:
    # Each too small for a mapping of its own, and every hundredth stays: the heap cannot shrink at its end.
    kept = [bytes(100_000) for _ in range(1_000)]
    full = rss_bytes()
    kept = kept[::100]
    give_back()
    assert full - rss_bytes() > 60_000_000
    assert len(kept) == 10
