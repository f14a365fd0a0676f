from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from domain.errors import ConnectionLost
from wire.heartbeat import Heartbeat

DETECTED_WITHIN_S = 15.0  # of silence


@attrs.define(eq=False)
class Watched:
    """A heartbeat, what it told, and when (in virtual seconds) it gave up."""

    heartbeat: Heartbeat = attrs.field(factory=Heartbeat)
    pings_at: list[float] = attrs.field(factory=list)
    rtts_ms: list[float] = attrs.field(factory=list)
    lost_at: float | None = None

    async def watch(self, answer: Callable[[], Awaitable[None]]) -> None:
        async def ping() -> None:
            self.pings_at.append(trio.current_time())
            await answer()

        try:
            while True:
                await trio.sleep_until(self.heartbeat.due_at())
                await self.heartbeat.check(ping, self.rtts_ms.append)
        except ConnectionLost:
            self.lost_at = trio.current_time()

    async def beat_at(self, *times: float) -> None:
        for at in times:
            await trio.sleep_until(at)
            self.heartbeat.beat()


async def never_answers() -> None:
    await trio.sleep_forever()


async def answers_in_a_second() -> None:
    await trio.sleep(1.0)


@pytest.fixture
async def watched() -> Watched:
    return Watched()


async def test_a_silent_peer_is_dead_after_fifteen_seconds(
    watched: Watched, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    await watched.watch(never_answers)
    assert watched.lost_at == start + DETECTED_WITHIN_S


async def test_silence_is_asked_about_after_five_seconds(watched: Watched, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    await watched.watch(never_answers)
    assert watched.pings_at == [start + 5.0]


async def test_a_quiet_peer_that_answers_is_never_dropped(
    watched: Watched, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(24 * 3600.0):
        await watched.watch(answers_in_a_second)
    assert watched.lost_at is None
    assert watched.rtts_ms[0] == pytest.approx(1000.0)


async def test_a_peer_that_sends_data_is_not_pinged(watched: Watched, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watch, never_answers)
        await watched.beat_at(*(start + 4.0 * n for n in range(1, 100)))
        nursery.cancel_scope.cancel()
    assert watched.pings_at == []


async def test_a_peer_that_answers_no_ping_but_sends_data_is_alive(
    watched: Watched, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watch, never_answers)
        await watched.beat_at(*(start + 9.0 * n for n in range(1, 100)))
        nursery.cancel_scope.cancel()
    assert watched.lost_at is None
    assert watched.pings_at


@pytest.mark.parametrize("last_frame_at", [0.0, 4.9, 5.0, 5.1, 7.0, 9.9, 10.1, 14.9])
async def test_whenever_the_last_frame_came_death_is_noticed_fifteen_seconds_later(
    watched: Watched, autojump_clock: MockClock, last_frame_at: float
) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watch, never_answers)
        await watched.beat_at(start + last_frame_at)
    assert watched.lost_at == pytest.approx(start + last_frame_at + DETECTED_WITHIN_S)


async def test_an_answer_counts_as_life(watched: Watched, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    answers = iter([0.5])

    async def answers_once() -> None:
        await trio.sleep(next(answers, 1e9))

    await watched.watch(answers_once)
    assert watched.lost_at == start + 5.5 + DETECTED_WITHIN_S


async def test_a_loop_that_stood_still_gives_the_peer_time_to_answer(
    watched: Watched, autojump_clock: MockClock
) -> None:
    autojump_clock.jump(100.0)
    with trio.move_on_after(60.0):
        await watched.watch(answers_in_a_second)
    assert watched.lost_at is None


async def test_what_the_ping_itself_meets_is_passed_on(autojump_clock: MockClock) -> None:
    async def meets_a_reset() -> None:
        raise ConnectionLost("reset by the peer")

    heartbeat = Heartbeat()
    await trio.sleep_until(heartbeat.due_at())
    with pytest.raises(ConnectionLost, match="reset by the peer"):
        await heartbeat.check(meets_a_reset, lambda _rtt_ms: None)
