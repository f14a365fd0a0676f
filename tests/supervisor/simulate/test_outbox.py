import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from supervisor.simulate import outbox as outbox_module
from supervisor.simulate.outbox import Outbox, text_frame
from venues.simulated.protocol import SimulatedTick

TICK = SimulatedTick("eurusd@aggTrade", "{}", "EURUSD", 1, 1, 1.0)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_text_frame_is_read_back_by_the_protocol_library(length: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frame("x" * length) + text_frame("€"))
    texts = [event.data for event in client.events() if isinstance(event, TextMessage)]
    assert texts == ["x" * length, "€"]


async def test_everything_since_the_last_time_is_taken_at_once() -> None:
    outbox = Outbox()
    outbox.put(b"one")
    outbox.put_text("two", ticks=(TICK,))
    parcel = await outbox.take()
    assert parcel.data == b"one" + text_frame("two")
    assert parcel.ticks == [TICK]


async def test_after_closing_the_rest_is_taken_and_then_nothing() -> None:
    outbox = Outbox()
    outbox.put(b"last")
    outbox.close()
    outbox.put(b"too late")
    outbox.put_text("too late", ticks=(TICK,))
    assert [(await outbox.take()).data for _ in range(2)] == [b"last", b""]


async def test_discarding_forgets_what_waits() -> None:
    outbox = Outbox()
    outbox.put_text("one", ticks=(TICK,))
    outbox.discard()
    assert await outbox.take() == (b"", [])


async def test_draining_waits_for_the_writer(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox()
    outbox.put(b"one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.drain)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        await outbox.take()
    assert not outbox.is_too_full()


def test_an_outbox_nobody_empties_gets_too_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_BYTES", 10)
    outbox = Outbox()
    outbox.put(b"x" * 10)
    assert not outbox.is_too_full()
    outbox.put(b"x")
    assert outbox.is_too_full()
